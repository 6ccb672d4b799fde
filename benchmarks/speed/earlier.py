"""This MedBench against an earlier commit of itself, whose files are taken out of git.

``cells``: what a cell of the majority class costs through ``run``, as the wall time of a run of
many cells less that of a run of few, divided by the difference. ``demo``: the README's first
command without the installation, into an empty cache, with the AUROC that each family of trained
models got. ``memory``: a run of ``thumbnail`` and
``hog-svm`` on large images, as the largest sum of the proportional set sizes of all its processes,
less that of the same run on a few tiny images (which is that of the imports). ``tests``: CPU
seconds of all fast tests of both commits, each with its own, the new ones with ours.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from harness import BenchmarkError, Record, Settings, child, in_turns

COMMIT = "54e0e62"
"""Of the measurements in this file; others have another one."""
ROOT = Path(__file__).resolve().parents[2]
_SAMPLE_SECONDS = 0.05
_SHOWN_LINES = 15


def checkout(settings: Settings, commit: str) -> Path:
    """The files of a commit.

    Raises:
        BenchmarkError: This checkout has no such commit.
    """
    folder = settings.scratch / commit
    if not folder.exists():
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=False
        )
        if archive.returncode:
            raise BenchmarkError(f"commit {commit} is not here: fetch it first.")
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
    return folder


def environment_of(tree: Path, cache: Path) -> dict[str, str]:
    """Environment variables with which Python takes MedBench from a tree."""
    return {**os.environ, "PYTHONPATH": str(tree), "MEDBENCH_CACHE": str(cache)}


class Sides:
    """Both trees, each with a cache of its own; runs commands of one in new run folders."""

    def __init__(self, settings: Settings, name: str, commit: str = COMMIT) -> None:
        self.folder = settings.folder(name)
        self.trees = {"ours": ROOT, "other": checkout(settings, commit)}
        self._number = itertools.count()

        self.out = self.folder
        """The newest run folder."""

    def command(self, *arguments: object) -> list[str]:
        self.out = self.folder / f"run-{next(self._number)}"
        return ["-m", "medbench", *map(str, arguments), "--out", str(self.out)]

    def environment(self, side: str, cache: str = "cache") -> dict[str, str]:
        return environment_of(self.trees[side], self.folder / side / cache)

    def seconds(self, side: str, *arguments: object, cache: str = "cache") -> float:
        with contextlib.chdir(self.folder):
            return child(self.command(*arguments), self.environment(side, cache))[0].wall


def cells(settings: Settings) -> list[Record]:
    """Wall seconds of a cell."""
    sides = Sides(settings, "cells")
    few, many = (1, 3) if settings.quick else (1, 21)
    _write_images(sides.folder, 40, 32)

    def of_cell(side: str) -> float:
        plan = ("run", "--datasets", "films", "--models", "majority", "--no-sanity", "--trials", 1)
        each = [sides.seconds(side, *plan, "--seeds", n) for n in (many, few)]
        return _above_zero(each[0] - each[1], settings) / (many - few)

    of_cell("ours"), of_cell("other")
    costs = in_turns(lambda: of_cell("ours"), lambda: of_cell("other"), settings.repeats)
    return [record("cells", "a cell of the majority class", "s", 0.2, costs, cells=many - few)]


def demo(settings: Settings) -> list[Record]:
    """Wall seconds of the README's first command."""
    sides = Sides(settings, "demo")
    what = ("--models", "majority", "--trials", 1, "--folds", 2) if settings.quick else ()
    number = itertools.count()
    auroc: dict[str, dict[str, float]] = {}

    def seconds(side: str) -> float:
        taken = sides.seconds(side, "run", *what, cache=f"cache-{next(number)}")
        auroc[side] = _auroc_of(sides.out)
        return taken

    costs = in_turns(lambda: seconds("ours"), lambda: seconds("other"), settings.repeats)
    return [record("demo", "medbench run", "s", 0.5, costs, auroc=auroc)]


