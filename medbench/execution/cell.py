"""One cell, inside its own process: tune, refit, save, and later predict the held-out images.

The process is given development arrays only. It tunes and refits on them and saves the fitted
classifier. After that the held-out images arrive; the saved classifier is loaded and predicts
them. Held-out labels never come here.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench import registry
from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.splits import group_folds
from medbench.datasets.task import Kind, Task
from medbench.evaluation.calibration import Calibration, fit_calibration
from medbench.evaluation.metrics import Threshold
from medbench.evaluation.operating_point import OperatingPoint
from medbench.execution.firewall import Firewall
from medbench.features.cache import FeatureCache
from medbench.hashes import sha256_of_folder
from medbench.models.contract import Progress
from medbench.models.space import SearchSpace
from medbench.models.weights import Weights
from medbench.seeds import derive_seed
from medbench.store import CellStore
from medbench.tuning.budget import Budget, Clock
from medbench.tuning.inner import Workshop, predict
from medbench.tuning.search import Search
from medbench.tuning.tuner import Suggestion, Trial

_INNER_FOLDS_SEED = "inner"
_SINGLE_IMAGES, _IMAGES_TOGETHER = 5, 16
"""Held-out images by which the speed of predictions is measured, one by one and together."""
Announce = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class CellSpec:
    """All that a cell's process is told; JSON-ready, and without held-out images or labels."""

    model: str
    tuner: str
    plugins: tuple[str, ...]
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    kind: Kind
    trials: int | None
    seconds: float | None
    inner_folds: int
    operating_point: str
    """See ``OperatingPoint.parse``."""
    split_seed: int
    """Seed of the inner folds: the same for every model."""
    cell_seed: int
    """Seed of everything else; depends on the cell's key."""
    threads: int
    development: str
    """Folder with the development part."""
    folder: str
    """The cell's folder in the run."""
    features: str
    """Folder of the feature cache."""
    weights_path: str | None
    weights_sha256: str | None
    weights_note: str | None
    closed: tuple[str, ...]
    """See ``medbench.execution.firewall.closed_places``."""


