"""One run of MedBench and one of the practitioner's script, on the same folds and the same core.

Ours comes first, into an empty cache, and draws the folds; the script is given the indices that
stand in the run folder, with the groups of that run, and reads the files itself. Timed is each
whole process, imports included. AUROC is the mean over the held-out parts, on both sides by
scikit-learn.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from children import timed
from sklearn.metrics import roc_auc_score

from medbench.datasets.catalog import load_catalog
from medbench.models.weights import find_weights

EXPERT = Path(__file__).with_name("expert.py")
SETS = ("brain-mri", "nih-pneumonia", "covid-or-pneumonia", "pneumoniamnist-reassembled")
_MODEL = "mobilenet"
_EXPERT_SIZE = {"pneumoniamnist-reassembled": 64}
"""Pixels at which the script takes a set, as its author chose them; 128 of all others."""
_USUAL_SIZE = 128


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where things are."""

    scratch: Path
    """A folder for whatever is written; emptied pair by pair."""
    data: Path
    weights: Path | None
    datasets_file: Path | None = None
    """The catalog, where it is not MedBench's own."""


def pair(name: str, seed: int, paths: Paths, core: int, *, quick: bool = False) -> dict[str, Any]:
    """Take both sides once.

    Args:
        name: Data set.
        seed: Base seed of our run: another one draws other folds.
        paths: Where things are.
        core: The core to which both are pinned.
        quick: Tiny budgets and sizes.

    Returns:
        ``seconds`` and ``auroc`` (mean, and ``folds``) of ``ours`` and ``other``, and what all
        methods of the script have.

    Raises:
        SideError: A side failed.
    """
    folder = paths.scratch / f"{name}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run = folder / "run"
    budget = ("--trials", 2, "--time", "5s", "--folds", 2) if quick else ()
    catalog = () if paths.datasets_file is None else ("--datasets-file", paths.datasets_file)
    weights = () if paths.weights is None else ("--weights-dir", paths.weights)
    ours_took, _ = timed(
        ["-m", "medbench", "run", "--datasets", name, "--models", _MODEL, "--no-sanity",
         *(budget or ("--trials", 20, "--time", "20s")), "--threads", 1, "--seed", seed,
         "--data-dir", paths.data, *catalog, *weights, "--out", run],
        {"MEDBENCH_CACHE": str(folder / "cache")},
        core=core,
    )  # fmt: skip
    request = folder / "request.json"
    request.write_text(json.dumps(_request(name, run, paths, quick=quick)))
    other_took, said = timed([EXPERT, request], {"TF_CPP_MIN_LOG_LEVEL": "3"}, core=core)
    answer = json.loads(said.splitlines()[-1])
    ours, other = _folds_of(name, run), answer["auroc"]["embedding"]
    figures = {
        "ours": {"seconds": ours_took, "auroc": fmean(ours), "folds": ours},
        "other": {"seconds": other_took, "auroc": fmean(other), "folds": other},
        "methods of the script": {key: fmean(value) for key, value in answer["auroc"].items()},
        "around cells": _around_cells(run, ours_took),
    }
    shutil.rmtree(folder)
    return figures


def _request(name: str, run: Path, paths: Paths, *, quick: bool) -> dict[str, Any]:
    """What the script is asked: files, labels, groups and folds of a run."""
    table = pd.read_parquet(run / "datasets" / name / "images.parquet")
    images = _images(name, table["label"].to_numpy(), paths)
    parts = [column for column in table if column not in ("label", "group")]
    folds = [
        [
            np.flatnonzero(table[part].isin(["development", "validation"])).tolist(),
            np.flatnonzero(table[part] == "held-out").tolist(),
        ]
        for part in parts
    ]
    return {
        "images": images,
        "size": 32 if quick else _EXPERT_SIZE.get(name, _USUAL_SIZE),
        "labels": table["label"].tolist(),
        "groups": table["group"].tolist(),
        "folds": folds,
        "weights": _weights_file(paths.weights),
    }


def _weights_file(folder: Path | None) -> str | None:
    """The file of MobileNet's weights that our run takes too; None for random ones."""
    if folder is None:
        return None
    return str(find_weights(_MODEL, folder, lambda _: None, download=False).path)


def _images(name: str, labels: np.ndarray, paths: Paths) -> list[str] | str:
    """Names of the files in the order of the run's table; of an archive its name."""
    source = load_catalog(data_dir=paths.data, datasets_file=paths.datasets_file, folder=None).get(
        name
    )
    listing = source.listing()
    if not np.array_equal(listing.table["label"].to_numpy(), labels):
        raise ValueError(f"{name}: the run has other images than are listed now.")
    path = paths.data / source.path
    if path.suffix == ".npz":
        return str(path)
    above = path.parent if path.is_file() else path
    files = [above / origin for origin in listing.table["origin"]]
    if missing := [file for file in files if not file.is_file()]:
        raise FileNotFoundError(missing[0])
    return [str(file) for file in files]


def _folds_of(name: str, run: Path) -> list[float]:
    """AUROC of each held-out part by our predictions, in the order of the splits."""
    found = []
    for file in sorted((run / "cells" / name / _MODEL).glob("*/predictions.parquet")):
        rows = pd.read_parquet(file)
        found.append(float(roc_auc_score(rows["label"], rows["p1"])))
    return found


def _around_cells(run: Path, took: float) -> float:
    """Seconds of a run that are no cell's: before the first, between them and after the last."""
    records = [json.loads(file.read_text()) for file in run.glob("cells/*/*/*/cell.json")]
    return took - sum(record["seconds"]["wall_of_last_start"] for record in records)
