"""What the page shows across models and data sets: ranks, score against cost, anytime curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from medbench.reports.assessment import Assessment
from medbench.reports.page.charts import (
    Axis,
    Series,
    described,
    line_chart,
    rank_chart,
    score_axis,
)
from medbench.reports.page.results import Drawn
from medbench.reports.text import format_score, format_seconds
from medbench.reports.verdicts import across_verdict

_LEAST_SECONDS = 0.1
"""Seconds below which a logarithmic axis does not reach."""
_STEPS = 60
"""Points of an anytime curve."""


@dataclass(frozen=True, kw_only=True)
class DatasetCosts:
    """One data set's charts of score against cost."""

    name: str
    title: str
    pareto: Markup
    anytime: Markup | None
    """None where no trial says when it ended."""
    front: tuple[str, ...]
    """Models that no other beats in both score and seconds, the cheapest first."""


@dataclass(frozen=True, kw_only=True)
class Across:
    """The section across data sets."""

    ranks: Markup | None
    tested: bool
    """Whether a rank test was made."""
    verdict: str
    costs: tuple[DatasetCosts, ...]


def across(assessment: Assessment, models: Mapping[str, Sequence[Drawn]]) -> Across:
    """Draw it.

    Args:
        assessment: The run, assessed.
        models: What is drawn of each data set (see ``results.drawn_models``).
    """
    ranks = assessment.ranks
    return Across(
        ranks=rank_chart(ranks) if ranks else None,
        tested=ranks is not None and ranks.test is not None,
        verdict=across_verdict(ranks) if ranks else "",
        costs=tuple(
            _costs(dataset.name, str(dataset.record["title"]), models[dataset.name])
            for dataset in assessment.datasets
            if any(one.row.complete for one in models[dataset.name])
        ),
    )


def pareto_front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Names that no other beats: none is cheaper at an equal or higher score.

    Args:
        points: Cost and score by name.

    Returns:
        The cheapest first.
    """
    front, best = [], -math.inf
    for name, (_, score) in sorted(points.items(), key=lambda one: (one[1][0], -one[1][1])):
        if score > best:
            front.append(name)
            best = score
    return front


def _costs(name: str, title: str, models: Sequence[Drawn]) -> DatasetCosts:
    scored = [one for one in models if one.row.complete]
    points = {
        one.name: (max(one.row.fields["seconds"], _LEAST_SECONDS), one.row.fields["auroc"])
        for one in scored
        if not math.isnan(one.row.fields["seconds"])
    }
    front = pareto_front(points)
    series = [
        Series(
            name=one.name,
            number=one.number,
            points=(),
            marks=[(*points[one.name], _costs_text(one))],
        )
        for one in scored
        if one.name in points
    ]
    joined = Series(
        name="Pareto front", number=0, points=[points[n] for n in front], step=True, faint=True
    )
    seconds = [x for x, _ in points.values()] or [1.0]
    chart = line_chart(
        [joined, *series],
        Axis(
            label="seconds over all folds",
            low=min(seconds) / 1.3,
            high=max(seconds) * 1.3,
            log=True,
        ),
        score_axis([y for _, y in points.values()], "AUROC"),
        described(series, "AUROC against seconds"),
    )
    return DatasetCosts(
        name=name, title=title, pareto=chart, anytime=_anytime(models), front=tuple(front)
    )


def _costs_text(one: Drawn) -> str:
    fields = one.row.fields
    seconds, score = format_seconds(fields["seconds"]), format_score(fields["auroc"])
    return f"{one.name}: AUROC {score}, {seconds}"


def _anytime(models: Sequence[Drawn]) -> Markup | None:
    """Best inner score so far against seconds of the search, median over the folds."""
    histories = {one.number: [_history(cell.tried) for cell in one.cells] for one in models}
    histories = {n: [each for each in found if each] for n, found in histories.items()}
    ends = [at for found in histories.values() for each in found for at, _ in each]
    if not ends:
        return None
    low, high = max(min(ends), _LEAST_SECONDS), max(max(ends), _LEAST_SECONDS)
    grid = np.geomspace(low, max(high, low * 1.001), _STEPS)
    series = []
    for one in reversed(models):
        curves = []
        for each in histories[one.number]:
            at, best = np.array([a for a, _ in each]), np.array([b for _, b in each])
            place = np.searchsorted(at, grid, side="right")
            curves.append(np.where(place > 0, np.append(np.nan, best)[place], np.nan))
        if not curves:
            continue
        reached = np.isfinite(curves).all(axis=0)  # a median over fewer folds would jump
        median = np.median(np.array(curves)[:, reached], axis=0)
        points = list(zip(grid[reached].tolist(), median.tolist(), strict=True))
        series.append(Series(name=one.title, number=one.number, points=_turns(points), step=True))
    scores = [y for one in series for _, y in one.points]
    return line_chart(
        series,
        Axis(label="seconds of search in a fold", low=low, high=high, log=True),
        score_axis(scores, "best inner AUROC so far"),
        described(series, "Best inner AUROC against seconds"),
    )


def _history(trials: Sequence[Mapping[str, object]]) -> list[tuple[float, float]]:
    """When the best score rose, and to what; empty without complete trials."""
    found: list[tuple[float, float]] = []
    for trial in trials:
        score, at = trial.get("score"), trial.get("at_seconds")
        if trial.get("state") != "complete" or not isinstance(score, float):
            continue
        if (
            isinstance(at, (int, float))
            and math.isfinite(at)
            and (not found or score > found[-1][1])
        ):
            found.append((float(at), score))
    return found


def _turns(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points where a step begins, and the last one."""
    return [
        point
        for number, point in enumerate(points)
        if number in (0, len(points) - 1) or point[1] != points[number - 1][1]
    ]
