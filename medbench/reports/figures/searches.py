"""Figures of the searches: how they went, what they promised, which parameters they tried."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.reports.charts import (
    Axis,
    Dimension,
    Plot,
    Series,
    described,
    key,
    line_chart,
    parallel_coordinates,
    score_axis,
)
from medbench.reports.drawing import Canvas, Drawing, Look, series_look
from medbench.reports.figures.models import Drawn
from medbench.reports.svg import Tag
from medbench.reports.text import format_score
from medbench.tuning.tuner import best_of

_MOST_LINES = 60
"""Trials that parallel coordinates draw; of more, some of every quality."""
_LOG_SPREAD = 20.0
"""From this ratio of the highest to the lowest value on, a parameter has a logarithmic line."""
_WIDTH, _LEFT, _RIGHT, _GAP = 380.0, 48.0, 10.0, 14.0
_HEIGHT, _TITLE, _BELOW = 76.0, 22.0, 40.0
_HEIGHT_OF_ONE = 220.0
"""Of the plot of a single model."""
_FOLD_WIDTH, _FOLD_OPACITY = 0.8, 0.5
_PRUNED = Look(colour="ink", mark="x", mark_size=4.5, line=False)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A complete trial, its score held against those of its own fold."""

    params: Mapping[str, Any]
    score: float
    relative: float
    """Score minus the median of the fold's complete trials: folds differ in difficulty."""


def complete_trials(one: Drawn) -> list[Trial]:
    """The complete trials of all folds of a model."""
    return [trial for cell in one.cells for trial in _relative(cell.tried)]


def _relative(trials: Sequence[Mapping[str, Any]]) -> list[Trial]:
    complete = [
        (t.get("params") or {}, float(t["score"]))
        for t in trials
        if t.get("state") == "complete" and t.get("score") is not None
    ]
    middle = float(np.median([score for _, score in complete])) if complete else 0.0
    return [Trial(params=p, score=score, relative=score - middle) for p, score in complete]


@dataclass(frozen=True, kw_only=True)
class _History:
    """Best score so far of the folds of one model, by trial."""

    one: Drawn
    folds: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]]
    """Best score after each trial (NaN before the first) and which trials were pruned."""

    @property
    def longest(self) -> int:
        return max(len(best) for best, _ in self.folds)

    @property
    def median(self) -> list[tuple[float, float]]:
        """Number of the trial and median of the folds, from where every fold has a score."""
        kept = [np.append(b, np.full(self.longest - len(b), b[-1])) for b, _ in self.folds]
        reached = np.isfinite(kept).all(axis=0)
        middle = np.median(np.array(kept)[:, reached], axis=0)
        numbers = np.flatnonzero(reached) + 1.0
        return list(zip(numbers.tolist(), middle.tolist(), strict=True))


def tuning(name: str, models: Sequence[Drawn]) -> Drawing | None:
    """Best inner score so far by trial, a plot for each model; None where no trial is complete.

    Args:
        name: The data set.
        models: The real models, in the order of the leaderboard.
    """
    found = [
        _History(one=one, folds=folds)
        for one in models
        if (folds := [history for cell in one.cells if (history := _history(cell.trials))])
    ]
    if not found:
        return None
    columns = 1 if len(found) == 1 else 2
    rows = math.ceil(len(found) / columns)
    width = (_WIDTH - _LEFT - _RIGHT - _GAP * (columns - 1)) / columns
    height = _HEIGHT_OF_ONE if len(found) == 1 else _HEIGHT
    known = [x for each in found for best, _ in each.folds for x in best.tolist()]
    x = Axis(label="trial of a fold", low=1, high=max(2, *(e.longest for e in found)), whole=True)
    y = score_axis(known, "best inner AUROC so far")
    total = rows * (_TITLE + height) + _BELOW

    def draw(canvas: Canvas) -> None:
        for number, each in enumerate(found):
            row, column = divmod(number, columns)
            left = _LEFT + column * (width + _GAP)
            top = row * (_TITLE + height) + _TITLE
            plot = Plot(canvas, x, y, left=left, top=top, size=(width, height))
            last = number + columns >= len(found)
            most = (4, 3) if len(found) > 1 else (6, 6)
            plot.grid(x_texts=last, y_texts=column == 0, most=most)
            _draw_history(canvas, plot, each)
            canvas.text((left, top - 6), each.one.label, colour="ink")
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        canvas.text((middle, total - 8), x.label, anchor="center", colour="ink")
        beside = (12.0, (total - _BELOW + _TITLE) / 2)
        canvas.text(beside, y.label, anchor="center", colour="ink", upwards=True)

    several = any(len(each.folds) > 1 for each in found)
    entries = [("median of the folds" if several else "best so far", Look(colour="s0"))]
    if several:
        thin = Look(colour="s0", width=_FOLD_WIDTH, opacity=_FOLD_OPACITY)
        entries.append(("a fold", thin))
    if any(pruned.any() for each in found for _, pruned in each.folds):
        entries.append(("a pruned trial", _PRUNED))
    said = ", ".join(f"{e.one.title} {format_score(e.median[-1][1])}" for e in found if e.median)
    title = f"Best inner AUROC by trial, at the end {said}"
    return Drawing(f"{name}/tuning", title, (_WIDTH, total), draw, aside=key(entries))


