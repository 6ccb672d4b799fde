"""Resampling of whole patients: what an AUROC would have been with others of their kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medbench.cores import available_threads
from medbench.datasets.task import membership
from medbench.errors import ProtocolError
from medbench.evaluation.metrics import checked, scored_classes

FEW_GROUPS = 20
"""With fewer groups of some class, simulations miss the level (``docs/coverage.md``)."""
FEW_IN_A_FOLD = 10
"""The same for the groups of a class in one of several folds, where intervals are too wide."""
_MANY_FIXED = 0.1
"""Share of groups without a partner to be exchanged with that an interval may leave unsaid."""
_NO_NOISE = 1e-12
"""A bootstrap standard error below this is rounding."""
_CHUNK_WEIGHTS = 1_000_000
"""Weights (replicates x groups) drawn at a time: 8 MB."""
_SCORED_AT_ONCE = 4
"""Chunks of draws that are scored together; more would not fit into the cache of a core."""
_FEW_RUNGS = 32
"""So many rungs are compared with each other by a product with a triangle of ones."""
_LOWER = np.tri(_FEW_RUNGS, k=-1, dtype=np.float32)
_EXACT_IN_SINGLE = 2**23
"""Single precision holds every half of a whole number up to here."""
_LARGE = 5000
"""Images of a fold, of which the weights of all pairs are likely to be beyond that."""

Name = TypeVar("Name", bound=Hashable)


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
class Resampled:
    """What one model scores on its folds, and what it would have scored with other patients."""

    plan: Resampling
    """Which groups were drawn in place of which; one object for all models drawn together."""
    auroc: float
    """AUROC within each fold, averaged over the folds."""
    replicates: NDArray[np.float64]
    """The same under each resample, shape (replicates,); empty where the plan has an obstacle."""
    influence: NDArray[np.float64]
    """How much each group moves the AUROC, to first order, shape (n_groups,). The difference
    between two models drawn together is the influence on their difference."""
    constant: bool
    """Whether no image of any fold was predicted otherwise than the rest of its fold."""


def resample(
    models: Mapping[Name, Sequence[FoldPredictions]],
    n_classes: int,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[Name, Resampled]:
    """AUROC averaged over the folds, under resampling of whole groups within the folds.

    Patients, not images, are the independent unit: within each fold whole groups are drawn with
    replacement, separately among groups that show the same set of classes, so that no class can
    vanish. Of m such groups m - 1 are drawn: drawing m would give a variance too small by
    (m - 1) / m. Of a multi-label task, where nearly every group shows a set of its own, all groups
    are drawn together, and a label that is lost from a replicate is left out of its mean.

    Repeats of a cross-validation see the same patients, who are recognised by their group: a
    patient drawn twice in the first repeat counts twice in all, so that averaging over repeats
    does not shrink the noise as new patients would. Groups of one name in two folds of one repeat
    are taken for two patients.

    The draws depend on labels, groups, order of the folds, and seed, never on probabilities: two
    models on the same folds get the same draws, whether in one call or in two, and the difference
    of their replicates is that of a paired bootstrap. One call draws once for all its models.

    Args:
        models: Held-out predictions of each model, one entry a fold, all on the same folds.
        n_classes: Number of classes of the task.
        replicates: Number of bootstrap replicates, at least 2.
        seed: Seed of the resampling.

    Returns:
        One entry a model, without replicates where resampling has nothing to choose from.

    Raises:
        ProtocolError: No models, no folds, models on different folds or patients, a fold with one
            class only, or input that cannot be scored (see ``metrics.checked``).

    Source: Field & Welsh (2007), "Bootstrapping clustered data", JRSS-B 69(3), for groups;
    McCarthy & Snowden (1985) and Rao & Wu (1988), JASA 83(401), for m - 1 of m.
    """
    if not models:
        raise ProtocolError("there are no models to score.")
    if replicates < 2:
        raise ProtocolError(f"replicates is {replicates}; a bootstrap needs at least 2.")
    (first, folds), *others = models.items()
    if not folds:
        raise ProtocolError("there are no folds to average over.")
    for name, its in others:
        _require_same_folds(first, folds, name, its)
    plan = Resampling(folds, n_classes)
    statistics = [
        [
            WeightedAuroc(fold.labels, fold.probabilities, n_classes, groups, plan.n_groups)
            for fold, groups in zip(its, plan.group_of_image, strict=True)
        ]
        for its in models.values()
    ]
    values = np.empty((len(models), 0 if plan.obstacle else replicates))
    if not plan.obstacle:
        _fill(values, statistics, plan, seed)
    return {
        name: Resampled(
            plan=plan,
            auroc=float(np.mean([each.value for each in of_model])),
            replicates=drawn,
            influence=sum((each.influence() for each in of_model), start=np.zeros(plan.n_groups))
            / len(of_model),
            constant=all((fold.probabilities == fold.probabilities[0]).all() for fold in its),
        )
        for (name, its), of_model, drawn in zip(models.items(), statistics, values, strict=True)
    }


def auroc_replicates(
    folds: Sequence[FoldPredictions], n_classes: int, replicates: int = 2000, seed: int = 0
) -> NDArray[np.float64]:
    """The replicates of ``resample`` of a single model, float64, shape (replicates,).

    Raises:
        ProtocolError: As ``resample``; or resampling has nothing to choose from.
    """
    (resampled,) = resample({"": folds}, n_classes, replicates, seed).values()
    if resampled.plan.obstacle:
        raise ProtocolError(f"{resampled.plan.obstacle}. Use fewer folds, or add patients.")
    return resampled.replicates


def _fill(
    values: NDArray[np.float64],
    statistics: Sequence[Sequence[WeightedAuroc]],
    plan: Resampling,
    seed: int,
) -> None:
    """Write the replicates of every model, shape (n_models, replicates), chunk by chunk.

    Chunks are of a size that labels and groups alone decide, for draws depend on it too.
    """
    places = plan.group_of_image
    rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(len(places))]
    rows = max(1, _CHUNK_WEIGHTS // max(plan.n_groups, *map(len, places)))
    with ThreadPoolExecutor(min(len(statistics), available_threads())) as pool:
        for begin in range(0, values.shape[1], _SCORED_AT_ONCE * rows):
            block = values[:, begin : begin + _SCORED_AT_ONCE * rows]
            # counts are small whole numbers, which single precision holds exactly
            counts = np.empty((plan.n_groups, block.shape[1]), dtype=np.float32)
            for first in range(0, block.shape[1], rows):
                chunk = counts[:, first : first + rows]
                chunk[:] = plan.draw(chunk.shape[1], rngs).T
            averaged = pool.map(_average, statistics, repeat(counts.T))
            for of_model, average in zip(block, averaged, strict=True):
                of_model[:] = average


def _average(statistics: Sequence[WeightedAuroc], counts: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over the folds of one model under each set of counts, shape (n_sets,)."""
    each = np.array([statistic(counts) for statistic in statistics])
    # a later repeat has other folds, from which a draw may remove a whole class
    defined = (~np.isnan(each)).sum(axis=0)
    total = np.zeros(len(counts))
    for of_fold in each:
        total += np.nan_to_num(of_fold, nan=0.0)
    average: NDArray[np.float64] = total / np.where(defined > 0, defined, np.nan)
    return average


