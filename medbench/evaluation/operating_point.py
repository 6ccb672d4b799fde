"""Where to cut a probability: the threshold is chosen on development data and then frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.task import TaskType
from medbench.errors import ProtocolError
from medbench.evaluation.metrics import Threshold

_TIE = 1e-12
"""Differences of the index below this are rounding, not a better threshold."""


_UNDEFINED = 0.5
"""Threshold of a label that all or none of the images have."""


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """The rule by which a threshold is chosen on development predictions.

    Making one raises a ``ProtocolError`` where the rule cannot be followed.
    """

    rule: Literal["youden", "sensitivity", "specificity"] = "youden"
    """``youden``, or which of the two must be reached."""
    at_least: float | None = None
    """Share that must be reached, above 0 and up to 1; None with ``youden``."""

    def __post_init__(self) -> None:
        wanted = self.at_least
        if (self.rule == "youden") != (wanted is None) or not (wanted is None or 0 < wanted <= 1):
            raise ProtocolError(
                f"an operating point cannot reach a {self.rule} of {wanted}: give a number above 0 "
                "and up to 1, such as 0.95."
            )

    def __str__(self) -> str:
        return self.rule if self.at_least is None else f"{self.rule} {self.at_least:g}"

    @classmethod
    def given(cls, sensitivity: float | None, specificity: float | None) -> OperatingPoint | None:
        """The point of a least sensitivity or specificity; None where neither is given.

        Raises:
            ProtocolError: It cannot be reached.
        """
        if sensitivity is not None:
            return cls(rule="sensitivity", at_least=sensitivity)
        if specificity is not None:
            return cls(rule="specificity", at_least=specificity)
        return None

    @classmethod
    def parse(cls, text: str) -> OperatingPoint:
        """What ``str`` gave.

        Args:
            text: As ``"youden"`` or ``"sensitivity 0.95"``.

        Raises:
            ProtocolError: It is nothing that ``str`` gives.
        """
        rule, _, at_least = text.partition(" ")
        try:
            if rule in ("youden", "sensitivity", "specificity"):
                return cls(rule=rule, at_least=float(at_least) if at_least else None)  # type: ignore[arg-type]
        except ValueError:
            pass
        raise ProtocolError(f"{text!r} is no operating point, such as youden or sensitivity 0.95.")

    def threshold(self, labels: NDArray[Any], scores: NDArray[Any]) -> float:
        """The threshold, to be used as ``score >= t``; always finite.

        ``youden`` has the highest sensitivity + specificity - 1. ``sensitivity`` has, of the
        thresholds that reach it, the highest specificity, and the other way round. It lies halfway
        between the lowest score that is called positive and the next lower one, so that new scores
        on either side of the gap are treated alike; where nothing lies below, it is that lowest
        score itself. Of equally good thresholds the highest (most specific) is taken. Where
        nothing but calling all images negative would do, those with the highest score are called
        positive.

        Args:
            labels: 1 for a positive image, 0 for a negative one, int, shape (n_images,).
            scores: The higher, the more likely positive, shape (n_images,), finite.

        Raises:
            ProtocolError: Labels other than 0 and 1, only one of them, shapes that differ, or a
                score that is not finite.

        Source: Youden (1950), "Index for rating diagnostic tests", Cancer 3(1).
        """
        from sklearn.metrics import roc_curve

        labels, scores = _checked(labels, scores)
        curve = roc_curve(labels, scores, drop_intermediate=False)
        # the first threshold is infinite
        false_positive, sensitivity, thresholds = (column[1:] for column in curve)
        merit = sensitivity - false_positive
        if self.at_least is not None:
            reached = sensitivity if self.rule == "sensitivity" else 1 - false_positive
            other = 1 - false_positive if self.rule == "sensitivity" else sensitivity
            merit = np.where(reached >= self.at_least - _TIE, other, -1.0)
        lowest_positive = float(thresholds[np.argmax(merit >= merit.max() - _TIE)])
        lower = scores[scores < lowest_positive]
        if not len(lower):
            return lowest_positive
        below = float(lower.max())
        middle = lowest_positive / 2 + below / 2
        # between two neighbouring floating-point numbers there is no middle
        return middle if below < middle <= lowest_positive else lowest_positive

    def thresholds(
        self, labels: NDArray[Any], probabilities: NDArray[np.float64], task_type: TaskType
    ) -> Threshold:
        """What a task of any type is decided by; see ``medbench.evaluation.metrics.decide``.

        Args:
            labels: Class index of each image, shape (n_images,); or of a multi-label task 0 or 1
                for each class, shape (n_images, n_classes).
            probabilities: Shape (n_images, n_classes), finite.
            task_type: The type of the task.

        Returns:
            Of a binary task one threshold; of a multi-label task one a label, .5 for a label that
            all or none of the images have; None for several exclusive classes, of which the most
            probable is decided.

        Raises:
            ProtocolError: As ``threshold``.
        """
        if task_type == "binary":
            return self.threshold(labels, probabilities[:, 1])
        if task_type != "multi-label":
            return None
        return [
            self.threshold(labels[:, k], probabilities[:, k])
            if len(np.unique(labels[:, k])) == 2
            else _UNDEFINED
            for k in range(labels.shape[1])
        ]


YOUDEN = OperatingPoint()


def _checked(
    labels: NDArray[Any], scores: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.float64]]:
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
    return labels, scores
