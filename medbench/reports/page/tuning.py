"""What the page shows of the searches: budget used, optimism, history, what mattered."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from medbench.reports.page.charts import (
    Axis,
    Dimension,
    Series,
    described,
    line_chart,
    parallel_coordinates,
    score_axis,
)
from medbench.reports.page.results import Drawn
from medbench.reports.text import format_score

_FEWEST_TRIALS = 20
"""Complete trials below which no importance is given: it would be noise."""
_SHUFFLES = 500
_QUARTERS = 4
_NO_SPREAD = 1e-18
"""Sum of squares of scores that are all the same but for rounding."""
_MOST_LINES = 60
"""Trials that parallel coordinates draw; of more, some of every quality."""
_LOG_SPREAD = 20.0
"""From this ratio of the highest to the lowest value on, a parameter has a logarithmic line."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """The searches of one model on one data set, over its folds."""

    model: str
    number: int
    states: Mapping[str, int]
    """Trials by how they ended."""
    seconds: float
    """Of tuning, summed over the folds."""
    inner: float
    test: float
    optimism: float
    """Inner minus held-out AUROC."""
    parallel: Markup | None
    """None with fewer than two complete trials, or without parameters."""
    complete: int
    """Complete trials."""
    importance: tuple[tuple[str, float], ...]
    """See ``parameter_importance``."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """One data set's searches."""

    name: str
    title: str
    searches: tuple[Search, ...]
    history: Markup
    optimism: Markup


def tuning(name: str, title: str, models: Sequence[Drawn]) -> Tuning | None:
    """Draw the searches of one data set; None where nothing was searched."""
    searched = [one for one in models if any(cell.tried for cell in one.cells)]
    if not searched:
        return None
    return Tuning(
        name=name,
        title=title,
        searches=tuple(_search(one) for one in searched),
        history=_history(searched),
        optimism=_optimism(searched),
    )


def _search(one: Drawn) -> Search:
    fields = one.row.fields
    trials = [_relative(cell.tried) for cell in one.cells]
    flat = [trial for each in trials for trial in each]
    seconds = [(cell.record.get("seconds") or {}).get("tuning") for cell in one.cells]
    return Search(
        model=one.title,
        number=one.number,
        states=Counter(str(t.get("state")) for cell in one.cells for t in cell.tried),
        seconds=sum(s for s in seconds if s is not None) if any(seconds) else math.nan,
        inner=fields["inner_score"],
        test=fields["auroc"],
        optimism=fields["inner_score"] - fields["auroc"],
        parallel=_parallel(one.name, flat),
        complete=len(flat),
        importance=parameter_importance(flat),
    )


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A complete trial, its score held against those of its own fold."""

    params: Mapping[str, Any]
    score: float
    relative: float
    """Score minus the median of the fold's complete trials: folds differ in difficulty."""


def _relative(trials: Sequence[Mapping[str, Any]]) -> list[_Trial]:
    complete = [
        (t.get("params") or {}, float(t["score"]))
        for t in trials
        if t.get("state") == "complete" and t.get("score") is not None
    ]
    middle = float(np.median([score for _, score in complete])) if complete else 0.0
    return [_Trial(params=p, score=score, relative=score - middle) for p, score in complete]


def parameter_importance(trials: Sequence[_Trial]) -> tuple[tuple[str, float], ...]:
    """The share of the variance of scores that each parameter explains by itself.

    Numbers are cut at their quartiles; trials that lack a parameter are a kind of their own.
    Scores are relative to their fold. Only what lies above the highest share of any parameter in
    19 of 20 shuffles of the scores is given: searches are short, and something always seems to
    matter most. Parameters that were tried together share what they explain, and a tuner tries
    more of what went well, so it says what went with good scores in this search, no more.

    Args:
        trials: Complete trials.

    Returns:
        Name and share, the largest first; empty with fewer than 20 trials.

    Source: the correlation ratio, less what chance explains (Kelley 1935, PNAS 21(9)); the
    threshold is that of Westfall & Young (1993), "Resampling-based multiple testing".
    """
    if len(trials) < _FEWEST_TRIALS:
        return ()
    scores = np.array([trial.relative for trial in trials])
    scores = scores - scores.mean()
    total = float(scores @ scores)
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    kinds = {name: _kinds([trial.params.get(name) for trial in trials]) for name in names}
    kinds = {name: found for name, found in kinds.items() if 1 < found.max() + 1 < len(trials)}
    if not kinds or total <= _NO_SPREAD:
        return ()
    rng = np.random.default_rng(0)
    shuffled = np.array([scores, *(rng.permutation(scores) for _ in range(_SHUFFLES))]).T
    shares = {name: _explained(found, shuffled, total) for name, found in kinds.items()}
    bound = np.quantile(np.max([share[1:] for share in shares.values()], axis=0), 0.95)
    found = [(name, float(share[0])) for name, share in shares.items() if share[0] > bound]
    return tuple(sorted(found, key=lambda one: -one[1]))


