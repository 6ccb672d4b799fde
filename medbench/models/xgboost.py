"""Gradient-boosted trees on image features; which features is part of the search."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.atomic_files import read_json
from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.task import Task, membership
from medbench.errors import ModelError
from medbench.evaluation.metrics import auroc
from medbench.features.augmentation import N_AUGMENTATIONS, augmentations
from medbench.features.extractor import Extractor
from medbench.features.hog import Hog, HogPyramid
from medbench.features.intensity import Intensity
from medbench.features.pixels import Pixels
from medbench.features.texture import Gabor, Glcm, Lbp
from medbench.models.contract import (
    Classifier,
    Context,
    ModelFamily,
    Progress,
    complete_probabilities,
)
from medbench.models.space import SearchSpace
from medbench.opening import MODEL, read_regular

_MAX_ROUNDS = 300
"""By grouped inner folds the best round was at the default learning rate nearly always among the
first hundred; a slower configuration may use three times as many."""
_PATIENCE = 25
"""Rounds without a lower validation loss after which a fit ends."""
_PREDICTION_THREADS = 1
"""What a saved booster predicts with: more threads wait for each other longer than they work (one
image by three boosters took 311 ms beside busy processes, and 31 with one thread)."""
_BOOSTER_FILE = "booster.ubj"
_STATE_FILE = "state.json"
_BOOSTER_PARAMETERS = (
    "learning_rate",
    "max_depth",
    "min_child_weight",
    "subsample",
    "colsample_bytree",
    "reg_lambda",
    "reg_alpha",
)
_ALWAYS: Extractor = Intensity()
_OPTIONAL: dict[str, Extractor] = {
    "hog": Hog(cells=4),
    "energies": HogPyramid(),
    "lbp": Lbp(),
    "glcm": Glcm(),
    "gabor": Gabor(),
    "pixels": Pixels(),
}
"""Feature groups that a configuration may leave out; brightness is cheap and always there.

Trees pick single values, so a coarse grid of gradients serves them as well as a fine one: on 253
brain MR images 4 cells a side gave the AUROC of 8 in a third of the time.
"""
_BINS = 32
"""Levels of each feature that trees tell apart. With few images most of a round goes into counting
them: 32 take a third of the time of XGBoost's 256, for the same AUROC (``results/ablation.md``)."""
_MOST_AUGMENTED = 2_500
"""Images, augmented ones among them, up to which these are learnt from: each costs as much."""
_DEAREST = "hog"
"""The group that the first configuration leaves out. It costs as much as the two next ones of
images of 128 px, and told little beside them: by grouped inner folds .858 with it and .856 without
on brain-mri. The gradient energies, which ``hog-svm`` sees by default, cost half of it and told
more (``results/ablation.md``)."""


class XGBoost(ModelFamily):
    """Gradient-boosted trees on gradients, texture, brightness and a thumbnail of the image.

    Of few images they learn from augmented ones as well, and then predict the mean over an image
    and these of it.
    """

    reference = "Chen & Guestrin (2016), XGBoost: a scalable tree boosting system, KDD"
    requires = ("xgboost",)
    export_formats = ("xgboost",)
    max_steps = _MAX_ROUNDS
    step_name = "round"
    multi_label = True

    def search_space(self, space: SearchSpace, task: Task) -> None:
        """Declare which feature groups are used, and the booster's parameters."""
        for name in _OPTIONAL:
            first = name != _DEAREST
            space.choice(name, (first, not first))
        space.real("learning_rate", 0.03, 0.3, default=0.12, log=True)
        space.integer("max_depth", 2, 8, default=3)
        space.real("min_child_weight", 0.3, 10.0, default=1.0, log=True)
        space.real("subsample", 0.5, 1.0, default=0.8)
        space.real("colsample_bytree", 0.05, 1.0, default=0.2, log=True)
        space.real("reg_lambda", 0.1, 100.0, default=1.0, log=True)
        space.real("reg_alpha", 1e-3, 10.0, default=1e-2, log=True)
        space.choice("class_weight", ("balanced", "none"))
        space.choice("augmentation", ("light", "none"))

    def build(self, params: Mapping[str, Any], task: Task, context: Context) -> Classifier:
        """An unfitted classifier of one configuration."""
        return XGBoostClassifier(params, task, context)


