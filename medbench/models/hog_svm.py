"""Histograms of oriented gradients and a support vector machine: the classical baseline."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.atomic_files import read_json
from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.splits import group_folds
from medbench.datasets.task import Task
from medbench.errors import ModelError, ProtocolError
from medbench.features.augmentation import augmentations
from medbench.features.extractor import Extractor
from medbench.features.hog import Hog, HogPyramid
from medbench.models.contract import (
    Classifier,
    Context,
    ModelFamily,
    Progress,
    complete_probabilities,
)
from medbench.models.persistence import load_sklearn, save_sklearn
from medbench.models.space import SearchSpace

_CALIBRATION_FOLDS = 3
"""Each costs one more fit of the machine; a sigmoid has two numbers and needs no more."""
_MOST_ITERATIONS = 100_000
"""Ends a machine that does not converge (a linear one with a large C) after seconds, not hours;
one that does needed 22,000 on 10,000 noisy examples."""
_MOST_IMAGES = 5_000
"""A machine learns from no more: its cost grows with the square of their number (on features
without signal 5,000 images took 26 s beside other work), and a budget is for several trials."""
_MOST_PRODUCTS = 2e10
"""Nor from more than this, divided by its numbers of an image, is the square of: 5,232 images of
4,080 numbers took two minutes, and no trial can be ended in between."""
_MOST_AUGMENTED = 4e9
"""Augmented images are learnt from as long as the same product stays below this, which takes a
second or two: all four of 450 images of 760 numbers."""
_MODEL_FILE = "model.skops"
_STATE_FILE = "state.json"


class HogSvm(ModelFamily):
    """Histogram of oriented gradients, support vector machine.

    Histograms are normalised in blocks, as Dalal and Triggs had it, or left as they are, so that
    the strength of edges stays, and taken at several scales.
    The few settings of the histograms are shared by all trials through the feature cache, so
    a trial costs little more than the fit of the machine. Of more than 5,000 training images it
    learns from a random 5,000, with each class in its proportion, and from fewer where each has
    more than 800 numbers and these are not brought down to components. Of few images it learns from
    augmented ones as well, and then predicts the mean over an image and these of it.
    """

    reference = (
        "Dalal & Triggs (2005), Histograms of oriented gradients for human detection, CVPR; "
        "Cortes & Vapnik (1995), Support-vector networks, Machine Learning 20"
    )
    export_formats = ("skops",)

    def search_space(self, space: SearchSpace, task: Task) -> None:
        """Declare the parameters; the default is an RBF machine on gradient energies, C=10.

        Energies of a 6 x 6 grid in four directions at four scales are the first choice and not
        blocks: they are cheaper (760 numbers of an image of 64 px), and told more on grouped folds
        of phantoms, brain-mri and covid-or-pneumonia. Grids of 5 x 5 and 8 x 8 and six directions
        told as much (``results/ablation.md``).
        """
        space.choice("normalisation", ("none", "block"))
        space.choice("side", (32, 64, 128), default=64)
        space.choice("cells", (4, 6, 8, 16), default=6)
        space.choice("orientations", (4, 6, 9, 12), default=4)
        space.choice("pca", (False, True))
        space.integer("components", 8, 256, default=64, log=True, when={"pca": True})
        space.choice("kernel", ("rbf", "linear"))
        space.real("C", 1e-3, 1e3, default=10.0, log=True)
        space.real("gamma", 0.01, 10.0, default=0.1, log=True, when={"kernel": "rbf"})
        space.choice("class_weight", ("balanced", "none"))
        space.choice("augmentation", ("light", "none"))

    def build(self, params: Mapping[str, Any], task: Task, context: Context) -> Classifier:
        """An unfitted classifier of one configuration."""
        return _HogSvmClassifier(params, task, context)


class _HogSvmClassifier(Classifier):
    """Scaling, components, machine, and a sigmoid fitted on predictions for unseen patients."""

    def __init__(self, params: Mapping[str, Any], task: Task, context: Context) -> None:
        self._params = dict(params)
        self._n_classes = len(task.classes)
        self._context = context
        histograms = HogPyramid if params["normalisation"] == "none" else Hog
        self._extractor: Extractor = histograms(
            side=params["side"], cells=params["cells"], orientations=params["orientations"]
        )
        # Runs of earlier versions name no augmentation, and had none.
        augmented = params.get("augmentation", "none") == "light"
        self._augmentations = augmentations(self._extractor) if augmented else []
        self._n_augmented = 0
        """Augmented images of each that it has learnt from, and predicts by."""
        self._present: list[int] = []
        self._model: Any = None

    def fit(
        self, train: LabelledBatch, validation: LabelledBatch | None, progress: Progress
    ) -> None:
        """Fit the machine and its sigmoid on ``train``; ``validation`` is not used.

        Probabilities follow Platt: sigmoids are fitted on margins of images whose patient the
        machine had not seen. Where the patients cannot be divided so that every class is on
        both sides (a class with one patient, say), the margins pass through a fixed
        logistic function instead: the order of the images is the same, and only the
        confidence, which the evaluation calibrates again, is not fitted.

        Source: Platt (1999), "Probabilistic outputs for support vector machines".
        """
        seed = self._context.seed
        train = train.take(_sample(train.labels, _MOST_IMAGES, seed))
        n_features = self._context.features.get(self._extractor, train).shape[1]
        if not self._params["pca"]:
            few = _sample(train.labels, math.isqrt(int(_MOST_PRODUCTS) // n_features), seed)
            train = train.take(few)
        present, of_images = np.unique(train.labels, return_inverse=True)
        self._present = present.tolist()
        self._model = None
        if len(present) == 1:
            return
        self._n_augmented = self._affordable(len(train), n_features)
        features = np.concatenate(self._versions(train))
        labels, groups = (
            np.tile(of_image, 1 + self._n_augmented) for of_image in (of_images, train.groups)
        )
        splits = calibration_splits(labels, groups, seed=seed)
        fit_sizes = [len(inner) for inner, _ in splits] or [len(labels)]
        pipeline = self._pipeline(features.shape[1], min(fit_sizes))
        if splits:
            from sklearn.calibration import CalibratedClassifierCV

            # Scaler and components know no labels, so they are fitted once, not once a split.
            machine = CalibratedClassifierCV(
                pipeline.named_steps["classify"], method="sigmoid", ensemble=False, cv=splits
            )
            pipeline.set_params(classify=machine)
        with self._threads():
            self._model = pipeline.fit(features, labels)
        if splits:
            calibrated = machine.calibrated_classifiers_[0]
            if any(sigmoid.a_ > 0 for sigmoid in calibrated.calibrators):
                # Margins without signal can fit a falling sigmoid, which would turn the order
                # of the images round.
                self._model.set_params(classify=calibrated.estimator)
            else:
                # The row numbers of the splits have served; they do not belong in a saved model.
                machine.set_params(cv=len(splits))

    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """Probabilities of the task's classes, float64, shape (n_images, n_classes)."""
        if not self._present:
            raise ModelError("hog-svm: fit or load the classifier before predicting.")
        if self._model is None:
            probabilities = np.ones((len(batch), 1))
        else:
            features = np.concatenate(self._versions(batch))
            with self._threads():
                if hasattr(self._model, "predict_proba"):
                    said = self._model.predict_proba(features)
                else:
                    said = _logistic(self._model.decision_function(features))
            probabilities = said.reshape(1 + self._n_augmented, len(batch), -1).mean(axis=0)
        return complete_probabilities(probabilities, self._present, self._n_classes)

    def save(self, folder: Path) -> None:
        """Write the machine as a skops file, and the classes it knows as JSON."""
        if not self._present:
            raise ModelError("hog-svm: fit the classifier before saving it.")
        (folder / _STATE_FILE).write_text(
            json.dumps({"present": self._present, "augmented": self._n_augmented})
        )
        if self._model is not None:
            save_sklearn(self._model, folder / _MODEL_FILE)

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote."""
        state = read_json(folder / _STATE_FILE)
        self._present = state["present"]
        self._n_augmented = state["augmented"] if self._augmentations else 0
        constant = len(self._present) == 1
        self._model = None if constant else load_sklearn(folder / _MODEL_FILE)

    def _affordable(self, n_images: int, n_features: int) -> int:
        """Copies that it can learn from without much loss of time."""
        most = math.isqrt(int(_MOST_AUGMENTED) // n_features) // n_images
        return min(len(self._augmentations), max(most - 1, 0))

    def _versions(self, batch: Batch) -> list[NDArray[np.float32]]:
        """Histograms of the images, then of their augmented ones that count."""
        extractors = [self._extractor, *self._augmentations[: self._n_augmented]]
        return [self._context.features.get(each, batch) for each in extractors]

    def _threads(self) -> AbstractContextManager[Any]:
        """One BLAS thread for a machine on whole histograms.

        It takes millions of dot products. From 10,000 numbers on OpenBLAS divides each among
        threads, which then wait for each other at every one: beside another busy process a fit
        took 170 s instead of 3.
        """
        if self._params["pca"]:
            return nullcontext()
        limits: AbstractContextManager[Any] = _thread_pools().limit(limits=1, user_api="blas")
        return limits

    def _pipeline(self, n_features: int, fit_size: int) -> Any:
        """The unfitted steps, for ``fit_size`` images at least.

        ``gamma`` is a multiple of one over the number of features. On standardised features
        that is what scikit-learn calls "scale"; unlike it, it means the same with and without
        components, since leaving small components out hardly changes a distance.
        """
        from sklearn.decomposition import PCA
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        params = self._params
        seed = self._context.seed
        steps: list[tuple[str, Any]] = [("scale", StandardScaler())]
        if params["pca"]:
            components = min(params["components"], n_features, fit_size)
            steps.append(
                ("reduce", PCA(components, svd_solver="randomized", random_state=seed)),
            )
        machine = SVC(
            C=params["C"],
            kernel=params["kernel"],
            gamma=params.get("gamma", 1.0) / n_features,
            class_weight="balanced" if params["class_weight"] == "balanced" else None,
            max_iter=_MOST_ITERATIONS,
            random_state=seed,
        )
        return Pipeline([*steps, ("classify", machine)])


def _sample(labels: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Indices of at most so many images, the classes in proportion and none lost."""
    if len(labels) <= most:
        return np.arange(len(labels))
    random = np.random.default_rng(seed)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = random.permutation(np.flatnonzero(labels == label))
        position[of_class] = np.arange(len(of_class)) / len(of_class)
    return np.sort(np.argsort(position, kind="stable")[:most])


def calibration_splits(
    labels: NDArray[np.int64], groups: NDArray[np.int64], *, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Grouped divisions of the training part; none where a class has too few patients."""
    try:
        return group_folds(labels, groups, folds=_CALIBRATION_FOLDS, seed=seed)
    except ProtocolError:
        return []


@cache
def _thread_pools() -> Any:
    """What sets the threads of BLAS, found once: that takes longer than to predict an image."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _logistic(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows that sum to one, from margins of shape (n_images,) or (n_images, n_classes)."""
    if margins.ndim == 1:
        margins = np.column_stack([np.zeros_like(margins), margins])
    exponents = np.exp(margins - margins.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True), dtype=np.float64)
