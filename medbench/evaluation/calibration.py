"""Probabilities that mean what they say: one temperature, fitted on development predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.findings import how_many
from medbench.datasets.task import membership

FEWEST_GROUPS = 50
"""Groups (patients) of the smaller class without which no temperature is fitted."""
_BOUNDS = (-3.0, 3.0)
"""Natural logarithms of the lowest and highest temperature: 1/20 and 20."""
_LOWEST = np.finfo(np.float64).tiny
"""Stands for a probability of zero, whose logarithm is infinite."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What is done to a model's probabilities before anybody reads them."""

    temperatures: tuple[float, ...]
    """One for all classes; of a multi-label task one a label. Above 0; 1 changes nothing."""
    reason: str = ""
    """Why nothing is changed (of a multi-label task: of which labels); empty where all is."""

    def as_record(self) -> dict[str, Any]:
        """For ``cell.json``."""
        return {**asdict(self), "temperatures": list(self.temperatures)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any] | None) -> Calibration:
        """What ``as_record`` gave.

        Args:
            record: What ``cell.json`` has; None where it has nothing, for no change.
        """
        if record is None:
            return cls(temperatures=(1.0,), reason="not calibrated")
        return cls(temperatures=tuple(record["temperatures"]), reason=record["reason"])

    def apply(
        self, probabilities: NDArray[np.float64], *, multi_label: bool
    ) -> NDArray[np.float64]:
        """Calibrated probabilities, float64, shape (n_images, n_classes), as those given.

        The most probable class of an image stays the same, and so does the order of images by
        the probability of one of two classes.

        Args:
            probabilities: From 0 to 1, shape (n_images, n_classes).
            multi_label: Whether any number of classes may be present in an image.

        Source: Guo et al. (2017), "On calibration of modern neural networks", ICML.
        """
        temperatures = np.asarray(self.temperatures)
        if (temperatures == 1).all():
            return probabilities
        logits = np.log(np.maximum(probabilities, _LOWEST)) / temperatures
        if multi_label:
            absent = np.log(np.maximum(1 - probabilities, _LOWEST)) / temperatures
            return np.asarray(np.exp(logits - np.logaddexp(logits, absent)))
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        scaled: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
        return scaled


def fit_calibration(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], groups: NDArray[np.int64]
) -> Calibration:
    """The temperature at which the log loss of development predictions is lowest.

    Args:
        labels: Class index of each image, shape (n_images,); or of a multi-label task 0 or 1 for
            each class, shape (n_images, n_classes).
        probabilities: Out-of-fold probabilities, shape (n_images, n_classes), finite. They come
            from folds that keep groups whole, so nothing is divided here.
        groups: Patient (or lesion, or scan) of each image, shape (n_images,).

    Returns:
        No change where a class has fewer than 50 groups: a temperature fitted on them would be
        noise.

    Source: Guo et al. (2017), "On calibration of modern neural networks", ICML.
    """
    n_classes = probabilities.shape[1]
    shown = membership(labels, n_classes)
    if labels.ndim == 1:
        fewest = min(len(np.unique(groups[of_class])) for of_class in shown.T)
        if fewest < FEWEST_GROUPS:
            return Calibration(temperatures=(1.0,), reason=_too_few(fewest))
        return Calibration(temperatures=(_temperature(shown, probabilities),))
    temperatures, left = [], []
    for k in range(n_classes):
        sides = (shown[:, k], ~shown[:, k])
        if min(len(np.unique(groups[side])) for side in sides) < FEWEST_GROUPS:
            left.append(k)
            temperatures.append(1.0)
        else:
            both = np.column_stack([1 - probabilities[:, k], probabilities[:, k]])
            temperatures.append(_temperature(np.column_stack([sides[1], sides[0]]), both))
    reason = ""
    if left:
        reason = (
            f"not calibrated for {len(left)} of {n_classes} labels, which fewer than "
            f"{FEWEST_GROUPS} groups have or lack"
        )
    return Calibration(temperatures=tuple(temperatures), reason=reason)


def _too_few(fewest: int) -> str:
    return (
        f"not calibrated: the smaller class has {how_many(fewest, 'group')} to fit it on, and "
        f"fewer than {FEWEST_GROUPS} are noise"
    )


def _temperature(shown: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logits = np.log(np.maximum(probabilities, _LOWEST))
    true = logits[shown]

    def log_loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.mean(logsumexp(logits * scale, axis=1) - true * scale))

    return float(np.exp(minimize_scalar(log_loss, bounds=_BOUNDS, method="bounded").x))
