"""What a model family is: all that a plugin author must know."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.task import Task
from medbench.features.feature_cache import FeatureCache
from medbench.models.space import SearchSpace
from medbench.models.weights import Weights


class Progress:
    """How a fit tells where it is, and learns how far it may go.

    A step is whatever a family counts: an epoch, a boosting round.
    """

    first_step: int = 0
    """Steps that were already done by an earlier fit of this classifier (see ``last_step``)."""
    last_step: int | None = None
    """Stop after this many steps in all; None leaves it to the family's own limit."""

    def report(self, step: int, score: float | None = None) -> bool:
        """Say that ``step`` steps are done (counted from 1), with the validation AUROC if known.

        Returns:
            True to go on. False: stop now and keep the best state so far.

        A trial that is pruned ends here by an exception that a family must let through.
        """
        return True


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a classifier is given besides data and parameters."""

    seed: int
    """Seed of everything random in this classifier."""
    threads: int
    """Number of threads it may use."""
    features: FeatureCache
    """Cache of image features; see ``medbench.features``."""
    weights: Weights | None = None
    """Pretrained weights, for a family that names some in ``weights``."""


class Classifier(ABC):
    """One configuration of a family, before and after it is fitted."""

    best_step: int | None = None
    """After a fit with validation: the step whose state was kept, for a refit on all data.
    None for a configuration without steps."""
    max_steps: int | None = None
    """Steps that this configuration runs at most, early stopping aside, set when it is built;
    None for a configuration without steps."""
    device: str | None = None
    """Where it computed, if it knows, for example ``"cuda:0"``."""

    @abstractmethod
    def fit(
        self, train: LabelledBatch, validation: LabelledBatch | None, progress: Progress
    ) -> None:
        """Learn from ``train``.

        Args:
            train: Labelled images; a class of the task may be missing in it.
            validation: Labelled images to stop early by; None in a refit, which then runs exactly
                ``progress.last_step`` steps.
            progress: Where to report steps, and how many to run.
        """

    @abstractmethod
    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """Probabilities of the task's classes, float64, shape (n_images, n_classes).

        Rows sum to one; of a multi-label task each column is the probability that the class is
        present.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the fitted state into an existing empty folder, without pickle."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Take the fitted state from a folder that ``save`` wrote with the same parameters."""

    def checkpoint(self, folder: Path) -> None:
        """Write all that a later fit needs to train on; as ``save`` unless that keeps less."""
        self.save(folder)

    def resume(self, folder: Path) -> None:
        """Take the state from a folder that ``checkpoint`` wrote, to be trained on from there."""
        self.load(folder)

    def network(self) -> Any | None:
        """The fitted classifier as one Keras model, by which it is explained and exported.

        Takes uint8 images, shape (n, height, width, channels), and ends in a dense layer called
        ``"probabilities"``. None, as here, for a classifier that is no network. What belongs to
        training only (augmentation, dropout) may be left in; see
        ``medbench.models.inference_graph``.
        """
        return None


class ModelFamily(ABC):
    """A way to build classifiers, with the space of its configurations.

    A module that defines a family must be cheap to import: heavy libraries belong inside the
    methods that use them.
    """

    name: ClassVar[str] = ""
    """Set by the registry."""
    reference: ClassVar[str] = ""
    """The publication to cite."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Modules that must be importable, beyond MedBench's own dependencies."""
    default_tuner: ClassVar[str] = "optuna"
    """Name of the tuner used where the user asks for none."""
    sanity: ClassVar[bool] = False
    """Whether it only shows what can be had without looking at the content of an image. Such rows
    stand beside every real model and compete with none."""
    weights: ClassVar[str | None] = None
    """Name of the pretrained weights it starts from (see ``medbench.models.weights``)."""
    max_steps: ClassVar[int | None] = None
    """Most steps (epochs, rounds) of a fit of a searched configuration; None where it has none."""
    step_name: ClassVar[str] = "step"
    """What a step is called, in the singular, such as ``"epoch"``."""
    screened: ClassVar[bool] = False
    """Whether a configuration is first tried on one inner fold, and only the best one gets all of
    them: for families of which a single fit is dear."""
    pruned: ClassVar[bool] = True
    """Whether a configuration is given up where its first inner folds are poor beside others'.
    Not for families of which a fit takes little: hardly any time is saved, and where images are
    few a good configuration may be poor on one fold by chance."""
    multi_label: ClassVar[bool] = False
    """Whether its classifiers learn several labels an image by themselves. Of other families
    MedBench fits one classifier a class (see ``medbench.models.per_label``)."""

    export_formats: ClassVar[tuple[str, ...]] = ()
    """How its saved classifiers can be passed on: ``"onnx"`` and ``"keras"`` for one that has a
    ``network``; else the name of the open format that ``save`` writes, such as ``"skops"``."""

    @abstractmethod
    def search_space(self, space: SearchSpace, task: Task) -> None:
        """Declare the parameters of a configuration; the defaults are the first trial."""

    @abstractmethod
    def build(self, params: Mapping[str, Any], task: Task, context: Context) -> Classifier:
        """An unfitted classifier of one configuration."""

    def refinements(self, params: Mapping[str, Any], task: Task) -> Sequence[Mapping[str, Any]]:
        """Costlier configurations to try last, derived from the best one found so far."""
        return ()

    def warm_up(self, threads: int) -> None:  # noqa: B027
        """Import and start what every fit needs, before the seconds of the budget count.

        Args:
            threads: Number of threads that fits may use.
        """

    def skip(self, task: Task) -> str | None:
        """Why this family does not apply to a task, or None."""
        return None


def complete_probabilities(
    probabilities: NDArray[Any], present: Sequence[int] | NDArray[Any], n_classes: int
) -> NDArray[np.float64]:
    """Put the columns of the classes seen in training at their places, others at zero.

    Args:
        probabilities: Shape (n_images, n_present), rows sum to one.
        present: Class index of each column.
        n_classes: Number of classes of the task.

    Returns:
        float64, shape (n_images, n_classes).
    """
    complete = np.zeros((len(probabilities), n_classes))
    complete[:, np.asarray(present, dtype=int)] = probabilities
    return complete
