"""What the page shows of each data set in tables: decisions and operating points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medbench.reports.figures import DatasetFigures
from medbench.reports.figures.heatmaps import Decisions
from medbench.reports.figures.models import Drawn
from medbench.reports.text import format_score

SHOWN_AT_FIRST = 4
"""Models whose curves are drawn before the reader asks for more; more cannot be told apart."""
MOST_CONFUSED = 12
"""Above this many classes a confusion matrix is not shown: nobody could read it."""


@dataclass(frozen=True, kw_only=True)
class OperatingRow:
    """What one model's frozen operating point gives on held-out images."""

    model: str
    threshold: str
    """Lowest to highest of the folds."""
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Results:
    """The tables of one data set's section."""

    decisions: tuple[Decisions, ...]
    operating: tuple[OperatingRow, ...]
    operating_names: tuple[str, ...]
    """Metrics of the operating points, by their key."""


def results(record: Mapping[str, Any], figures: DatasetFigures) -> Results:
    """Gather them.

    Args:
        record: ``dataset.json``.
        figures: Those of the data set.
    """
    return Results(
        decisions=figures.decisions if len(record["classes"]) <= MOST_CONFUSED else (),
        operating=_operating(record, figures.models),
        operating_names=_OPERATING[record["task"]],
    )


_OPERATING = {
    "binary": (
        "sensitivity",
        "specificity",
        "ppv",
        "npv",
        "prevalence",
        "balanced_accuracy",
        "f1",
        "mcc",
        "sensitivity_at_90_specificity",
        "specificity_at_90_sensitivity",
    ),
    "multi-class": ("balanced_accuracy", "accuracy", "macro_f1", "mcc"),
    "ordinal": ("balanced_accuracy", "accuracy", "macro_f1", "quadratic_kappa", "mae"),
    "multi-label": ("balanced_accuracy", "average_precision", "macro_f1"),
}


def _operating(record: Mapping[str, Any], models: Sequence[Drawn]) -> tuple[OperatingRow, ...]:
    return tuple(
        OperatingRow(
            model=one.title,
            threshold=_threshold([cell.record.get("threshold") for cell in one.cells]),
            scores={
                name: one.row.scores.get(name, math.nan) for name in _OPERATING[record["task"]]
            },
        )
        for one in models
    )


def _threshold(each: Sequence[Any]) -> str:
    """The folds' operating points in a few words."""
    numbers = [value for value in each if isinstance(value, (int, float))]
    if not numbers:
        several = any(isinstance(value, list) for value in each)
        return "one a label" if several else "the most probable class"
    low, high = format_score(min(numbers)), format_score(max(numbers))
    return low if low == high else f"{low} to {high}"