class Cell:
    """A cell between its two phases, ``fit`` and ``predict``."""

    def __init__(self, spec: CellSpec, announce: Announce) -> None:
        self._firewall = Firewall(spec.closed, _open_places(spec))
        for plugin in spec.plugins:
            registry.load_plugin(Path(plugin))
        self._spec = spec
        self._announce = announce
        self._folder = Path(spec.folder)
        self._task = Task(classes=spec.classes, image_shape=spec.image_shape, kind=spec.kind)
        self._store = CellStore(self._folder)
        records = self._store.trials()
        finished = [_trial(record) for record in records]
        self._features_before = records[-1]["features_seconds"] if records else 0.0
        self._features = FeatureCache(
            Path(spec.features),
            threads=spec.threads,
            paid={name for record in records for name in record["features"]},
        )
        self._finished = finished
        self._workshop = self._make_workshop()
        self._chosen: Suggestion | None = None

    def fit(self) -> dict[str, Any]:
        """Tune, refit and save; the record of what was chosen, JSON-ready."""
        spec, workshop = self._spec, self._workshop
        spent = self._finished[-1].at_seconds if self._finished else 0.0
        clock = Clock(self._features, spent_before=spent)
        space = SearchSpace()
        workshop.family.search_space(space, self._task)
        tuner = registry.tuners.get(spec.tuner)(
            space,
            seed=derive_seed(spec.cell_seed, "tuner"),
            trials=spec.trials,
            max_steps=workshop.family.max_steps,
        )
        search = Search(
            workshop,
            tuner,
            Budget(trials=spec.trials, seconds=spec.seconds),
            clock,
            finished=self._finished,
            record=self._record_trial,
            announce=self._announce,
        )
        best = search.run()
        tuning_seconds = clock.seconds
        calibration, threshold = self._calibrate(best.number)
        self._announce({"event": "refit"})
        tuning_cpu = time.process_time()
        began = time.perf_counter()
        self._chosen = Suggestion(params=best.params)
        step = self._refit(best)
        self._store.drop_checkpoints()
        return {
            "params": dict(best.params),
            "trial": best.number,
            "n_trials": len(search.finished),
            "inner_score": best.score,
            "inner_folds": len(workshop.folds),
            "step": step,
            "calibration": calibration.as_record(),
            "threshold": threshold,
            "seconds": {
                "tuning": tuning_seconds,
                "features": self._features_seconds,
                "refit": time.perf_counter() - began,
            },
            "model_sha256": sha256_of_folder(self._store.model),
            "cpu_seconds": {"tuning": tuning_cpu, "refit": time.process_time() - tuning_cpu},
            "size_bytes": sum(
                p.stat().st_size for p in self._store.model.rglob("*") if p.is_file()
            ),
        }

    def predict(self, held_out: Path) -> dict[str, Any]:
        """Predict the held-out images by the saved classifier; writes ``probabilities.npy``.

        Args:
            held_out: Folder with ``images.npy`` and ``properties.parquet``.
        """
        assert self._chosen is not None, "fit comes first"
        self._firewall.open_up(held_out)
        images = np.load(held_out / "images.npy", allow_pickle=False)
        batch = Batch(images=images, properties=pd.read_parquet(held_out / "properties.parquet"))
        classifier = self._workshop.build(self._chosen, "refit")
        began = time.perf_counter()
        classifier.load(self._store.model)
        probabilities = predict(classifier, batch, self._task)
        seconds = time.perf_counter() - began
        np.save(held_out / "probabilities.npy", probabilities)
        return {
            "seconds": seconds,
            **self._speed(batch),
            "peak_memory_bytes": _peak_memory(),
            "device": classifier.device or _keras_device(),
        }

    def _speed(self, batch: Batch) -> dict[str, float | None]:
        """What the prediction of an image costs with its features, after a first one."""
        assert self._chosen is not None
        workshop = replace(self._workshop, features=FeatureCache(None, threads=self._spec.threads))
        classifier = workshop.build(self._chosen, "refit")
        classifier.load(self._store.model)
        single, many = np.arange(1, 1 + _SINGLE_IMAGES), np.arange(-_IMAGES_TOGETHER, 0)
        if len(batch) <= len(single) + len(many):
            return {"latency_seconds": None, "images_per_second": None}
        classifier.predict_proba(batch.take(np.arange(1)))
        each = []
        for i in single:
            began = time.perf_counter()
            classifier.predict_proba(batch.take(np.array([i])))
            each.append(time.perf_counter() - began)
        began = time.perf_counter()
        classifier.predict_proba(batch.take(many))
        together = time.perf_counter() - began
        return {
            "latency_seconds": float(np.median(each)),
            "images_per_second": len(many) / together,
        }

    def _make_workshop(self) -> Workshop:
        spec = self._spec
        development, official = load_development(Path(spec.development))
        everything = np.arange(len(development))
        if official is not None:
            validation = np.flatnonzero(official)
            train = np.flatnonzero(~official)
            folds, refit_on = [(train, validation)], train
        else:
            folds = group_folds(
                development.labels,
                development.groups,
                folds=spec.inner_folds,
                seed=derive_seed(spec.split_seed, _INNER_FOLDS_SEED),
            )
            refit_on = everything
        weights = None
        if spec.weights_note is not None:
            weights = Weights(
                path=Path(spec.weights_path) if spec.weights_path else None,
                sha256=spec.weights_sha256,
                note=spec.weights_note,
            )
        return Workshop(
            family=registry.models.get(spec.model)(),
            task=self._task,
            development=development,
            folds=folds,
            refit_on=refit_on,
            features=self._features,
            weights=weights,
            seed=spec.cell_seed,
            threads=spec.threads,
            checkpoints=self._store.checkpoints,
        )

    def _refit(self, best: Trial) -> int | None:
        """Fit the chosen configuration on all it may learn from, and save it."""
        workshop = self._workshop
        progress = Progress()
        progress.last_step = best.step
        assert self._chosen is not None
        classifier = workshop.build(self._chosen, "refit")
        classifier.fit(workshop.development.take(workshop.refit_on), None, progress)
        temporary = self._folder / ".model"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        classifier.save(temporary)
        self._store.keep_model(temporary)
        shutil.rmtree(temporary)
        return best.step

    def _calibrate(self, number: int) -> tuple[Calibration, Threshold]:
        """Temperature and operating point, from the pooled out-of-fold predictions of a trial."""
        several = self._task.kind == "multi-label"
        development, oof = self._workshop.development, self._store.oof(number)
        known = np.isfinite(oof).all(axis=1)
        labels, oof = development.labels[known], oof[known]
        calibration = fit_calibration(labels, oof, development.groups[known])
        oof = calibration.apply(oof, multi_label=several)
        point = OperatingPoint.parse(self._spec.operating_point)
        return calibration, point.thresholds(labels, oof, self._task.kind)

    @property
    def _features_seconds(self) -> float:
        """Cold cost of the features this cell has read, over interruptions."""
        return self._features_before + self._features.cold_seconds

    def _record_trial(self, trial: Trial, oof: NDArray[np.float64]) -> None:
        record = {
            **asdict(trial),
            "features": sorted(self._features.names),
            "features_seconds": self._features_seconds,
        }
        self._store.append_trial(record, oof if np.isfinite(oof).any() else None)


