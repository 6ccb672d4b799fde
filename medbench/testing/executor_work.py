"""Small cells that the contract of executors hands to one, and what it keeps of a run."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench import registry
from medbench.datasets.batch import image_key
from medbench.execution.events import Event, Outcome, TrialEnded
from medbench.execution.executor import Work
from medbench.execution.parts import DevelopmentPart, HeldOutPart
from medbench.execution.plan import ATTEMPT
from medbench.execution.task import CellTask
from medbench.models.weights import Weights
from medbench.store import CellId
from medbench.testing.contract import require
from medbench.versions import code_of

FAMILIES = Path(__file__).with_name("executor_families.py")
"""The families of these cells, as a plugin file."""
NAP_SECONDS = 0.1
"""How long a fit of ``check-napping`` takes at least."""
PULSE_SECONDS = 0.01
"""How often ``check-endless`` shows that it lives."""
LONG_SECONDS = 600.0
"""How long the families do nothing that must be ended."""
GROWN_MEGABYTES = 1500
"""How much ``check-growing`` takes at most."""
TRIALS = 3
"""Of each cell."""
INNER_FOLDS = 2
N_HELD_OUT = 12
"""Held-out images of each cell."""
GUARDED = sys.platform == "linux"
"""Whether this system shows and ends all that a process has started."""
_N_DEVELOPMENT, _SIDE = 36, 8
_TUNER = "optuna"
_WAIT_SECONDS = 60.0


@dataclass(kw_only=True)
class Run:
    """What was told of a run."""

    development: Watched
    """Where the development part of ``check-napping`` was written."""
    held_out: Watched
    told: list[Event] = field(default_factory=list)
    trials: list[dict[str, Any]] = field(default_factory=list)
    """Records of the first cell of ``check-brightness``."""
    oofs: list[NDArray[np.float64]] = field(default_factory=list)
    """Its out-of-fold probabilities, by trial."""
    files_were_there: bool = True

    def take(self, event: Event) -> None:
        """Take in an event, whose files can be read now."""
        self.told.append(event)
        if isinstance(event, TrialEnded):
            if event.record["state"] == "complete":
                self.files_were_there &= event.oof is not None and event.oof.is_file()
            if event.oof is not None and event.cell == cell_id("check-brightness"):
                self.trials.append(dict(event.record))
                self.oofs.append(np.load(event.oof, allow_pickle=False))
        elif isinstance(event, Outcome) and event.reason == "":
            self.files_were_there &= event.model is not None and any(event.model.iterdir())

    def outcome(self, family: str, fold: int = 0) -> Outcome:
        """The outcome of a cell."""
        found = [e for e in self.told if isinstance(e, Outcome) and e.cell == cell_id(family, fold)]
        require(len(found) == 1, f"{cell_id(family, fold)} has {len(found)} outcomes.")
        return found[0]


def cell_id(family: str, fold: int = 0) -> CellId:
    """The cell of a family, one a fold."""
    return CellId(dataset="check", model=family, split=f"r0f{fold}")


def small_work(family: str, fold: int = 0) -> Work:
    """A small cell: bright images are of class 1, mostly."""
    generator = np.random.default_rng(fold)
    n = _N_DEVELOPMENT + N_HELD_OUT
    labels = np.arange(n) % 2
    pixels = generator.integers(0, 120, (n, _SIDE, _SIDE, 1)) + 60 * labels[:, None, None, None]
    images = pixels.astype(np.uint8)
    table = pd.DataFrame(
        {
            "width": _SIDE,
            "height": _SIDE,
            "mode": "L",
            "bytes": _SIDE**2,
            "key": [image_key(image) for image in images],
        }
    )
    rows = np.arange(_N_DEVELOPMENT)
    return Work(
        task=CellTask(
            cell=cell_id(family, fold),
            tuner=_TUNER,
            classes=("dark", "bright"),
            image_shape=(_SIDE, _SIDE, 1),
            task_type="binary",
            trials=TRIALS,
            seconds=None,
            inner_folds=INNER_FOLDS,
            operating_point="youden",
            split_seed=fold,
            cell_seed=fold,
        ),
        development=DevelopmentPart(
            images=images, table=table, rows=rows, labels=labels[rows], groups=rows, validation=None
        ),
        held_out=HeldOutPart(images=images, table=table, rows=np.arange(_N_DEVELOPMENT, n)),
        modules=code_of(registry.tuners.get(_TUNER), ATTEMPT).imports,
    )


def closed_work(work: Work, folder: Path) -> Work:
    """The work with something beside its weights that it must not read."""
    (folder / "secret").mkdir()
    (folder / "secret" / "labels.csv").write_text("label\n1\n")
    return replace(weighted_work(work, folder), closed=(str((folder / "secret").resolve()),))


def weighted_work(work: Work, folder: Path) -> Work:
    """The work with weights in a folder."""
    (folder / "weights.bin").write_text("")
    weights = Weights(path=folder / "weights.bin", sha256=None, note="for a check")
    return replace(work, weights=weights)


def grows(pulse: Path) -> bool:
    """Whether somebody still writes into a file."""
    before = pulse.stat().st_size
    time.sleep(50 * PULSE_SECONDS)
    return pulse.stat().st_size > before


def wait_for(pulse: Path) -> None:
    """Return once ``check-endless`` fits."""
    end = time.monotonic() + _WAIT_SECONDS
    while not pulse.exists():
        require(time.monotonic() < end, f"no fit began within {_WAIT_SECONDS:.0f} s.")
        time.sleep(PULSE_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Where and when a part was written."""

    folders: list[Path] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def note(self, folder: Path) -> None:
        """Remember that a part was written there, now."""
        self.folders.append(folder)
        self.times.append(time.monotonic())


@dataclass(frozen=True, kw_only=True, eq=False)
class _WatchedDevelopment(DevelopmentPart):
    watched: Watched

    def write(self, folder: Path) -> None:
        super().write(folder)
        self.watched.note(folder)


@dataclass(frozen=True, kw_only=True, eq=False)
class _WatchedHeldOut(HeldOutPart):
    watched: Watched

    def write(self, folder: Path) -> None:
        super().write(folder)
        self.watched.note(folder)


def watched_work(work: Work) -> tuple[Work, Watched, Watched]:
    """The work with parts that remember where they were written."""
    development, held_out = Watched(), Watched()
    return (
        replace(
            work,
            development=_WatchedDevelopment(**vars(work.development), watched=development),
            held_out=_WatchedHeldOut(**vars(work.held_out), watched=held_out),
        ),
        development,
        held_out,
    )
