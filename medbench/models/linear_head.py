"""Standardisation and logistic regression on features, as numbers NumPy and Keras both can use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NO_SPREAD = 1e-4
"""A feature whose spread is below this part of its size is rounding noise, and left out."""
_ABSENT_LOGIT = -30.0
"""Logit of a class that training did not show: a probability of about 1e-13. Of several labels an
image, one that every training image has gets the opposite."""
_MAX_ITERATIONS = 1000
_EXACT_NUMBERS = 4_000_000
"""Up to so many numbers are worked on in float64; of more, float32 costs half the time and tells
probabilities that differ by less than 0.001."""
_MOST_TURNED = 1500
"""Images up to which a triangular matrix costs less than it saves."""
_JITTER, _TINY = 1e-12, 1e-30
"""Added to the products of images with themselves, as parts of their sum and at least, so that the
matrix has a root where images are equal or centred; far below what changes a probability."""


@dataclass(frozen=True, kw_only=True)
class LinearHead:
    """Standardisation and a linear model, as numbers that NumPy and Keras both can use."""

    mean: NDArray[np.float64]
    """Mean of each feature in training, shape (n_features,)."""
    scale: NDArray[np.float64]
    """Its standard deviation, divided by the weight of its block (see ``Standardised``); 1 for
    features that are left out."""
    kernel: NDArray[np.float64]
    """Weights of standardised features, shape (n_features, n_classes)."""
    bias: NDArray[np.float64]
    """Shape (n_classes,)."""
    multi_label: bool = False
    """Whether each logit is its own sigmoid's, instead of all together a softmax's."""

    def predict(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Probabilities, float64, shape (n, n_classes), of features (n, n_features)."""
        logits = (features - self.mean) / self.scale @ self.kernel + self.bias
        if self.multi_label:
            return np.asarray(np.exp(-np.logaddexp(0.0, -logits)))
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
        return probabilities


class Standardised:
    """The features of some training images, standardised, and turned so that fits cost little.

    With a quadratic penalty the weights of a linear model are a mixture of the training images.
    So of few images with many features only the products of the images with each other matter: a
    triangular matrix of as many columns as there are images has the same products, and the model
    that is fitted on it is the same one.

    Source: Hastie & Tibshirani (2004), "Efficient quadratic regularization for expression arrays",
    Biostatistics 5.
    """

    def __init__(
        self, features: NDArray[np.floating[Any]], widths: Sequence[int] | None = None
    ) -> None:
        """Standardise.

        Args:
            features: Shape (n_images, n_features).
            widths: Numbers of features of successive blocks that weigh the same however many
                features they have, as the depths of a network; None weighs features the same.
        """
        n_images, n_features = features.shape
        exact = np.float64 if features.size <= _EXACT_NUMBERS else np.float32
        features = features.astype(exact)
        self.mean = features.mean(axis=0, dtype=np.float64)
        features -= self.mean.astype(exact)
        scale = np.sqrt(np.mean(features**2, axis=0, dtype=np.float64))
        varies = scale > _NO_SPREAD * np.hypot(self.mean, scale)
        self.scale = np.where(varies, scale, 1.0) / _weights(varies, widths)
        features *= (varies / self.scale).astype(exact)
        self.columns: NDArray[np.floating[Any]] = features
        """What a regression is fitted on, shape (n_images, as many columns as it needs)."""
        self._images: NDArray[np.floating[Any]] | None = None
        if 2 * n_images <= n_features and n_images <= _MOST_TURNED:
            products = features.astype(np.float64) @ features.T.astype(np.float64)
            products[np.diag_indices(n_images)] += _JITTER * np.trace(products) + _TINY
            self.columns = np.linalg.cholesky(products)
            self._images = features

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.columns.nbytes + (0 if self._images is None else self._images.nbytes)

    def kernel(self, weights: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Weights of features, shape (n_features, n), of those of ``columns``, (n_columns, n)."""
        exact: NDArray[np.float64] = weights.astype(np.float64)
        if self._images is None:
            return exact
        from scipy.linalg import solve_triangular

        of_images = solve_triangular(self.columns, exact, lower=True, trans="T")
        kernel: NDArray[np.float64] = self._images.T.astype(np.float64) @ of_images
        return kernel


def _weights(
    varies: NDArray[np.bool_], widths: Sequence[int] | None
) -> NDArray[np.float64] | float:
    """What standardised features are multiplied by so that the variances of all blocks are equal.

    The sum of all variances stays, so that a penalty means the same.
    """
    if widths is None:
        return 1.0
    blocks = np.repeat(np.arange(len(widths)), widths)
    used = np.bincount(blocks, varies)
    weights: NDArray[np.float64] = np.sqrt(used.sum() / (len(widths) * np.maximum(used, 1)))[blocks]
    return np.where(varies, weights, 1.0)


def fit_head(
    features: NDArray[np.floating[Any]] | Standardised,
    labels: NDArray[np.int64],
    n_classes: int,
    C: float,
) -> LinearHead:
    """Standardise, then logistic regression with a quadratic penalty.

    Exclusive classes are balanced. Of several labels an image each gets a regression of its own,
    unweighted, so that one penalty holds a label back the more the fewer images show it.

    Args:
        features: Shape (n_images, n_features); or the same standardised, for several fits.
        labels: Class indices, shape (n_images,), or of a multi-label task 0 or 1 for each class,
            shape (n_images, n_classes); any class may be missing.
        n_classes: Number of classes of the task.
        C: Inverse strength of the penalty.
    """
    standard = features if isinstance(features, Standardised) else Standardised(features)
    multi_label = labels.ndim == 2
    regress = _regress_each_label if multi_label else _regress_exclusive
    weights, bias = regress(standard.columns, labels, n_classes, C)
    return LinearHead(
        mean=standard.mean,
        scale=standard.scale,
        kernel=standard.kernel(weights),
        bias=bias,
        multi_label=multi_label,
    )


def _regress_exclusive(
    standard: NDArray[np.floating[Any]], labels: NDArray[np.int64], n_classes: int, C: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the columns and bias of one regression that tells the classes present apart."""
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    kernel = np.zeros((standard.shape[1], n_classes))
    bias = np.full(n_classes, _ABSENT_LOGIT)
    bias[present] = 0.0
    if len(present) > 1:
        model = LogisticRegression(C=C, class_weight="balanced", max_iter=_MAX_ITERATIONS)
        model.fit(standard, labels)
        weights, intercept = model.coef_, model.intercept_
        if len(present) == 2:  # one logit z for the second class: as two, -z/2 and z/2
            weights = np.concatenate([-weights, weights]) / 2
            intercept = np.concatenate([-intercept, intercept]) / 2
        kernel[:, present] = weights.T
        bias[present] = intercept
    return kernel, bias


def _regress_each_label(
    standard: NDArray[np.floating[Any]], labels: NDArray[np.int64], n_classes: int, C: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the columns and bias of one regression a label.

    A label with one value in training gets a constant.
    """
    from sklearn.linear_model import LogisticRegression

    kernel = np.zeros((standard.shape[1], n_classes))
    bias = np.where(labels.any(axis=0), -_ABSENT_LOGIT, _ABSENT_LOGIT)
    for k in range(n_classes):
        if len(np.unique(labels[:, k])) > 1:
            model = LogisticRegression(C=C, max_iter=_MAX_ITERATIONS)
            model.fit(standard, labels[:, k])
            kernel[:, k], bias[k] = model.coef_[0], model.intercept_[0]
    return kernel, bias
