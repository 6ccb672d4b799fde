"""Images, labels and groups of a data set, as the scripts of this folder divide them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.catalog import load_catalog
from medbench.datasets.sources.phantoms import PhantomSource
from medbench.execution.plan import Settings, Setup, plan_datasets
from medbench.tuning.budget import Budget

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def real(name: str, data_dir: Path) -> tuple[Images, Labels, Labels]:
    """A data set of the catalog: images (n, height, width, channels), labels and groups (n,)."""
    settings = Settings(budget=Budget(trials=1, seconds=None))
    with tempfile.TemporaryDirectory() as cache:
        setup = Setup(cache=Path(cache), threads=1)
        (planned,) = plan_datasets([name], load_catalog(data_dir=data_dir), settings, setup)
        images, table = np.array(planned.data.images), planned.data.table
    groups = table["group"].astype("category").cat.codes.to_numpy(np.int64)
    return images, table["label"].to_numpy(np.int64), groups


def drawn(source: PhantomSource) -> tuple[Images, Labels, Labels]:
    """Drawn images, likewise."""
    labels = source.listing().table["label"].to_numpy(np.int64)
    images = np.stack([source.draw(row) for row in range(len(labels))])[..., None]
    return images, labels, np.arange(len(labels)) // source.images_per_patient
