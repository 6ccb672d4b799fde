"""Several labels an image for families that learn one: a classifier of its own for each class."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.models.contract import Classifier, Context, ModelFamily, Progress

_ABSENT_PRESENT = ("absent", "present")


def build_classifier(
    family: ModelFamily, params: Mapping[str, Any], task: Task, context: Context
) -> Classifier:
    """An unfitted classifier of a configuration, for any task: of several labels one a label."""
    if task.task_type == "multi-label" and not family.multi_label:
        return PerLabel(task, lambda one: family.build(params, one, context))
    return family.build(params, task, context)


class PerLabel(Classifier):
    """One binary classifier a class, fitted one after the other on the same images.

    What one class can tell of another is not used. Where the classifiers count steps, all are
    refitted with the median of the steps at which they stopped.

    Source: binary relevance, as in Read et al. (2011), "Classifier chains for multi-label
    classification", Machine Learning 85.
    """

    def __init__(self, task: Task, build: Callable[[Task], Classifier]) -> None:
        """``build`` makes an unfitted classifier of a binary task."""
        binary = Task(classes=_ABSENT_PRESENT, image_shape=task.image_shape)
        self._classifiers = [build(binary) for _ in task.classes]
        self.max_steps = self._classifiers[0].max_steps

    def fit(
        self, train: LabelledBatch, validation: LabelledBatch | None, progress: Progress
    ) -> None:
        """Fit each class; steps are reported without a score, which only all together have."""
        for k, classifier in enumerate(self._classifiers):
            known = None if validation is None else validation.with_labels(validation.labels[:, k])
            classifier.fit(train.with_labels(train.labels[:, k]), known, _Unscored(progress))
        self._sum_up()

    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """Probability that each class is present, float64, shape (n_images, n_classes).

        Raises:
            ModelError: A classifier returned another shape than (n_images, 2).
        """
        columns = []
        for classifier in self._classifiers:
            probabilities = np.asarray(classifier.predict_proba(batch), dtype=np.float64)
            if probabilities.shape != (len(batch), 2):
                raise ModelError(
                    f"predict_proba returned shape {probabilities.shape} for {len(batch)} images "
                    f"and 2 classes; it must be ({len(batch)}, 2)."
                )
            columns.append(probabilities[:, 1])
        return np.column_stack(columns)

    def save(self, folder: Path) -> None:
        """Write each classifier into a folder of its own."""
        for classifier, own in self._folders(folder):
            own.mkdir()
            classifier.save(own)

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote."""
        for classifier, own in self._folders(folder):
            classifier.load(own)
        self._sum_up()

    def checkpoint(self, folder: Path) -> None:
        """See ``Classifier.checkpoint``; each classifier has a folder of its own."""
        for classifier, own in self._folders(folder):
            own.mkdir()
            classifier.checkpoint(own)

    def resume(self, folder: Path) -> None:
        """Read what ``checkpoint`` wrote."""
        for classifier, own in self._folders(folder):
            classifier.resume(own)
        self._sum_up()

    def _folders(self, folder: Path) -> list[tuple[Classifier, Path]]:
        return [(each, folder / str(k)) for k, each in enumerate(self._classifiers)]

    def _sum_up(self) -> None:
        """Say of all what each says of itself."""
        self.best_step = _median([c.best_step for c in self._classifiers])
        self.device = self._classifiers[0].device


class _Unscored(Progress):
    """Hands steps on, so that the budget can end the fit, but not the score of one class."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.first_step = progress.first_step
        self.last_step = progress.last_step

    def report(self, step: int, score: float | None = None) -> bool:
        return self._progress.report(step)


def _median(steps: Sequence[int | None]) -> int | None:
    counted = [step for step in steps if step is not None]
    return math.ceil(np.median(counted)) if counted else None
