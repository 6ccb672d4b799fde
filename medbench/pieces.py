"""What each file of a run folder must hold so that reports can use it; see ``medbench.store``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

import pandas as pd

from medbench.datasets.task import Kind, label_columns

Entries = Mapping[str, Callable[[Any], bool]]
"""Whether an entry of a JSON object can be used, by name; what is absent is shown as None."""

_LARGEST = 1e15
"""Beyond it a number is damage: no sum or product that reports make of such numbers overflows."""
_LONGEST = 64
"""Bits of a whole number among settings: a seed may be larger than any measurement."""


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and abs(value) <= _LARGEST  # which NaN is not


def _positive(value: Any) -> bool:
    return _number(value) and value > 0


def _amount(value: Any) -> bool:
    return _number(value) and value >= 0


def _count(value: Any) -> bool:
    return isinstance(value, int) and _amount(value)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _scalar(value: Any) -> bool:
    if isinstance(value, int):
        return value.bit_length() <= _LONGEST
    return value is None or _text(value) or _number(value)


def _mapped(one: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(one, value.values()))


def _listed(one: Callable[[Any], bool], fewest: int = 0) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) >= fewest and all(map(one, value))


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _threshold(value: Any) -> bool:
    return _number(value) or _listed(_number)(value)


def _calibration(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _text(value.get("reason"))
        and _listed(_positive, fewest=1)(value.get("temperatures"))
    )


DATASET: Entries = {
    "title": _text,
    "task": lambda value: value in get_args(Kind),
    "classes": _listed(_text, fewest=2),
    "class_counts": _listed(_count, fewest=2),
    "n_images": _count,
    "n_groups": _count,
    "split": _text,
    "n_folds": lambda value: _count(value) and value > 0,
    "synthetic": _truth,
    "notes": _listed(_text),
    "licence": _text,
    "fingerprint": _text,
    "source": _or_none(_text),
    "citation": _or_none(_text),
    "homepage": _or_none(_text),
    "published": _or_none(_text),
    "collection": _or_none(_text),
    "caution_above": _or_none(_number),
    "prevalence": _or_none(_number),
    "n_folds_by_image": _or_none(_count),
    "official_file": _or_none(_truth),
    "redistributable": _or_none(_truth),
    "image_shape": _or_none(lambda value: _listed(_count)(value) and len(value) == 3),
}
"""``dataset.json``."""

CELL: Entries = {
    "status": lambda value: value in ("ok", "failed", "skipped"),
    "reason": _or_none(_text),
    "note": _or_none(_text),
    "sanity": _or_none(_truth),
    "params": _or_none(_mapped(_scalar)),
    "inner_score": _or_none(_number),
    "n_trials": _or_none(_count),
    "threshold": _or_none(_threshold),
    "calibration": _or_none(_calibration),
    "seconds": _or_none(_mapped(_number)),
    "cpu_seconds": _or_none(_mapped(_number)),
    "size_bytes": _or_none(_number),
    "latency_seconds": _or_none(_number),
    "images_per_second": _or_none(_number),
    "peak_memory_bytes": _or_none(_number),
}
"""``cell.json``."""

EXTERNAL: Entries = {
    "title": _text,
    "synthetic": _truth,
    "same_collection": _truth,
    "class_map": _mapped(_text),
    "left_out": _mapped(_count),
    "models_sha256": _listed(_text, fewest=1),
    "n_images": _count,
    "n_groups": _count,
    "n_folds": lambda value: _count(value) and value > 0,
    "threshold": _or_none(_threshold),
    "operating_point": _text,
    "unlike": _or_none(_amount),
}
"""``external.json``."""

KEY: Entries = {"parts": _mapping}
"""``key.json``."""

FINDING: Entries = dict.fromkeys(("check", "severity", "text", "remedy"), _text)
"""One finding of an audit."""

AUDIT: Entries = {
    "findings": _listed(lambda one: isinstance(one, dict) and not lacking(one, FINDING))
}
"""``audit.json``."""

TRIAL: Entries = {
    "number": _count,
    "state": _text,
    "params": _mapped(_scalar),
    "score": _or_none(_number),
    "at_seconds": _or_none(_amount),
}
"""One line of ``trials.jsonl``."""

ENVIRONMENT: Entries = {
    "commit": _or_none(_mapped(_scalar)),
    "packages": _or_none(_mapped(_text)),
    "threads": _or_none(_count),
}
"""``environment.json``."""

CONFIGURATION: Entries = {"unequal": _listed(_text)}
"""Settings in ``run.json`` that are more than one text, number or truth."""


def lacking(record: Mapping[str, Any], entries: Entries) -> list[str]:
    """Names of the entries that are absent or of a kind that cannot be used."""
    lack = [name for name, fits in entries.items() if not fits(record.get(name))]
    if entries is DATASET and not lack and len(record["classes"]) != len(record["class_counts"]):
        lack.append("class_counts")
    return lack


def unusable(configuration: Mapping[str, Any]) -> list[str]:
    """Names of the settings in ``run.json`` that are of a kind that cannot be used."""
    return [
        name for name, value in configuration.items() if not CONFIGURATION.get(name, _scalar)(value)
    ]


def predictions_fit(predictions: pd.DataFrame, dataset: Mapping[str, Any]) -> bool:
    """Whether the predictions of a cell are of the classes of its data set.

    Args:
        predictions: See ``medbench.store.CellResult.predictions``.
        dataset: ``dataset.json``.
    """
    n_classes = len(dataset["classes"])
    several = dataset["task"] == "multi-label"
    labels = [str(name) for name in label_columns(map(str, predictions.columns))]
    needed = ["image", "group", *labels, *(f"p{k}" for k in range(n_classes))]
    if len(labels) != (n_classes if several else 1) or not set(needed) <= set(predictions.columns):
        return False
    kinds = {name: kind.kind for name, kind in predictions.dtypes.items()}
    whole = all(kinds[name] in "iu" for name in ("image", "group", *labels))
    real = all(kinds[f"p{k}"] == "f" for k in range(n_classes))
    if not (whole and real and len(predictions)):
        return False
    highest = 1 if several else n_classes - 1
    known = [predictions[name].to_numpy() for name in labels]
    return all(each.min() >= 0 and each.max() <= highest for each in known)


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
        and record_fits({"threshold": record["threshold"]}, dataset)
    )


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
    return _number(threshold) if dataset["task"] == "binary" else threshold is None
