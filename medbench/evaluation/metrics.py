"""How well probabilities separate the classes, and how often the decisions made from them agree."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.errors import ProtocolError


def checked(
    labels: NDArray[Any], probabilities: NDArray[Any], n_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and probabilities that can be scored, as int64 and float64.

    Args:
        labels: Class index of each image, int, shape (n_images,).
        probabilities: Shape (n_images, n_classes).
        n_classes: Number of classes of the task, at least 2.

    Raises:
        ProtocolError: No images, shapes that do not fit, a label that is no class index, or a
            probability that is not finite. NaN is never scored as if it were a low probability.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if n_classes < 2:
        raise ProtocolError(f"a classification task has at least 2 classes, not {n_classes}.")
    if labels.ndim != 1 or not len(labels):
        raise ProtocolError(f"labels have shape {labels.shape}; expected (n_images,), not empty.")
    if probabilities.shape != (len(labels), n_classes):
        raise ProtocolError(
            f"probabilities have shape {probabilities.shape}; "
            f"expected {(len(labels), n_classes)} for {len(labels)} labels."
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= n_classes:
        raise ProtocolError(f"labels are not all whole numbers from 0 to {n_classes - 1}.")
    if not np.isfinite(probabilities).all():
        bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
        raise ProtocolError(f"probabilities of {bad} of {len(labels)} images are not finite.")
    return labels.astype(np.int64), probabilities


def scored_classes(labels: NDArray[np.int64], n_classes: int) -> list[int]:
    """Classes that are scored against the rest: class 1 of two, else every class that occurs.

    Args:
        labels: Class index of each image, int64, shape (n_images,).
        n_classes: Number of classes of the task.

    Raises:
        ProtocolError: Only one class occurs, so that no AUROC is defined.
    """
    present = np.unique(labels)
    if len(present) < 2:
        raise ProtocolError(
            f"AUROC is undefined: all {len(labels)} images are of class {int(present[0])}."
        )
    return [1] if n_classes == 2 else [int(k) for k in present]


def auroc(labels: NDArray[Any], probabilities: NDArray[Any], n_classes: int) -> float:
    """Area under the ROC curve: of p1 for two classes, else macro one-versus-rest.

    The macro average runs over the classes that occur among ``labels``; a class without images
    has no ROC curve and is left out. Ties count one half.

    Args:
        labels: Class index of each image, int, shape (n_images,).
        probabilities: Shape (n_images, n_classes), finite.
        n_classes: Number of classes of the task.

    Raises:
        ProtocolError: Only one class occurs, or the input cannot be scored (see ``checked``).

    Source: Hand & Till (2001) discuss multi-class averages; one-versus-rest after Provost &
    Domingos (2000), unweighted.
    """
    from sklearn.metrics import roc_auc_score

    labels, probabilities = checked(labels, probabilities, n_classes)
    classes = scored_classes(labels, n_classes)
    return float(np.mean([roc_auc_score(labels == k, probabilities[:, k]) for k in classes]))


def decide(probabilities: NDArray[Any], threshold: float | None) -> NDArray[np.int64]:
    """The class decided for each image.

    Args:
        probabilities: Shape (n_images, n_classes).
        threshold: Class 1 of two is decided where p1 >= threshold; None decides for the most
            probable class (the first of equals).

    Returns:
        Class indices, int64, shape (n_images,).

    Raises:
        ProtocolError: A threshold for more than two classes.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if threshold is None:
        likeliest: NDArray[np.int64] = probabilities.argmax(axis=1)
        return likeliest
    if probabilities.shape[1] != 2:
        raise ProtocolError(
            f"a threshold ({threshold}) applies to 2 classes, not to {probabilities.shape[1]}."
        )
    return (probabilities[:, 1] >= threshold).astype(np.int64)


def balanced_accuracy(
    labels: NDArray[Any], probabilities: NDArray[Any], threshold: float | None
) -> float:
    """Recall averaged over the classes that occur among ``labels``; see ``decide``.

    Args:
        labels: Class index of each image, int, shape (n_images,).
        probabilities: Shape (n_images, n_classes), finite.
        threshold: Operating point of a binary task, else None.

    Raises:
        ProtocolError: The input cannot be scored (see ``checked``), or a threshold for more than
            two classes.

    Source: Brodersen et al. (2010), "The balanced accuracy and its posterior distribution".
    """
    from sklearn.metrics import recall_score

    labels, probabilities = checked(labels, probabilities, np.shape(probabilities)[-1])
    decided = decide(probabilities, threshold)
    return float(
        recall_score(labels, decided, labels=np.unique(labels), average="macro", zero_division=0)
    )


def confusion(labels: NDArray[Any], decided: NDArray[Any], n_classes: int) -> NDArray[np.int64]:
    """Number of images of each true class (row) decided as each class (column).

    Args:
        labels: Class index of each image, int, shape (n_images,).
        decided: Decided class of each image, int, shape (n_images,).
        n_classes: Number of classes of the task; classes that do not occur keep their row.

    Returns:
        int64, shape (n_classes, n_classes).
    """
    from sklearn.metrics import confusion_matrix

    counts: NDArray[np.int64] = confusion_matrix(labels, decided, labels=np.arange(n_classes))
    return counts
