"""The systems that are compared, and how each is run once: on one core, from start to end."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environments
import pandas as pd
from children import SideError, timed
from kept import Key, Result, packed
from questions import Paths, Question

from medbench.evaluation.calibration import Calibration

HERE = Path(__file__).resolve().parent
OURS, EXPERT = "medbench", "expert"
FAMILIES = ("hog-svm", "xgboost", "mobilenet")
"""Of our run."""
ENSEMBLE, SINGLE = "ensemble", "mobilenet"
"""Rows of our run that are kept."""
PROBABILITY = "probability"
"""The row of the others."""
_CELLS_FAILED = 1
"""Status of a run of which cells failed, while others have their rows."""
_TIMES, _MORE = 10, 1800.0
"""A system is ended after so many times its budget, and so many seconds."""


@dataclass(frozen=True, kw_only=True)
class System:
    """A script, and the environment in which it is run."""

    script: str
    environment: str | None = None
    """Name of its environment; None for that of this benchmark."""
    requirements: tuple[str, ...] = ()
    size: int | None = None
    """Pixels; None for those of expert.py."""
    embeddings: bool = False
    """Whether it is given the embeddings of expert.py in place of pixels."""


_FLAML = ("flaml[automl]==2.8.0", "pillow==13.0.0")
_AUTOGLUON = ("autogluon.tabular[lightgbm,catboost,xgboost]==1.6.3", "pillow==13.0.0")
_AUTOKERAS = (
    "autokeras==3.0.0",
    "keras==3.12.0",  # later ones refuse its heads: findings/autokeras-head-of-numpy-integer.sh
    "tensorflow-cpu==2.21.0",
    "tensorboard==2.21.0",  # which keras-tuner imports without declaring it
    "pillow==13.0.0",
)
_AUCMEDI = ("aucmedi==0.11.0", "tensorflow==2.21.0", "keras==3.15.1", "pillow==13.0.0")
_TABLE = 32
"""Pixels of a side where each pixel is a column."""


def _flaml(**more: Any) -> System:
    return System(
        script="with_flaml.py", environment="flaml", requirements=_FLAML, size=_TABLE, **more
    )


def _autogluon(**more: Any) -> System:
    return System(
        script="with_autogluon.py",
        environment="autogluon",
        requirements=_AUTOGLUON,
        size=_TABLE,
        **more,
    )


PEERS = {
    "flaml": _flaml(),
    "flaml-embeddings": _flaml(embeddings=True),
    "autogluon": _autogluon(),
    "autogluon-embeddings": _autogluon(embeddings=True),
    "autokeras": System(
        script="with_autokeras.py", environment="autokeras", requirements=_AUTOKERAS, size=64
    ),
    "aucmedi": System(
        script="with_aucmedi.py", environment="aucmedi", requirements=_AUCMEDI
    ),
}  # fmt: skip
"""By name; they search as long as they are told."""
SYSTEMS = (OURS, EXPERT, *PEERS)


def run(key: Key, asked: Question, paths: Paths, core: int, *, quick: bool) -> Result:
    """Run a system once.

    Args:
        key: Which one, on what, for how long.
        asked: The data set and its folds.
        paths: Where things are.
        core: The core to which it is pinned.
        quick: Tiny sizes.

    Returns:
        Its result; one without predictions where it failed by itself.

    Raises:
        SideError: Its environment or its embeddings could not be made.
    """
    if key.system == OURS:
        return _ours(key, asked, paths, core, quick=quick)
    system = PEERS.get(key.system, System(script="expert.py"))
    python = Path(sys.executable)
    if system.environment is not None:
        python = environments.python_of(system.environment, system.requirements, paths.environments)
    request = asked.request(paths, size=system.size, quick=quick) | {"seconds": key.budget}
    embedding_seconds = 0.0
    if system.embeddings:
        request["embeddings"], embedding_seconds = _embeddings(asked, paths, core, quick=quick)
    file = paths.scratch / "request.json"
    file.write_text(json.dumps(request))
    limit = None if key.budget is None else _TIMES * key.budget + _MORE
    variables = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if system.environment is not None:
        variables |= {"PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    try:
        seconds, said = timed(
            [HERE / system.script, file], variables, core=core, python=python, limit=limit
        )
        answer = json.loads(said.splitlines()[-1])
        predictions = {
            row: packed(folds, probabilities=row == PROBABILITY)
            for row, folds in answer["predictions"].items()
        }
    except (SideError, ValueError) as error:
        return Result(key=key, seconds=0.0, failed=_without_folders(str(error), paths))
    return Result(
        key=key,
        seconds=seconds,
        predictions=predictions,
        embedding_seconds=embedding_seconds,
        notes=answer["notes"],
        versions=answer["versions"],
    )


def _embeddings(asked: Question, paths: Paths, core: int, *, quick: bool) -> tuple[str, float]:
    """A file with the embeddings of expert.py, and the seconds that it took to make it."""
    target = paths.scratch / f"embeddings-{asked.data}.npy"
    took = target.with_suffix(".json")
    if not took.exists():
        request = asked.request(paths, size=None, quick=quick) | {"embeddings": str(target)}
        file = paths.scratch / "request.json"
        file.write_text(json.dumps(request))
        seconds, _ = timed([HERE / "embeddings.py", file], {"TF_CPP_MIN_LOG_LEVEL": "3"}, core=core)
        took.write_text(json.dumps(seconds))
    return str(target), json.loads(took.read_text())


def _ours(key: Key, asked: Question, paths: Paths, core: int, *, quick: bool) -> Result:
    """One run, its budget divided equally over families and folds, into an empty cache."""
    assert key.budget is not None
    folder = paths.scratch / "ours"
    shutil.rmtree(folder, ignore_errors=True)
    share = key.budget / (len(FAMILIES) * len(asked.folds))
    try:
        seconds, _ = timed(
            ["-m", "medbench", "run", "--datasets", key.data, "--models", *FAMILIES,
             "--no-sanity", "--time", f"{share:.3f}s", "--threads", 1, "--seed", key.seed,
             *(("--folds", 2) if quick else ()), *paths.run_options, "--out", folder / "run"],
            {"MEDBENCH_CACHE": str(folder / "cache")},
            core=core,
            accepted=(0, _CELLS_FAILED),
        )  # fmt: skip
        cells = _cells(folder / "run" / "cells" / key.data)
        predictions = {ENSEMBLE: _packed(cells, asked, ENSEMBLE, fallback=True)}
        if all((SINGLE, split) in cells for split in _splits(cells)):
            predictions[SINGLE] = _packed(cells, asked, SINGLE, fallback=False)
    except (SideError, ValueError) as error:
        return Result(key=key, seconds=0.0, failed=_without_folders(str(error), paths))
    took: dict[str, float] = {}
    for (model, _), (record, _) in cells.items():
        if model != ENSEMBLE:
            wall = record["seconds"]["wall_of_last_start"]
            took[model] = took.get(model, 0.0) + wall
    notes = [_chosen(cells, split) for split in _splits(cells)]
    found = Result(
        key=key, seconds=seconds, predictions=predictions, cell_seconds=took, notes=notes
    )
    shutil.rmtree(folder)
    return found


Cells = dict[tuple[str, str], tuple[dict[str, Any], pd.DataFrame]]
"""By family and split: record and held-out predictions."""


def _cells(folder: Path) -> Cells:
    """The cells that have predictions.

    Raises:
        ValueError: There are none.
    """
    found = {}
    for file in sorted(folder.glob("*/*/cell.json")):
        record, table = json.loads(file.read_text()), file.with_name("predictions.parquet")
        if record["status"] == "ok" and table.exists():
            found[file.parts[-3], file.parts[-2]] = (record, pd.read_parquet(table))
    if not found:
        raise ValueError("the run has no finished cell.")
    return found


def _splits(cells: Cells) -> list[str]:
    return sorted({split for _, split in cells})


def _chosen(cells: Cells, split: str) -> str:
    """The row of a split: the ensemble; where there is none, the best family by inner score."""
    if (ENSEMBLE, split) in cells:
        members = cells[ENSEMBLE, split][0]["params"]
        return ", ".join(f"{name} {weight:.2f}" for name, weight in members.items())
    of_split = {model: record for (model, its), (record, _) in cells.items() if its == split}
    return max(
        of_split,
        key=lambda model: (of_split[model].get("cut") is None, of_split[model]["inner_score"]),
    )


def _packed(cells: Cells, asked: Question, row: str, *, fallback: bool) -> str:
    """Calibrated probabilities of a row, fold after fold.

    Raises:
        ValueError: The run held out other images than were asked.
    """
    splits = _splits(cells)
    if len(splits) != len(asked.folds):
        raise ValueError(f"the run finished {len(splits)} of {len(asked.folds)} folds.")
    folds = []
    for split, (_, test) in zip(splits, asked.folds, strict=True):
        model = row
        if fallback and (row, split) not in cells:
            model = _chosen(cells, split)
        record, table = cells[model, split]
        if table["image"].tolist() != test.tolist():
            raise ValueError(f"{split}: the run held out other images than it did before.")
        calibration = Calibration.from_record(record.get("calibration"))
        probabilities = table[["p0", "p1"]].to_numpy(float)
        folds.append(calibration.apply(probabilities, multi_label=False)[:, 1].tolist())
    return packed(folds, probabilities=True)


def _without_folders(message: str, paths: Paths) -> str:
    """The end of a message, without where things lie on this machine."""
    for folder in (paths.scratch, paths.environments, paths.data, HERE.parents[1]):
        message = message.replace(str(folder), "...")
    return message[-1500:]
