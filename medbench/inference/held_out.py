"""Held-out images of a run, by which what was made of its models is checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.catalog import Catalog
from medbench.datasets.prepared import prepare
from medbench.errors import StoreError
from medbench.execution.plan import Place
from medbench.store import RunStore

CHECKED_IMAGES = 64
"""Images on which an exported model is compared with the original."""


def held_out_images(
    store: RunStore, dataset: str, catalog: Catalog, place: Place
) -> NDArray[np.uint8]:
    """Some images that were held out in a run, uint8, shape (n, height, width, channels).

    Without an official split every image was held out once; they are taken at even distances.

    Args:
        store: The run.
        dataset: Name of the data set.
        catalog: Where its images are.
        place: Where prepared data sets are kept.

    Raises:
        DatasetError: The images are not here.
        StoreError: They are others than those of the run.
    """
    data = prepare(
        dataset,
        catalog.get(dataset),
        cache=place.cache / "prepared",
        threads=place.threads,
        skip_unreadable=True,
    )
    record = store.dataset_record(dataset) or {}
    if data.fingerprint != record.get("fingerprint"):
        raise StoreError(
            f"data set {dataset!r}: the images here are not those of {store.folder} (files, labels "
            "or preparation differ). Give the same images with --data-dir or --data."
        )
    images = store.dataset_images(dataset)
    splits = [name for name in images if (images[name] == "held-out").any()]
    held_out = np.flatnonzero((images[splits] == "held-out").any(axis=1))
    places = np.linspace(0, len(held_out) - 1, min(CHECKED_IMAGES, len(held_out))).astype(int)
    return np.ascontiguousarray(data.images[held_out[places]])
