"""Which models are better across data sets: mean ranks, and what a rank test can tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medbench.errors import ProtocolError
from medbench.evaluation.intervals import LEVEL, t_quantile

if TYPE_CHECKING:
    import pandas as pd

FEWEST_SOURCES = 6
"""Sources of data below which no rank test is made."""


@dataclass(frozen=True, kw_only=True)
class ModelRank:
    """The rank of one model, averaged over sources."""

    model: str
    """Name of the model."""
    mean_rank: float
    """1 is best."""
    low: float | None
    """Lower end of the 95% interval, at least 1; None with fewer than two sources."""
    high: float | None
    """Upper end of it, at most the number of models; None with fewer than two sources."""


@dataclass(frozen=True, kw_only=True)
class RankTest:
    """Friedman's test of all models, and Nemenyi's of all pairs."""

    statistic: float
    """Friedman's chi-squared."""
    p: float
    """Probability of such a statistic if no model differed from another."""
    critical_difference: float
    """Two models whose mean ranks differ by at least this are separated, provided p < 0.05."""
    cliques: tuple[tuple[str, ...], ...]
    """Largest sets of two or more models of which no two are separated, best rank first."""


@dataclass(frozen=True, kw_only=True)
class RanksAcross:
    """Models ranked across data sets."""

    ranks: tuple[ModelRank, ...]
    """Best first."""
    left_out: tuple[str, ...]
    """Models without a score on some data set, which are not ranked."""
    n_datasets: int
    """Number of data sets."""
    n_sources: int
    """Number of sources that these come from; a source counts once."""
    test: RankTest | None
    """None where ``reason`` says why."""
    reason: str = ""
    """Why there is no rank test; empty where there is one."""


def rank_across(
    scores: pd.DataFrame | Mapping[str, Mapping[str, float]],
    source_of: Mapping[str, str],
    *,
    higher_is_better: bool = True,
) -> RanksAcross:
    """Rank models within each data set and average over sources of data.

    Equal scores share the mean of their ranks. Data sets of one source are averaged first, so
    that a source counts once. The interval of a mean rank is the mean plus and minus a t quantile
    of its bootstrap standard error over sources, cut at 1 and the number of models; drawing one
    source less than there are, as for patients, the bootstrap has a closed form for a mean, the
    standard deviation over the root of the number of sources. With few sources it is wide.

    Friedman's statistic allows for ties and for ranks averaged within a source; where every
    source has one data set it is the usual one. Nemenyi's critical difference is that of whole
    ranks, which errs on the careful side for averaged ones. If Friedman's p is not below 0.05, no
    pair is separated.

    Args:
        scores: Score of each model on each data set, data set -> model -> score; a data frame has
            data sets for columns and models for rows. NaN or None is no score.
        source_of: Where each data set comes from; data sets of one hospital, archive or scanner
            study share their source.
        higher_is_better: Whether rank 1 is the highest score.

    Raises:
        ProtocolError: No data sets, a data set without source, a model or data set named twice,
            an infinite score, or no model with a score on every data set.

    Source: Demšar (2006), "Statistical comparisons of classifiers over multiple data sets", JMLR 7.
    """
    import pandas as pd
    from scipy.stats import rankdata

    table = pd.DataFrame(scores).astype(np.float64)
    _require_rankable(table, source_of)
    complete = table.dropna()
    left_out = tuple(map(str, table.index.difference(complete.index, sort=False)))
    models = [str(name) for name in complete.index]
    if not models:
        raise ProtocolError(
            f"none of {len(table)} models has a score on all {table.shape[1]} data sets. "
            "Rank on fewer data sets, or run the missing cells."
        )
    values = complete.to_numpy()
    ranks = rankdata(-values if higher_is_better else values, axis=0)
    sources = pd.Series([source_of[str(name)] for name in complete.columns])
    by_source = np.array(
        [ranks[:, np.flatnonzero(sources == source)].mean(axis=1) for source in sources.unique()]
    )
    test, reason = None, _no_test(len(by_source), len(models))
    if not reason:
        test = _test(by_source, models)
    return RanksAcross(
        ranks=_mean_ranks(by_source, models),
        left_out=left_out,
        n_datasets=table.shape[1],
        n_sources=len(by_source),
        test=test,
        reason=reason,
    )


