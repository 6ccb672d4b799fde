"""Score against cost: the seconds of all folds, and what a search had after so many seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medbench.reports.charts import Axis, Series, described, line_chart, score_axis
from medbench.reports.drawing import Drawing, Look
from medbench.reports.figures.models import Drawn
from medbench.reports.figures.searches import best_so_far
from medbench.reports.text import format_score, format_seconds

_LEAST_SECONDS = 0.1
"""Seconds below which a logarithmic axis does not reach."""
_STEPS = 60
"""Points of an anytime curve."""
_FRONT = Look(colour="faint", width=1.5)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """One data set's figures of score against cost."""

    pareto: Drawing
    anytime: Drawing | None
    """None where no trial says when it ended."""
    front: tuple[str, ...]
    """Models that no other beats in both score and seconds, the cheapest first."""


def costs(name: str, models: Sequence[Drawn]) -> Costs | None:
    """Compute the figures of one data set; None where no row of a model is complete."""
    scored = [one for one in models if one.row.complete]
    if not scored:
        return None
    points = {
        one.name: (max(one.row.fields.seconds, _LEAST_SECONDS), one.row.fields.auroc)
        for one in scored
        if not math.isnan(one.row.fields.seconds)
    }
    front = pareto_front(points)
    series = [
        Series(
            name=one.name,
            number=one.number,
            points=(),
            marks=[(*points[one.name], _words(one))],
            key=one.label,
        )
        for one in reversed(scored)
        if one.name in points
    ]
    joined = Series(
        name="Pareto front", number=0, points=[points[n] for n in front], step=True, look=_FRONT
    )
    seconds = [x for x, _ in points.values()] or [1.0]
    return Costs(
        pareto=line_chart(
            f"{name}/cost",
            [joined, *series] if len(front) > 1 else series,
            Axis(
                label="seconds over all folds",
                low=min(seconds) / 1.3,
                high=max(seconds) * 1.3,
                log=True,
            ),
            score_axis([y for _, y in points.values()], "AUROC"),
            described(series[::-1], "AUROC against seconds"),
        ),
        anytime=_anytime(name, models),
        front=tuple(front),
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


def _words(one: Drawn) -> str:
    fields = one.row.fields
    seconds, score = format_seconds(fields.seconds), format_score(fields.auroc)
    return f"{one.name}: AUROC {score}, {seconds}"


def _anytime(name: str, models: Sequence[Drawn]) -> Drawing | None:
    """Best inner score so far against seconds of the search, median over the folds."""
    histories = {one.number: [_history(cell.trials) for cell in one.cells] for one in models}
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
            position = np.searchsorted(at, grid, side="right")
            curves.append(np.where(position > 0, np.append(np.nan, best)[position], np.nan))
        if not curves:
            continue
        reached = np.isfinite(curves).all(axis=0)  # a median over fewer folds would jump
        median = np.median(np.array(curves)[:, reached], axis=0)
        points = _turns(list(zip(grid[reached].tolist(), median.tolist(), strict=True)))
        series.append(
            Series(name=one.title, number=one.number, points=points, step=True, key=one.label)
        )
    return line_chart(
        f"{name}/anytime",
        series,
        Axis(label="seconds of search in a fold", low=low, high=high, log=True),
        score_axis([y for one in series for _, y in one.points], "best inner AUROC so far"),
        described(series, "Best inner AUROC against seconds"),
    )


def _history(trials: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """When the best score changed, and to what; empty without complete trials."""
    found: list[tuple[float, float]] = []
    for trial, score in best_so_far(trials):
        at = trial.get("at_seconds")
        if not isinstance(at, int | float) or not math.isfinite(at) or math.isnan(score):
            continue
        if not found or score != found[-1][1]:
            found.append((float(at), score))
    return found


def _turns(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points where a step begins, and the last one."""
    return [
        point
        for number, point in enumerate(points)
        if number in (0, len(points) - 1) or point[1] != points[number - 1][1]
    ]
