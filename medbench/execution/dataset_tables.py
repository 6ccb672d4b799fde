"""What a run records of a data set: its description and the part of every image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from medbench.datasets.listing import KEPT
from medbench.datasets.prepared import describe
from medbench.datasets.task import label_frame
from medbench.errors import StoreError
from medbench.execution.plan import PlannedDataset
from medbench.store import RunStore


def dataset_tables(dataset: PlannedDataset, store: RunStore) -> tuple[dict[str, Any], pd.DataFrame]:
    """What a run records of a data set: its description, and the part of every image.

    Raises:
        StoreError: The run folder holds it with other data or splits.
    """
    data = dataset.data
    before = store.dataset_record(data.name)
    if before is not None and before["fingerprint"] != data.fingerprint:
        raise StoreError(
            f"{store.folder}: data set {data.name!r} was run there with other images, labels or "
            "groups, or another positive class. Name another folder with --out."
        )
    record = describe(data)
    record["split"] = dataset.plan.description
    record["n_folds"] = len(dataset.plan.splits)
    earlier = 0 if before is None else before.get("n_folds_by_image", 0)
    record["n_folds_by_image"] = len(dataset.by_image) or earlier
    record["notes"] = [*record["notes"], *dataset.plan.notes]  # type: ignore[misc]
    images = label_frame(data.labels).assign(group=data.table["group"])
    for split in (*dataset.plan.splits, *dataset.by_image):
        part = np.full(len(images), "left out", dtype=object)
        part[split.development] = "development"
        if split.validation is not None:
            part[split.validation] = "validation"
        part[split.held_out] = "held-out"
        images[split.name] = part
    if before is not None:
        there = store.dataset_images(data.name)
        there = there[[column for column in there if not str(column).startswith(KEPT)]]
        shared = [column for column in there if column in images]
        if not there[shared].equals(images[shared]):
            raise StoreError(
                f"{store.folder}: data set {data.name!r} was split differently there (by another "
                "version of MedBench or scikit-learn?). Name another folder with --out."
            )
        images = pd.concat([images, there.drop(columns=shared)], axis=1)
    images = pd.concat([images, data.kept.add_prefix(KEPT)], axis=1)
    return record, images
