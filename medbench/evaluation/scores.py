"""Every metric of the protocol, from the stored predictions of one held-out part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.task import TaskType, membership
from medbench.errors import ProtocolError
from medbench.evaluation.metrics import (
    Cuts,
    Threshold,
    checked,
    confusion,
    decide,
)

ECE_BINS = 15
"""Bins of equal width between 0 and 1, as in Guo et al. (2017)."""

_LEVELS = (90, 95)
"""Sensitivities and specificities, in percent, at which the other one is given."""
_SUM_TOLERANCE = 1e-6
"""Rows of probabilities of exclusive classes sum to one within this, as the model contract asks."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a report speaks of a metric."""

    name: str
    """Short and human, to be used within a sentence."""
    higher_is_better: bool | None
    """None of a quantity that is neither good nor bad."""


def _metrics(higher_is_better: bool | None, **names: str) -> dict[str, Metric]:
    return {
        key: Metric(name=name, higher_is_better=higher_is_better) for key, name in names.items()
    }


METRICS: dict[str, Metric] = {
    **_metrics(
        True,
        auroc="AUROC",
        average_precision="average precision",
        balanced_accuracy="balanced accuracy",
        accuracy="accuracy",
        sensitivity="sensitivity",
        specificity="specificity",
        **{
            f"{one}_at_{level}_{other}": f"{one} at {level}% {other}"
            for one, other in (("sensitivity", "specificity"), ("specificity", "sensitivity"))
            for level in _LEVELS
        },
        f1="F1",
        macro_f1="macro F1",
        mcc="Matthews correlation",
        quadratic_kappa="quadratic weighted kappa",
        recall="recall",
        precision="precision",
        ppv="positive predictive value",
        npv="negative predictive value",
    ),
    **_metrics(None, prevalence="prevalence"),
    **_metrics(
        False,
        mae="mean absolute error in class steps",
        brier="Brier score",
        log_loss="log loss",
        ece="expected calibration error",
    ),
}
"""Every key that ``fold_scores`` and ``class_scores`` can return."""