def memory(settings: Settings) -> list[Record]:
    """Peak of the proportional set size of all processes of a run, in MB, less the imports'."""
    if not Path("/proc/self/smaps_rollup").exists():
        raise BenchmarkError("memory: proportional set sizes are told by Linux only.")
    sides = Sides(settings, "memory")
    n, side_of_image = (200, 64) if settings.quick else (5000, 224)
    for name, images in (("large", (n, side_of_image)), ("tiny", (40, 16))):
        (sides.folder / name).mkdir()
        _write_images(sides.folder / name, *images)

    def peak(side: str, name: str) -> float:
        plan = ("run", "--datasets", "films", "--models", "thumbnail", "hog-svm", "--no-sanity")
        with contextlib.chdir(sides.folder / name):
            return _peak_of(
                sides.command(*plan, "--trials", 1, "--threads", 1),
                sides.environment(side, f"cache-{name}"),
            )

    def megabytes(side: str) -> float:
        shutil.rmtree(sides.folder / side / "cache-large", ignore_errors=True)
        return _above_zero(peak(side, "large") - peak(side, "tiny"), settings)

    costs = in_turns(lambda: megabytes("ours"), lambda: megabytes("other"), settings.repeats)
    return [record("memory", f"a run on {n} images of {side_of_image} px", "MB", 0.5, costs)]


def tests(settings: Settings) -> list[Record]:
    """CPU seconds of the fast tests, with all that they start; taken once."""
    sides = Sides(settings, "tests")
    quick = ("tests/test_seeds.py", "tests/evaluation/test_ranks.py") if settings.quick else ()

    def seconds(side: str) -> float:
        tree = sides.trees[side]
        chosen = [tree / name for name in quick if (tree / name).exists()] or [tree / "tests"]
        command = ["-m", "pytest", "-q", "-c", tree / "pyproject.toml", "--rootdir", tree, *chosen]
        command += ["-m", "not slow", "-n", settings.cores, "-p", "no:cacheprovider"]
        with contextlib.chdir(sides.folder):
            return child([str(part) for part in command], sides.environment(side))[0].cpu

    costs = {"ours": (seconds("ours"),), "other": (seconds("other"),)}
    return [record("tests", "the fast tests", "CPU s", 0.5, costs)]


def _above_zero(difference: float, settings: Settings) -> float:
    """A difference of two measurements; that of a quick round may be lost in their noise.

    Raises:
        BenchmarkError: It is below zero, so nothing can be said.
    """
    if difference <= 0 and not settings.quick:
        raise BenchmarkError(f"the larger run took {-difference:.3g} less than the smaller one.")
    return max(difference, 1e-3)


def _auroc_of(run: Path) -> dict[str, float]:
    """AUROC of each model by the leaderboard of a run."""
    table = pd.read_csv(run / "leaderboard.csv")
    return {str(row.model): float(row.auroc) for row in table.itertuples()}


def record(
    name: str,
    what: str,
    unit: str,
    wanted: float,
    costs: dict[str, tuple[float, ...]],
    commit: str = COMMIT,
    **details: object,
) -> Record:
    """A line of the table: ours costs at most ``wanted`` times the same of a commit."""
    return Record(
        name=name,
        ours_is=what,
        other_is=f"the same of {commit}",
        unit=unit,
        wanted=wanted,
        sense="at most",
        details=details,
        **costs,
    )


def _write_images(folder: Path, n: int, side: int) -> None:
    """An archive with an official split: noise with a brighter half, more so in one class."""
    generator = np.random.default_rng(0)
    labels = np.arange(n) % 2
    images = generator.integers(0, 200, (n, side, side), dtype=np.uint8)
    images[labels == 1, : side // 2] //= 2
    images[labels == 1, : side // 2] += 60
    test = np.arange(n) % 10 < 2
    np.savez(
        folder / "films.npz",
        train_images=images[~test],
        train_labels=labels[~test],
        test_images=images[test],
        test_labels=labels[test],
    )
    (folder / "datasets.yaml").write_text(
        f"films:\n  source: npz\n  path: films.npz\n  image_size: {side}\n  channels: grey\n"
    )


def _peak_of(command: Sequence[str], environment: dict[str, str]) -> float:
    """Largest sum of the proportional set sizes of a command and all that it started, in MB.

    Raises:
        BenchmarkError: It failed.
    """
    process = subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    peak, over = 0.0, threading.Event()

    def sample() -> None:
        nonlocal peak
        while not over.wait(_SAMPLE_SECONDS):
            peak = max(peak, sum(map(_proportional_megabytes, _family(process.pid))))

    sampler = threading.Thread(target=sample)
    sampler.start()
    said, _ = process.communicate()
    over.set()
    sampler.join()
    if process.returncode:
        raise BenchmarkError("\n".join(said.splitlines()[-_SHOWN_LINES:]))
    return peak


def _family(pid: int) -> list[int]:
    """A process and all that it started, also by way of others."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for started in (task / "children").read_text().split():
                found += _family(int(started))
    return found


def _proportional_megabytes(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0
