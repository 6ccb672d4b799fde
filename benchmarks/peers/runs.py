"""Runs under the budget ``quick``: complete trials of each core family, and the first estimate.

Each run has the default models, sanity rows, folds and threads, and begins with an empty cache, so
that the first estimate knows nothing but the table that is shipped. A set with an official split
is run to its end; one with folds until its first fold is done, for each further one has the same
budget (features that are in the cache are charged as if they were not). Of those the estimate is
held against what it took by ``benchmarks/reference``.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from children import SideError, timed
from questions import Paths

from medbench.datasets.sources.phantoms import PhantomSource

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
sys.path.append(str(Path(__file__).resolve().parents[1] / "reference"))
from commands import COMMANDS
from estimates import first_estimate

CORE = ("hog-svm", "xgboost", "cnn", "inceptionv3")
REFERENCE = tuple(name for name, it in COMMANDS.items() if not (it.bare or it.untuned))
PHANTOMS = "phantoms-28"
"""A data set of this file: drawn images of MedMNIST's size, with an official split."""
_PATIENTS, _DRAWN_AT, _SIDE = 500, 56, 28
_TINY = 24
"""Patients where nothing but that everything works is to be seen."""
_CELLS_FAILED, _STOPPED = 1, 143
"""Status of a run of which cells failed, while others have their rows; of one that was stopped."""
_FIRST_FOLD, _OFFICIAL = "r0f0", "official"
"""Names of splits."""


def run(name: str, paths: Paths, *, quick: bool = False) -> dict[str, Any]:
    """Run the core families on one data set.

    Args:
        name: A data set of the catalog, or ``PHANTOMS``.
        paths: Where things are.
        quick: One small family, a tiny budget and few images.

    Returns:
        ``seconds`` of the whole command and ``estimate`` (seconds that it said first, or None),
        both None where it was stopped after its first fold, and by family ``complete`` (fewest
        and most complete trials of its cells), ``cut`` (how many chosen trials were cut) and
        ``failed`` (why cells failed).

    Raises:
        SideError: The run failed as a whole.
    """
    folder = paths.scratch / f"quick-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if name == PHANTOMS:
        catalog = _write_phantoms(folder, _TINY if quick else _PATIENTS)
        paths = replace(paths, datasets_file=catalog)
    out = folder / "run"
    how: tuple[object, ...] = ("--models", *CORE, "--budget", "quick")
    if quick:
        how = ("--models", "hog-svm", "--no-sanity", "--trials", 1, "--time", "20s", "--folds", 2)
    seconds, said = timed(
        ["-m", "medbench", "run", "--datasets", name, *how, *paths.run_options, "--out", out],
        {"MEDBENCH_CACHE": str(folder / "cache")},
        accepted=(0, _CELLS_FAILED, _STOPPED),
        enough=lambda: _first_fold_is_done(out),
    )  # fmt: skip
    families = _families(out)
    if not families:
        raise SideError(f"{name}: the run ended without a cell:\n{said[-1000:]}")
    whole = (out / "leaderboard.csv").exists()
    figures = {
        "seconds": seconds if whole else None,
        "estimate": first_estimate(said) if whole else None,
        "families": families,
    }
    shutil.rmtree(folder)
    return figures


def _first_fold_is_done(out: Path) -> bool:
    """Whether each core family has its cell of the first fold; False with an official split."""
    done = {file.parents[1].name for file in out.glob(f"cells/*/*/{_FIRST_FOLD}/cell.json")}
    return done.issuperset(CORE)


def _families(out: Path) -> dict[str, Any]:
    """By family, what the records of its cells say."""
    found: dict[str, Any] = {}
    for file in sorted(out.glob("cells/*/*/*/cell.json")):
        record = json.loads(file.read_text())
        if record["model"] not in CORE or record["split"] not in (_FIRST_FOLD, _OFFICIAL):
            continue
        family = found.setdefault(record["model"], {"complete": [], "cut": 0, "failed": []})
        if record["status"] == "ok":
            family["complete"].append(_complete_trials(record, file.parent))
            family["cut"] += record.get("cut") is not None
        else:
            family["complete"].append(0)
            family["failed"].append(f"{record['split']}: {record['reason']}"[:200])
    for family in found.values():
        family["complete"] = [min(family["complete"]), max(family["complete"])]
    return found


def _complete_trials(record: dict[str, Any], cell: Path) -> int:
    """Complete trials of a cell; of an older run, which does not tell them, by its trials."""
    if record.get("complete_trials") is not None:
        return int(record["complete_trials"])
    trials = map(json.loads, (cell / "trials.jsonl").read_text().splitlines())
    return sum(trial["state"] == "complete" for trial in trials)


def _write_phantoms(folder: Path, patients: int) -> Path:
    """An archive of 28-px images divided by patient, and a catalog that names it."""
    source = PhantomSource(patients=patients, image_size=_DRAWN_AT)
    listing = source.listing()
    whole = np.stack([source.draw(row) for row in range(len(listing.table))])
    quarters = whole.reshape(len(whole), _SIDE, 2, _SIDE, 2).astype(np.float64)
    images = np.rint(quarters.mean(axis=(2, 4))).astype(np.uint8)
    labels = listing.table["label"].to_numpy(np.int64)
    patient = np.arange(len(images)) // source.images_per_patient
    tenth = (patient // 2) % 10  # neighbours have different classes, so both go together
    parts = {"train": tenth < 7, "val": tenth == 7, "test": tenth > 7}
    np.savez(
        folder / "phantoms.npz",
        **{f"{part}_images": images[rows] for part, rows in parts.items()},
        **{f"{part}_labels": labels[rows] for part, rows in parts.items()},
    )
    catalog = folder / "datasets.yaml"
    catalog.write_text(
        f"{PHANTOMS}:\n  source: npz\n  path: phantoms.npz\n  classes: [healthy, lesion]\n"
        f"  image_size: {_SIDE}\n  channels: grey\n"
    )
    return catalog