class XGBoostClassifier(Classifier):
    """A booster with the number of rounds at which its validation loss was lowest.

    All rounds that were boosted are kept, so that a later fit can go on from the last one;
    predictions use those up to ``best_step``.
    """

    device: str | None = None
    """Where the booster really ran ("cpu", "cuda:0"); None before it was fitted."""

    def __init__(self, params: Mapping[str, Any], task: Task, context: Context) -> None:
        self._params = dict(params)
        self._n_classes = len(task.classes)
        self._multi_label = task.task_type == "multi-label"
        self._context = context
        self.max_steps = _MAX_ROUNDS
        self._extractors = [
            _ALWAYS,
            # Runs of earlier versions do not name all groups, and left those out.
            *(extractor for name, extractor in _OPTIONAL.items() if params.get(name, False)),
        ]
        # Runs of earlier versions name no augmentation, and had none.
        self._augmented = params.get("augmentation", "none") == "light"
        self._n_augmented = 0
        """Copies that it has learnt from, and predicts by."""
        self._present: list[int] = []
        self._booster: Any = None
        self._best_loss: float | None = None

    def fit(
        self, train: LabelledBatch, validation: LabelledBatch | None, progress: Progress
    ) -> None:
        """Boost until the validation loss stops falling, or for ``progress.last_step`` rounds.

        Early stopping watches the log loss (with the class weights of the training part): it
        moves with every round, where the AUROC of a small validation part stands still or
        jumps. The AUROC is what is reported to ``progress``. Both are of the images without their
        augmented ones, which would cost each round several predictions. Of a multi-label task every
        round boosts one tree a label, unweighted, and the loss is the mean over the labels.
        """
        import xgboost

        present = self._classes_in(train.labels)
        affordable = min(max(_MOST_AUGMENTED // len(train) - 1, 0), N_AUGMENTATIONS)
        self._n_augmented = affordable if self._augmented else 0
        if progress.first_step == 0 or present != self._present:
            self._booster, self._best_loss, self.best_step = None, None, None
        self._present = present
        if len(present) == 1:
            return
        balanced = self._params["class_weight"] == "balanced" and not self._multi_label
        weights = _class_weights(train.labels, self._n_classes, balanced=balanced)
        evals: list[tuple[Any, str]] = []
        score: Callable[[Any], float | None] = _no_score
        if validation is not None:
            known = validation
            if not self._multi_label:
                # The loss of a class that was never seen is infinite whatever the booster does.
                known = validation.take(np.flatnonzero(np.isin(validation.labels, present)))
            evals = [(self._labelled_matrix(known, weights), "validation")] if len(known) else []
            score = self._scorer(
                validation,
                # XGBoost keeps adding up its predictions for a matrix that it also evaluates.
                evals[0][0] if len(known) == len(validation) else self._matrix(validation),
            )
        done = self._booster.num_boosted_rounds() if self._booster else 0
        follow = _Follow(progress, score, best_step=self.best_step, best_loss=self._best_loss)
        self._booster = xgboost.train(
            self._settings(len(present), device="cuda" if has_cuda() else "cpu", done=done),
            self._labelled_matrix(train, weights, n_augmented=self._n_augmented),
            num_boost_round=max((progress.last_step or _MAX_ROUNDS) - done, 0),
            evals=evals,
            callbacks=[_as_callback(follow.after_round)],
            xgb_model=self._booster,
            verbose_eval=False,
        )
        self.best_step, self._best_loss = follow.best_step, follow.best_loss
        # A build or machine without CUDA only warns and goes on without it, so ask the booster.
        config = json.loads(self._booster.save_config())
        self.device = config["learner"]["generic_param"]["device"]

    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """Probabilities of the task's classes, float64, shape (n_images, n_classes)."""
        if not self._present:
            raise ModelError("xgboost: fit or load the classifier before predicting.")
        if self._booster is None:
            return complete_probabilities(np.ones((len(batch), 1)), self._present, self._n_classes)
        said = [
            self._predict(self._booster, self._matrix(batch, version), self.best_step or 0)
            for version in range(1 + self._n_augmented)
        ]
        return np.asarray(np.mean(said, axis=0))

    def save(self, folder: Path) -> None:
        """Write the rounds that predict in XGBoost's own binary JSON, and of which classes."""
        self._write(folder, None if self._booster is None else self._booster[: self.best_step])

    def checkpoint(self, folder: Path) -> None:
        """Write all rounds, which a later fit goes on from."""
        self._write(folder, self._booster)

    def _write(self, folder: Path, booster: Any) -> None:
        if not self._present:
            raise ModelError("xgboost: fit the classifier before saving it.")
        state = {
            "present": self._present,
            "augmented": self._n_augmented,
            "best_step": self.best_step,
            "best_loss": self._best_loss,
            "device": self.device,
        }
        (folder / _STATE_FILE).write_text(json.dumps(state))
        if booster is not None:
            # save_model says nothing of a disk that is full
            (folder / _BOOSTER_FILE).write_bytes(booster.save_raw("ubj"))

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote; predictions then run on this machine's own device."""
        import xgboost

        state = read_json(folder / _STATE_FILE)
        self._present = state["present"]
        self._n_augmented = state["augmented"] if self._augmented else 0
        self.best_step = state["best_step"]
        self._best_loss = state["best_loss"]
        self.device = state["device"]
        self._booster = None
        if len(self._present) > 1:
            device = "cuda" if has_cuda() else "cpu"
            self._booster = xgboost.Booster(
                {"nthread": _PREDICTION_THREADS, "device": device},
                model_file=bytearray(read_regular(folder / _BOOSTER_FILE, MODEL)),
            )

    def _predict(self, booster: Any, matrix: Any, rounds: int) -> NDArray[np.float64]:
        """Of the first ``rounds`` rounds, or of all of them where that is 0."""
        raw = booster.predict(matrix, iteration_range=(0, rounds)).astype(np.float64)
        if self._multi_label:
            return np.asarray(raw)
        if raw.ndim == 1:
            raw = np.column_stack([1 - raw, raw])
        raw /= raw.sum(axis=1, keepdims=True)
        return complete_probabilities(raw, self._present, self._n_classes)

    def _features(self, batch: Batch, version: int) -> NDArray[np.float32]:
        """Of the images themselves (version 0), or of an augmented one of each."""
        extractors = self._extractors
        if version > 0:
            extractors = [augmentations(each)[version - 1] for each in extractors]
        return np.concatenate(
            [self._context.features.get(each, batch) for each in extractors], axis=1
        )

    def _scorer(self, validation: LabelledBatch, matrix: Any) -> Callable[[Any], float | None]:
        """What gives the validation AUROC of all rounds so far; None where it is undefined."""
        shown = membership(validation.labels, self._n_classes)
        if not (shown.any(axis=0) & ~shown.all(axis=0)).any():
            return _no_score
        return lambda booster: auroc(
            validation.labels, self._predict(booster, matrix, 0), self._n_classes
        )

    def _matrix(self, batch: Batch, version: int = 0) -> Any:
        import xgboost

        return xgboost.DMatrix(self._features(batch, version), nthread=_PREDICTION_THREADS)

    def _labelled_matrix(
        self, batch: LabelledBatch, weights: NDArray[np.float64], *, n_augmented: int = 0
    ) -> Any:
        import xgboost

        if self._multi_label:
            labels, of_images = batch.labels, None
        else:
            labels, of_images = np.searchsorted(self._present, batch.labels), weights[batch.labels]
        versions = range(1 + n_augmented)
        return xgboost.DMatrix(
            np.concatenate([self._features(batch, version) for version in versions]),
            label=np.concatenate([labels for _ in versions]),
            weight=None if of_images is None else np.concatenate([of_images for _ in versions]),
            nthread=self._context.threads,
        )

    def _classes_in(self, labels: NDArray[np.int64]) -> list[int]:
        """Classes that training tells apart: of several labels an image all, else those seen."""
        return list(range(self._n_classes)) if self._multi_label else np.unique(labels).tolist()

    def _settings(self, n_present: int, *, device: str, done: int) -> dict[str, Any]:
        """What XGBoost is told, in a fit that goes on after ``done`` rounds."""
        objective: dict[str, Any] = {"objective": "binary:logistic", "eval_metric": "logloss"}
        if n_present > 2 and not self._multi_label:
            objective = {
                "objective": "multi:softprob",
                "eval_metric": "mlogloss",
                "num_class": n_present,
            }
        return {
            **objective,
            **{name: self._params[name] for name in _BOOSTER_PARAMETERS},
            "tree_method": "hist",
            "max_bin": _BINS,
            # XGBoost counts rounds from 0 in every fit: the same seed would draw the images and
            # features of the first rounds again.
            "seed": self._context.seed + done,
            "nthread": self._context.threads,
            "device": device,
        }


class _Follow:
    """Watches the rounds of one fit: reports each, and remembers the best."""

    def __init__(
        self,
        progress: Progress,
        score: Callable[[Any], float | None],
        *,
        best_step: int | None,
        best_loss: float | None,
    ) -> None:
        self._progress = progress
        self._score = score
        self.best_step = best_step
        self.best_loss = best_loss

    def after_round(self, booster: Any, losses: list[float]) -> bool:
        """Whether to stop, after the round that gave the last of ``losses``."""
        step = booster.num_boosted_rounds()
        if losses and (self.best_loss is None or losses[-1] < self.best_loss):
            self.best_step, self.best_loss = step, losses[-1]
        go_on = self._progress.report(step, self._score(booster))
        return not go_on or step - (self.best_step or step) >= _PATIENCE


def _no_score(booster: Any) -> float | None:
    """Without validation, or with one class in it, there is nothing to score."""
    return None


def _as_callback(after_round: Callable[[Any, list[float]], bool]) -> Any:
    """An XGBoost callback that calls ``after_round`` and lets its exceptions through."""
    from xgboost.callback import TrainingCallback

    class AfterRound(TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            losses: list[float] = next(iter(evals_log.get("validation", {"": []}).values()))
            return after_round(model, losses)

    return AfterRound()


def _class_weights(
    labels: NDArray[np.int64], n_classes: int, *, balanced: bool
) -> NDArray[np.float64]:
    """Weight of an image of each class, float64, shape (n_classes,); the mean image weighs 1."""
    if not balanced:
        return np.ones(n_classes)
    counts = np.bincount(labels, minlength=n_classes)
    return len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))


def has_cuda() -> bool:
    """Whether XGBoost was built with CUDA and the driver shows this process a GPU."""
    import xgboost

    if not xgboost.build_info()["USE_CUDA"]:
        return False
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return False
    return count.value > 0