def _trial(record: Mapping[str, Any]) -> Trial:
    """A stored trial; JSON has no whole-number keys and no tuples."""
    fields = {name: record[name] for name in Trial.__dataclass_fields__}
    fields["intermediate"] = {int(rung): s for rung, s in record["intermediate"].items()}
    fields["fold_scores"] = tuple(record["fold_scores"])
    return Trial(**fields)


def write_development(folder: Path, batch: LabelledBatch, validation: Any) -> None:
    """Write the development part for a cell's process.

    Args:
        folder: Where; it is made.
        batch: The development images with labels and groups.
        validation: Whether each image is in the official validation part, bool, shape
            (n_development,); None where there is none.
    """
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", batch.images)
    np.save(folder / "labels.npy", batch.labels)
    np.save(folder / "groups.npy", batch.groups)
    batch.properties.to_parquet(folder / "properties.parquet", index=False)
    if validation is not None:
        np.save(folder / "validation.npy", validation)


def load_development(folder: Path) -> tuple[LabelledBatch, NDArray[np.bool_] | None]:
    """Read what ``write_development`` wrote; the images stay on disk until they are used."""
    batch = LabelledBatch(
        images=np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False),
        properties=pd.read_parquet(folder / "properties.parquet"),
        labels=np.load(folder / "labels.npy", allow_pickle=False),
        groups=np.load(folder / "groups.npy", allow_pickle=False),
    )
    marks = folder / "validation.npy"
    return batch, np.load(marks, allow_pickle=False) if marks.exists() else None


def _peak_memory() -> int | None:
    """Largest resident size of this process so far, in bytes; None where it cannot be read."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _open_places(spec: CellSpec) -> list[str]:
    """What a cell reads by itself, which may lie beside what is closed."""
    places = [spec.development, spec.folder, spec.features, *spec.plugins]
    places += [str(Path(plugin).parent / "__pycache__") for plugin in spec.plugins]
    return places if spec.weights_path is None else [*places, spec.weights_path]


def _keras_device() -> str:
    """Where a deep family computed; ``cpu`` unless Keras was loaded and sees a GPU."""
    keras = sys.modules.get("keras")
    if keras is None:
        return "cpu"
    devices = [str(device) for device in keras.distribution.list_devices()]
    return next((device for device in devices if "gpu" in device.lower()), "cpu")
