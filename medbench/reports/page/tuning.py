"""What the page shows of the searches: budget used, optimism, history, what mattered."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

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
    importance: tuple[tuple[str, float], ...]
    """Parameters by falling importance, which sum to one; empty where it would be noise."""


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
    searched = [one for one in models if any(cell.trials for cell in one.cells)]
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
    trials = [_relative(cell.trials) for cell in one.cells]
    flat = [trial for each in trials for trial in each]
    seconds = [(cell.record.get("seconds") or {}).get("tuning") for cell in one.cells]
    return Search(
        model=one.name,
        number=one.number,
        states=Counter(str(t.get("state")) for cell in one.cells for t in cell.trials),
        seconds=sum(s for s in seconds if s is not None) if any(seconds) else math.nan,
        inner=fields["inner_score"],
        test=fields["auroc"],
        optimism=fields["inner_score"] - fields["auroc"],
        parallel=_parallel(one.name, flat),
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
    """How much each parameter separates the better tenth of the trials from the rest.

    Only parameters that all trials have and that vary are looked at; scores are taken relative
    to their fold. It says what mattered within the space that was searched, no more.

    Source: Watanabe et al. (2023), "PED-ANOVA", IJCAI, as implemented in Optuna.
    """
    if len(trials) < _FEWEST_TRIALS:
        return ()
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    shared = set.intersection(*(set(trial.params) for trial in trials))
    distributions = {
        name: found
        for name in sorted(shared)
        if (found := _distribution([trial.params[name] for trial in trials])) is not None
    }
    if len(distributions) < 2:
        return ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            study = optuna.create_study(direction="maximize")
            study.add_trials(
                [
                    optuna.trial.create_trial(
                        params={name: trial.params[name] for name in distributions},
                        distributions=distributions,
                        value=trial.relative,
                    )
                    for trial in trials
                ]
            )
            found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
        finally:
            optuna.logging.set_verbosity(level)
    total = sum(found.values())
    if not total > 0:
        return ()
    return tuple((name, value / total) for name, value in found.items())


def _distribution(values: Sequence[Any]) -> Any:
    """What a parameter's values look drawn from; None where they do not vary."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    distinct = list(dict.fromkeys(values))
    if len(distinct) < 2:
        return None
    if _numeric(values):
        low, high = min(values), max(values)
        log = low > 0 and high / low >= _LOG_SPREAD
        if all(isinstance(value, int) for value in values):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(low, high, log=log)
    if not all(isinstance(value, (str, bool, int, float)) for value in distinct):
        return None
    return CategoricalDistribution(distinct)


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)


def _parallel(model: str, trials: Sequence[_Trial]) -> Markup | None:
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    if len(trials) < 2 or not names:
        return None
    ordered = sorted(trials, key=lambda trial: trial.score)
    if len(ordered) > _MOST_LINES:
        kept = np.unique(np.linspace(0, len(ordered) - 1, _MOST_LINES).astype(int))
        ordered = [ordered[i] for i in kept]
    columns = [_column([t.params.get(name) for t in ordered], name) for name in names]
    columns.append(_column([t.score for t in ordered], "inner AUROC"))
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
                for t in cell.trials
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
        series.append(Series(name=one.name, number=one.number, points=points, step=True))
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
        text = f"{one.name}: inner {format_score(inner)}, held-out {format_score(test)}"
        series.append(
            Series(name=one.name, number=one.number, points=(), marks=[(inner, test, text)])
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