def _require_same_folds(
    name: object, folds: Sequence[FoldPredictions], other: object, others: Sequence[FoldPredictions]
) -> None:
    """Raise unless two models were tested on the same images in the same order."""
    pair = f"models {name!r} and {other!r} cannot be compared:"
    if len(folds) != len(others):
        raise ProtocolError(
            f"{pair} {len(folds)} and {len(others)} folds. Compare on the folds that both have."
        )
    for place, (fold, its) in enumerate(zip(folds, others, strict=True)):
        for what, one, two in (
            ("labels", fold.labels, its.labels),
            ("groups", fold.groups, its.groups),
            ("repeats", fold.repeat, its.repeat),
        ):
            if not np.array_equal(one, two):
                raise ProtocolError(
                    f"{pair} their {what} differ in fold {place + 1}. "
                    "Give the predictions of both for the same images in the same order."
                )


def standard_error(replicates: NDArray[np.float64]) -> float:
    """Standard deviation of bootstrap replicates, shape (replicates,); rounding counts as 0."""
    error = float(np.nanstd(replicates, ddof=1))
    return error if error > _NO_NOISE else 0.0


class WeightedAuroc:
    """AUROC of fixed labels and probabilities under many sets of whole-number weights.

    Sorting is done once. All sums are of whole numbers and halves of them, in a precision that
    holds them exactly, so that ties count exactly one half.
    """

    def __init__(
        self,
        labels: NDArray[Any],
        probabilities: NDArray[Any],
        n_classes: int,
        groups: NDArray[np.int64] | None = None,
        n_groups: int | None = None,
    ) -> None:
        """Sort each scored class against the rest.

        Args:
            labels: As for ``medbench.evaluation.metrics.auroc``.
            probabilities: Shape (n_images, n_classes), finite.
            n_classes: Number of classes of the task.
            groups: Whose weight each image has, int, shape (n_images,); by default its own.
            n_groups: Number of weights in a set; by default one an image.

        Raises:
            ProtocolError: Nothing to tell apart, or the input cannot be scored.
        """
        labels, probabilities = checked(labels, probabilities, n_classes)
        shown = membership(labels, n_classes)
        self._groups = np.arange(len(labels)) if groups is None else groups
        self._n_groups = len(labels) if n_groups is None else n_groups
        self._classes = [
            _Ladder(shown[:, k], probabilities[:, k], self._groups, self._n_groups)
            for k in scored_classes(labels, n_classes)
        ]

    @property
    def value(self) -> float:
        """AUROC where all weights are 1; macro one-versus-rest for more than two classes."""
        # unlike a sum of trapezoids, this makes a perfect separation exactly 1
        return sum(ladder.area for ladder in self._classes) / len(self._classes)

    def __call__(self, weights: NDArray[Any]) -> NDArray[np.float64]:
        """AUROC (macro one-versus-rest for more than two classes) under each set of weights.

        Args:
            weights: Whole numbers, shape (n_sets, n_groups); fastest as float32 with the weights
                of one group beside each other. A class of which a set has no positive or no
                negative image of positive weight is left out of that set's mean.

        Returns:
            float64, shape (n_sets,); NaN where no class is left.
        """
        columns = np.ascontiguousarray(weights.T)
        if columns.dtype != np.float32:
            columns = columns.astype(np.float64)
        total, defined = np.zeros(len(weights)), np.zeros(len(weights))
        for ladder in self._classes:
            won, pairs = ladder.won(columns)
            some = pairs > 0
            total[some] += won[some] / pairs[some]
            defined += some
        np.divide(total, defined, out=total, where=defined > 0)
        total[defined == 0] = np.nan
        return total

    def influence(self) -> NDArray[np.float64]:
        """Derivative of the AUROC by the weight of each group, where all weights are 1.

        Returns:
            float64, shape (n_groups,), of sum 0.

        Source: the placement values of DeLong et al. (1988), Biometrics 44(3).
        """
        of_images: NDArray[np.float64]
        of_images = np.sum([ladder.influence() for ladder in self._classes], axis=0)
        of_images /= len(self._classes)
        influence = np.zeros(self._n_groups)
        np.add.at(influence, self._groups, of_images)
        return influence


