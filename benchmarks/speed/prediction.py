"""What MedBench adds to a prediction: many images, one image, and the way from a cold start.

The models are those of a small run on phantoms. ``predict_proba`` is held against the bare
libraries with the same saved models in the same process on one core, in turns: scikit-learn's and
XGBoost's own prediction of MedBench's features (each kind of features extracted once for all
folds), and Keras' ``predict`` (one image: ``predict_on_batch``). Both give the mean over the fold
models, and the same probabilities. The cold start is the command from its start to its end, against
a process that only imports the framework, which may take 2 s less.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness import Record, Settings, ask, child, in_turns, run_medbench
from PIL import Image

_FRAMEWORKS = {
    "hog-svm": "sklearn.svm, sklearn.calibration, skops.io",
    "xgboost": "xgboost",
    "cnn": "keras",
    "mobilenet": "keras",
}
_SECONDS_MORE = 2.0
_REPEATS = 5


def measure(settings: Settings) -> list[Record]:
    """Seconds of both sides for each family."""
    folder = settings.folder("prediction")
    patients, side, images = (10, 32, 32) if settings.quick else (40, 64, 512)
    entry = f"films: {{source: phantoms, patients: {patients}, image_size: {side}}}\n"
    (folder / "datasets.yaml").write_text(entry)
    cache, run = folder / "cache", folder / "run"
    what = ("--datasets", "films", "--datasets-file", folder / "datasets.yaml", "--no-sanity")
    how = ("--folds", 3, "--trials", 1, "--time", "5s", "--out", run)
    weights = () if settings.weights_dir is None else ("--weights-dir", settings.weights_dir)
    run_medbench("run", *what, "--models", *_FRAMEWORKS, *how, *weights, cache=cache)
    _, drawn = ask(
        "prediction_sides.py",
        {"draw": str(folder / "images.npy"), "images": images, "side": side},
        threads=1,
    )
    Image.new("L", (side, side), 60).save(folder / "film.png")
    records = []
    for family in _FRAMEWORKS:
        request = {"run": str(run), "model": family, "images": drawn}
        _, sides = ask("prediction_sides.py", request, threads=1)
        records += [
            _record(f"predict {family}", f"{images} images", sides["many"], 1 / 0.9, sides),
            _record(f"predict one {family}", "one image", sides["one"], 1.5, sides),
            _cold_start(family, run, folder / "film.png", cache),
        ]
    return records


def _record(name: str, what: str, costs: Any, wanted: float, sides: Any) -> Record:
    return Record(
        name=name,
        ours_is=f"predict_proba of {what}",
        other_is="the bare library",
        unit="ms/image",
        ours=tuple(costs["ours"]),
        other=tuple(costs["other"]),
        wanted=round(wanted, 2),
        sense="at most",
        details={"folds": sides["folds"], "largest difference": sides["difference"]},
    )


def _cold_start(family: str, run: Path, image: Path, cache: Path) -> Record:
    """From the start of a process to its end."""
    imports = ["-c", f"import {_FRAMEWORKS[family]}"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    arguments = ("predict", image, "--run", run, "--models", family)
    run_medbench(*arguments, cache=cache)  # untimed: files are in the system's memory
    costs = in_turns(
        lambda: run_medbench(*arguments, cache=cache).wall,
        lambda: child(imports, environment)[0].wall + _SECONDS_MORE,
        _REPEATS,
    )
    return Record(
        name=f"cold start {family}",
        ours_is="medbench predict IMAGE",
        other_is=f"import {_FRAMEWORKS[family]}, and {_SECONDS_MORE:g} s",
        unit="s",
        wanted=1.0,
        sense="at most",
        **costs,
    )
