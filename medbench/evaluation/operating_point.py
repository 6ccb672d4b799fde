"""Where to cut a probability: the threshold is chosen on development data and then frozen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.errors import ProtocolError

_TIE = 1e-12
"""Differences of the index below this are rounding, not a better threshold."""


def youden(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """The threshold with the highest sensitivity + specificity - 1, to be used as ``score >= t``.

    It lies halfway between the lowest score that is called positive and the next lower one, so
    that new scores on either side of the gap are treated alike; where nothing lies below, it is
    that lowest score itself. Of equally good thresholds the highest (most specific) is taken. It
    is always finite: where nothing beats calling all images negative, some are called positive.

    Args:
        labels: 1 for a positive image, 0 for a negative one, int, shape (n_images,).
        scores: The higher, the more likely positive, shape (n_images,), finite.

    Raises:
        ProtocolError: Labels other than 0 and 1, only one of them, shapes that differ, or a score
            that is not finite.

    Source: Youden (1950), "Index for rating diagnostic tests", Cancer 3(1).
    """
    from sklearn.metrics import roc_curve

    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != scores.shape:
        raise ProtocolError(
            f"labels {labels.shape} and scores {scores.shape} must have one shape, (n_images,)."
        )
    if not np.array_equal(np.unique(labels), [0, 1]):
        raise ProtocolError(
            f"an operating point needs labels 0 and 1, both of them; "
            f"got {np.unique(labels)[:5].tolist()}."
        )
    if not np.isfinite(scores).all():
        raise ProtocolError(f"{int((~np.isfinite(scores)).sum())} scores are not finite.")
    false_positive, true_positive, thresholds = roc_curve(labels, scores)
    index = (true_positive - false_positive)[1:]  # the first threshold is infinite
    lowest_positive = float(thresholds[1:][np.argmax(index >= index.max() - _TIE)])
    below = scores[scores < lowest_positive]
    if not len(below):
        return lowest_positive
    middle = lowest_positive / 2 + float(below.max()) / 2
    # between two neighbouring floating-point numbers there is no middle
    return middle if below.max() < middle <= lowest_positive else lowest_positive
