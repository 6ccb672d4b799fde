"""What the page shows of each data set: curves, confusion, operating points, classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from medbench.errors import ProtocolError
from medbench.evaluation.curves import (
    GRID,
    Curve,
    Reliability,
    precision_recall_curve,
    reliability,
    roc_curve,
)
from medbench.evaluation.metrics import confusion, decide
from medbench.evaluation.resampling import FoldPredictions
from medbench.reports.assessment import DatasetAssessment
from medbench.reports.describe import row_title
from medbench.reports.drawing import cut
from medbench.reports.page.charts import Series, described, line_chart, share_axis
from medbench.reports.rows import Row
from medbench.reports.text import format_score, plain
from medbench.store import CellResult, RunResult

SHOWN_AT_FIRST = 4
"""Models whose curves are drawn before the reader asks for more; more cannot be told apart."""
MOST_CONFUSED = 12
"""Above this many classes a confusion matrix is not drawn: nobody could read it."""
_TOLERANCE = 1e-3
"""How far a drawn curve may lie from the computed one; less than a line is wide."""
_BANDS = {
    "folds": "band: lowest to highest fold or seed",
    "bootstrap": "band: pointwise 95% interval of 1,000 bootstrap resamples of groups",
    "none": "no band: too few groups",
}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A real model with finished cells."""

    row: Row
    cells: tuple[CellResult, ...]
    number: int
    """Its colour in every chart of the data set."""

    @property
    def name(self) -> str:
        """As stored."""
        return self.row.name

    @property
    def title(self) -> str:
        """As it is shown: with a word on it where the budget cut it."""
        return row_title(self.row)


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Decisions of one model on all held-out images."""

    model: str
    number: int
    counts: NDArray[np.int64]
    """True class (row) by decided class (column)."""
    shares: NDArray[np.float64]
    """Of the images of the true class."""


@dataclass(frozen=True, kw_only=True)
class OperatingRow:
    """What one model's frozen operating point gives on held-out images."""

    model: str
    threshold: str
    """Lowest to highest of the folds."""
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything of one data set's section but pictures."""

    models: tuple[Drawn, ...]
    roc: Markup
    precision_recall: Markup
    calibration: Markup
    band: str
    confusions: tuple[Confusion, ...]
    operating: tuple[OperatingRow, ...]
    operating_names: tuple[str, ...]
    """Metrics of the operating points, by their key."""


def drawn_models(run: RunResult, dataset: DatasetAssessment) -> tuple[Drawn, ...]:
    """The real models with a finished cell, in the order of the leaderboard."""
    rows = [row for row in dataset.rows if row.fields["kind"] == "model" and row.folds]
    return tuple(
        Drawn(row=row, cells=run.cells_of(dataset.name, row.name), number=number)
        for number, row in enumerate(rows)
    )


def results(dataset: DatasetAssessment, models: tuple[Drawn, ...]) -> Results:
    """Draw and count what a data set's section shows."""
    n_classes = len(dataset.record["classes"])
    roc, precision, holds, band = [], [], [], "none"
    for one in reversed(models):  # the best lies on top
        try:
            curves = (
                roc_curve(one.row.folds, n_classes),
                precision_recall_curve(one.row.folds, n_classes),
            )
        except ProtocolError:  # nothing to tell apart; the table says so
            continue
        band = _BANDS[curves[0].band]
        roc.append(_curve(one, curves[0], start=True))
        precision.append(_curve(one, curves[1]))
        holds.append(_reliability(one, reliability(_first_repeat(one))))
    return Results(
        models=models,
        roc=line_chart(
            roc,
            share_axis("1 - specificity"),
            share_axis("sensitivity"),
            described(roc, "ROC curves"),
            diagonal=True,
        ),
        precision_recall=line_chart(
            precision,
            share_axis("recall (sensitivity)"),
            share_axis("precision (PPV)"),
            described(precision, "Precision-recall curves"),
        ),
        calibration=line_chart(
            holds,
            share_axis(_confidence(dataset.record)),
            share_axis("share that came true"),
            described(holds, "Reliability diagram"),
            diagonal=True,
        ),
        band=band,
        confusions=_confusions(models, n_classes),
        operating=_operating(dataset.record, models),
        operating_names=_OPERATING[dataset.record["task"]],
    )


def _first_repeat(one: Drawn) -> list[FoldPredictions]:
    """Folds in which every image is held out at most once."""
    return [fold for fold in one.row.folds if not fold.repeat] or list(one.row.folds)


def _confidence(record: Mapping[str, Any]) -> str:
    return {
        "binary": f"probability of {cut(plain(str(record['classes'][-1])), 24)}",
        "multi-label": "probability of a label",
    }.get(record["task"], "probability of the decided class")


def _curve(one: Drawn, curve: Curve, *, start: bool = False) -> Series:
    kept = _kept(curve)
    points = [(float(GRID[i]), float(curve.values[i])) for i in kept]
    band = [(float(GRID[i]), float(curve.low[i]), float(curve.high[i])) for i in kept]
    if start:  # a ROC curve begins in the corner, whatever is reached without false positives
        points.insert(0, (0.0, 0.0))
    return Series(
        name=one.title,
        number=one.number,
        points=points,
        band=band if curve.band != "none" else (),
    )


def _kept(curve: Curve) -> NDArray[np.int64]:
    """Places of the grid that a line needs to stay within a thousandth of curve and band.

    From each place kept, the next is the farthest one up to which straight lines hold.
    """
    values = np.array([curve.values, curve.low, curve.high])
    kept, last = [0], len(GRID) - 1
    while kept[-1] < last:
        begin = kept[-1]
        end = begin + 1
        while end < last and _straight(values[:, begin : end + 2]):
            end += 1
        kept.append(end)
    return np.array(kept)


def _straight(values: NDArray[np.float64]) -> bool:
    """Whether values between the first and last column lie on the lines between those."""
    share = np.linspace(0, 1, values.shape[1])
    lines = values[:, :1] + (values[:, -1:] - values[:, :1]) * share
    return bool(np.abs(values - lines).max() <= _TOLERANCE)


def _reliability(one: Drawn, found: Reliability) -> Series:
    points = list(zip(found.predicted.tolist(), found.observed.tolist(), strict=True))
    marks = [
        (
            x,
            y,
            f"{one.title}: predicted {format_score(x)}, came true {format_score(y)}, {n:,} images",
        )
        for (x, y), n in zip(points, found.images.tolist(), strict=True)
    ]
    band = list(zip(found.predicted.tolist(), found.low.tolist(), found.high.tolist(), strict=True))
    return Series(name=one.title, number=one.number, points=points, band=band, marks=marks)


def _confusions(models: Sequence[Drawn], n_classes: int) -> tuple[Confusion, ...]:
    if n_classes > MOST_CONFUSED:
        return ()
    found = []
    for one in models:
        counts = np.zeros((n_classes, n_classes), dtype=np.int64)
        for cell, fold in zip(one.cells, one.row.folds, strict=True):
            if fold.labels.ndim == 2:
                return ()
            if fold.repeat:  # every image once
                continue
            decided = decide(fold.probabilities, cell.record.get("threshold"))
            counts += confusion(fold.labels, decided, n_classes)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        found.append(Confusion(model=one.title, number=one.number, counts=counts, shares=shares))
    return tuple(found)


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