def critical_difference(n_models: int, n_sources: int) -> float:
    """Nemenyi's smallest difference between mean ranks that is significant at 0.05.

    Args:
        n_models: Number of models, at least 2.
        n_sources: Number of independent sources of data, at least 1.

    Source: Demšar (2006), section 3.2.2; the quantile is that of the studentized range with
    unlimited degrees of freedom, over the root of 2.
    """
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(LEVEL, n_models, np.inf)) / np.sqrt(2)
    return float(quantile * np.sqrt(n_models * (n_models + 1) / (6 * n_sources)))


def friedman(ranks: NDArray[np.float64]) -> tuple[float, float]:
    """Friedman's chi-squared and its p; 0 and 1 where all models tie everywhere.

    Args:
        ranks: Ranks of the models (columns) in each source (rows), ties and ranks averaged over
            data sets allowed, float64, shape (n_sources, n_models).

    Source: Hollander & Wolfe (1999), "Nonparametric Statistical Methods", 7.1, with the variance
    of the ranks as they are: the null hypothesis exchanges models within each source.
    """
    from scipy.special import chdtrc

    n_models = ranks.shape[1]
    centred = ranks - (n_models + 1) / 2
    spread = float((centred**2).sum())
    if spread == 0:
        return 0.0, 1.0
    statistic = (n_models - 1) * float((centred.sum(axis=0) ** 2).sum()) / spread
    return statistic, float(chdtrc(n_models - 1, statistic))


def _require_rankable(table: pd.DataFrame, source_of: Mapping[str, str]) -> None:
    if not table.shape[1]:
        raise ProtocolError("there are no data sets to rank models on.")
    for axis, noun in ((table.index, "model"), (table.columns, "data set")):
        if axis.has_duplicates:
            raise ProtocolError(f"{noun} {axis[axis.duplicated()][0]!r} is named twice.")
    missing = [str(name) for name in table.columns if str(name) not in source_of]
    if missing:
        raise ProtocolError(f"no source is given of data set {', '.join(missing)}. Add it.")
    if np.isinf(table.to_numpy()).any():
        raise ProtocolError("a score is infinite. Leave it out (NaN), or give a finite one.")


def _no_test(n_sources: int, n_models: int) -> str:
    """Why there can be no rank test; empty where there can."""
    if n_sources < FEWEST_SOURCES:
        plural = "" if n_sources == 1 else "s"
        return f"{n_sources} source{plural}; a rank test needs at least {FEWEST_SOURCES}"
    return "1 model; a rank test needs at least 2" if n_models < 2 else ""


def _mean_ranks(by_source: NDArray[np.float64], models: Sequence[str]) -> tuple[ModelRank, ...]:
    """Mean rank and interval of each model, best first."""
    n_sources, n_models = by_source.shape
    means = by_source.mean(axis=0)
    if n_sources > 1:
        reach = by_source.std(axis=0, ddof=1) / np.sqrt(n_sources)
        reach *= t_quantile(LEVEL, n_sources - 1)
        low, high = np.maximum(means - reach, 1).tolist(), np.minimum(means + reach, n_models)
        bounds = list(zip(low, high.tolist(), strict=True))
    else:
        bounds = [(None, None)] * n_models
    return tuple(
        ModelRank(model=models[k], mean_rank=float(means[k]), low=bounds[k][0], high=bounds[k][1])
        for k in np.argsort(means, kind="stable")
    )


def _test(by_source: NDArray[np.float64], models: Sequence[str]) -> RankTest:
    n_sources, n_models = by_source.shape
    statistic, p = friedman(by_source)
    critical = critical_difference(n_models, n_sources)
    means = by_source.mean(axis=0)
    order = np.argsort(means, kind="stable")
    reach = critical if p < 1 - LEVEL else np.inf
    cliques: list[tuple[str, ...]] = []
    end = 0
    for begin in range(n_models):
        stop = begin
        while stop < n_models and means[order[stop]] - means[order[begin]] < reach:
            stop += 1
        if stop > end and stop - begin > 1:
            cliques.append(tuple(models[k] for k in order[begin:stop]))
        end = max(end, stop)
    return RankTest(statistic=statistic, p=p, critical_difference=critical, cliques=tuple(cliques))
