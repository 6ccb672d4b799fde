"""The held-out predictions of a cell, as metrics and intervals take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from medbench.datasets.task import label_columns, labels_in
from medbench.errors import StoreError
from medbench.evaluation.calibration import Calibration
from medbench.evaluation.resampling import FoldPredictions
from medbench.store import CellResult


def fold_predictions(
    cell: CellResult, record: Mapping[str, Any], *, calibrated: bool = True
) -> FoldPredictions:
    """The held-out predictions of a finished cell.

    Args:
        cell: The cell.
        record: ``dataset.json`` of its data set.
        calibrated: Whether the cell's temperature is applied.

    Raises:
        StoreError: The cell has no predictions, or not the columns that its classes need.
    """
    n_classes = len(record["classes"])
    needed = ["group", *(f"p{k}" for k in range(n_classes))]
    frame = cell.predictions
    labels = [] if frame is None else label_columns(frame.columns)
    if frame is None or not set(needed) <= set(frame.columns) or len(labels) not in (1, n_classes):
        raise StoreError(
            f"cell {cell.id}: predictions.parquet must have the columns label (or label0, label1, "
            f"... of a multi-label task), {', '.join(needed)}."
        )
    # column by column: a part of a data frame costs more than all that is done with it
    probabilities = np.column_stack([frame[name].to_numpy(np.float64) for name in needed[1:]])
    if calibrated:
        calibration = Calibration.from_record(cell.record.get("calibration"))
        several = record["task"] == "multi-label"
        probabilities = calibration.apply(probabilities, multi_label=several)
    return FoldPredictions(
        labels=labels_in(frame),
        probabilities=probabilities,
        groups=frame["group"].to_numpy(),
        repeat=cell.repeat,
    )
