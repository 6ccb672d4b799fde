"""Resampling of whole patients: what an AUROC would have been with others of their kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def auroc_replicates(
    folds: Sequence[FoldPredictions],
    n_classes: int,
    replicates: int = 2000,
    seed: int = 0,
    plan: Resampling | None = None,
) -> NDArray[np.float64]:
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
    models on the same folds get the same draws, and the difference of their replicates is that
    of a paired bootstrap.

    Args:
        folds: Held-out predictions, one entry a fold.
        n_classes: Number of classes of the task.
        replicates: Number of bootstrap replicates, at least 2.
        seed: Seed of the resampling.
        plan: The ``Resampling`` of these folds, to save sorting them again.

    Returns:
        float64, shape (replicates,).

    Raises:
        ProtocolError: As ``fold_auroc_interval``; or resampling has nothing to choose from.

    Source: Field & Welsh (2007), "Bootstrapping clustered data", JRSS-B 69(3), for groups;
    McCarthy & Snowden (1985) and Rao & Wu (1988), JASA 83(401), for m - 1 of m.
    """
    if replicates < 2:
        raise ProtocolError(f"replicates is {replicates}; a bootstrap needs at least 2.")
    plan = Resampling(folds, n_classes) if plan is None else plan
    if plan.obstacle:
        raise ProtocolError(f"{plan.obstacle}. Use fewer folds, or add patients.")
    statistics = [WeightedAuroc(f.labels, f.probabilities, n_classes) for f in folds]
    rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(len(folds))]
    rows = max(1, _CHUNK_WEIGHTS // max(plan.n_groups, *(len(f.labels) for f in folds)))
    values = np.empty(replicates)
    for begin in range(0, replicates, rows):
        size = min(rows, replicates - begin)
        counts = plan.draw(size, rngs)
        total, defined = np.zeros(size), np.zeros(size)
        for statistic, group_of_image in zip(statistics, plan.group_of_image, strict=True):
            each = statistic(np.take(counts, group_of_image, axis=1))
            # a later repeat has other folds, from which a draw may remove a whole class
            total += np.nan_to_num(each, nan=0.0)
            defined += ~np.isnan(each)
        values[begin : begin + size] = total / np.where(defined > 0, defined, np.nan)
    return values


def standard_error(replicates: NDArray[np.float64]) -> float:
    """Standard deviation of bootstrap replicates, shape (replicates,); rounding counts as 0."""
    error = float(np.nanstd(replicates, ddof=1))
    return error if error > _NO_NOISE else 0.0


def group_influence(
    folds: Sequence[FoldPredictions], n_classes: int, plan: Resampling
) -> NDArray[np.float64]:
    """How much each group moves the AUROC averaged over the folds, to first order.

    Args:
        folds: Held-out predictions, one entry a fold.
        n_classes: Number of classes of the task.
        plan: The ``Resampling`` of these folds.

    Returns:
        float64, shape (n_groups,), in the order of ``Resampling``; differences between two models
        on the same folds are the influences on their difference.
    """
    influence = np.zeros(plan.n_groups)
    for fold, group_of_image in zip(folds, plan.group_of_image, strict=True):
        each = WeightedAuroc(fold.labels, fold.probabilities, n_classes).influence()
        np.add.at(influence, group_of_image, each / len(folds))
    return influence


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
        self._n_images = len(labels)
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

    def influence(self) -> NDArray[np.float64]:
        """Derivative of the AUROC by the weight of each image, where all weights are 1.

        Returns:
            float64, shape (n_images,), of sum 0.

        Source: the placement values of DeLong et al. (1988), Biometrics 44(3).
        """
        influence = np.zeros(self._n_images)
        for positive, negative, below, not_above in self._classes:
            of_positive = (below + not_above) / (2 * len(negative))
            place = np.arange(len(negative))
            lost = np.searchsorted(below, place, "right") + np.searchsorted(
                not_above, place, "right"
            )
            of_negative = 1 - lost / (2 * len(positive))
            area = of_positive.mean()
            influence[positive] += (of_positive - area) / len(positive)
            influence[negative] += (of_negative - area) / len(negative)
        return influence / len(self._classes)


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
        counts = np.empty((replicates, self.n_groups))
        for strata, rng in zip(self._strata, rngs, strict=True):
            for members in strata:
                size = len(members)
                drawn = rng.integers(size, size=(replicates, max(1, size - 1)))
                drawn += size * np.arange(replicates)[:, None]
                counts[:, members] = np.bincount(
                    drawn.ravel(), minlength=replicates * size
                ).reshape(replicates, size)
        return counts

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
