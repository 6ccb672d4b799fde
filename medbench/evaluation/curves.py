"""Curves behind the scores: ROC, precision against recall, and how far probabilities hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.task import membership
from medbench.evaluation.metrics import Cuts, scored_classes
from medbench.evaluation.resampling import FoldPredictions, Resampling

GRID = np.linspace(0, 1, 101)
"""Where curves are evaluated: shares from 0 to 1 in steps of one hundredth."""
CALIBRATION_BINS = 10
"""Bins of equal width of a reliability diagram."""
_REPLICATES = 1000
_TAILS = (2.5, 97.5)
_WILSON = 1.959963984540054
"""97.5% quantile of the normal distribution."""

Band = Literal["folds", "bootstrap", "none"]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A curve over ``GRID``, averaged over folds (and macro averaged over classes)."""

    values: NDArray[np.float64]
    """Shape (101,)."""
    low: NDArray[np.float64]
    """Lower edge of the band, shape (101,)."""
    high: NDArray[np.float64]
    band: Band
    """``folds``: from the lowest to the highest fold. ``bootstrap``: of one held-out part, the
    pointwise 95% interval over groups. ``none``: of one part with too few groups."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """What was predicted against what came, in the bins that hold any image."""

    predicted: NDArray[np.float64]
    """Mean predicted probability of each bin."""
    observed: NDArray[np.float64]
    """Share of images of which it came true."""
    low: NDArray[np.float64]
    """Wilson's 95% interval of ``observed``, as if images were independent."""
    high: NDArray[np.float64]
    images: NDArray[np.int64]


def roc_curve(folds: Sequence[FoldPredictions], n_classes: int) -> Curve:
    """Sensitivity over 1 - specificity, averaged vertically.

    Args:
        folds: Held-out predictions, one entry a fold, at least one.
        n_classes: Number of classes of the task.

    Raises:
        ProtocolError: No class of a fold can be told from the rest.

    Source: Fawcett (2006), "An introduction to ROC analysis", on vertical averaging.
    """
    return _averaged(folds, n_classes, _sensitivity)


def precision_recall_curve(folds: Sequence[FoldPredictions], n_classes: int) -> Curve:
    """Precision at the highest threshold that reaches each recall; arguments as ``roc_curve``.

    Nothing is interpolated between thresholds (Davis & Goadrich 2006: a straight line there
    would be too high).
    """
    return _averaged(folds, n_classes, _precision)


def reliability(folds: Sequence[FoldPredictions]) -> Reliability:
    """Predicted probability against observed share over all folds together.

    Of two classes it is that of class 1, of more than two that of the decided class against being
    right, of several labels an image that of all labels together.

    Source: Niculescu-Mizil & Caruana (2005), "Predicting good probabilities with supervised
    learning", ICML; for the interval Wilson (1927), "Probable inference, the law of succession, and
    statistical inference", JASA 22(158).
    """
    pairs = [_outcomes(fold) for fold in folds]
    predicted = np.concatenate([one for one, _ in pairs])
    came = np.concatenate([two for _, two in pairs]).astype(np.float64)
    of_bin = np.minimum((predicted * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    images = np.bincount(of_bin, minlength=CALIBRATION_BINS)
    filled = images > 0
    n = images[filled]
    observed = np.bincount(of_bin, came, CALIBRATION_BINS)[filled] / n
    centre = (observed + _WILSON**2 / (2 * n)) / (1 + _WILSON**2 / n)
    reach = np.sqrt(observed * (1 - observed) / n + _WILSON**2 / (4 * n**2))
    reach *= _WILSON / (1 + _WILSON**2 / n)
    return Reliability(
        predicted=np.bincount(of_bin, predicted, CALIBRATION_BINS)[filled] / n,
        observed=observed,
        low=np.clip(centre - reach, 0, 1),
        high=np.clip(centre + reach, 0, 1),
        images=n,
    )


def _outcomes(fold: FoldPredictions) -> tuple[NDArray[np.float64], NDArray[Any]]:
    probabilities, labels = fold.probabilities, fold.labels
    if labels.ndim == 2:
        return probabilities.ravel(), labels.ravel()
    if probabilities.shape[1] == 2:
        return probabilities[:, 1], labels
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def _averaged(folds: Sequence[FoldPredictions], n_classes: int, of_class: Any) -> Curve:
    curves = np.array([_macro(fold, n_classes, of_class) for fold in folds])
    band: Band = "folds"
    low, high = curves.min(axis=0), curves.max(axis=0)
    if len(folds) == 1:
        low, high, band = _bootstrap(folds[0], n_classes, of_class)
    values = curves.mean(axis=0)
    return Curve(
        values=values,
        low=values if low is None else low,
        high=values if high is None else high,
        band=band,
    )


def _macro(
    fold: FoldPredictions,
    n_classes: int,
    of_class: Any,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    shown = membership(fold.labels, n_classes)
    classes = scored_classes(fold.labels, n_classes)
    curves = [of_class(shown[:, k], fold.probabilities[:, k], weights) for k in classes]
    mean: NDArray[np.float64] = np.mean(curves, axis=0)
    return mean


def _bootstrap(fold: FoldPredictions, n_classes: int, of_class: Any) -> tuple[Any, Any, Band]:
    plan = Resampling([fold], n_classes)
    if plan.obstacle or fold.labels.ndim == 2:  # a label could vanish from a replicate
        return None, None, "none"
    counts = plan.draw(_REPLICATES, [np.random.default_rng(0)])
    drawn = [
        _macro(fold, n_classes, of_class, weights[plan.group_of_image[0]]) for weights in counts
    ]
    low, high = np.percentile(drawn, _TAILS, axis=0)
    return low, high, "bootstrap"


def _sensitivity(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    cuts = Cuts.of(positive, scores, weights)
    false_rate = np.append(0, cuts.false / cuts.false[-1])
    true_rate = np.append(0, cuts.true / cuts.true[-1])
    # of several thresholds with one false positive rate the most sensitive one counts
    position = np.searchsorted(false_rate, GRID, side="right")
    reached = np.interp(GRID, false_rate, true_rate)
    exact = false_rate[position - 1] == GRID
    return np.where(exact, true_rate[position - 1], reached)


def _precision(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    cuts = Cuts.of(positive, scores, weights)
    some = cuts.true + cuts.false > 0
    true, false = cuts.true[some], cuts.false[some]
    # rounding must not ask for more than all positives
    position = np.searchsorted(true / true[-1], np.minimum(GRID, 1) - 1e-12)
    precision: NDArray[np.float64] = (true / (true + false))[position]
    return precision
