"""How far an AUROC might lie elsewhere: intervals under resampling of whole patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.task import membership
from medbench.errors import ProtocolError
from medbench.evaluation.metrics import auroc, checked, scored_classes

_PERCENTILES = (2.5, 97.5)
_CHUNK_WEIGHTS = 1_000_000
"""Weights (replicates x images) held at a time: 8 MB, and a few times that for what follows."""


@dataclass(frozen=True, kw_only=True)
class FoldPredictions:
    """The held-out part of one outer fold, as one model predicted it."""

    labels: NDArray[np.int64]
    """Class index of each image, shape (n_images,); of a multi-label task 0 or 1 for each class,
    shape (n_images, n_classes)."""
    probabilities: NDArray[np.float64]
    """Probabilities of the classes, shape (n_images, n_classes)."""
    groups: NDArray[np.int64]
    """Patient (or lesion, or scan) of each image, shape (n_images,)."""
    repeat: int = 0
    """Which repeat of the cross-validation the fold belongs to; repeats share their patients."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its 95% interval."""

    estimate: float
    low: float | None
    """None where no interval can be had; ``reason`` says why."""
    high: float | None
    reason: str = ""


def fold_auroc_interval(
    folds: Sequence[FoldPredictions], n_classes: int, replicates: int = 2000, seed: int = 0
) -> Interval:
    """AUROC within each outer fold, averaged, with a bootstrap interval over groups.

    Scores of differently fitted models are never pooled. Patients, not images, are the
    independent unit: within each fold whole groups are drawn with replacement, as many as there
    are, separately among groups that show the same set of classes, so that no class can vanish
    from a replicate. Of a multi-label task, where nearly every group shows a set of its own, all
    groups are drawn together, and a label that is lost from a replicate is left out of its mean.
    The interval (2.5th to 97.5th percentile) is the sampling noise given the
    fitted models; it does not cover what other training data would have given.

    Repeats of a cross-validation see the same patients, so that averaging over them does not
    shrink the sampling noise as new patients would: the bounds of the repeats are averaged, which
    is right where the repeats agree fully and errs on the wide side otherwise.

    Args:
        folds: Held-out predictions, one entry a fold.
        n_classes: Number of classes of the task.
        replicates: Number of bootstrap replicates, at least 1.
        seed: Seed of the resampling; equal input and seed give equal bounds.

    Returns:
        The estimate, and the bounds unless resampling has nothing to choose from: some class
        of some fold has fewer than two groups that could stand in for one another.

    Raises:
        ProtocolError: No folds, a fold with one class only, or input that cannot be scored (see
            ``medbench.evaluation.metrics.checked``).

    Source: Forman & Scholz (2010), "Apples-to-apples in cross-validation studies", SIGKDD
    Explorations 12(1), for averaging; Field & Welsh (2007), "Bootstrapping clustered data",
    JRSS-B 69(3), for groups; Efron (1981) for the percentile interval.
    """
    if not folds:
        raise ProtocolError("there are no folds to average over.")
    if replicates < 1:
        raise ProtocolError(f"replicates is {replicates}; a bootstrap needs at least 1.")
    estimate = float(np.mean([auroc(fold.labels, fold.probabilities, n_classes) for fold in folds]))
    strata = [_Strata(fold, n_classes) for fold in folds]
    for number, each in enumerate(strata):
        if each.lonely_class is not None:
            reason = (
                f"no interval: fold {number + 1} of {len(folds)} has fewer than two "
                f"interchangeable groups of class {each.lonely_class}"
            )
            return Interval(estimate=estimate, low=None, high=None, reason=reason)
    sums: dict[int, NDArray[np.float64]] = {}
    seeds = np.random.SeedSequence(seed).spawn(len(folds))
    for fold, each, fold_seed in zip(folds, strata, seeds, strict=True):
        total = sums.setdefault(fold.repeat, np.zeros(replicates))
        total += _bootstrap(fold, each, n_classes, replicates, np.random.default_rng(fold_seed))
    low, high = (
        float(sum(np.nanpercentile(total, percentile) for total in sums.values())) / len(folds)
        for percentile in _PERCENTILES
    )
    return Interval(estimate=estimate, low=low, high=high)


