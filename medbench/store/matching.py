"""Whether parts of a run that can each be read are of the same data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from medbench.datasets.task import label_columns, labels_in

if TYPE_CHECKING:
    import pandas as pd

_ROUNDING = 1e-3
"""So far from one may probabilities of exclusive classes sum up."""


def wrong_with(predictions: pd.DataFrame, dataset: Mapping[str, Any], name: str) -> str:
    """Why predictions cannot be those of a cell of a data set; empty where they can.

    Args:
        predictions: See ``medbench.store.CellResult.predictions``.
        dataset: ``dataset.json``.
        name: The data set.
    """
    if not _columns_fit(predictions, dataset):
        return f"not of the classes of {name}"
    if predictions["image"].duplicated().any():
        return "an image stands in it twice"
    shares = [f"p{k}" for k in range(len(dataset["classes"]))]
    summed = np.zeros(len(predictions))
    for column in shares:
        share = predictions[column].to_numpy()
        if not ((share >= 0) & (share <= 1)).all():
            return f"{column} is not always a probability"
        summed += share
    if dataset["task"] != "multi-label" and (np.abs(summed - 1) > _ROUNDING).any():
        return "probabilities do not always sum up to 1"
    return ""


def wrong_beside(predictions: pd.DataFrame, images: pd.DataFrame, split: str) -> str:
    """Why predictions cannot be of the images that a split holds out; empty where they can.

    Args:
        predictions: Predictions with which nothing else is wrong.
        images: ``images.parquet`` of the data set.
        split: Name of the split.
    """
    if split not in images:  # a data set whose description was made again
        return ""
    held_out = np.flatnonzero(images[split].to_numpy() == "held-out")
    rows = predictions["image"].to_numpy()
    if not np.array_equal(np.sort(rows), held_out):
        return f"not of the images that {split} holds out"
    if not np.array_equal(labels_in(predictions), labels_in(images)[rows]):
        return "with other labels than images.parquet"
    return ""


def _columns_fit(predictions: pd.DataFrame, dataset: Mapping[str, Any]) -> bool:
    """Whether predictions have the columns that the classes of a data set need."""
    n_classes = len(dataset["classes"])
    several = dataset["task"] == "multi-label"
    # as lists: looking a column up in a data frame costs more than all that is asked of it
    columns, kinds = predictions.columns.tolist(), predictions.dtypes.tolist()
    kind_of = {str(name): kind.kind for name, kind in zip(columns, kinds, strict=True)}
    labels = label_columns(kind_of)
    wanted = {f"label{k}" for k in range(n_classes)} if several else {"label"}
    numbers, shares = ["image", "group", *labels], [f"p{k}" for k in range(n_classes)]
    if set(labels) != wanted or not {*numbers, *shares} <= kind_of.keys():
        return False
    whole = all(kind_of[name] in "iu" for name in numbers)
    real = all(kind_of[name] == "f" for name in shares)
    if not (whole and real and len(predictions)):
        return False
    highest = 1 if several else n_classes - 1
    known = [predictions[name].to_numpy() for name in labels]
    return all(each.min() >= 0 and each.max() <= highest for each in known)


def record_fits(cell: Mapping[str, Any], dataset: Mapping[str, Any]) -> bool:
    """Whether calibration and operating point of an ok cell are of the classes of its data set.

    Args:
        cell: Its ``cell.json``.
        dataset: ``dataset.json``.
    """
    n_classes = len(dataset["classes"])
    calibration, threshold = cell.get("calibration"), cell.get("threshold")
    if calibration is not None and len(calibration["temperatures"]) not in (1, n_classes):
        return False
    if dataset["task"] == "multi-label":
        return isinstance(threshold, list) and len(threshold) == n_classes
    if dataset["task"] == "binary":
        return isinstance(threshold, int | float)
    return threshold is None


def external_fits(
    record: Mapping[str, Any], predictions: pd.DataFrame, dataset: Mapping[str, Any]
) -> bool:
    """Whether an external validation is of the classes of the data set its model is of.

    Args:
        record: ``external.json``.
        predictions: See ``medbench.store.ExternalResult.predictions``.
        dataset: ``dataset.json`` of the data set that the model was developed on.
    """
    n_classes = len(dataset["classes"])
    columns = {f"f{i}p{k}" for i in range(record["n_folds"]) for k in range(n_classes)}
    return (
        not wrong_with(predictions, dataset, "")
        and columns <= set(predictions.columns)
        and all(predictions[name].between(0, 1).all() for name in columns)
        and record_fits({"threshold": record.get("threshold")}, dataset)
    )
