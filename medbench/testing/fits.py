"""What the checks of a model family fit: each task once, whichever checks need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.task import Task
from medbench.features.feature_cache import FeatureCache
from medbench.models.contract import Classifier, Context, ModelFamily, Progress
from medbench.models.per_label import build_classifier
from medbench.models.space import SearchSpace
from medbench.models.weights import Weights
from medbench.testing.contract import require
from medbench.testing.synthetic import SyntheticData, multi_label_data, synthetic_data

SEED = 20


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A classifier fitted with validation, and what it said of the validation images then."""

    classifier: Classifier
    """The fitted classifier."""
    steps: list[int]
    """Steps that it reported, in order, counted from 1; empty where it has none."""
    probabilities: NDArray[np.float64]
    """What it said of the validation images, float64, shape (n_images, n_classes)."""


class Fits:
    """What the checks of one family fit; each task is fitted once, whichever checks need it."""

    def __init__(
        self,
        family_class: type[ModelFamily],
        *,
        image_size: int = 32,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Nothing is fitted yet.

        Args:
            family_class: The family.
            image_size: Height and width of the synthetic images in pixels.
            params: Values that replace defaults of the search space; None for none.
        """
        self.family = family_class()
        """The family that is checked."""
        self.params = dict(params or {})
        """Values that replace defaults of the search space."""
        self.image_size = image_size
        """Height and width of the synthetic images in pixels."""
        self._features = FeatureCache(None)
        self._done: dict[Task, Fit] = {}

    @cached_property
    def cases(self) -> list[SyntheticData]:
        """Two classes in grey and three in colour, without those that the family skips."""
        cases = [
            synthetic_data(n_classes=2, channels=1, image_size=self.image_size),
            synthetic_data(n_classes=3, channels=3, image_size=self.image_size),
        ]
        reasons = [self.family.skip(data.task) for data in cases]
        kept = [data for data, reason in zip(cases, reasons, strict=True) if reason is None]
        require(bool(kept), f"skip refuses every synthetic task: {reasons}; try another image_size")
        return kept

    @cached_property
    def kinds(self) -> list[SyntheticData]:
        """Ordered classes and several labels an image, without those that the family skips."""
        rising = synthetic_data(n_classes=3, channels=3, image_size=self.image_size)
        cases = [
            replace(rising, task=replace(rising.task, task_type="ordinal")),
            multi_label_data(self.image_size),
        ]
        return [data for data in cases if self.family.skip(data.task) is None]

    def space(self, task: Task) -> SearchSpace:
        """The family's space for a task."""
        space = SearchSpace()
        self.family.search_space(space, task)
        return space

    def build(self, task: Task, features: FeatureCache | None = None) -> Classifier:
        """An unfitted classifier of the default configuration with ``params`` in it.

        Args:
            task: What is to be learnt.
            features: As in ``again``.
        """
        chosen = {**self.space(task).defaults(), **self.params}
        return build_classifier(self.family, chosen, task, self.context(features))

    def context(self, features: FeatureCache | None = None) -> Context:
        """What a classifier is given; without pretrained weights.

        Args:
            features: As in ``again``.
        """
        weights = None
        if self.family.weights is not None:
            weights = Weights(path=None, sha256=None, note="random weights, for a contract check")
        return Context(seed=SEED, threads=1, features=features or self._features, weights=weights)

    def of(self, data: SyntheticData) -> Fit:
        """The fit of a task, made once.

        Args:
            data: The task with its images.
        """
        if data.task not in self._done:
            self._done[data.task] = self.again(data)
        return self._done[data.task]

    def again(self, data: SyntheticData, features: FeatureCache | None = None) -> Fit:
        """A fit of its own.

        Args:
            data: The task with its images.
            features: Where vectors are kept; None for the cache that all fits share.
        """
        several = data.task.task_type == "multi-label" and not self.family.multi_label
        classifier, progress = self.build(data.task, features), Steps(begins_again=several)
        classifier.fit(data.train, data.validation, progress)
        return Fit(
            classifier=classifier,
            steps=progress.steps,
            probabilities=classifier.predict_proba(data.validation.unlabelled()),
        )

    def count_steps(self) -> bool:
        """Whether the configuration says that it has steps (a frozen backbone has none)."""
        return self.of(self.cases[0]).classifier.best_step is not None


class PrunedError(Exception):
    """Stands for the exception of whatever tuner is used."""


class Steps(Progress):
    """Remembers what was reported, and checks it on the way."""

    def __init__(
        self,
        *,
        stop_after: int | None = None,
        prune_after: int | None = None,
        begins_again: bool = False,
    ) -> None:
        """``begins_again``: whether several classifiers are fitted, one after the other."""
        self.steps: list[int] = []
        self._begins_again = begins_again
        self._stop_after = stop_after
        self._prune_after = prune_after

    def report(self, step: int, score: float | None = None) -> bool:
        """Answer False, or raise, after the number of steps given at the beginning."""
        require(
            step > (self.steps[-1] if self.steps else 0) or (step == 1 and self._begins_again),
            f"progress.report was told step {step} after {self.steps[-1:]}; count steps from 1 up.",
        )
        require(
            score is None or 0 <= score <= 1,
            f"progress.report was told a score of {score}; report the validation AUROC or None.",
        )
        self.steps.append(step)
        if self._prune_after is not None and step >= self._prune_after:
            raise PrunedError
        return self._stop_after is None or step < self._stop_after
