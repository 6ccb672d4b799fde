"""What the speed benchmarks share: sides taken in turns, costs of child processes, records."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medbench.datasets.batch import PROPERTIES, LabelledBatch
from medbench.datasets.sources.phantoms import PhantomSource
from medbench.datasets.task import Task
from medbench.execution.environment import child_environment
from medbench.execution.parts import DevelopmentPart

HERE = Path(__file__).resolve().parent
REPEATS = 3
_SHOWN_LINES = 15


class BenchmarkError(Exception):
    """A side of a benchmark failed or gave something else than the other side."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the command line asks for."""

    quick: bool
    """Sizes that only show that everything works."""
    scratch: Path
    """An empty folder for whatever is written."""
    cores: int
    """Cores that this process may use."""
    data_dir: Path | None = None
    weights_dir: Path | None = None
    commit: str | None = None
    """An earlier commit of MedBench that the user names."""

    @property
    def repeats(self) -> int:
        """How often both sides are taken."""
        return 1 if self.quick else REPEATS

    def folder(self, name: str) -> Path:
        """A new folder below ``scratch``."""
        folder = self.scratch / name
        folder.mkdir()
        return folder


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a child process cost, with everything that it started and waited for."""

    wall: float
    """Seconds from its start to its end."""
    cpu: float
    """User and system seconds."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of the table; costs of both sides, the lower the better."""

    name: str
    ours_is: str
    """What MedBench does here."""
    other_is: str
    """What it is compared with."""
    unit: str
    """Of the costs, for example ``"CPU s"``."""
    ours: tuple[float, ...]
    """Cost of each repeat, in the order in which they were taken."""
    other: tuple[float, ...]
    """The same of the other side."""
    wanted: float
    sense: Literal["at most", "at least"]
    """``at most``: ours costs at most ``wanted`` times the other; ``at least``: the other costs at
    least ``wanted`` times ours."""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Ratio of the medians, in the sense of ``wanted``."""
        ours, other = statistics.median(self.ours), statistics.median(self.other)
        return ours / other if self.sense == "at most" else other / ours

    @property
    def met(self) -> bool:
        """Whether the ratio is as wanted."""
        if self.sense == "at most":
            return self.ratio <= self.wanted
        return self.ratio >= self.wanted

    @property
    def noise(self) -> float:
        """Largest cost over smallest, of the side where that is more."""
        return max(max(side) / min(side) for side in (self.ours, self.other))

    def as_json(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met, "noise": self.noise}


def in_turns(
    ours: Callable[[], float], other: Callable[[], float], repeats: int
) -> dict[str, tuple[float, ...]]:
    """Costs of both sides, taken A B A B so that a slower minute slows both: for a ``Record``."""
    pairs = [(ours(), other()) for _ in range(repeats)]
    mine, theirs = zip(*pairs, strict=True)
    return {"ours": mine, "other": theirs}


def child(
    command: Sequence[str], environment: Mapping[str, str], text: str = ""
) -> tuple[Cost, str]:
    """Run a process to its end: its cost and what it printed.

    Args:
        command: Arguments of this Python.
        environment: All its environment variables.
        text: Its standard input.

    Raises:
        BenchmarkError: It failed; with the last lines of what it said.
    """
    before, began = _cpu_of_children(), time.perf_counter()
    ended = subprocess.run(
        [sys.executable, *command],
        env=dict(environment),
        input=text,
        capture_output=True,
        text=True,
    )
    cost = Cost(wall=time.perf_counter() - began, cpu=_cpu_of_children() - before)
    if ended.returncode:
        said = "\n".join((ended.stdout + ended.stderr).splitlines()[-_SHOWN_LINES:])
        raise BenchmarkError(f"{' '.join(command)} ended with status {ended.returncode}:\n{said}")
    return cost, ended.stdout


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ask(script: str, request: Mapping[str, Any], *, threads: int) -> tuple[Cost, Any]:
    """Run a script of this folder in the environment that a cell's process has.

    Args:
        script: Its file name; it reads a JSON request and calls ``answer``.
        request: JSON-ready.
        threads: Threads that it may use.

    Returns:
        Its cost, imports included, and its answer.
    """
    environment = child_environment(threads)
    cost, printed = child([str(HERE / script)], environment, json.dumps(request))
    return cost, json.loads(printed.splitlines()[-1])


def answer(value: Any) -> None:
    """Print what ``ask`` returns; libraries may have printed before."""
    print("\n" + json.dumps(value), flush=True)


def run_medbench(*arguments: object, cache: Path) -> Cost:
    """Cost of a ``python -m medbench`` command with a cache of its own."""
    environment = {**os.environ, "MEDBENCH_CACHE": str(cache)}
    return child(["-m", "medbench", *map(str, arguments)], environment)[0]


def draw_phantoms(
    patients: int, size: int, *, images_per_patient: int = 3, difficulty: float = 0.5
) -> tuple[Task, LabelledBatch]:
    """Synthetic MR-like images, the same wherever a benchmark runs."""
    import pandas as pd

    source = PhantomSource(
        patients=patients,
        image_size=size,
        images_per_patient=images_per_patient,
        difficulty=difficulty,
    )
    listing = source.listing()
    images = np.stack([source.draw(i) for i in range(len(listing.table))])[..., None]
    properties = pd.DataFrame(
        {"width": size, "height": size, "mode": "uint8", "bytes": size * size},
        index=range(len(images)),
    )
    batch = LabelledBatch(
        images=images,
        properties=properties[list(PROPERTIES)],
        labels=listing.table["label"].to_numpy(np.int64),
        groups=pd.factorize(listing.table["group"])[0].astype(np.int64),
    )
    return Task(classes=listing.classes, image_shape=images.shape[1:]), batch


def write_phantoms(folder: Path, patients: int, size: int, *, difficulty: float = 0.5) -> list[str]:
    """Draw phantoms into a new folder for ``read_development``; the names of their classes."""
    task, batch = draw_phantoms(patients, size, difficulty=difficulty)
    part = DevelopmentPart(
        images=batch.images,
        table=batch.properties.assign(key=batch.keys.astype(str)),
        rows=np.arange(len(batch)),
        labels=batch.labels,
        groups=batch.groups,
        validation=None,
    )
    part.write(folder)
    return list(task.classes)
