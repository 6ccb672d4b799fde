"""Which model to take: chosen by the scores that tuning saw, never by held-out scores."""

from __future__ import annotations

import math
from statistics import fmean, stdev

from medbench.reports.assessment import DatasetAssessment
from medbench.reports.rows import Row
from medbench.store import RunResult


def winner(dataset: DatasetAssessment, run: RunResult) -> Row | None:
    """The model of the highest inner score, or a cheaper one that is as good within noise.

    The inner score is the validation AUROC that chose a model's configuration, averaged over the
    outer folds. Every model within one standard error of the best one's mean is as good; of these
    the one that took the fewest seconds wins. One fold has no standard error, so there the highest
    wins. A choice by held-out scores would make the winner's own score look better than it is.

    Args:
        dataset: The data set, assessed.
        run: The run.

    Returns:
        Its row; None where no real model is finished on every fold. Sanity rows, rows split by
        image, published ones and those that the budget cut in a fold cannot win.

    Source: the one-standard-error rule of Breiman, Friedman, Olshen & Stone (1984),
    "Classification and Regression Trees", section 3.4.3.
    """
    rows = {
        row.name: row
        for row in dataset.rows
        if row.fields.kind == "model"
        and row.fields.status == "ok"
        and row.cut is None
        and not math.isnan(row.fields.inner_score)
    }
    if not rows:
        return None
    best = max(rows.values(), key=lambda row: (row.fields.inner_score, -_seconds(row)))
    noise = _standard_error(inner_scores(dataset.name, best.name, run))
    least = best.fields.inner_score - noise
    as_good = [row for row in rows.values() if row.fields.inner_score >= least]
    return min(as_good, key=lambda row: (_seconds(row), -row.fields.inner_score, row.name))


def inner_scores(dataset: str, model: str, run: RunResult) -> list[float]:
    """The inner score of each finished cell of a model, in the order of the cells."""
    scores = [cell.record.get("inner_score") for cell in run.cells_of(dataset, model)]
    return [float(score) for score in scores if score is not None]


def _standard_error(scores: list[float]) -> float:
    return stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else 0.0


def _seconds(row: Row) -> float:
    """What a model took; without end where it was not recorded."""
    seconds = row.fields.seconds
    return math.inf if math.isnan(seconds) else seconds


def why(dataset: DatasetAssessment, run: RunResult, won: Row) -> str:
    """One sentence on how the winner was chosen."""
    scores = inner_scores(dataset.name, won.name, run)
    mean = fmean(scores) if scores else math.nan
    rule = (
        "and of models within one standard error of the highest by fewest seconds"
        if len(scores) > 1
        else "the highest inner score; with one fold its noise is unknown, so cost had no part but "
        "between equal scores"
    )
    return (
        f"Chosen by its inner score (validation AUROC within the development part, mean {mean:.3f} "
        f"over {len(scores)} fold{'s' * (len(scores) != 1)}), {rule}; held-out scores had no part "
        "in it."
    )
