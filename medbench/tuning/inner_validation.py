"""Inner validation: what one configuration scores on folds of the development part."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.batch import LabelledBatch
from medbench.datasets.splits import Indices
from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.evaluation.metrics import auroc
from medbench.features.feature_cache import FeatureCache
from medbench.models.contract import Classifier, Context, ModelFamily, Progress
from medbench.models.per_label import build_classifier
from medbench.models.weights import Weights
from medbench.seeds import derive_seed
from medbench.tuning.tuner import Suggestion, Trial

_SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may be from one (float32 softmax of many classes)."""


@dataclass
class InnerResults:
    """What the inner folds of one trial have given so far."""

    oof: NDArray[np.float64]
    """Out-of-fold probabilities, shape (n_development, n_classes), NaN where not predicted."""
    scores: list[float] = field(default_factory=list)
    """Validation AUROC of each fold done, from 0 to 1."""
    steps: list[int] = field(default_factory=list)
    """The step that was kept in each fold done; empty for families without steps."""
    max_steps: int | None = None
    """Steps that a fit of the configuration runs at most; None where it has not said so."""
    fitted: Classifier | None = None
    """The classifier of the only fold, where ``InnerValidation.fits_model``."""

    @property
    def score(self) -> float | None:
        """Mean validation AUROC of the folds done, from 0 to 1; None before the first."""
        return float(np.mean(self.scores)) if self.scores else None

    @property
    def step(self) -> int | None:
        """Median over the folds of the step that was kept, rounded up; None without steps."""
        return math.ceil(np.median(self.steps)) if self.steps else None


@dataclass(frozen=True, kw_only=True)
class InnerValidation:
    """Builds, fits and validates the classifiers of one family on one development part."""

    family: ModelFamily
    """Builds the classifiers."""
    task: Task
    """What is to be learnt."""
    development: LabelledBatch
    """All images of the development part."""
    folds: Sequence[tuple[Indices, Indices]]
    """Training and validation indices of each inner fold, int64, shape (n_chosen,) each; one pair
    for an official validation."""
    refit_on: Indices
    """Indices of the images that the model learns from, int64, shape (n_chosen,): all, or the
    training part of an official split."""
    features: FeatureCache
    """Vectors of images, for families that use some."""
    weights: Weights | None
    """Pretrained weights; None for a family without any."""
    seed: int
    """Everything random depends on it."""
    threads: int
    """Number of threads that fits may use."""
    checkpoints: Path
    """Where the fitted folds of trials wait that a later trial may train on."""

    def build(self, suggestion: Suggestion, *axes: object) -> Classifier:
        """An unfitted classifier whose seed depends on the named axes."""
        context = Context(
            seed=derive_seed(self.seed, *axes),
            threads=self.threads,
            features=self.features,
            weights=self.weights,
        )
        return build_classifier(self.family, suggestion.params, self.task, context)

    @property
    def fits_model(self) -> bool:
        """Whether the only inner fit learns from what the model is to learn from."""
        return len(self.folds) == 1 and np.array_equal(self.folds[0][0], self.refit_on)

    def evaluate(
        self,
        number: int,
        suggestion: Suggestion,
        progress: Callable[[int], Progress],
        *,
        folds: Sequence[int],
        keep: bool,
        fold_done: Callable[[InnerResults], None],
        results: InnerResults,
    ) -> None:
        """Fit and validate a configuration on inner folds.

        Args:
            number: The trial's; seeds and checkpoints carry it.
            suggestion: What to fit.
            progress: Gives the progress object of each fold.
            folds: On which inner folds, in order.
            keep: Keep the fitted folds for trials that resume this one.
            fold_done: Called after each fold; may end the trial by an exception.
            results: Filled fold by fold, so that an ended trial leaves what it has.
        """
        for fold in folds:
            train, validation = self.folds[fold]
            classifier = self.build(suggestion, "trial", number, "fold", fold)
            results.max_steps = classifier.max_steps
            if suggestion.resume_from is not None:
                classifier.resume(self._checkpoint(suggestion.resume_from, fold))
            held = self.development.take(validation)
            classifier.fit(self.development.take(train), held, progress(fold))
            if self.fits_model:
                results.fitted = classifier
            probabilities = predict(classifier, held, self.task)
            results.oof[validation] = probabilities
            results.scores.append(auroc(held.labels, probabilities, len(self.task.classes)))
            if classifier.best_step is not None:
                results.steps.append(classifier.best_step)
            if keep:
                folder = self._checkpoint(number, fold)
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                classifier.checkpoint(folder)
            fold_done(results)

    def fit_again(self, trial: Trial) -> Classifier:
        """The classifier of a trial that ``can_be_repeated``, equal to that of its first fold."""
        train, validation = self.folds[0]
        suggestion = Suggestion(params=trial.params)
        classifier = self.build(suggestion, "trial", trial.number, "fold", 0)
        held = self.development.take(validation)
        classifier.fit(self.development.take(train), held, _Again(trial))
        return classifier

    def empty_results(self) -> InnerResults:
        """Results before the first fold."""
        return InnerResults(oof=np.full((len(self.development), len(self.task.classes)), np.nan))

    def checkpoint_of(self, number: int) -> Path:
        """Where the fitted folds of a trial are, if they are kept."""
        return self.checkpoints / f"{number:04d}"

    def _checkpoint(self, number: int, fold: int) -> Path:
        return self.checkpoint_of(number) / str(fold)


def can_be_repeated(trial: Trial) -> bool:
    """Whether another fit can be told to end where the only fit of a complete or cut trial did.

    It cannot where that went on from an earlier trial, or was cut at a step of which no score is
    known (as where each class has its own fit).
    """
    return trial.resume_from is None and (trial.state == "complete" or bool(trial.intermediate))


class _Again(Progress):
    """Ends a fit where that of a trial has ended."""

    def __init__(self, trial: Trial) -> None:
        self.last_step = trial.last_step
        self._cut_at = max(trial.intermediate) if trial.state == "cut" else None

    def report(self, step: int, score: float | None = None) -> bool:
        return step != self._cut_at


def predict(classifier: Classifier, batch: Any, task: Task) -> NDArray[np.float64]:
    """Probabilities that were checked, float64, from 0 to 1, shape (n_images, n_classes).

    Args:
        classifier: Fitted; see ``Classifier.predict_proba``.
        batch: The images, as a ``Batch``.
        task: Its classes.

    Raises:
        ModelError: They have another shape, are not finite, or are no probabilities (of exclusive
            classes: do not sum to one).
    """
    n_classes = len(task.classes)
    probabilities = np.asarray(classifier.predict_proba(batch), dtype=np.float64)
    if probabilities.shape != (len(batch), n_classes):
        raise ModelError(
            f"predict_proba returned shape {probabilities.shape} for {len(batch)} images and "
            f"{n_classes} classes; it must be ({len(batch)}, {n_classes})."
        )
    if not np.isfinite(probabilities).all():
        raise ModelError("predict_proba returned values that are not finite.")
    if task.task_type == "multi-label":
        if (probabilities < 0).any() or (probabilities > 1 + _SUM_TOLERANCE).any():
            raise ModelError("predict_proba returned values that are not between 0 and 1.")
        return np.minimum(probabilities, 1.0)
    sums = probabilities.sum(axis=1, keepdims=True)
    if (probabilities < 0).any() or (abs(sums - 1) > _SUM_TOLERANCE).any():
        raise ModelError("predict_proba returned rows that are no probabilities summing to one.")
    normalised: NDArray[np.float64] = probabilities / sums
    return normalised
