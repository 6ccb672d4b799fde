"""The fitted models whose mean predicts, each with its calibration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medbench import registry
from medbench.cores import available_threads
from medbench.datasets.batch import Batch
from medbench.errors import ConfigurationError, ModelError, UnknownNameError
from medbench.execution.environment import keras_backend
from medbench.execution.requirements import missing_requirement
from medbench.features.cache import FeatureCache
from medbench.files import folder_sha256
from medbench.inference.facts import Facts
from medbench.models.contract import Classifier, Context
from medbench.models.per_label import build_classifier


class Members(Protocol):
    """Fitted models that see the same images."""

    def probabilities(self, batch: Batch) -> NDArray[np.float64]:
        """Calibrated probabilities by each of them, float64, shape (n_models, n_images, n_classes).

        Raises:
            ModelError: A model broke its contract.
        """
        ...

    def networks(self) -> Sequence[Any] | None:
        """Each as a Keras model; None where they are none. See ``Classifier.network``."""
        ...


class FittedMembers:
    """Classifiers as their families save them, read from a folder each."""

    def __init__(self, facts: Facts, folders: Sequence[Path]) -> None:
        """Check and load them.

        Args:
            facts: Which family, configurations and hashes.
            folders: The saved model of each fold.

        Raises:
            ModelError: A folder is gone, or its content is not what was saved there.
            UnknownNameError: The family is not registered.
            ConfigurationError: What the family needs is not installed.
        """
        self._facts = facts
        for fold, folder in zip(facts.folds, folders, strict=True):
            check_unchanged(folder, fold.sha256)
        family = _family(facts.family)
        self._features = FeatureCache(None, threads=available_threads())
        context = Context(seed=0, threads=available_threads(), features=self._features)
        self.classifiers: list[Classifier] = []
        for fold, folder in zip(facts.folds, folders, strict=True):
            classifier = build_classifier(family, fold.params, facts.task, context)
            classifier.load(folder)
            self.classifiers.append(classifier)

    def probabilities(self, batch: Batch) -> NDArray[np.float64]:
        """See ``Members.probabilities``; features that several share are computed once."""
        from medbench.tuning.inner import predict

        try:
            return np.stack(
                [
                    fold.calibration.apply(
                        predict(classifier, batch, self._facts.task),
                        multi_label=self._facts.multi_label,
                    )
                    for fold, classifier in zip(self._facts.folds, self.classifiers, strict=True)
                ]
            )
        finally:
            self._features.forget()

    def networks(self) -> Sequence[Any] | None:
        """See ``Members.networks``."""
        found = [classifier.network() for classifier in self.classifiers]
        return None if any(network is None for network in found) else found


def check_unchanged(folder: Path, sha256: str | None) -> None:
    """Refuse a model that is not the one that was saved.

    Raises:
        ModelError: It is gone, was changed, or there is no hash to tell.
    """
    if not folder.is_dir():
        raise ModelError(
            f"{folder}: the fitted model is not here. Models are left out of the reference results "
            "and of copies without them; run again, or take the whole run folder."
        )
    if not sha256:
        raise ModelError(
            f"{folder}: was written by a version that recorded no hash of its models, so nobody "
            "can say whether it is the model of these scores. Run again into a new folder."
        )
    if folder_sha256(folder) != sha256:
        raise ModelError(
            f"{folder}: its content is not what was saved there (the hash does not match), so the "
            "scores of this run say nothing of it. Take it from a copy, or run again; do not load "
            "model files of unknown origin."
        )


def _family(name: str) -> Any:
    """A family that can be used here.

    Raises:
        UnknownNameError: It is not registered.
        ConfigurationError: What it needs is not installed.
    """
    try:
        family = registry.models.get(name)()
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{error} If it is a plugin's, name its file with --plugin, or install its package."
        ) from error
    if missing := missing_requirement(family):
        raise ConfigurationError(f"model {name!r}: {missing}.")
    if "keras" in family.requires:
        choose_keras_backend()
    return family


def choose_keras_backend() -> None:
    """Have Keras, when it is imported, take a backend that is installed, and say little."""
    backend = keras_backend()
    if backend is not None:
        os.environ.setdefault("KERAS_BACKEND", backend)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