def _kinds(values: Sequence[Any]) -> NDArray[np.int64]:
    """A number from 0 on for each kind of value; quarters of numbers, names, none."""
    known = [value for value in values if value is not None]
    texts = [str(value) for value in values]
    if _numeric(known) and len(set(known)) > _QUARTERS:
        edges = np.quantile(np.array(known, dtype=np.float64), (0.25, 0.5, 0.75))
        texts = [
            "none" if value is None else str(np.searchsorted(edges, float(value)))
            for value in values
        ]
    return np.unique(texts, return_inverse=True)[1].astype(np.int64)


def _explained(
    kinds: NDArray[np.int64], scores: NDArray[np.float64], total: float
) -> NDArray[np.float64]:
    """Share of the variance between kinds, less what chance gives, of each column of scores."""
    n, k = len(kinds), int(kinds.max()) + 1
    member = kinds == np.arange(k)[:, None]
    between = ((member @ scores) ** 2 / member.sum(axis=1)[:, None]).sum(axis=0) / total
    explained: NDArray[np.float64] = 1 - (1 - between) * (n - 1) / (n - k)
    return explained


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)


def _parallel(model: str, trials: Sequence[_Trial]) -> Markup | None:
    """Trials over the parameters that vary; None where none does."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    names = [n for n in names if len({str(trial.params.get(n)) for trial in trials}) > 1]
    if not names:
        return None
    ordered = sorted(trials, key=lambda trial: trial.relative)
    if len(ordered) > _MOST_LINES:
        kept = np.unique(np.linspace(0, len(ordered) - 1, _MOST_LINES).astype(int))
        ordered = [ordered[i] for i in kept]
    columns = [_column([t.params.get(name) for t in ordered], name) for name in names]
    columns.append(_column([t.relative for t in ordered], "score"))
    goodness = np.linspace(0, 1, len(ordered)).tolist()
    lines = [([places[i] for _, places in columns], goodness[i]) for i in range(len(ordered))]
    return parallel_coordinates(
        [dimension for dimension, _ in columns],
        lines,
        f"Parallel coordinates of {len(ordered)} trials of {model}",
    )


def _column(values: Sequence[Any], name: str) -> tuple[Dimension, list[float | None]]:
    """A parameter's line, and where each trial stands on it."""
    known = [value for value in values if value is not None]
    if _numeric(known):
        low, high = min(known), max(known)
        if low == high:
            places: list[float | None] = [None if v is None else 0.5 for v in values]
        else:
            axis = Axis(
                label=name,
                low=float(low),
                high=float(high),
                log=low > 0 and high / low >= _LOG_SPREAD,
            )
            places = [None if v is None else axis.place(v) for v in values]
        return Dimension(name=name, low=f"{low:.3g}", high=f"{high:.3g}"), places
    distinct = sorted({str(value) for value in known})
    of = {text: i / max(1, len(distinct) - 1) for i, text in enumerate(distinct)}
    places = [None if v is None else of[str(v)] for v in values]
    return Dimension(name=name, low=distinct[0], high=distinct[-1]), places


def _history(models: Sequence[Drawn]) -> Markup:
    """Best inner score so far against the number of trials, median over the folds."""
    series = []
    most = 2
    for one in reversed(models):
        best = []
        for cell in one.cells:
            scores = [
                t["score"] if t.get("state") == "complete" and t.get("score") is not None else -1.0
                for t in cell.tried
            ]
            if scores and max(scores) >= 0:
                best.append(np.maximum.accumulate(scores))
        if not best:
            continue
        longest = max(len(each) for each in best)
        most = max(most, longest)
        filled = np.array([np.append(e, np.full(longest - len(e), e[-1])) for e in best])
        reached = (filled >= 0).all(axis=0)
        median = np.median(filled[:, reached], axis=0)
        numbers = (np.flatnonzero(reached) + 1).astype(float)
        points = list(zip(numbers.tolist(), median.tolist(), strict=True))
        series.append(Series(name=one.title, number=one.number, points=points, step=True))
    return line_chart(
        series,
        Axis(label="trial of a fold", low=1, high=most, whole=True),
        score_axis([y for one in series for _, y in one.points], "best inner AUROC so far"),
        described(series, "Best inner AUROC by trial"),
    )


def _optimism(models: Sequence[Drawn]) -> Markup:
    """Inner against held-out score; below the diagonal the choice was optimistic."""
    scored = [
        one
        for one in models
        if not math.isnan(one.row.fields["auroc"]) and not math.isnan(one.row.fields["inner_score"])
    ]
    series = []
    for one in scored:
        inner, test = one.row.fields["inner_score"], one.row.fields["auroc"]
        text = f"{one.title}: inner {format_score(inner)}, held-out {format_score(test)}"
        series.append(
            Series(name=one.title, number=one.number, points=(), marks=[(inner, test, text)])
        )
    values = [value for one in series for x, y, _ in one.marks for value in (x, y)]
    axis = score_axis(values, "")
    return line_chart(
        series,
        Axis(label="inner AUROC", low=axis.low, high=axis.high),
        Axis(label="held-out AUROC", low=axis.low, high=axis.high),
        described(series, "Inner against held-out AUROC"),
        diagonal=True,
    )