def fold_scores(
    labels: NDArray[Any],
    probabilities: NDArray[Any],
    *,
    task_type: TaskType,
    threshold: Threshold,
    prevalence: float | None = None,
) -> dict[str, float]:
    """All metrics of one held-out part; which ones depends on the type of task.

    - Every type: ``auroc`` (as ``metrics`` has it), ``balanced_accuracy`` (recall averaged over
      the classes that occur; of several labels an image each label's own, averaged over those that
      vary), ``brier``, ``log_loss`` (natural logarithm, probabilities clipped at the float64
      epsilon) and ``ece``.
    - Binary, class 1 being positive: ``average_precision``, ``accuracy``, ``sensitivity``,
      ``specificity``, ``f1``, ``mcc``, and ``ppv`` and ``npv`` at ``prevalence``, which is
      returned too. ``sensitivity_at_90_specificity``, ``..._95_...`` and the reverse are the best
      that some threshold attains on this very part, without interpolation; having chosen their
      threshold on held-out labels they are a little optimistic, unlike ``sensitivity`` and
      ``specificity``, which stand at the frozen operating point.
    - Multi-class: ``accuracy``, ``macro_f1`` and ``mcc``; ordinal: ``quadratic_kappa`` and ``mae``
      (mean absolute error, in class steps) as well.
    - Multi-label: ``average_precision`` and ``macro_f1``, each label at its own threshold.

    The Brier score is the mean squared error of p1 (0 to 1) of a binary task; of a multi-class or
    ordinal task the squared errors are summed over the classes (0 to 2, Brier's own definition,
    twice the binary one for two classes); of a multi-label task it is the mean over the labels.
    ECE compares p1 with the share of positives of a binary task, the highest probability with the
    accuracy of a multi-class or ordinal one, and is the mean over the labels of a multi-label one.

    What is undefined is NaN, never 0:

    - Averages over classes run over those that some images of the part show and others do not, so
      that they are the same classes for every model. Where there are none (a part of one class),
      the averages are NaN, and so are ``auroc``, ``average_precision``, ``balanced_accuracy``,
      ``mcc``, ``quadratic_kappa``, the rates at a demanded rate, ``ppv`` and ``npv``.
    - ``sensitivity`` is NaN without positives, ``specificity`` without negatives, ``f1`` where
      there are no positives and none is called, ``ppv`` where nothing is called positive,
      ``npv`` where nothing is called negative, and ``mcc`` where all decisions are the same.

    Accuracy, MAE, Brier score, log loss and ECE always have a value.

    Args:
        labels: Class index of each image, int, shape (n_images,); or of a multi-label task 0 or 1
            for each class, shape (n_images, n_classes).
        probabilities: float, shape (n_images, n_classes), from 0 to 1; rows sum to one, except of
            a multi-label task.
        task_type: Type of the task.
        threshold: Frozen operating point: of a binary task a number (class 1 is decided where
            p1 >= threshold), of a multi-label task one number a class, else None (the most
            probable class is decided).
        prevalence: Share of positives at which PPV and NPV are given, between 0 and 1, of a
            binary task only. By default that of the part.

    Returns:
        Metrics by name, in the order of ``METRICS``; plain floats.

    Raises:
        ProtocolError: Labels or probabilities that cannot be scored (see ``metrics.checked``), a
            shape, threshold or prevalence that does not fit the type, or probabilities that are
            none.

    Source: Maier-Hein et al. (2024), "Metrics reloaded", Nature Methods 21, for the choice;
    Brodersen et al. (2010), "The balanced accuracy and its posterior distribution", ICPR; Gorodkin
    (2004), "Comparing two K-category assignments by a K-category correlation coefficient", for the
    MCC of several classes; Cohen (1968), "Weighted kappa", Psychological Bulletin 70(4); Brier
    (1950), "Verification of forecasts expressed in terms of probability", Monthly Weather Review
    78(1); Guo et al. (2017), "On calibration of modern neural networks", ICML, for ECE; PPV and NPV
    by Bayes' rule from sensitivity and specificity.
    """
    labels, probabilities = _checked(labels, probabilities, task_type)
    _check_threshold(threshold, task_type, probabilities.shape[1])
    if prevalence is not None and task_type != "binary":
        raise ProtocolError(f"a prevalence applies to a binary task, not to a {task_type} one.")
    if prevalence is not None and not 0 < prevalence < 1:
        raise ProtocolError(f"a prevalence lies between 0 and 1, not at {prevalence}.")
    part = _Part(labels=labels, probabilities=probabilities, threshold=threshold)
    found = part.separation() | _quality(labels, probabilities, task_type)
    if task_type == "binary":
        found |= _binary(part, prevalence)
    elif task_type == "multi-label":
        found |= _multi_label(part)
    else:
        found |= _multi_class(part)
        if task_type == "ordinal":
            found |= _ordinal(part)
    return {name: float(found[name]) for name in METRICS if name in found}


def probability_scores(
    labels: NDArray[Any], probabilities: NDArray[Any], *, task_type: TaskType
) -> dict[str, float]:
    """Those of ``fold_scores`` that calibration is meant to improve, and that need no threshold.

    Arguments and errors are those of ``fold_scores``.

    Returns:
        ``brier``, ``log_loss`` and ``ece``; plain floats.
    """
    return _quality(*_checked(labels, probabilities, task_type), task_type)


def class_scores(
    labels: NDArray[Any], probabilities: NDArray[Any], *, task_type: TaskType, threshold: Threshold
) -> dict[str, NDArray[np.float64]]:
    """How well each class (or label) is told from the rest.

    Arguments and errors are those of ``fold_scores``.

    Returns:
        ``recall`` (sensitivity), ``specificity``, ``precision``, ``auroc`` and
        ``average_precision``, each float64, shape (n_classes,). NaN where undefined: recall
        without images of the class, specificity without others, precision where the class is
        never decided, and the last two without either (the average precision of a class that all
        images show is 1 whatever the model says). Both classes of a binary task are given, class
        0 as seen from the other side.
    """
    labels, probabilities = _checked(labels, probabilities, task_type)
    _check_threshold(threshold, task_type, probabilities.shape[1])
    part = _Part(labels=labels, probabilities=probabilities, threshold=threshold)
    areas = part.aurocs.copy()
    if task_type == "binary":
        areas[0] = areas[1]
    return {
        "recall": part.recall,
        "specificity": part.specificity,
        "precision": part.precision,
        "auroc": areas,
        "average_precision": part.average_precisions,
    }


