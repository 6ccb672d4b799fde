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
    """Steps that an earlier fit of this classifier has done; 0 where it begins anew."""
    last_step: int | None = None
    """Stop after this many steps in all, with those before ``first_step``; None leaves it to the
    family's own limit."""

    def report(self, step: int, score: float | None = None) -> bool:
        """Say that a step is done.

        A trial that is pruned, or has no time left, ends here by an exception that a family must
        let through.

        Args:
            step: Number of steps that are done in all, counted from 1; it rises with each call.
            score: AUROC on the validation images, from 0 to 1; None where it is not known.

        Returns:
            True to go on. False: stop now and keep the best state so far.
        """
        return True


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a classifier is given besides data and parameters."""

    seed: int
    """Seed of everything random in this classifier, a whole number from 0."""
    threads: int
    """Number of threads it may use, at least 1."""
    features: FeatureCache
    """Cache of image features: ``features.get(extractor, batch)`` gives vectors."""
    weights: Weights | None = None
    """Pretrained weights, for a family that names some in ``ModelFamily.weights``; None for all
    others, and perhaps where a saved classifier is to be loaded."""


class Classifier(ABC):
    """One configuration of a family, before and after it is fitted."""

    best_step: int | None = None
    """After a fit with validation: the step whose state was kept, counted as ``Progress.report``
    counts, for a refit on all data. None for a configuration without steps."""
    max_steps: int | None = None
    """Steps that this configuration runs at most, early stopping aside, set when it is built;
    None for a configuration without steps."""
    device: str | None = None
    """Where it computed, for example ``"cuda:0"``; None where it does not know."""

    @abstractmethod
    def fit(
        self, train: LabelledBatch, validation: LabelledBatch | None, progress: Progress
    ) -> None:
        """Learn from ``train``.

        An error that it raises makes the trial fail; the search goes on with others.

        Args:
            train: Labelled images; a class of the task may be missing in it.
            validation: Labelled images to stop early by; None in a refit, which then runs exactly
                ``progress.last_step`` steps.
            progress: Where to report steps, and how many to run.
        """

    @abstractmethod
    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """Probabilities of the task's classes, float64, from 0 to 1, shape (n_images, n_classes).

        Columns stand in the order of ``Task.classes``. Rows sum to one; of a multi-label task each
        column is the probability that the class is present.

        Args:
            batch: Images without labels, of the same shape as those of ``fit``; at least one.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the fitted state, without pickle.

        Args:
            folder: Exists and is empty; may hold any files and folders afterwards.
        """

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Take the fitted state of another classifier of the same parameters.

        Args:
            folder: What ``save`` wrote; it may be gone afterwards.
        """

    def checkpoint(self, folder: Path) -> None:
        """Write all that a later fit needs to train on; as ``save`` unless that keeps less.

        Args:
            folder: Exists and is empty.
        """
        self.save(folder)

    def resume(self, folder: Path) -> None:
        """Take the state of another classifier of the same parameters, to train on from there.

        Args:
            folder: What ``checkpoint`` wrote.
        """
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
    """Its name in the registry, which sets it."""
    reference: ClassVar[str] = ""
    """The publication to cite: authors, year, title; empty where there is none."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Names of modules that must be importable, beyond MedBench's own dependencies."""
    default_tuner: ClassVar[str] = "optuna"
    """Name of the tuner used where the user asks for none."""
    sanity: ClassVar[bool] = False
    """Whether it only shows what can be had without looking at the content of an image. Such rows
    stand beside every real model and compete with none."""
    weights: ClassVar[str | None] = None
    """Name of the pretrained weights it starts from (see ``medbench.models.weights``); None where
    it starts from none."""
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
    ``network`` (``"onnx"`` alone for a backbone's file, see ``medbench.models.onnx_family``); else
    the name of the open format that ``save`` writes, such as ``"skops"``."""

    @abstractmethod
    def search_space(self, space: SearchSpace, task: Task) -> None:
        """Declare the parameters of a configuration; the defaults are the first trial.

        Args:
            space: Empty; the family adds to it with ``choice``, ``integer`` and ``real``.
            task: What is to be learnt; ranges may depend on it.
        """

    @abstractmethod
    def build(self, params: Mapping[str, Any], task: Task, context: Context) -> Classifier:
        """An unfitted classifier of one configuration.

        Args:
            params: Value of each parameter, by its name; those that are not active are left out.
            task: What is to be learnt.
            context: Seed, threads and what else it may use.
        """

    def refinements(self, params: Mapping[str, Any], task: Task) -> Sequence[Mapping[str, Any]]:
        """Costlier configurations to try last, derived from the best one found so far.

        Args:
            params: The best configuration, as in ``build``.
            task: What is to be learnt.

        Returns:
            Configurations, as in ``build``; they may have parameters that the space has not. Empty,
            as here, for none.
        """
        return ()

    def warm_up(self, threads: int) -> None:  # noqa: B027
        """Import and start what every fit needs, before the seconds of the budget count.

        Args:
            threads: Number of threads that fits may use, at least 1.
        """

    def skip(self, task: Task) -> str | None:
        """Why this family does not apply to a task, in a sentence; None, as here, where it does."""
        return None


def complete_probabilities(
    probabilities: NDArray[Any], present: Sequence[int] | NDArray[Any], n_classes: int
) -> NDArray[np.float64]:
    """Put the columns of the classes seen in training at their places, others at zero.

    Args:
        probabilities: From 0 to 1, shape (n_images, n_present), rows sum to one.
        present: Class index of each column, int, shape (n_present,).
        n_classes: Number of classes of the task.

    Returns:
        float64, shape (n_images, n_classes), rows sum to one.

    Raises:
        IndexError: A class index is not below ``n_classes``.
    """
    complete = np.zeros((len(probabilities), n_classes))
    complete[:, np.asarray(present, dtype=int)] = probabilities
    return complete
