"""One process that predicts the same images by MedBench and by the bare library, in turns."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if hasattr(os, "sched_setaffinity"):  # before any library counts its cores
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np
from harness import answer, draw_phantoms
from numpy.typing import NDArray

_REPEATS = 5
_SINGLE = 30
"""Images that are predicted one by one in a repeat."""
_BATCH = 64

Images = NDArray[np.uint8]
Predict = Callable[[Images], NDArray[np.float64]]


def draw(path: str, images: int, side: int) -> None:
    """Write images that the models did not see."""
    _, batch = draw_phantoms(images // 2, side, images_per_patient=2)
    np.save(path, batch.images[:images])
    answer(path)


def compare(run: str, family: str, path: str) -> None:
    """Time both sides; the answer has milliseconds an image."""
    from medbench import load_model
    from medbench.store import RunStore

    images = np.load(path)
    model = load_model(run, model=family)
    store = RunStore(Path(run))
    cells = [cell for cell in store.read().cells if cell.id.model == family]
    folders = [store.cell(cell.id).whole_model(cell.record.get("model_sha256")) for cell in cells]
    many, one = _BARE[family](folders, model.info.folds)
    difference = float(np.abs(model.predict_proba(images) - many(images)).max())
    if difference > 1e-5:
        raise SystemExit(f"{family}: the two sides differ by {difference:.2g}")
    singles = [images[i : i + 1] for i in range(min(_SINGLE, len(images)))]
    costs: dict[str, dict[str, list[float]]] = {}
    for name, theirs, cost in (("many", many, _batch_cost), ("one", one, _single_cost)):
        given = images if name == "many" else singles
        cost(model.predict_proba, given), cost(theirs, given)  # traced and warm
        pairs = [(cost(model.predict_proba, given), cost(theirs, given)) for _ in range(_REPEATS)]
        ours, other = zip(*pairs, strict=True)
        costs[name] = {"ours": list(ours), "other": list(other)}
    answer({**costs, "folds": len(folders), "difference": difference})


def _batch_cost(predict: Predict, images: Images) -> float:
    began = time.perf_counter()
    predict(images)
    return (time.perf_counter() - began) / len(images) * 1e3


def _single_cost(predict: Predict, images: list[Images]) -> float:
    each = []
    for image in images:
        began = time.perf_counter()
        predict(image)
        each.append(time.perf_counter() - began)
    return statistics.median(each) * 1e3


def _hog_svm(folders: list[Path], folds: Any) -> tuple[Predict, Predict]:
    import skops.io

    from medbench.features.hog import Hog, HogPyramid
    from medbench.models.persistence import TRUSTED_TYPES

    names = ("side", "cells", "orientations")
    kinds = {"none": HogPyramid, "block": Hog}
    extractors = [
        kinds[fold.params["normalisation"]](**{name: fold.params[name] for name in names})
        for fold in folds
    ]
    versions = [
        _with_augmented(each, folder) for each, folder in zip(extractors, folders, strict=True)
    ]
    machines = [skops.io.load(f / "model.skops", trusted=list(TRUSTED_TYPES)) for f in folders]

    def predict(images: Images) -> NDArray[np.float64]:
        rows = {one.key: one for own in versions for one in own}
        values = {key: extractor(images) for key, extractor in rows.items()}
        each = zip(machines, versions, strict=True)
        return np.mean(
            [np.mean([of_machine(m, values[e.key]) for e in own], axis=0) for m, own in each],
            axis=0,
        )

    def of_machine(machine: Any, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        if hasattr(machine, "predict_proba"):
            return machine.predict_proba(rows)
        positive = 1 / (1 + np.exp(-machine.decision_function(rows)))
        return np.column_stack([1 - positive, positive])

    return predict, predict


def _xgboost(folders: list[Path], folds: Any) -> tuple[Predict, Predict]:
    import xgboost

    from medbench.models.xgboost import _ALWAYS, _OPTIONAL

    boosters, rounds, chosen = [], [], []
    for folder, fold in zip(folders, folds, strict=True):
        booster = xgboost.Booster({"nthread": 1}, model_file=folder / "booster.ubj")
        boosters.append(booster)
        rounds.append(json.loads((folder / "state.json").read_text())["best_step"] or 0)
        own = [_ALWAYS, *(e for name, e in _OPTIONAL.items() if fold.params.get(name))]
        chosen.append(list(zip(*(_with_augmented(each, folder) for each in own), strict=True)))

    def predict(images: Images) -> NDArray[np.float64]:
        rows = {e.key: e for versions in chosen for own in versions for e in own}
        values = {key: extractor(images) for key, extractor in rows.items()}
        positive = []
        for booster, last, versions in zip(boosters, rounds, chosen, strict=True):
            said = [
                booster.inplace_predict(
                    np.concatenate([values[e.key] for e in own], axis=1),
                    iteration_range=(0, last),
                )
                for own in versions
            ]
            positive.append(np.mean(said, axis=0, dtype=np.float64))
        mean = np.mean(positive, axis=0)
        return np.column_stack([1 - mean, mean])

    return predict, predict


def _with_augmented(extractor: Any, folder: Path) -> list[Any]:
    """What describes an image, then its augmented ones, by which the model in a folder predicts."""
    from medbench.features.augmentation import augmentations

    n_augmented = json.loads((folder / "state.json").read_text())["augmented"]
    return [extractor, *augmentations(extractor)[:n_augmented]]


def _keras(folders: list[Path], folds: Any) -> tuple[Predict, Predict]:
    import keras

    models = [keras.saving.load_model(folder / "model.keras") for folder in folders]

    def many(images: Images) -> NDArray[np.float64]:
        return np.mean([m.predict(images, batch_size=_BATCH, verbose=0) for m in models], axis=0)

    def one(images: Images) -> NDArray[np.float64]:
        return np.mean([m.predict_on_batch(images) for m in models], axis=0)

    return many, one


def _onnx(folders: list[Path], folds: Any) -> tuple[Predict, Predict]:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = [
        onnxruntime.InferenceSession(
            folder / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        for folder in folders
    ]

    def predict(images: Images) -> NDArray[np.float64]:
        chunks = np.split(images, range(_BATCH, len(images), _BATCH))
        return np.mean(
            [np.concatenate([s.run(None, {"image": c})[0] for c in chunks]) for s in sessions],
            axis=0,
            dtype=np.float64,
        )

    return predict, predict


_BARE = {"hog-svm": _hog_svm, "xgboost": _xgboost, "cnn": _keras, "mobilenet": _onnx}


if __name__ == "__main__":
    request = json.load(sys.stdin)
    if "draw" in request:
        draw(request["draw"], request["images"], request["side"])
    else:
        compare(request["run"], request["model"], request["images"])
