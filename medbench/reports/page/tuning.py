"""What the page shows of the searches: budget used, optimism, and what mattered."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.reports.drawing import Drawing
from medbench.reports.figures import DatasetFigures
from medbench.reports.figures.models import Drawn
from medbench.reports.figures.searches import Trial, complete_trials, is_numeric

_FEWEST_TRIALS = 20
"""Complete trials below which no importance is given: it would be noise."""
_SHUFFLES = 500
_QUARTERS = 4
_NO_SPREAD = 1e-18
"""Sum of squares of scores that are all the same but for rounding."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """The searches of one model on one data set, over its folds."""

    model: str
    states: Mapping[str, int]
    """Trials by how they ended."""
    seconds: float
    """Of tuning, summed over the folds."""
    inner: float
    test: float
    optimism: float
    """Inner minus held-out AUROC."""
    parallel: Drawing | None
    """None with fewer than two complete trials, or without parameters."""
    complete: int
    """Complete trials."""
    importance: tuple[tuple[str, float], ...]
    """See ``parameter_importance``."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """One data set's searches."""

    title: str
    searches: tuple[Search, ...]
    history: Drawing | None
    optimism: Drawing | None


def tuning(title: str, figures: DatasetFigures) -> Tuning | None:
    """Gather the searches of one data set; None where nothing was searched."""
    searched = [one for one in figures.models if any(cell.tried for cell in one.cells)]
    if not searched:
        return None
    return Tuning(
        title=title,
        searches=tuple(_search(one, figures.parallel.get(one.name)) for one in searched),
        history=figures.tuning,
        optimism=figures.optimism,
    )


def _search(one: Drawn, parallel: Drawing | None) -> Search:
    fields = one.row.fields
    trials = complete_trials(one)
    seconds = [(cell.record.get("seconds") or {}).get("tuning") for cell in one.cells]
    return Search(
        model=one.title,
        states=Counter(str(t.get("state")) for cell in one.cells for t in cell.tried),
        seconds=sum(s for s in seconds if s is not None) if any(seconds) else math.nan,
        inner=fields.inner_score,
        test=fields.auroc,
        optimism=fields.inner_score - fields.auroc,
        parallel=parallel,
        complete=len(trials),
        importance=parameter_importance(trials),
    )


def parameter_importance(trials: Sequence[Trial]) -> tuple[tuple[str, float], ...]:
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

    Source: the correlation ratio, less what chance explains: Kelley (1935), "An unbiased
    correlation ratio measure", PNAS 21(9); the threshold is that of Westfall & Young (1993),
    "Resampling-based multiple testing".
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
    if is_numeric(known) and len(set(known)) > _QUARTERS:
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
