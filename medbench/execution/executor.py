"""What an executor is: it takes the work of cells and tells what comes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medbench.execution.events import Event
from medbench.execution.parts import DevelopmentPart, HeldOutPart
from medbench.execution.task import CellTask
from medbench.models.weights import Weights


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """A cell that is to be worked on: its task, and what it takes to do it."""

    task: CellTask
    """What is to be done."""
    development: DevelopmentPart
    """The images to learn from, to be written where the work is done."""
    held_out: HeldOutPart
    """To be written only after ``Fitted`` was told."""
    weights: Weights | None = None
    """Pretrained weights on this machine; None for a family without any."""
    keras: bool = False
    """Whether the family or its tuner imports Keras."""
    modules: tuple[str, ...] = ()
    """Modules of libraries that they import, which may be loaded beforehand."""
    closed: tuple[str, ...] = ()
    """Files and folders in which the attempt must not look; see ``firewall.closed_paths``."""
    earlier: tuple[Mapping[str, object], ...] = ()
    """Records of trials that an earlier attempt has finished, in order."""
    earlier_oof: NDArray[np.float64] | None = None
    """Out-of-fold probabilities of the best one of them (see ``medbench.tuning.tuner.best_of``),
    float64, shape (n_development, n_classes), NaN where an image was not predicted; None where no
    trial has any."""
    earlier_checkpoints: Path | None = None
    """Folder of the fitted folds that they left, a folder a trial; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What an executor may use on this machine."""

    threads: int
    """Number of threads of each cell."""
    jobs: int = 1
    """Most cells that are worked on at a time."""
    features: Path | None = None
    """Folder of the feature cache; None keeps features in memory only."""
    plugins: tuple[Path, ...] = ()
    """Python files that every attempt imports."""
    cell_seconds: float | None = None
    """Most wall seconds of an attempt in all, after which it is ended; None for no limit. Those for
    which the run is suspended do not count."""
    cell_memory: int | None = None
    """Most bytes of an attempt, with all processes that it starts; None for no limit."""


def whole_record(fitted: Mapping[str, Any], predicted: Mapping[str, Any]) -> dict[str, Any]:
    """What ``Outcome.record`` holds, JSON-ready.

    Args:
        fitted: ``Fitted.record``.
        predicted: What ``Attempt.predict`` gave.
    """
    others = {name: value for name, value in predicted.items() if name != "seconds"}
    seconds = {**fitted["seconds"], "prediction": predicted["seconds"]}
    return {**fitted, **others, "seconds": seconds}


class Executor(ABC):
    """Works on cells, somewhere.

    It writes nothing into the run folder: what happened is told by events, and one committer in
    the parent process writes them down. ``medbench.testing.check_executor`` checks the contract.
    """

    name: ClassVar[str] = ""
    """Its name in the registry, which sets it."""
    isolates: ClassVar[bool] = True
    """Whether each attempt has a process of its own, with a firewall around it, whose end is a
    failed cell and no more."""

    def __init__(self, resources: Resources) -> None:
        """Prepare; nothing starts before ``run``.

        Args:
            resources: Threads, folders and limits.
        """
        self.resources = resources
        """What it may use on this machine."""

    @abstractmethod
    def run(self, work: Sequence[Work]) -> Generator[Event, None, None]:
        """Work on every cell.

        Args:
            work: The cells, in the order in which they are best begun.

        Yields:
            Of each cell ``Started``, then what its attempt tells, and last an ``Outcome``; of
            several cells at a time the events are mixed. An attempt that fails is an outcome with
            its reason; where that is trouble of the machine (see ``medbench.faults``), the outcome
            says so. Where the iterator is closed or left by an exception, everything that was
            started has ended and every image that was written is gone.
        """