class _Ladder:
    """One class against the rest: the images sorted by score into rungs.

    A rung is a run of negatives and the run of positives that follows it, all of which they win
    against; or all images of one score, where that score is shared by both and each pair of them
    is won by half. A positive wins against all negatives of lower rungs. Good models have few
    rungs, and no more than the rarer side has images.
    """

    def __init__(
        self,
        positive: NDArray[np.bool_],
        scores: NDArray[np.float64],
        groups: NDArray[np.int64],
        n_groups: int,
    ) -> None:
        """Sort the images, shape (n_images,) each; weights belong to ``groups``."""
        from scipy.sparse import csr_array

        order = np.argsort(scores, kind="stable")
        positive_in_order, in_order = positive[order], scores[order]
        level = np.append(0, np.cumsum(in_order[1:] != in_order[:-1]))
        wins = np.bincount(level, weights=positive_in_order) > 0
        loses = np.bincount(level, weights=~positive_in_order) > 0
        shared = wins & loses
        begins = shared[1:] | shared[:-1] | (loses[1:] & wins[:-1])
        rung_of_level = np.append(0, np.cumsum(begins))
        rung = rung_of_level[level]
        n_rungs = int(rung[-1]) + 1
        self._halvings = 0
        while n_rungs > _FEW_RUNGS << self._halvings:
            self._halvings += 1
        n_rungs = -(-n_rungs >> self._halvings) << self._halvings  # empty ones on top, to halve
        self._shared = np.unique(rung_of_level[shared])
        self._negative = np.bincount(rung[~positive_in_order], minlength=n_rungs)
        self._positive = np.bincount(rung[positive_in_order], minlength=n_rungs)
        # rows: the negatives of each rung, then the positives; a product with it sums weights
        in_rows = np.concatenate([order[~positive_in_order], order[positive_in_order]])
        ends = np.cumsum(np.concatenate([self._negative, self._positive]))
        self._sums = csr_array(
            (np.ones(len(order), dtype=np.float32), groups[in_rows], np.append(0, ends)),
            shape=(2 * n_rungs, n_groups),
        )
        self._rung = np.empty_like(rung)
        self._rung[order] = rung
        self._is_positive = positive

    @property
    def area(self) -> float:
        """Share of pairs that are won where all weights are 1."""
        won = float(self._positive @ self._below())
        return won / float(self._positive.sum() * self._negative.sum())

    def won(
        self, columns: NDArray[np.floating[Any]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights of the pairs that are won, and of all pairs, shape (n_sets,) each.

        Args:
            columns: Weights, float32 or float64, shape (n_groups, n_sets).
        """
        if len(self._rung) > _LARGE:
            columns = columns.astype(np.float64)
        sums = self._sums @ columns
        negative, positive = sums[: len(self._negative)], sums[len(self._negative) :]
        won = np.einsum("ks,ks->s", negative, positive)
        if len(self._shared):
            won -= np.einsum("ks,ks->s", negative[self._shared], positive[self._shared]) / 2
        for _ in range(self._halvings):
            won += np.einsum("ks,ks->s", negative[0::2], positive[1::2])
            negative = negative[0::2] + negative[1::2]
            positive = positive[0::2] + positive[1::2]
        won += np.einsum("ks,ks->s", _LOWER[: len(negative), : len(negative)] @ negative, positive)
        pairs = negative.sum(axis=0).astype(np.float64) * positive.sum(axis=0)
        if columns.dtype == np.float32 and pairs.max() > _EXACT_IN_SINGLE:
            return self.won(columns.astype(np.float64))
        return won.astype(np.float64), pairs

    def influence(self) -> NDArray[np.float64]:
        """See ``WeightedAuroc.influence``; shape (n_images,)."""
        n_positive, n_negative = self._positive.sum(), self._negative.sum()
        above = n_positive - np.cumsum(self._positive) + self._halved(self._positive)
        is_positive, rung = self._is_positive, self._rung
        placement = np.where(
            is_positive,
            (self._below() / n_negative)[rung],
            (above / n_positive)[rung],
        )
        area = placement[is_positive].mean()
        influence: NDArray[np.float64]
        influence = (placement - area) / np.where(is_positive, n_positive, n_negative)
        return influence

    def _below(self) -> NDArray[np.float64]:
        """Negatives that a positive of each rung wins against, where all weights are 1."""
        below = np.cumsum(self._negative) - self._negative
        return below + self._halved(self._negative)

    def _halved(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Counts of each rung, half of them where its images are tied."""
        halved = counts.astype(np.float64)
        halved[self._shared] /= 2
        return halved


class Resampling:
    """The groups of all folds, and which of them may be drawn in place of which."""

    def __init__(self, folds: Sequence[FoldPredictions], n_classes: int) -> None:
        """Sort the groups of each fold by the set of classes that each of them shows.

        Args:
            folds: Of which only labels, groups and repeats are looked at.
            n_classes: Number of classes of the task.

        Raises:
            ProtocolError: Groups and labels of a fold are not of one length.
        """
        self.group_of_image: list[NDArray[np.int64]] = []
        """Group of each image of each fold, as a number below ``n_groups``."""
        self._strata: list[list[NDArray[np.int64]]] = []
        """Groups that stand in for one another, for each fold in which they are met first."""
        self._kinds: dict[bytes, list[NDArray[np.int64]]] = {}
        """The same strata by the set of classes shown."""
        self.obstacle = ""
        """Why nothing can be resampled; empty where it can."""
        number: dict[tuple[Any, int], int] = {}
        met = {fold.repeat: Counter[Any]() for fold in folds}
        exchangeable: set[int] = set()
        shown_by = np.zeros((2, n_classes), dtype=np.int64)
        fewest_in_fold = FEW_IN_A_FOLD
        for place, fold in enumerate(folds):
            if np.shape(fold.groups) != np.shape(fold.labels)[:1]:
                raise ProtocolError(
                    f"groups have shape {np.shape(fold.groups)}, labels {np.shape(fold.labels)}."
                )
            names, image_to_name = np.unique(fold.groups, return_inverse=True)
            keys = [(name, met[fold.repeat][name]) for name in names.tolist()]
            met[fold.repeat].update(name for name, _ in keys)
            first_new = len(number)
            groups = np.array([number.setdefault(key, len(number)) for key in keys])
            self.group_of_image.append(groups[image_to_name])
            shows = np.zeros((len(names), n_classes), dtype=bool)
            np.logical_or.at(shows, image_to_name, membership(fold.labels, n_classes))
            new = groups >= first_new
            shown_by += [shows[new].sum(axis=0), (~shows[new]).sum(axis=0)]
            in_fold = shows.sum(axis=0)
            fewest_in_fold = min(fewest_in_fold, int(in_fold[in_fold > 0].min()))
            several = fold.labels.ndim == 2
            self._strata.append(self._sorted(groups[new], shows[new], several))
            exchangeable.update(g for s in self._strata[-1] if len(s) > 1 for g in s.tolist())
            movable = shows[[several or g in exchangeable for g in groups.tolist()]]
            needed = 1 if several is False else 2
            lonely = np.flatnonzero(shows.any(axis=0) & (movable.sum(axis=0) < needed))
            if len(lonely) and not self.obstacle:
                self.obstacle = (
                    f"no interval: fold {place + 1} of {len(folds)} has fewer than two "
                    f"interchangeable groups of class {lonely[0]}"
                )
        self.n_groups = len(number)
        """Number of groups of all folds; repeats share theirs."""
        self._fewest_in_fold = fewest_in_fold if len(folds) > 1 else FEW_IN_A_FOLD
        self._fixed = self.n_groups - len(exchangeable)
        self._shown_by = shown_by if folds and folds[0].labels.ndim == 2 else shown_by[:1]

    def _sorted(
        self, groups: NDArray[np.int64], shows: NDArray[np.bool_], several: bool
    ) -> list[NDArray[np.int64]]:
        """The strata of new groups of one fold, entered under their kinds."""
        if several:
            shows = np.ones_like(shows)
        kinds, kind_of_group = np.unique(shows, axis=0, return_inverse=True)
        strata = []
        for place, kind in enumerate(kinds):
            strata.append(groups[kind_of_group.ravel() == place])
            self._kinds.setdefault(kind.tobytes(), []).append(strata[-1])
        return strata

    @property
    def warning(self) -> str:
        """Why an interval of these groups may not keep its level; empty where it should."""
        fewest = np.where(self._shown_by > 0, self._shown_by, np.iinfo(np.int64).max)
        side, k = np.unravel_index(fewest.argmin(), fewest.shape)
        few = int(fewest[side, k])
        if few < FEW_GROUPS:
            kind = f"without class {k}" if side else f"of class {k}"
            return (
                f"only {few} groups {kind}: with fewer than {FEW_GROUPS} a 95% interval holds the "
                "truth less or more often than it says"
            )
        if self._fewest_in_fold < FEW_IN_A_FOLD:
            return (
                f"only {self._fewest_in_fold} groups of a class in one of the folds: with fewer "
                f"than {FEW_IN_A_FOLD} a 95% interval is rather too wide"
            )
        if self._fixed > _MANY_FIXED * self.n_groups:
            return (
                f"{self._fixed} of {self.n_groups} groups show a set of classes that no other "
                "group of their fold shows, and are never exchanged: the interval is too narrow"
            )
        return ""

    def draw(self, replicates: int, rngs: Sequence[np.random.Generator]) -> NDArray[np.float64]:
        """How often each group is drawn, shape (replicates, n_groups); one generator a fold."""
        counts = np.empty((self.n_groups, replicates))
        for strata, rng in zip(self._strata, rngs, strict=True):
            for members in strata:
                size = len(members)
                drawn = rng.integers(size, size=(replicates, max(1, size - 1)))
                drawn += size * np.arange(replicates)[:, None]
                counts[members] = (
                    np.bincount(drawn.ravel(), minlength=replicates * size)
                    .reshape(replicates, size)
                    .T
                )
        # whoever weights images takes all draws of a group at once
        return counts.T

    def degrees_of_freedom(self, influence: NDArray[np.float64]) -> float:
        """On how many free terms the variance of a sum of these influences rests, at least 1.

        Groups of the same kind (that show the same set of classes) have the same variance in all
        folds; those of different kinds are combined by Satterthwaite's rule.

        Args:
            influence: Influence of each group, shape (n_groups,).
        """
        variances, frees = [], []
        for strata in self._kinds.values():
            of_strata = [influence[members] for members in strata if len(members) > 1]
            if of_strata:
                variances.append(sum(len(each) * each.var(ddof=1) for each in of_strata))
                frees.append(sum(len(each) - 1 for each in of_strata))
        variance, free = np.array(variances), np.array(frees, dtype=np.float64)
        if variance.sum() <= _NO_NOISE**2:
            return max(1.0, float(free.min()))
        # shares first: the square of a tiny variance is no number
        share = variance / variance.sum()
        return max(1.0, float(1 / (share**2 / free).sum()))
