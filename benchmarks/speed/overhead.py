"""A whole cell of at least a minute against the same trials in a bare loop.

Ours is one cell of ``python -m medbench run``, from the start of its process to its last file:
imports, tuner, pruner, budget, feature cache on disk, every trial written and flushed to disk,
messages, the refit, the saved model, and the prediction by the loaded model.

The bare loop (``bare_loop.py``) is a fresh process as well, imports included. It is given the
configurations that the cell tried and makes the same fits with the same classifiers, seeds, folds
and threads: each trial on the folds that the cell reached before it gave a poor one up, then the
refit of the best on all development images and the prediction of the held-out ones. It has no
tuner, store, messages or model file, and keeps features in memory. In both is what a researcher's
loop needs as well: features, fits, AUROC after every boosting round and fold, refit, prediction.

Both begin without any cached feature. All scores must be equal. What a run does around its cells
(imports of the command, decoding, leaderboard, figures) is not part of a cell; its seconds are in
the details.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from harness import BenchmarkError, Cost, Record, Settings, ask, draw_phantoms, run_medbench

_LEAST_SECONDS = 60.0
_MARGIN = 1.15
"""More trials than needed, as the next ones may be cheaper."""
_REPEATS = 3
_DATASET, _MODEL, _SEED = "films", "xgboost", 0
_THREADS = 1


def measure(settings: Settings) -> list[Record]:
    """Wall seconds of both sides."""
    folder = settings.folder("overhead")
    _write_dataset(folder, patients=16 if settings.quick else 100)
    _both(folder, 1)  # untimed: files are in the system's memory, images decoded
    trials, least = (2, 0.0) if settings.quick else (20, _LEAST_SECONDS)
    first = _both(folder, trials)
    while first["cell"] < least:
        trials = math.ceil(trials * _MARGIN * least / first["cell"])
        first = _both(folder, trials)
    repeats = [first, *(_both(folder, trials) for _ in range(_REPEATS - 1))]
    return [
        Record(
            name="overhead",
            ours_is=f"a cell of {trials} {_MODEL} trials",
            other_is="its fits in a bare loop",
            unit="s",
            ours=tuple(repeat["cell"] for repeat in repeats),
            other=tuple(repeat["bare"] for repeat in repeats),
            wanted=1.05,
            sense="at most",
            details={
                "fits": first["fits"],
                "equal AUROC": True,
                "CPU s, cell and what is around it": [r["command"].cpu for r in repeats],
                "CPU s, bare loop": [repeat["bare_cpu"] for repeat in repeats],
                "s around the cell": [r["command"].wall - r["cell"] for r in repeats],
            },
        )
    ]


def _both(folder: Path, trials: int) -> dict[str, Any]:
    """Run the cell, then the bare loop over its trials; what each cost.

    Raises:
        BenchmarkError: Their scores differ.
    """
    run = folder / f"run-{len(list(folder.glob('run-*')))}"
    shutil.rmtree(folder / "cache" / "features", ignore_errors=True)
    command = _run(folder, run, trials)
    cell = run / "cells" / _DATASET / _MODEL / "official"
    tried = [json.loads(line) for line in (cell / "trials.jsonl").read_text().splitlines()]
    record = json.loads((cell / "cell.json").read_text())
    if record["status"] != "ok":
        raise BenchmarkError(f"overhead: the cell failed: {record['reason']}")
    request = {
        "archive": str(folder / "films.npz"),
        "run": str(run),
        "cell": str(cell),
        "dataset": _DATASET,
        "model": _MODEL,
        "seed": _SEED,
        "threads": _THREADS,
    }
    bare, scores = ask("bare_loop.py", request, threads=_THREADS)
    if scores["folds"] != [trial["fold_scores"] for trial in tried]:
        raise BenchmarkError("overhead: the bare loop scores its trials otherwise than the cell.")
    return {
        "cell": seconds_of_cells(run),
        "command": command,
        "bare": bare.wall,
        "bare_cpu": bare.cpu,
        "fits": sum(len(trial["fold_scores"]) for trial in tried) + 1,
    }


def _run(folder: Path, run: Path, trials: int) -> Cost:
    what = ("--datasets", _DATASET, "--datasets-file", folder / "datasets.yaml")
    how = ("--models", _MODEL, "--trials", trials, "--threads", _THREADS, "--seed", _SEED)
    # sanity rows are cells of their own, and the bare loop has none
    where = ("--no-sanity", "--out", run)
    return run_medbench("run", *what, *how, *where, cache=folder / "cache")


def seconds_of_cells(run: Path) -> float:
    """From the first file of the first cell to the last file of the last, in wall seconds."""
    begun = [path.stat().st_mtime for path in run.glob("cells/*/*/*/key.json")]
    ended = [path.stat().st_mtime for path in run.glob("cells/*/*/*/cell.json")]
    return max(ended) - min(begun)


def _write_dataset(folder: Path, patients: int) -> None:
    """An archive with an official test part, so that there is one cell with inner folds."""
    _, batch = draw_phantoms(patients, 64)
    test = batch.groups % 5 == 0
    images = batch.images[..., 0]
    np.savez(
        folder / "films.npz",
        train_images=images[~test],
        train_labels=batch.labels[~test],
        test_images=images[test],
        test_labels=batch.labels[test],
    )
    (folder / "datasets.yaml").write_text(
        f"{_DATASET}:\n  source: npz\n  path: films.npz\n  image_size: {images.shape[1]}\n"
    )
