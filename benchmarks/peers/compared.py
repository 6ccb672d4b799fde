"""Two systems on the same held-out patients: differences with 95% intervals, over all seeds.

Patients are resampled, not images and not seeds: a patient who is drawn counts in every seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from questions import Question

from medbench.evaluation.comparisons import paired_difference
from medbench.evaluation.resampling import FoldPredictions, Resampling

_REPLICATES = 2000
Verdict = Literal["ahead", "tied", "behind"]


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Ours less theirs, of a measure of which more is better."""

    ours: float
    theirs: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Ahead or behind where the interval excludes 0."""
        if self.low > 0:
            return "ahead"
        return "behind" if self.high < 0 else "tied"


def folds_of(
    questions: Sequence[Question], scores: Sequence[NDArray[np.float64]]
) -> list[FoldPredictions]:
    """The folds of all seeds, each seed as a repeat.

    Args:
        questions: One a seed.
        scores: Of each of them, of class 1, shape (n_held_out,), fold after fold; any numbers,
            as AUROC looks at ranks only.
    """
    found = []
    for repeat, (one, its) in enumerate(zip(questions, scores, strict=True)):
        ends = np.cumsum([len(test) for _, test in one.folds])[:-1]
        for (_, test), of_fold in zip(one.folds, np.split(its, ends), strict=True):
            ranks = np.searchsorted(np.unique(of_fold), of_fold) / max(1, len(of_fold))
            found.append(
                FoldPredictions(
                    labels=one.labels[test],
                    probabilities=np.column_stack([1 - ranks, ranks]),
                    groups=one.groups[test],
                    repeat=repeat,
                )
            )
    return found


def auroc_gap(
    questions: Sequence[Question],
    ours: Sequence[NDArray[np.float64]],
    theirs: Sequence[NDArray[np.float64]],
) -> Gap:
    """AUROC, the mean over folds and seeds; arguments as of ``folds_of``."""
    sides = [folds_of(questions, scores) for scores in (ours, theirs)]
    found = paired_difference(*sides, 2, names=("ours", "theirs"), replicates=_REPLICATES)
    theirs_auroc = auroc_of(sides[1])
    return Gap(
        ours=theirs_auroc + found.difference,
        theirs=theirs_auroc,
        low=found.low,
        high=found.high,
    )


def auroc_of(folds: Sequence[FoldPredictions]) -> float:
    """AUROC, the mean over folds."""
    from sklearn.metrics import roc_auc_score

    return float(np.mean([roc_auc_score(f.labels, f.probabilities[:, 1]) for f in folds]))


def log_loss_gap(
    questions: Sequence[Question],
    ours: Sequence[NDArray[np.float64]],
    theirs: Sequence[NDArray[np.float64]],
) -> Gap:
    """Log loss, the mean over folds and seeds, with a minus, so that more is better.

    Args:
        questions: One a seed.
        ours: Log-odds of class 1, as ``Result.scores`` gives them.
        theirs: The same.
    """
    folds = folds_of(questions, ours)
    plan = Resampling(folds, 2)
    rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(0).spawn(len(folds))]
    drawn = plan.draw(_REPLICATES, rngs)
    labels = np.concatenate([fold.labels for fold in folds])
    ends = np.cumsum([len(fold.labels) for fold in folds])[:-1]
    losses = [
        np.split(np.logaddexp(0, np.where(labels == 1, -1, 1) * np.concatenate(side)), ends)
        for side in (ours, theirs)
    ]
    replicates = np.zeros(_REPLICATES)
    for groups, own, other in zip(plan.group_of_image, *losses, strict=True):
        weights = drawn[:, groups]
        replicates += weights @ (other - own) / weights.sum(axis=1) / len(folds)
    low, high = np.nanpercentile(replicates, [2.5, 97.5])
    own, other = (-float(np.mean([fold.mean() for fold in side])) for side in losses)
    return Gap(ours=own, theirs=other, low=float(low), high=float(high))