def _draw_history(canvas: Canvas, plot: Plot, each: _History) -> None:
    colour = series_look(each.one.number).colour
    for best, pruned in each.folds:
        known = [(n, v) for n, v in enumerate(best.tolist(), 1) if math.isfinite(v)]
        if len(each.folds) > 1 and len(known) > 1:
            thin = Look(colour=colour, width=_FOLD_WIDTH, opacity=_FOLD_OPACITY)
            canvas.line([plot.at(*point) for point in known], thin, step=True)
        crossed = [plot.at(n, v) for n, v in known if pruned[n - 1]]
        if crossed:
            canvas.line(crossed, _PRUNED)
    middle = [plot.at(*point) for point in each.median]
    tag = Tag(series=each.one.number, title=each.one.title)
    if len(middle) > 1:
        canvas.line(middle, Look(colour=colour), step=True, tag=tag)
    elif middle:
        canvas.line(middle, Look(colour=colour, mark="o", line=False), tag=tag)


def best_so_far(
    trials: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[Mapping[str, Any], float]]:
    """Every trial of a cell, and the inner score of the complete one that was the best after it.

    The score is NaN before the first, and may fall: a configuration that was screened on one inner
    fold has the mean of all of them once it is fitted on the others, and that stands above any
    score of one fold, as in the search itself.
    """
    best: Mapping[str, Any] | None = None
    for trial in trials:
        if trial.get("state") == "complete" and trial.get("score") is not None:
            best = best_of([trial] if best is None else [best, trial])
        yield trial, math.nan if best is None else float(best["score"])


def _history(
    trials: Sequence[Mapping[str, Any]],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """Best score after each configuration (NaN before the first) and which were pruned, or None."""
    scores: list[float] = []
    pruned: list[bool] = []
    for trial, score in best_so_far(trials):
        if trial.get("stage") == "finish" and scores:
            scores[-1] = score  # no configuration more
        else:
            scores.append(score)
            pruned.append(trial.get("state") == "pruned")
    if not scores or math.isnan(scores[-1]):
        return None
    return np.array(scores), np.array(pruned)


def optimism(name: str, models: Sequence[Drawn]) -> Drawing | None:
    """Inner against held-out score; below the diagonal the choice was optimistic."""
    series = []
    for one in models:
        inner, test = one.row.fields.inner_score, one.row.fields.auroc
        if math.isnan(inner) or math.isnan(test):
            continue
        text = f"{one.title}: inner {format_score(inner)}, held-out {format_score(test)}"
        marks = [(inner, test, text)]
        series.append(
            Series(name=one.title, number=one.number, points=(), marks=marks, key=one.label)
        )
    if not series:
        return None
    axis = score_axis([value for one in series for x, y, _ in one.marks for value in (x, y)], "")
    return line_chart(
        f"{name}/optimism",
        series[::-1],
        Axis(label="inner AUROC", low=axis.low, high=axis.high),
        Axis(label="held-out AUROC", low=axis.low, high=axis.high),
        described(series, "Inner against held-out AUROC"),
        diagonal="as promised",
    )


def parallel(name: str, one: Drawn) -> Drawing | None:
    """Trials of a model over the parameters that vary; None where none does."""
    trials = complete_trials(one)
    names = list(dict.fromkeys(n for trial in trials for n in trial.params))
    names = [n for n in names if len({str(trial.params.get(n)) for trial in trials}) > 1]
    if not names:
        return None
    ordered = sorted(trials, key=lambda trial: trial.relative)
    if len(ordered) > _MOST_LINES:
        kept = np.unique(np.linspace(0, len(ordered) - 1, _MOST_LINES).astype(int))
        ordered = [ordered[i] for i in kept]
    columns = [_column([t.params.get(n) for t in ordered], n) for n in names]
    columns.append(_column([t.relative for t in ordered], "score"))
    goodness = np.linspace(0, 1, len(ordered)).tolist()
    lines = [([positions[i] for _, positions in columns], goodness[i]) for i in range(len(ordered))]
    return parallel_coordinates(
        f"{name}/parallel/{one.name}",
        [dimension for dimension, _ in columns],
        lines,
        f"Parallel coordinates of {len(ordered)} trials of {one.name}",
    )


def _column(values: Sequence[Any], name: str) -> tuple[Dimension, list[float | None]]:
    """A parameter's line, and where each trial stands on it."""
    known = [value for value in values if value is not None]
    if is_numeric(known):
        low, high = min(known), max(known)
        if low == high:
            positions: list[float | None] = [None if v is None else 0.5 for v in values]
        else:
            axis = Axis(
                label=name,
                low=float(low),
                high=float(high),
                log=low > 0 and high / low >= _LOG_SPREAD,
            )
            positions = [None if v is None else axis.position(v) for v in values]
        return Dimension(name=name, low=f"{low:.3g}", high=f"{high:.3g}"), positions
    distinct = sorted({str(value) for value in known})
    of = {text: i / max(1, len(distinct) - 1) for i, text in enumerate(distinct)}
    positions = [None if v is None else of[str(v)] for v in values]
    return Dimension(name=name, low=distinct[0], high=distinct[-1]), positions


def is_numeric(values: Sequence[Any]) -> bool:
    """Whether all values are numbers; truth values are names."""
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
