"""What it costs to survive trouble of the machine: the demo suite, against the commit before that.

Checksums, files that reach the disk and limits are in every run. Both sides run the demo suite as
it is now into an empty cache, bounded by its trials alone: what a bound of seconds allows would be
filled on either side. Each cell has a seed of its name alone, so that both draw the same
configurations; MedBench's own seeds depend on its code. What counts is the CPU time of every
process that a run starts, also of those whose parent does not wait for them, which on Linux this
process adopts.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import sys
from pathlib import Path

from earlier import ROOT, Sides, record
from harness import Record, Settings, child, in_turns

COMMIT = "22ac0f1"
_TRIALS = 3
_SAME_SEEDS = """
import sys
from medbench.__main__ import main
from medbench.execution.plan import PlannedCell
from medbench.seeds import derive_seed

PlannedCell.seed = property(lambda cell: derive_seed("cell", cell.settings.seed, str(cell.id)))
sys.exit(main())
"""
_ADOPT_ORPHANS = 36
"""``PR_SET_CHILD_SUBREAPER`` of Linux."""


def survive(settings: Settings) -> list[Record]:
    """CPU seconds of the demo suite."""
    commit = settings.commit or COMMIT
    sides = Sides(settings, "survive", commit)
    what: tuple[object, ...] = ("--suite", ROOT / "benchmarks" / "suites" / "demo.yaml")
    if settings.quick:
        what += ("--models", "majority", "--no-sanity", "--trials", 1, "--folds", 2)
    else:
        what += ("--trials", _TRIALS)
    number = itertools.count()

    def seconds(side: str) -> float:
        with contextlib.chdir(sides.folder):
            environment = sides.environment(side, f"cache-{next(number)}")
            _, _, *arguments = sides.command("run", *what)
            return _of_all_processes(["-c", _SAME_SEEDS, *arguments], environment)

    with _orphans_adopted():
        costs = in_turns(lambda: seconds("ours"), lambda: seconds("other"), settings.repeats)
    ratios = [ours / other for ours, other in zip(costs["ours"], costs["other"], strict=True)]
    spread = {"ratio of each pair": ratios}
    return [record("survive", "the demo suite", "CPU s", 1.03, costs, commit, **spread)]


def _of_all_processes(command: list[str], environment: dict[str, str]) -> float:
    before, others = os.times(), _children()
    child(command, environment)
    while adopted := _children() - others:
        os.waitpid(adopted.pop(), 0)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


def _children() -> set[int]:
    """Numbers of the children of this process; none where the system does not tell."""
    lists = Path("/proc/self/task").glob("*/children")
    return {int(number) for one in lists for number in one.read_text().split()}


@contextlib.contextmanager
def _orphans_adopted():
    """Processes whose parent has ended become children of this one."""
    if sys.platform != "linux":
        yield
        return
    system = ctypes.CDLL(None)
    system.prctl(_ADOPT_ORPHANS, 1, 0, 0, 0)
    try:
        yield
    finally:
        system.prctl(_ADOPT_ORPHANS, 0, 0, 0, 0)