class WeightedAuroc:
    """AUROC of fixed labels and probabilities under many sets of whole-number image weights.

    Sorting is done once; each set of weights then costs a cumulative sum a class. All sums are of
    whole numbers in float64, so they are exact up to 2**53 and ties count exactly one half.
    """

    def __init__(self, labels: NDArray[Any], probabilities: NDArray[Any], n_classes: int) -> None:
        """Sort each scored class against the rest.

        Args:
            labels: As for ``medbench.evaluation.metrics.auroc``.
            probabilities: Shape (n_images, n_classes), finite.
            n_classes: Number of classes of the task.

        Raises:
            ProtocolError: Nothing to tell apart, or the input cannot be scored.
        """
        labels, probabilities = checked(labels, probabilities, n_classes)
        shown = membership(labels, n_classes)
        self._classes = []
        for k in scored_classes(labels, n_classes):
            scores = probabilities[:, k]
            order = np.argsort(scores, kind="stable")
            positive, negative = order[shown[order, k]], order[~shown[order, k]]
            below = np.searchsorted(scores[negative], scores[positive], side="left")
            not_above = np.searchsorted(scores[negative], scores[positive], side="right")
            self._classes.append((positive, negative, below, not_above))

    def __call__(self, weights: NDArray[Any]) -> NDArray[np.float64]:
        """AUROC (macro one-versus-rest for more than two classes) under each set of weights.

        Args:
            weights: Whole numbers, shape (n_sets, n_images). A class of which a set has no
                positive or no negative image of positive weight is left out of that set's mean.

        Returns:
            float64, shape (n_sets,); NaN where no class is left.
        """
        weights = np.asarray(weights, dtype=np.float64)
        total, defined = np.zeros(len(weights)), np.zeros(len(weights))
        for positive, negative, below, not_above in self._classes:
            wanted = np.take(weights, positive, axis=1)
            rest = np.zeros((len(weights), len(negative) + 1))
            np.cumsum(np.take(weights, negative, axis=1), axis=1, out=rest[:, 1:])
            won = np.take(rest, below, axis=1)
            if np.array_equal(below, not_above):
                won *= 2
            else:
                won += np.take(rest, not_above, axis=1)
            pairs = wanted.sum(axis=1) * rest[:, -1]
            some = pairs > 0
            total[some] += np.einsum("ri,ri->r", wanted, won)[some] / (2 * pairs[some])
            defined += some
        np.divide(total, defined, out=total, where=defined > 0)
        total[defined == 0] = np.nan
        return total


class _Strata:
    """The groups of a fold, sorted by the set of classes that each of them shows."""

    def __init__(self, fold: FoldPredictions, n_classes: int) -> None:
        if np.shape(fold.groups) != np.shape(fold.labels)[:1]:
            raise ProtocolError(
                f"groups have shape {np.shape(fold.groups)}, labels {np.shape(fold.labels)}."
            )
        names, self.group_of_image = np.unique(fold.groups, return_inverse=True)
        self.n_groups = len(names)
        shows = np.zeros((self.n_groups, n_classes), dtype=bool)
        np.logical_or.at(shows, self.group_of_image, membership(fold.labels, n_classes))
        if fold.labels.ndim == 2:
            self.members = [np.arange(self.n_groups)]
            varied = shows.sum(axis=0) > 1
        else:
            kinds, stratum = np.unique(shows, axis=0, return_inverse=True)
            self.members = [np.flatnonzero(stratum.ravel() == k) for k in range(len(kinds))]
            shared = [len(members) > 1 for members in self.members]
            varied = kinds[shared].any(axis=0)
        lonely = np.flatnonzero(shows.any(axis=0) & ~varied)
        self.lonely_class = int(lonely[0]) if len(lonely) else None
        """A class whose groups resampling could never vary, or None."""

    def draw(self, replicates: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """How often each group is drawn, shape (replicates, n_groups)."""
        counts = np.empty((replicates, self.n_groups))
        for members in self.members:
            size = len(members)
            drawn = rng.integers(size, size=(replicates, size))
            drawn += size * np.arange(replicates)[:, None]
            counts[:, members] = np.bincount(drawn.ravel(), minlength=replicates * size).reshape(
                replicates, size
            )
        return counts


def _bootstrap(
    fold: FoldPredictions,
    strata: _Strata,
    n_classes: int,
    replicates: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """AUROC of every replicate of one fold, shape (replicates,)."""
    statistic = WeightedAuroc(fold.labels, fold.probabilities, n_classes)
    rows = max(1, _CHUNK_WEIGHTS // len(fold.labels))
    values = []
    for begin in range(0, replicates, rows):
        counts = strata.draw(min(rows, replicates - begin), rng)
        values.append(statistic(np.take(counts, strata.group_of_image, axis=1)))
    return np.concatenate(values)
