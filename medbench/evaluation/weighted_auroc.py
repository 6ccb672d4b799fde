"""The AUROC of fixed predictions under many sets of weights: what resampling asks for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.task import membership
from medbench.evaluation.metrics import checked, scored_classes

_FEW_RUNGS = 32
"""So many rungs are compared with each other by a product with a triangle of ones."""
_LOWER = np.tri(_FEW_RUNGS, k=-1, dtype=np.float32)
_EXACT_IN_SINGLE = 2**23
"""Single precision holds every half of a whole number up to here."""
_LARGE = 5000
"""Images of a fold, of which the weights of all pairs are likely to be beyond that."""


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

        Source: the placement values of DeLong et al. (1988), "Comparing the areas under two or more
        correlated receiver operating characteristic curves", Biometrics 44(3).
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
