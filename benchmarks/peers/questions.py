"""What all systems are asked of a data set: images, labels, groups, and the folds of MedBench.

Folds are those of ``medbench run`` with the same seed: a run of the family ``majority`` draws
them. They are kept beside the results, so that all systems of a seed see the same ones, whenever
they are run.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from children import timed
from numpy.typing import NDArray

from medbench.atomic_files import write_json
from medbench.datasets.catalog import load_catalog
from medbench.models.weights import find_weights

SETS = ("brain-mri", "nih-pneumonia", "covid-or-pneumonia", "pneumoniamnist-reassembled")
_SIZE = {"pneumoniamnist-reassembled": 64}
"""Pixels at which expert.py takes a set, as its author chose them; 128 of all others."""
_USUAL_SIZE = 128
_NEVER = "-"
"""Stands for an image that is held out in no fold."""


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Where things are."""

    scratch: Path
    """A folder for whatever is written and not kept."""
    data: Path
    weights: Path | None
    results: Path
    """What is kept."""
    environments: Path
    """The other systems, installed."""
    datasets_file: Path | None = None
    """The catalog, where it is not MedBench's own."""

    @property
    def run_options(self) -> tuple[object, ...]:
        """What ``medbench run`` is told of them."""
        catalog = () if self.datasets_file is None else ("--datasets-file", self.datasets_file)
        weights = () if self.weights is None else ("--weights-dir", self.weights)
        return ("--data-dir", self.data, *catalog, *weights)


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A data set divided by a seed."""

    data: str
    seed: int
    labels: NDArray[np.int64]
    """0 or 1, shape (n_images,)."""
    groups: NDArray[np.int64]
    """Patients, shape (n_images,)."""
    folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    """Indices of training and of held-out images."""

    def request(self, paths: Paths, *, size: int | None, quick: bool) -> dict[str, Any]:
        """The entries of a request (``asked.py``) that are the same for all budgets.

        Args:
            paths: Where images and weights are.
            size: Pixels; None for those of expert.py.
            quick: A tiny size.
        """
        chosen = 32 if quick else size or _SIZE.get(self.data, _USUAL_SIZE)
        return {
            "images": _images(self.data, self.labels, paths),
            "size": chosen,
            "labels": self.labels.tolist(),
            "groups": self.groups.tolist(),
            "folds": [[train.tolist(), test.tolist()] for train, test in self.folds],
            "weights": weights_file(paths.weights),
            "embeddings": None,
            "seconds": None,
            "seed": self.seed,
        }


def question(data: str, seed: int, paths: Paths, *, quick: bool) -> Question:
    """The folds that are kept; those of a run that draws them, where there are none yet.

    Raises:
        SideError: The run failed.
        ValueError: Labels or groups are not those of the other seeds.
    """
    folder = paths.results / data
    images, drawn = folder / "images.json", folder / f"folds-seed{seed}.json"
    if not drawn.exists():
        kept = json.loads(images.read_text()) if images.exists() else None
        found, of_fold = _drawn(data, seed, paths, quick=quick)
        if kept is not None and kept != found:
            raise ValueError(f"{data}: has other images than {images} says. Remove {folder}.")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(images, found)
        write_json(drawn, {"held_out_in": of_fold})
    return stored_question(data, seed, paths.results)


def stored_question(data: str, seed: int, results: Path) -> Question:
    """The folds that are kept."""
    images = json.loads((results / data / "images.json").read_text())
    of_fold = json.loads((results / data / f"folds-seed{seed}.json").read_text())["held_out_in"]
    held_out = np.array([-1 if fold == _NEVER else int(fold) for fold in of_fold])
    return Question(
        data=data,
        seed=seed,
        labels=np.array([int(label) for label in images["labels"]]),
        groups=np.array(images["groups"]),
        folds=[
            (np.flatnonzero(held_out != fold), np.flatnonzero(held_out == fold))
            for fold in range(held_out.max() + 1)
        ],
    )


def _drawn(data: str, seed: int, paths: Paths, *, quick: bool) -> tuple[dict[str, Any], str]:
    """Labels and groups of a data set, and in which fold each image is held out."""
    out = paths.scratch / "folds"
    shutil.rmtree(out, ignore_errors=True)
    timed(
        ["-m", "medbench", "run", "--datasets", data, "--models", "majority", "--no-sanity",
         "--trials", 1, "--seed", seed, *(("--folds", 2) if quick else ()), *paths.run_options,
         "--out", out],
        {"MEDBENCH_CACHE": str(paths.scratch / "cache-of-folds")},
    )  # fmt: skip
    table = pd.read_parquet(out / "datasets" / data / "images.parquet")
    of_fold = np.full(len(table), _NEVER)
    for fold, part in enumerate(column for column in table if column not in ("label", "group")):
        if not table[part].isin(["development", "validation", "held-out"]).all():
            raise ValueError(f"{data}: the split {part} leaves images out.")
        of_fold[table[part] == "held-out"] = str(fold)
    labels = "".join(map(str, table["label"].tolist()))
    return {"labels": labels, "groups": table["group"].tolist()}, "".join(of_fold)


def weights_file(folder: Path | None) -> str | None:
    """The file of MobileNet's weights that our run takes too; None for random ones."""
    if folder is None:
        return None
    return str(find_weights("mobilenet", folder, lambda _: None, download=False).path)


def _images(name: str, labels: NDArray[np.int64], paths: Paths) -> list[str] | str:
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
