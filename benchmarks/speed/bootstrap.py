"""2,000 bootstrap replicates of an AUROC against scikit-learn called once a replicate."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from harness import Record, Settings, in_turns

from medbench.evaluation.resampling import FoldPredictions, auroc_replicates

_LIMIT_SECONDS = 2.0
"""What 2,000 replicates over 10,000 images may take on two cores."""
_OTHERS = 10
"""The other side draws a tenth of the replicates, and its seconds are multiplied."""


def measure(settings: Settings) -> list[Record]:
    """Wall seconds in this process."""
    from sklearn.metrics import roc_auc_score

    n, replicates = (500, 200) if settings.quick else (10_000, 2_000)
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    scores = 1 / (1 + np.exp(-(labels + rng.normal(size=n))))
    both = np.column_stack([1 - scores, scores])
    fold = FoldPredictions(labels=labels, probabilities=both, groups=np.arange(n))

    def plain() -> None:
        for _ in range(replicates // _OTHERS):
            drawn = rng.integers(n, size=n)
            roc_auc_score(labels[drawn], scores[drawn])

    costs = in_turns(
        lambda: _seconds(lambda: auroc_replicates([fold], 2, replicates)),
        lambda: _seconds(plain) * _OTHERS,
        settings.repeats,
    )
    return [
        Record(
            name="bootstrap",
            ours_is=f"{replicates:,} replicates of {n:,} images at once",
            other_is="scikit-learn's AUROC of each",
            unit="s",
            wanted=5.0,
            sense="at least",
            details={f"within {_LIMIT_SECONDS:g} s": max(costs["ours"]) <= _LIMIT_SECONDS},
            **costs,
        )
    ]


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
