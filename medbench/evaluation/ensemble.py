"""Several models as one: the weighted mean of their logits, with weights from inner predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.task import membership

FIRST = 2
"""Votes that each member has before any are drawn: where images are few, equal weights are hard to
beat."""
DRAWS = 10
"""Votes that are drawn."""
_LOWEST = 1e-5
"""Stands for a lower probability: beyond, float32 has no digits left, and a single model that is
sure would outvote all others."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What was chosen, and what it says of images that had no part in the choice."""

    weights: NDArray[np.float64]
    """Of the members, in their order, at least 0, sum to one, shape (n_members,)."""
    oof: NDArray[np.float64]
    """Probabilities of each image by weights that were chosen on the other parts, shape (n_images,
    n_classes); NaN where an image is in no part."""


def weighted_mean(
    members: NDArray[np.float64], weights: NDArray[np.float64], *, multi_label: bool
) -> NDArray[np.float64]:
    """Probabilities at the weighted mean of the members' logits.

    Args:
        members: Calibrated probabilities of each, from 0 to 1, shape (n_members, n_images,
            n_classes).
        weights: Sum to one, shape (n_members,).
        multi_label: Whether any number of classes may be present in an image.

    Returns:
        float64, shape (n_images, n_classes); rows of exclusive classes sum to one.
    """
    mean: NDArray[np.float64] = np.exp(
        _log_mean(_logarithms(members, multi_label=multi_label), weights)
    )
    if not multi_label:
        return mean
    shares: NDArray[np.float64] = mean[:, 1].reshape(members.shape[1:])
    return shares


def select(
    labels: NDArray[np.int64],
    members: NDArray[np.float64],
    parts: Sequence[NDArray[np.int64]],
) -> Selection:
    """Choose weights by greedy selection with replacement, and estimate what they are worth.

    Every member begins with two votes; ten more go, one by one, to the member that then lowers the
    log loss most. Weights are shares of the votes. On the images of a part the estimate uses
    weights that were chosen on the others.

    Args:
        labels: Class index of each image, shape (n_images,); or of a multi-label task 0 or 1 for
            each class, shape (n_images, n_classes).
        members: Calibrated out-of-fold probabilities of each, finite on the images of all parts,
            shape (n_members, n_images, n_classes).
        parts: Indices of the images of each, at least two parts, which keep groups whole.

    Source: Caruana, Niculescu-Mizil, Crew & Ksikes (2004), "Ensemble selection from libraries of
    models", ICML.
    """
    multi_label = labels.ndim == 2
    oof = np.full(members.shape[1:], np.nan)
    for number, part in enumerate(parts):
        others = np.concatenate([one for i, one in enumerate(parts) if i != number])
        weights = _drawn(labels[others], members[:, others])
        oof[part] = weighted_mean(members[:, part], weights, multi_label=multi_label)
    every = np.concatenate(parts)
    return Selection(weights=_drawn(labels[every], members[:, every]), oof=oof)


def _drawn(labels: NDArray[np.int64], members: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights that are chosen on some images."""
    multi_label, n_classes = labels.ndim == 2, members.shape[2]
    logarithms = _logarithms(members, multi_label=multi_label)
    true = labels.ravel() if multi_label else labels
    shown = membership(true, 2 if multi_label else n_classes)
    votes, each = np.full(len(members), float(FIRST)), np.eye(len(members))
    for _ in range(DRAWS):
        after = (votes + each) / (votes.sum() + 1)
        losses = [-_log_mean(logarithms, weights)[shown].mean() for weights in after]
        votes += each[int(np.argmin(losses))]
    shares: NDArray[np.float64] = votes / votes.sum()
    return shares


def _logarithms(members: NDArray[np.float64], *, multi_label: bool) -> NDArray[np.float64]:
    """Logarithms of probabilities of exclusive classes, shape (n_members, n, n_classes).

    A label that may be present or absent in an image counts as two classes of an image of its own.
    """
    if multi_label:
        members = np.stack([1 - members, members], axis=-1).reshape(len(members), -1, 2)
    return np.log(np.maximum(members, _LOWEST))


def _log_mean(logarithms: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the probabilities at the weighted mean of the logits, shape (n, n_classes)."""
    mean = np.tensordot(weights, logarithms, axes=1)
    mean -= mean.max(axis=1, keepdims=True)
    log_mean: NDArray[np.float64] = mean - np.log(np.exp(mean).sum(axis=1, keepdims=True))
    return log_mean
