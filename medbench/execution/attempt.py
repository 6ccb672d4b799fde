"""An attempt at a cell: tune, refit, save, and later predict the held-out images.

It is given development images only, tunes and refits on them, saves the fitted classifier and
freezes calibration and operating point. Where a trial has learnt from all that the model may
learn from (an official split), its fit is the model, and there is no refit. After that the held-out
images arrive; the saved classifier is loaded and predicts them. Held-out labels never come here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench import registry
from medbench.atomic_files import save_npy
from medbench.awake import awake_seconds
from medbench.datasets.batch import Batch
from medbench.datasets.splits import inner_folds
from medbench.datasets.task import Task
from medbench.evaluation.calibration import Calibration, fit_calibration
from medbench.evaluation.metrics import Threshold
from medbench.evaluation.operating_point import OperatingPoint
from medbench.execution.events import Event, Fitted, RefitBegan, TrialEnded
from medbench.execution.firewall import Firewall
from medbench.execution.parts import read_development, read_held_out, write_probabilities
from medbench.execution.task import CellTask
from medbench.execution.workspace import Workspace
from medbench.features.feature_cache import FeatureCache
from medbench.hashes import sha256_of_folder
from medbench.models.contract import Classifier, Progress
from medbench.models.space import SearchSpace
from medbench.seeds import derive_seed
from medbench.tuning.budget import Budget, Clock
from medbench.tuning.inner_validation import InnerValidation, can_be_repeated, predict
from medbench.tuning.search import Search, next_suggestion
from medbench.tuning.tuner import Suggestion, Trial, complete_configurations, configurations

_SINGLE_IMAGES, _IMAGES_TOGETHER = 3, 16
"""Held-out images by which the speed of predictions is measured, one by one and together."""
_SPEED_SECONDS = 1.0
"""About what that may take: of a slow model fewer images tell as much."""


class Attempt:
    """One attempt at a cell: ``fit``, then ``predict``."""

    def __init__(self, task: CellTask, workspace: Workspace) -> None:
        """Read the development part and what an earlier attempt has finished.

        Args:
            task: What is to be done.
            workspace: Where.

        Raises:
            MedBenchError: A plugin cannot be loaded, or the development part cannot be divided.
        """
        self._firewall = None
        if workspace.closed is not None:
            self._firewall = Firewall(workspace.closed, workspace.open_paths())
        for plugin in workspace.plugins:
            registry.load_plugin(Path(plugin))
        self._cell_task, self._workspace = task, workspace
        self._task = Task(
            classes=task.classes, image_shape=task.image_shape, task_type=task.task_type
        )
        records, self._best_oof = workspace.earlier()
        self._finished = [Trial.from_record(record) for record in records]
        self._features_before = records[-1]["features_seconds"] if records else 0.0
        self._cpu_before = records[-1].get("cpu_at_seconds", 0.0) if records else 0.0
        self._features = FeatureCache(
            Path(workspace.features) if workspace.features is not None else None,
            threads=workspace.threads,
            paid={name for record in records for name in record["features"]},
        )
        self._inner = self._make_inner()
        self._chosen: Suggestion | None = None

    def fit(self) -> Iterator[Event]:
        """Tune, refit, save, and freeze calibration and operating point.

        Yields:
            ``TrialEnded`` for each trial, ``RefitBegan``, and last ``Fitted``.

        Raises:
            ModelError: No trial could be completed, or the family broke its contract.
        """
        task, inner, tuner = self._cell_task, self._inner, self._tuner()
        inner.family.warm_up(inner.threads)
        if not self._finished:
            next_suggestion(tuner, ())  # loads the tuner's libraries
        spent = self._finished[-1].at_seconds if self._finished else 0.0
        clock = Clock(self._features, spent_before=spent, features_before=self._features_before)
        self._cpu_began = time.process_time() - self._cpu_before
        search = Search(
            inner,
            tuner,
            Budget(trials=task.trials, seconds=task.seconds),
            clock,
            finished=self._finished,
            oof=self._best_oof,
        )
        for trial, oof in search.run():
            yield self._told(trial, oof)
        best = search.best
        tuning_seconds, tuning_cpu = clock.seconds, time.process_time() - self._cpu_began
        calibration, threshold = self._frozen(search.best_oof)
        yield RefitBegan(cell=task.cell)
        began, cpu_began = awake_seconds(), time.process_time()
        self._chosen = Suggestion(params=best.params)
        classifier = self._model_of(search)
        self._workspace.model.mkdir()
        classifier.save(self._workspace.model)
        refit_seconds, refit_cpu = awake_seconds() - began, time.process_time() - cpu_began
        saved = [path for path in self._workspace.model.rglob("*") if path.is_file()]
        record = {
            "params": dict(best.params),
            "trial": best.number,
            "n_trials": configurations(search.finished),
            "complete_trials": complete_configurations(search.finished),
            "inner_score": best.score,
            "inner_folds": len(inner.folds),
            "step": best.step,
            "max_steps": classifier.max_steps,
            "step_name": inner.family.step_name,
            "cut": best.reason if best.state == "cut" else None,
            "calibration": calibration.as_record(),
            "threshold": threshold,
            "seconds": {
                "tuning": tuning_seconds,
                "features": self._features_seconds,
                "features_computed": self._features.spent_seconds,
                "refit": refit_seconds,
            },
            "cpu_seconds": {"tuning": tuning_cpu, "refit": refit_cpu},
            "model_sha256": sha256_of_folder(self._workspace.model),
            "size_bytes": sum(path.stat().st_size for path in saved),
        }
        yield Fitted(cell=task.cell, record=record)

    def predict(self, held_out: Path) -> dict[str, Any]:
        """Predict the held-out images by the saved classifier.

        Args:
            held_out: Folder with the held-out part; the probabilities are put there too.

        Returns:
            What it cost, JSON-ready.

        Raises:
            ModelError: The family broke its contract.
        """
        assert self._chosen is not None, "fit comes first"
        if self._firewall is not None:
            self._firewall.open_up(held_out)
        batch = read_held_out(held_out)
        requests = self._features.requests
        began = awake_seconds()
        classifier = self._load(self._features)
        probabilities = predict(classifier, batch, self._task)
        seconds = awake_seconds() - began
        write_probabilities(held_out, probabilities)
        timed = classifier
        if self._features.requests > requests:  # its features are cached now, and would be free
            timed = self._load(FeatureCache(None, threads=self._workspace.threads))
        return {
            "seconds": seconds,
            **_speed(timed, batch),
            "peak_memory_bytes": _peak_memory() if self._firewall is not None else None,
            "device": classifier.device or _keras_device(),
        }

    def _load(self, features: FeatureCache) -> Classifier:
        """The saved classifier, with a cache of features."""
        assert self._chosen is not None
        inner = replace(self._inner, features=features)
        classifier = inner.build(self._chosen, "refit")
        classifier.load(self._workspace.model)
        return classifier

    def _tuner(self) -> Any:
        task, family = self._cell_task, self._inner.family
        space = SearchSpace()
        family.search_space(space, self._task)
        return registry.tuners.get(task.tuner)(
            space,
            seed=derive_seed(task.cell_seed, "tuner"),
            trials=task.trials,
            max_steps=family.max_steps,
        )

    def _make_inner(self) -> InnerValidation:
        task, workspace = self._cell_task, self._workspace
        development, official = read_development(Path(workspace.development))
        folds = inner_folds(
            development.labels,
            development.groups,
            official,
            folds=task.inner_folds,
            split_seed=task.split_seed,
        )
        return InnerValidation(
            family=registry.models.get(task.cell.model)(),
            task=self._task,
            development=development,
            folds=folds,
            refit_on=folds[0][0] if official is not None else np.arange(len(development)),
            features=self._features,
            weights=workspace.weights,
            seed=task.cell_seed,
            threads=workspace.threads,
            checkpoints=workspace.checkpoints,
        )

    def _model_of(self, search: Search) -> Classifier:
        """The classifier of the chosen trial, where it has learnt from all it may; else refitted.

        After an interruption, which has lost it, the same fit is made again.
        """
        inner, best = self._inner, search.best
        if not (inner.fits_model and can_be_repeated(best)):
            return self._refit(best)
        return search.best_fitted or inner.fit_again(best)

    def _refit(self, best: Trial) -> Classifier:
        """Fit the chosen configuration anew on all it may learn from."""
        inner = self._inner
        progress = Progress()
        progress.last_step = best.step
        assert self._chosen is not None
        classifier = inner.build(self._chosen, "refit")
        classifier.fit(inner.development.take(inner.refit_on), None, progress)
        return classifier

    def _frozen(self, oof: NDArray[np.float64] | None) -> tuple[Calibration, Threshold]:
        """Temperature and operating point, from the out-of-fold predictions of the best trial."""
        several = self._task.task_type == "multi-label"
        development = self._inner.development
        assert oof is not None, "the best trial has predictions"
        known = np.isfinite(oof).all(axis=1)
        labels, oof = development.labels[known], oof[known]
        calibration = fit_calibration(labels, oof, development.groups[known])
        oof = calibration.apply(oof, multi_label=several)
        point = OperatingPoint.parse(self._cell_task.operating_point)
        return calibration, point.thresholds(labels, oof, self._task.task_type)

    @property
    def _features_seconds(self) -> float:
        """Cold cost of the features this cell has read, over interruptions."""
        return self._features_before + self._features.cold_seconds

    def _told(self, trial: Trial, oof: NDArray[np.float64]) -> TrialEnded:
        record = {
            **asdict(trial),
            "features": sorted(self._features.names),
            "features_seconds": self._features_seconds,
            "cpu_at_seconds": time.process_time() - self._cpu_began,
        }
        path = None
        if np.isfinite(oof).any():
            path = self._workspace.oof / f"{trial.number}.npy"
            path.parent.mkdir(exist_ok=True)
            save_npy(path, oof)
        checkpoint = self._inner.checkpoint_of(trial.number)
        return TrialEnded(
            cell=self._cell_task.cell,
            record=record,
            oof=path,
            checkpoint=checkpoint if checkpoint.is_dir() else None,
        )


def _speed(classifier: Classifier, batch: Batch) -> dict[str, float | None]:
    """What the prediction of an image costs with its features, after a first one."""
    single, many = np.arange(1, 1 + _SINGLE_IMAGES), np.arange(-_IMAGES_TOGETHER, 0)
    if len(batch) <= len(single) + len(many):
        return {"latency_seconds": None, "images_per_second": None}
    classifier.predict_proba(batch.take(np.arange(1)))
    each: list[float] = []
    for i in single:
        began = awake_seconds()
        classifier.predict_proba(batch.take(np.array([i])))
        each.append(awake_seconds() - began)
        if sum(each) > _SPEED_SECONDS / 2:
            break
    latency = float(np.median(each))
    n_together = int(min(len(many), max(2, _SPEED_SECONDS / 2 / max(latency, 1e-6))))
    began = awake_seconds()
    classifier.predict_proba(batch.take(len(batch) + many[:n_together]))
    together = awake_seconds() - began
    return {"latency_seconds": latency, "images_per_second": n_together / together}


def _peak_memory() -> int | None:
    """Largest resident size of this process so far, in bytes; None where it cannot be read."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _keras_device() -> str:
    """Where a deep family computed; ``cpu`` unless Keras was loaded and sees a GPU."""
    keras = sys.modules.get("keras")
    if keras is None:
        return "cpu"
    devices = [str(device) for device in keras.distribution.list_devices()]
    return next((device for device in devices if "gpu" in device.lower()), "cpu")