def expected_calibration_error(
    confidences: NDArray[Any], outcomes: NDArray[Any], bins: int = ECE_BINS
) -> float:
    """Mean distance of what was predicted from what came, over bins, weighted by their images.

    The bins are of equal width and closed above, (0, 1/15], (1/15, 2/15], ..., and 0 belongs to
    the first.

    Args:
        confidences: Predicted probability of the outcome, float, shape (n_images,), from 0 to 1.
        outcomes: Whether it came, 0 or 1, shape (n_images,).
        bins: Number of bins, at least 1.

    Source: Naeini et al. (2015), "Obtaining well calibrated probabilities using Bayesian binning",
    AAAI; Guo et al. (2017), "On calibration of modern neural networks", ICML.
    """
    of_bin = np.digitize(confidences, np.arange(1, bins) / bins, right=True)
    gaps = np.bincount(of_bin, weights=np.asarray(outcomes, dtype=np.float64) - confidences)
    return float(np.abs(gaps).sum() / len(of_bin))


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A held-out part that was checked, with the decisions made on it."""

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    threshold: Threshold

    @cached_property
    def shown(self) -> NDArray[np.bool_]:
        """Which classes each image shows, shape (n_images, n_classes)."""
        return membership(self.labels, self.probabilities.shape[1])

    @cached_property
    def decided(self) -> NDArray[np.int64]:
        return decide(self.probabilities, self.threshold)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Images by true class and decided class, shape (n_classes, n_classes); exclusive ones."""
        return confusion(self.labels, self.decided, self.probabilities.shape[1])

    @cached_property
    def hits(self) -> NDArray[np.int64]:
        """Images that show each class and are decided so, shape (n_classes,)."""
        if self.labels.ndim == 1:
            return self.counts.diagonal()
        hits: NDArray[np.int64] = (self.shown & (self.decided == 1)).sum(axis=0)
        return hits

    @cached_property
    def n_shown(self) -> NDArray[np.int64]:
        """Images that show each class, shape (n_classes,)."""
        counted: NDArray[np.int64] = self.shown.sum(axis=0)
        return counted

    @cached_property
    def n_decided(self) -> NDArray[np.int64]:
        """Images for which each class is decided, shape (n_classes,)."""
        counted: NDArray[np.int64]
        counted = (self.counts if self.labels.ndim == 1 else self.decided).sum(axis=0)
        return counted

    @cached_property
    def varying(self) -> NDArray[np.bool_]:
        """Which classes some images show and others do not, shape (n_classes,)."""
        return (self.n_shown > 0) & (self.n_shown < len(self.labels))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Of each class, shape (n_classes,), like what follows; NaN where nothing is counted."""
        return _ratio(self.hits, self.n_shown)

    @property
    def precision(self) -> NDArray[np.float64]:
        return _ratio(self.hits, self.n_decided)

    @property
    def f1(self) -> NDArray[np.float64]:
        return _ratio(2 * self.hits, self.n_shown + self.n_decided)

    @property
    def specificity(self) -> NDArray[np.float64]:
        """Recall of all other classes together against each class."""
        n = len(self.labels)
        return _ratio(n - self.n_shown - self.n_decided + self.hits, n - self.n_shown)

    def separation(self) -> dict[str, float]:
        """How well the classes are told apart, where that is defined."""
        if not self.varying.any():
            return {"auroc": np.nan, "balanced_accuracy": np.nan}
        recall = self.recall[self.n_shown > 0]
        if self.labels.ndim == 2:
            recall = ((self.recall + self.specificity) / 2)[self.varying]
        return {
            "auroc": float(np.nanmean(self.aurocs)),
            "balanced_accuracy": float(recall.mean()),
        }

    @cached_property
    def cuts(self) -> dict[int, Cuts]:
        """Of each class that varies."""
        shown, scores, varying = self.shown, self.probabilities, np.flatnonzero(self.varying)
        if self.labels.ndim == 1 and scores.shape[1] == 2:
            # p1 alone is what binary scores rest on: small values of it all have a p0 of 1
            return {k: Cuts.of(shown[:, 1], scores[:, 1]) for k in varying.tolist()[1:]}
        return {k: Cuts.of(shown[:, k], scores[:, k]) for k in varying.tolist()}

    @cached_property
    def aurocs(self) -> NDArray[np.float64]:
        """As ``metrics.class_aurocs`` has them, and NaN where that raises."""
        areas = np.full(self.probabilities.shape[1], np.nan)
        for k, cuts in self.cuts.items():
            areas[k] = cuts.area
        return areas

    @cached_property
    def average_precisions(self) -> NDArray[np.float64]:
        found = np.full(self.probabilities.shape[1], np.nan)
        for k, cuts in self.cuts.items():
            found[k] = cuts.average_precision
        if self.labels.ndim == 1 and len(found) == 2 and self.cuts:
            found[0] = self.cuts[1].other_side.average_precision
        return found

    def macro(self, values: NDArray[np.float64]) -> float:
        """The mean over the classes that vary."""
        return float(values[self.varying].mean()) if self.varying.any() else np.nan


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shares, NaN of nothing."""
    shares = np.full(len(part), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def _binary(part: _Part, prevalence: float | None) -> dict[str, float]:
    specificity, sensitivity = part.recall.tolist()
    if prevalence is None:
        prevalence = float(part.labels.mean())
    ppv, npv = _predictive_values(sensitivity, specificity, prevalence)
    return {
        "average_precision": part.average_precisions[1],
        "accuracy": (part.decided == part.labels).mean(),
        "sensitivity": sensitivity,
        "specificity": specificity,
        **_attainable(part),
        "f1": part.f1[1],
        "mcc": _matthews(part),
        "ppv": ppv,
        "npv": npv,
        "prevalence": prevalence,
    }


def _multi_class(part: _Part) -> dict[str, float]:
    return {
        "accuracy": (part.decided == part.labels).mean(),
        "macro_f1": part.macro(part.f1),
        "mcc": _matthews(part),
    }


def _ordinal(part: _Part) -> dict[str, float]:
    return {
        "quadratic_kappa": _quadratic_kappa(part),
        "mae": np.abs(part.labels - part.decided).mean(),
    }


def _multi_label(part: _Part) -> dict[str, float]:
    return {
        "average_precision": part.macro(part.average_precisions),
        "macro_f1": part.macro(part.f1),
    }


def _quality(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], task_type: TaskType
) -> dict[str, float]:
    """How near the probabilities are to what came."""
    if task_type == "binary":
        return _binary_quality(labels, probabilities[:, 1])
    if task_type == "multi-label":
        each = [
            _binary_quality(of_label, scores)
            for of_label, scores in zip(labels.T, probabilities.T, strict=True)
        ]
        return {name: float(np.mean([scores[name] for scores in each])) for name in each[0]}
    shown = membership(labels, probabilities.shape[1])
    squares = (shown - probabilities) ** 2
    of_true = probabilities[shown] / probabilities.sum(axis=1)
    right = probabilities.argmax(axis=1) == labels
    return {
        "brier": float(len(shown.T) * squares.mean(axis=0).mean()),
        "log_loss": _log_loss(of_true),
        "ece": expected_calibration_error(probabilities.max(axis=1), right),
    }


