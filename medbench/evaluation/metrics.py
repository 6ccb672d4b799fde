"""How well probabilities separate the classes, and how often the decisions made from them agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.task import membership
from medbench.errors import ProtocolError

Threshold = float | Sequence[float] | None
"""Operating point of a binary task, one a class of a multi-label task, None of all others."""


def checked(
    labels: NDArray[Any], probabilities: NDArray[Any], n_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and probabilities that can be scored, as int64 and float64.

    Args:
        labels: Class index of each image, int, shape (n_images,); or of a multi-label task 0 or 1
            for each class, shape (n_images, n_classes).
        probabilities: Shape (n_images, n_classes).
        n_classes: Number of classes of the task, at least 2.

    Raises:
        ProtocolError: No images, shapes that do not fit, a label that is no class index, or a
            probability that is not finite. NaN is never scored as if it were a low probability.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if n_classes < 2:
        raise ProtocolError(f"a classification task has at least 2 classes, not {n_classes}.")
    if not len(labels) or labels.shape not in ((len(labels),), (len(labels), n_classes)):
        raise ProtocolError(
            f"labels have shape {labels.shape}; expected (n_images,), or (n_images, {n_classes}) "
            "for several labels an image, not empty."
        )
    if probabilities.shape != (len(labels), n_classes):
        raise ProtocolError(
            f"probabilities have shape {probabilities.shape}; "
            f"expected {(len(labels), n_classes)} for {len(labels)} labels."
        )
    highest = n_classes - 1 if labels.ndim == 1 else 1
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > highest:
        raise ProtocolError(f"labels are not all whole numbers from 0 to {highest}.")
    if not np.isfinite(probabilities).all():
        bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
        raise ProtocolError(f"probabilities of {bad} of {len(labels)} images are not finite.")
    return labels.astype(np.int64), probabilities


def scored_classes(labels: NDArray[np.int64], n_classes: int) -> list[int]:
    """Classes that are scored against the rest: class 1 of two, else every class that varies.

    Args:
        labels: As ``checked`` returns them.
        n_classes: Number of classes of the task.

    Raises:
        ProtocolError: No class is both present and absent, so that no AUROC is defined.
    """
    shown = membership(labels, n_classes)
    varies = shown.any(axis=0) & ~shown.all(axis=0)
    if not varies.any():
        raise ProtocolError(
            f"AUROC is undefined: all {len(labels)} images are of class "
            f"{', '.join(map(str, np.flatnonzero(shown[0]))) or 'none'}."
        )
    if labels.ndim == 1 and n_classes == 2:
        return [1]
    return np.flatnonzero(varies).tolist()


def auroc(labels: NDArray[Any], probabilities: NDArray[Any], n_classes: int) -> float:
    """Area under the ROC curve: of p1 for two classes, else macro one-versus-rest.

    The macro average runs over the classes that are present in some and absent in other images;
    a class without positive images has no ROC curve and is left out. Ties count one half. Of a
    multi-label task it is the mean over the labels.

    Args:
        labels: Class index of each image, int, shape (n_images,); or of a multi-label task 0 or 1
            for each class, shape (n_images, n_classes).
        probabilities: Shape (n_images, n_classes), finite.
        n_classes: Number of classes of the task.

    Returns:
        From 0 to 1; 0.5 is chance.

    Raises:
        ProtocolError: Nothing to tell apart, or the input cannot be scored (see ``checked``).

    Source: Hand & Till (2001), "A simple generalisation of the area under the ROC curve for
    multiple class classification problems", Machine Learning 45(2), discuss multi-class averages;
    one-versus-rest after Provost & Domingos (2000), "Well-trained PETs: improving probability
    estimation trees", unweighted.
    """
    return float(np.nanmean(class_aurocs(labels, probabilities, n_classes)))


def class_aurocs(
    labels: NDArray[Any], probabilities: NDArray[Any], n_classes: int
) -> NDArray[np.float64]:
    """Area under the ROC curve of each class against the rest; arguments and errors of ``auroc``.

    Returns:
        float64, shape (n_classes,); NaN where a class is not scored (see ``scored_classes``).
    """
    labels, probabilities = checked(labels, probabilities, n_classes)
    shown = membership(labels, n_classes)
    areas = np.full(n_classes, np.nan)
    for k in scored_classes(labels, n_classes):
        areas[k] = Cuts.of(shown[:, k], probabilities[:, k]).area
    return areas


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """What is called positive at each threshold that can make a difference, the highest first.

    Written out because scikit-learn checks its input for longer than it counts (2 ms where this
    takes .15, and a boosting round asks each time); values are the same to the last bit.
    """

    true: NDArray[np.float64]
    """Positives that are called so, shape (n_distinct_scores,); all of them at the last cut."""
    false: NDArray[np.float64]
    """Negatives that are called positive, shape (n_distinct_scores,)."""

    @classmethod
    def of(
        cls,
        positive: NDArray[np.bool_],
        scores: NDArray[np.float64],
        weights: NDArray[np.float64] | None = None,
    ) -> Cuts:
        """Sort images, shape (n_images,) each, at least one; scores are finite.

        Weights are how often each image counts, float64, shape (n_images,); by default once.
        """
        order = np.argsort(scores, kind="stable")[::-1]
        in_order = scores[order]
        last = np.append(np.flatnonzero(in_order[1:] != in_order[:-1]), len(order) - 1)
        if weights is None:
            true = np.cumsum(positive[order])[last].astype(np.float64)
            return cls(true=true, false=1 + last - true)
        each = weights[order]
        true = np.cumsum(each * positive[order])[last]
        return cls(true=true, false=np.cumsum(each)[last] - true)

    @property
    def other_side(self) -> Cuts:
        """The cuts where negatives are looked for, by the same scores turned round."""
        return Cuts(
            true=self.false[-1] - np.append(0, self.false[:-1])[::-1],
            false=self.true[-1] - np.append(0, self.true[:-1])[::-1],
        )

    @property
    def area(self) -> float:
        """Area under the ROC curve, of positives and negatives, at least one each."""
        true, false = self.true, self.false
        if len(true) > 2:
            corner = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
            kept = np.concatenate([[True], corner, [True]])
            true, false = true[kept], false[kept]
        true, false = np.append(0, true), np.append(0, false)
        return float(np.trapezoid(true / true[-1], false / false[-1]))

    @property
    def average_precision(self) -> float:
        """Precision at each cut, weighted by the recall that the cut adds; of some positives."""
        precision = self.true / (self.true + self.false)
        recall = np.append((self.true / self.true[-1])[::-1], 0.0)
        return max(0.0, float(-(np.diff(recall) * precision[::-1]).sum()))


def decide(probabilities: NDArray[Any], threshold: Threshold) -> NDArray[np.int64]:
    """The class decided for each image, or of a multi-label task each label.

    Args:
        probabilities: Shape (n_images, n_classes).
        threshold: A number: class 1 of two is decided where p1 >= threshold. A sequence: each
            class is decided present where its probability reaches its number. None: the most
            probable class (the first of equals).

    Returns:
        Class indices, int64, shape (n_images,); with a sequence 0 or 1, shape (n_images,
        n_classes).

    Raises:
        ProtocolError: One threshold for more than two classes, or not one a class.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if threshold is None:
        likeliest: NDArray[np.int64] = probabilities.argmax(axis=1)
        return likeliest
    n_classes = probabilities.shape[1]
    if isinstance(threshold, Sequence):
        if len(threshold) != n_classes:
            raise ProtocolError(f"{len(threshold)} thresholds do not fit {n_classes} classes.")
        return (probabilities >= np.asarray(threshold)).astype(np.int64)
    if n_classes != 2:
        raise ProtocolError(f"a threshold ({threshold}) applies to 2 classes, not to {n_classes}.")
    return (probabilities[:, 1] >= threshold).astype(np.int64)


def confusion(labels: NDArray[Any], decided: NDArray[Any], n_classes: int) -> NDArray[np.int64]:
    """Number of images of each true class (row) decided as each class (column).

    Args:
        labels: Class index of each image, int, shape (n_images,).
        decided: Decided class of each image, int, shape (n_images,).
        n_classes: Number of classes of the task; classes that do not occur keep their row.

    Returns:
        int64, shape (n_classes, n_classes).
    """
    cells = np.asarray(labels) * n_classes + np.asarray(decided)
    return np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)
