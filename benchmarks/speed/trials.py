"""Trials in a bare loop: fit and score configurations on folds, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medbench.datasets.batch import LabelledBatch
from medbench.datasets.splits import Indices
from medbench.datasets.task import Task
from medbench.evaluation.metrics import auroc
from medbench.features.feature_cache import FeatureCache
from medbench.models.contract import Classifier, Context, ModelFamily, Progress
from medbench.models.weights import Weights


def weights_from(weights_dir: Path | None, name: str) -> Weights:
    """Weights of a folder, else random ones; nothing is downloaded."""
    from medbench.models.weights import find_weights

    nothing = Weights(path=None, sha256=None, note="no pretrained weights")
    return find_weights(name, weights_dir, _silent, download=False) if weights_dir else nothing


def _silent(text: str) -> None:
    """Nobody reads the lines of a benchmark's child."""


def fold_score(
    classifier: Classifier,
    development: LabelledBatch,
    fold: tuple[Indices, Indices],
    n_classes: int,
) -> float:
    """Fit on one side of a fold and give the AUROC on the other."""
    train, validation = (development.take(part) for part in fold)
    classifier.fit(train, validation, Progress())
    return auroc(validation.labels, classifier.predict_proba(validation), n_classes)


def trial_score(
    family: ModelFamily,
    params: dict[str, Any],
    task: Task,
    development: LabelledBatch,
    folds: Sequence[tuple[Indices, Indices]],
    features: FeatureCache,
    weights: Weights | None,
    threads: int,
) -> list[float]:
    """AUROC of one configuration on each fold, all with the same seed."""
    context = Context(seed=0, threads=threads, features=features, weights=weights)
    return [
        fold_score(family.build(params, task, context), development, fold, len(task.classes))
        for fold in folds
    ]
