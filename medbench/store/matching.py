"""Whether pieces of a run that can each be read are of the same data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medbench.datasets.task import label_columns

if TYPE_CHECKING:
    import pandas as pd


def predictions_fit(predictions: pd.DataFrame, dataset: Mapping[str, Any]) -> bool:
    """Whether the predictions of a cell are of the classes of its data set.

    Args:
        predictions: See ``medbench.store.CellResult.predictions``.
        dataset: ``dataset.json``.
    """
    n_classes = len(dataset["classes"])
    several = dataset["task"] == "multi-label"
    # as lists: looking a column up in a data frame costs more than all that is asked of it
    columns, kinds = predictions.columns.tolist(), predictions.dtypes.tolist()
    kind_of = {str(name): kind.kind for name, kind in zip(columns, kinds, strict=True)}
    labels = label_columns(kind_of)
    numbers, shares = ["image", "group", *labels], [f"p{k}" for k in range(n_classes)]
    if len(labels) != (n_classes if several else 1) or not {*numbers, *shares} <= kind_of.keys():
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
        predictions_fit(predictions, dataset)
        and columns <= set(predictions.columns)
        and record_fits({"threshold": record.get("threshold")}, dataset)
    )
