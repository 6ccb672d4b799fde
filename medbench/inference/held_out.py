"""Held-out images of a run, by which what was made of its models is checked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medbench.cache import cache_folder
from medbench.cores import available_threads
from medbench.datasets.catalog import Catalog
from medbench.datasets.prepared import prepare
from medbench.errors import StoreError, UnreadableError
from medbench.store import RunStore

CHECKED_IMAGES = 64
"""Images on which an exported model is compared with the original."""


def held_out_images(store: RunStore, dataset: str, catalog: Catalog) -> NDArray[np.uint8]:
    """Some images that were held out in a run, uint8, shape (n, height, width, channels).

    Without an official split every image was held out once; they are taken at even distances.
    Unreadable images are left out where the run left some out.

    Args:
        store: The run.
        dataset: Name of the data set.
        catalog: Where its images are.

    Raises:
        DatasetError: The images are not here.
        StoreError: They are others than those of the run.
    """
    record = store.dataset_record(dataset) or {}
    if record.get("task") == "binary":  # whatever is guessed now
        catalog.decide(dataset, positive=record["classes"][-1])
    try:
        data = prepare(
            dataset,
            catalog.get(dataset),
            cache=cache_folder() / "prepared",
            threads=available_threads(),
            skip_unreadable=record.get("n_unreadable") != 0,  # runs of old do not tell
        )
    except UnreadableError as error:
        raise StoreError(
            f"data set {dataset!r}: {len(error.unreadable)} images that {store.folder} has read "
            f"cannot be read now, first {error.unreadable[0]} Give the same images with "
            "--data-dir or --data."
        ) from error
    if data.fingerprint != record.get("fingerprint"):
        raise StoreError(
            f"data set {dataset!r}: the images here are not those of {store.folder} (files, labels "
            "or preparation differ). Give the same images with --data-dir or --data."
        )
    images = store.dataset_images(dataset)
    splits = [name for name in images if (images[name] == "held-out").any()]
    held_out = np.flatnonzero((images[splits] == "held-out").any(axis=1))
    positions = np.linspace(0, len(held_out) - 1, min(CHECKED_IMAGES, len(held_out))).astype(int)
    return np.ascontiguousarray(data.images[held_out[positions]])