def _binary_quality(labels: NDArray[np.int64], p1: NDArray[np.float64]) -> dict[str, float]:
    """The same of the probabilities of one class."""
    return {
        "brier": float(((labels - p1) ** 2).mean()),
        "log_loss": _log_loss(np.where(labels == 1, p1, 1 - p1)),
        "ece": expected_calibration_error(p1, labels),
    }


def _log_loss(of_true: NDArray[np.float64]) -> float:
    """Of the probabilities that were given to what came, shape (n_images,)."""
    smallest = np.finfo(np.float64).eps
    return float(-np.log(np.clip(of_true, smallest, 1 - smallest)).mean())


def _attainable(part: _Part) -> dict[str, float]:
    """The best sensitivity at each demanded specificity, and the reverse."""
    best = {}
    if part.varying.any():
        cuts = part.cuts[1]
        sensitivity = np.append(0, cuts.true) / cuts.true[-1]
        specificity = 1 - np.append(0, cuts.false) / cuts.false[-1]
    for level in _LEVELS:
        one, other = f"sensitivity_at_{level}_specificity", f"specificity_at_{level}_sensitivity"
        best[one] = best[other] = np.nan
        if part.varying.any():
            best[one] = sensitivity[specificity >= level / 100].max()
            best[other] = specificity[sensitivity >= level / 100].max()
    return best


