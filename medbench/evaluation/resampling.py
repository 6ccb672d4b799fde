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
from medbench.evaluation.weighted_auroc import WeightedAuroc

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

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class FoldPredictions:
    """The held-out part of one outer fold, as one model predicted it."""

    labels: NDArray[np.int64]
    """Class index of each image, shape (n_images,); of a multi-label task 0 or 1 for each class,
    shape (n_images, n_classes)."""
    probabilities: NDArray[np.float64]
    """Probabilities of the classes, from 0 to 1, shape (n_images, n_classes)."""
    groups: NDArray[np.int64]
    """Patient (or lesion, or scan) of each image, shape (n_images,)."""
    repeat: int = 0
    """Which repeat of the cross-validation the fold belongs to, from 0; repeats share their
    patients."""


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
    McCarthy & Snowden (1985), "The bootstrap and finite population sampling", and Rao & Wu (1988),
    "Resampling inference with complex survey data", JASA 83(401), for m - 1 of m.
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
    groups = plan.group_of_image
    rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(len(groups))]
    rows = max(1, _CHUNK_WEIGHTS // max(plan.n_groups, *map(len, groups)))
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
    for position, (fold, its) in enumerate(zip(folds, others, strict=True)):
        for what, one, two in (
            ("labels", fold.labels, its.labels),
            ("groups", fold.groups, its.groups),
            ("repeats", fold.repeat, its.repeat),
        ):
            if not np.array_equal(one, two):
                raise ProtocolError(
                    f"{pair} their {what} differ in fold {position + 1}. "
                    "Give the predictions of both for the same images in the same order."
                )


def standard_error(replicates: NDArray[np.float64]) -> float:
    """Standard deviation of bootstrap replicates, shape (replicates,); rounding counts as 0."""
    error = float(np.nanstd(replicates, ddof=1))
    return error if error > _NO_NOISE else 0.0


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
        for position, fold in enumerate(folds):
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
                    f"no interval: fold {position + 1} of {len(folds)} has fewer than two "
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
        for position, kind in enumerate(kinds):
            strata.append(groups[kind_of_group.ravel() == position])
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