def _matthews(part: _Part) -> float:
    """The correlation of two one-hot matrices, from counts."""
    if not part.varying.any() or (part.n_decided > 0).sum() == 1:
        return np.nan
    n = float(len(part.labels))
    shown, decided = part.n_shown.astype(np.float64), part.n_decided.astype(np.float64)
    spread = (n**2 - decided @ decided) * (n**2 - shown @ shown)
    return float((part.hits.sum() * n - shown @ decided) / np.sqrt(spread))


def _quadratic_kappa(part: _Part) -> float:
    """One minus the squared distances of the decisions over those of chance."""
    if not part.varying.any():
        return np.nan
    classes = np.arange(len(part.n_shown))
    distance = (classes - classes[:, None]) ** 2
    by_chance = np.outer(part.n_shown, part.n_decided) / len(part.labels)
    return float(1 - (distance * part.counts).sum() / (distance * by_chance).sum())


def _predictive_values(
    sensitivity: float, specificity: float, prevalence: float
) -> tuple[float, float]:
    """PPV and NPV by Bayes' rule."""
    hits, misses = sensitivity * prevalence, (1 - sensitivity) * prevalence
    alarms, passes = (1 - specificity) * (1 - prevalence), specificity * (1 - prevalence)
    called, cleared = hits + alarms, passes + misses
    return hits / called if called else np.nan, passes / cleared if cleared else np.nan


def _checked(
    labels: NDArray[Any], probabilities: NDArray[Any], task_type: TaskType
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and probabilities, if they fit the type of task."""
    if task_type not in get_args(TaskType):
        raise ProtocolError(
            f'no type of task is "{task_type}". Types: {", ".join(get_args(TaskType))}.'
        )
    if np.ndim(probabilities) != 2:
        raise ProtocolError(
            f"probabilities have shape {np.shape(probabilities)}; expected (n_images, n_classes)."
        )
    n_classes = np.shape(probabilities)[1]
    labels, probabilities = checked(labels, probabilities, n_classes)
    if (labels.ndim == 2) != (task_type == "multi-label"):
        raise ProtocolError(f"labels of shape {labels.shape} do not fit a {task_type} task.")
    if task_type != "multi-label" and (n_classes == 2) != (task_type == "binary"):
        raise ProtocolError(f"{n_classes} classes do not fit a {task_type} task.")
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise ProtocolError("probabilities are not all between 0 and 1.")
    far = np.abs(probabilities.sum(axis=1) - 1) > _SUM_TOLERANCE
    if task_type != "multi-label" and far.any():
        raise ProtocolError(
            f"probabilities of {int(far.sum())} of {len(labels)} images do not sum to one."
        )
    return labels, probabilities


def _check_threshold(threshold: Threshold, task_type: TaskType, n_classes: int) -> None:
    if task_type == "binary":
        fits, expected = isinstance(threshold, Real), "one number"
    elif task_type == "multi-label":
        fits = isinstance(threshold, Sequence) and len(threshold) == n_classes
        expected = f"a sequence of {n_classes} numbers"
    else:
        fits, expected = threshold is None, "None"
    if not fits:
        raise ProtocolError(
            f"the operating point {threshold} does not fit a {task_type} task; expected {expected}."
        )
    if threshold is not None and np.isnan(np.asarray(threshold, dtype=np.float64)).any():
        raise ProtocolError(f"the operating point {threshold} is not a number.")
