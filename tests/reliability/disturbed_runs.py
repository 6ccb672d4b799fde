"""A small suite, a fault at a moment of it, and what the fault costs.

The suite gives results that repeat to the bit. It is run once undisturbed. Then the same command is
started in new folders; a fault befalls it there; the same command is given again until it ends
well; and what is there then is held against the undisturbed run. Whatever differs is a cost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from filelock import FileLock

from medbench.store import CellId, RunResult, RunStore

STARTS = 4
"""How often the same command is given after the fault, at most."""
DEADLINE = 180.0
"""Seconds after which a command hangs: many times what it takes on a busy machine."""
_OUTLIVE_SECONDS = 60.0
"""How long what a command started may take to see that it is gone, likewise."""
_TAG = "MEDBENCH_RELIABILITY"
"""Environment variable by which all processes of a run are found."""
_CRASHES = ("Traceback (most recent call last)", "Exception ignored", "Fatal Python error")
_FROZEN = ("params", "threshold", "calibration", "inner_score", "n_trials", "step", "status")
"""Entries of a cell's record that say the same whenever the same is computed."""
_SETS = {
    "heads": {"patients": 14, "modality": "mr"},
    "chests": {"patients": 16, "modality": "chest"},
}
_DATASETS = """
{name}:
  source: phantoms
  patients: {patients}
  images_per_patient: 2
  image_size: 32
  modality: {modality}
"""
_PLUGIN = Path(__file__).parents[1] / "plugins" / "nearest_centroid.py"
_MODELS = ("hog-svm", "xgboost", "nearest-centroid")


@dataclass
class Toll:
    """What a fault cost: a sentence for each thing that is not as it should be."""

    kind: str
    """Of the fault."""
    lost: list[str] = field(default_factory=list)
    """Cells and files that are missing at the end."""
    repeated: list[str] = field(default_factory=list)
    """Trials and cells that were finished, and were worked on again."""
    silent: list[str] = field(default_factory=list)
    """Numbers that are others than those of the undisturbed run, and nothing says so."""
    tracebacks: list[str] = field(default_factory=list)
    """What was shown instead of a sentence."""
    hangs: list[str] = field(default_factory=list)
    """Commands that did not end, and processes that outlived theirs."""
    left: list[str] = field(default_factory=list)
    """Files that nobody knows, in the run folder or the cache."""

    COSTS = ("lost", "repeated", "silent", "tracebacks", "hangs", "left")

    def as_record(self) -> dict[str, object]:
        """The kind, and how many of each."""
        return {"kind": self.kind, **{name: len(getattr(self, name)) for name in self.COSTS}}

    def sentences(self) -> list[str]:
        """Everything, for who reads a failure."""
        return [f"{name}: {each}" for name in self.COSTS for each in getattr(self, name)]


FOLDERS = ("out", "cache", "temporary")


class RunFolders:
    """Folders of one run: its own run folder, cache and temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out, self.cache, self.temporary = (folder / n for n in FOLDERS)
        self.told = {"out": self.out, "cache": self.cache, "temporary": self.temporary}
        """The same folders by the names that a command is told."""
        self.tag = secrets.token_hex(8)
        for path in (folder, self.cache, self.temporary):
            path.mkdir(exist_ok=True)

    def put_on_a_small_disk(self, which: str, size: int) -> SmallDisk:
        """Have one of the folders lie on a disk of its own.

        Raises:
            OSError: This platform does not allow it.
        """
        self.told[which].mkdir(exist_ok=True)
        disk = SmallDisk(self.told[which], size)
        setattr(self, which, disk.seen)
        return disk

    def processes(self) -> dict[int, int]:
        """Every process that was started here and lives, with its parent's number."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{_TAG}={self.tag}".encode() not in (entry / "environ").read_bytes():
                    continue
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    found[int(entry.name)] = int(parent)
        return found

    def progress(self) -> int:
        """Events so far: data sets that are described, trials and cells that are finished."""
        events = len(list(self.out.glob("datasets/*/dataset.json")))
        for path in self.out.glob("cells/*/*/*/*"):
            with contextlib.suppress(OSError):
                if path.name == "trials.jsonl":
                    events += path.read_bytes().count(b"\n")
                events += path.name == "cell.json"
        return events


class Suite:
    """Two tiny sets of phantoms, three families, two folds, three trials.

    Twelve cells and four ensembles of them; a small one has a set and two families of them.
    """

    def __init__(self, folder: Path, *, small: bool) -> None:
        """Run it, unless another process of this test run has done so in this folder."""
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._names = list(_SETS)[-1:] if small else list(_SETS)
        self._models = _MODELS[-2:] if small else _MODELS
        self.folders = RunFolders(folder / "undisturbed")
        seconds = folder / "seconds"
        with FileLock(folder / "lock"):
            if not seconds.exists():
                (folder / "sets.yaml").write_text(
                    "".join(_DATASETS.format(name=n, **given) for n, given in _SETS.items())
                )
                began = time.monotonic()
                process = self.start(self.folders)
                said = self.said(self.folders)
                assert process.wait() == 0, said.read_text()
                seconds.write_text(str(time.monotonic() - began))
        self.seconds = float(seconds.read_text())
        self.events = self.folders.progress()
        self.whole = RunStore(self.folders.out).read()
        self.files = files_below(self.folders.out)

    def start(
        self,
        folders: RunFolders,
        environment: Mapping[str, str] | None = None,
        prefix: list[str] = (),
    ) -> subprocess.Popen:
        """Give the command, with the environment variables of a fault.

        Args:
            folders: Those of the run.
            environment: Variables beside those of the folders.
            prefix: A command that runs this command.
        """
        command = [*prefix, sys.executable, "-m", "medbench", "run", "--no-sanity"]
        command += ["--datasets-file", str(self._folder / "sets.yaml"), "--datasets", *self._names]
        command += ["--plugin", str(_PLUGIN), "--models", *self._models]
        command += ["--trials", "3", "--folds", "2", "--jobs", "2", "--threads", "1"]
        variables = {
            **os.environ,
            "MEDBENCH_CACHE": str(folders.told["cache"]),
            "TMPDIR": str(folders.told["temporary"]),
            _TAG: folders.tag,
            **(environment or {}),
        }
        with self.said(folders).open("ab") as said:
            return subprocess.Popen(
                [*command, "--out", str(folders.told["out"])],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                preexec_fn=_hear_signals,
            )

    @staticmethod
    def said(folders: RunFolders) -> Path:
        """The file with all that the commands of a run have said."""
        return folders.folder / "said.txt"


Strike = Callable[[subprocess.Popen, RunFolders], None]
"""Brings a fault about in a running command."""


def endured(
    suite: Suite,
    folders: RunFolders,
    kind: str,
    strike: Strike = lambda process, folders: None,
    *,
    environment: Mapping[str, str] | None = None,
    prefix: list[str] = (),
    gone: Callable[[], None] = lambda: None,
) -> Toll:
    """Start the suite, let a fault befall it, give the command until it ends well, and compare.

    Args:
        suite: What is run.
        folders: Those of the run.
        kind: Of the fault.
        strike: Brings it about while the command runs.
        environment: Variables that bring it about, of the first start only.
        prefix: A command in which every start runs, such as one that enters a small mount.
        gone: Takes the cause away after the first start.
    """
    toll = Toll(kind)
    process = suite.start(folders, environment, prefix)
    strike(process, folders)
    status = _ended(process, folders, toll)
    kept = finished_work(folders.out)
    gone()
    for _ in range(STARTS):
        if status == 0:
            break
        status = _ended(suite.start(folders, prefix=prefix), folders, toll)
    compare(suite, folders, kept, toll)
    if status != 0 and not toll.lost:
        toll.lost.append(f"the command still ends with status {status}")
    return toll


def compare(suite: Suite, folders: RunFolders, kept: Mapping[Path, bytes], toll: Toll) -> None:
    """Hold a run against the undisturbed run, and against what was finished before."""
    said = suite.said(folders).read_text(errors="replace")
    toll.tracebacks += [line for line in said.splitlines() if line.startswith(_CRASHES)]
    for path, before in kept.items():
        now = path.read_bytes() if path.exists() else b""
        if not now.startswith(before):
            toll.repeated.append(f"{path.relative_to(folders.out)} was finished and is another now")
    try:
        run = RunStore(folders.out).read()
    except Exception as error:
        toll.lost.append(f"the run folder cannot be read: {error}")
        return
    different(suite.whole, run, toll)
    there = files_below(folders.out)
    toll.left += [f"run folder: {name}" for name in sorted(there - suite.files) if _strange(name)]
    lost = {f"cells/{c.dataset}/{c.model}/{c.split}" for c in cells_lost(suite.whole, run)}
    for name in sorted(suite.files - there):
        if _strange(name) and not any(name.startswith(cell) for cell in lost):
            toll.lost.append(f"file {name}")
    for folder in (folders.cache / "work", folders.temporary):
        toll.left += [f"{folder.name}: {name}" for name in sorted(files_below(folder))]


def different(whole: RunResult, run: RunResult, toll: Toll) -> None:
    """Cells that are lost, and numbers that are others than those of the undisturbed run."""
    cells = {cell.id: cell for cell in run.cells}
    for one in whole.cells:
        cell = cells.get(one.id)
        if cell is None or cell.predictions is None:
            why = "is not there" if cell is None else f"{cell.status}: {cell.reason}"
            toll.lost.append(f"cell {one.id} {why}")
            continue
        try:
            pd.testing.assert_frame_equal(cell.predictions, one.predictions, check_exact=True)
        except AssertionError:
            toll.silent.append(f"predictions of {one.id}")
        for name in _FROZEN:
            if cell.record.get(name) != one.record.get(name):  # an ensemble has no steps
                toll.silent.append(f"{name} of {one.id}")
        numbers = [trial["number"] for trial in cell.trials]
        if numbers != [trial["number"] for trial in one.trials]:
            toll.repeated.append(f"{one.id} has the trials {numbers}")
        scores = [trial["score"] for trial in cell.trials]
        if scores != [trial["score"] for trial in one.trials]:
            toll.silent.append(f"scores of trials of {one.id}")


def cells_lost(whole: RunResult, run: RunResult) -> set[CellId]:
    """Cells that have no result."""
    return {cell.id for cell in whole.cells} - {c.id for c in run.cells if c.status == "ok"}


def finished_work(out: Path) -> dict[Path, bytes]:
    """Content of what is finished in a run folder: whole lines of trials, and whole cells."""
    kept = {}
    for trials in out.glob("cells/*/*/*/trials.jsonl"):
        content = trials.read_bytes()
        kept[trials] = content[: content.rfind(b"\n") + 1]
        for name in ("cell.json", "predictions.parquet"):
            file = trials.parent / name
            if (trials.parent / "cell.json").exists() and b'"ok"' in (
                trials.parent / "cell.json"
            ).read_bytes():
                kept[file] = file.read_bytes()
    return kept


def files_below(folder: Path) -> set[str]:
    """Names of all files of a folder and below."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def until(happened: Callable[[], object], seconds: float = DEADLINE) -> bool:
    """Wait for an event that only a look can tell; False where it never came."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def _ended(process: subprocess.Popen, folders: RunFolders, toll: Toll) -> int:
    """Wait for the end of a command and of all that it started; its status."""
    if not until(lambda: process.poll() is not None):
        toll.hangs.append("the command did not end")
    elif not until(lambda: not folders.processes(), _OUTLIVE_SECONDS):
        toll.hangs += [f"process {line_of(pid)} outlived it" for pid in folders.processes()]
    for pid in folders.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    status = process.wait()
    if -status in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT):
        toll.tracebacks.append(f"the command crashed by {signal.Signals(-status).name}")
    return status


def line_of(pid: int) -> str:
    """How a process was started; its number where it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return str(pid)


def _strange(name: str) -> bool:
    """Whether a file of a run folder has to be there in every run, or in none."""
    return not name.endswith("cell.log") and name != ".lock"


def _hear_signals() -> None:
    """A job in the background was told to ignore some."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


# --- faults of files ----------------------------------------------------------------------

_LAYER = """
import builtins, errno, os, sys
below, after = os.environ["FULL_FOLDER"], int(os.environ["FULL_AFTER"])
met = os.environ["FULL_MET"]
seen = 0

def full(path):
    global seen
    try:
        inside = os.path.abspath(os.fsdecode(path)).startswith(below)
    except (TypeError, ValueError):
        return
    if inside:
        seen += 1
        if seen > after:
            os.close(os.open(met, os.O_CREAT | os.O_WRONLY))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(path))

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        path, mode, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or set(mode or "") & set("wax+"):
            full(path)
    elif event == "os.mkdir":
        full(arguments[0])

sys.addaudithook(hook)
"""
"""A disk that is full after so many files and folders were made below a folder, in each process."""


def full_after(folder: Path, count: int, scratch: Path) -> dict[str, str]:
    """Environment variables by which a folder is full for every Python process.

    The first that meets it makes the file ``met`` in ``scratch``.
    """
    (scratch / "sitecustomize.py").write_text(_LAYER)
    path = os.pathsep.join([str(scratch), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        "PYTHONPATH": path,
        "FULL_FOLDER": str(folder),
        "FULL_AFTER": str(count),
        "FULL_MET": str(scratch / "met"),
    }


class SmallDisk:
    """A disk of a few bytes, mounted where only some processes see it.

    A process in a user namespace of its own holds it; others enter that.
    """

    def __init__(self, folder: Path, size: int) -> None:
        """Mount.

        Raises:
            OSError: This platform does not allow it.
        """
        self._folder = folder
        script = f"mount -t tmpfs -o size={size} none {folder} && echo mounted && exec cat"
        try:
            self._holder = subprocess.Popen(
                ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        except FileNotFoundError as error:
            raise OSError(errno.ENOSYS, "there is no unshare") from error
        said = self._holder.stdout.readline()
        if said != "mounted\n":
            raise OSError(errno.EPERM, f"no small disk can be mounted here: {said.strip()}")
        self.entering = ["nsenter", f"--target={self._holder.pid}", "--user", "--mount"]
        self.entering += ["--preserve-credentials", f"--wd={Path.cwd()}"]
        """A command that runs a command where the disk is."""
        self.seen = Path(f"/proc/{self._holder.pid}/root{folder}")
        """Where the disk is seen from outside."""

    def grow(self, size: int) -> None:
        """Make room."""
        mount = ["mount", "-o", f"remount,size={size}", str(self._folder)]
        subprocess.run([*self.entering, *mount], check=True, capture_output=True)

    def close(self) -> None:
        """Take it away with all that is on it."""
        self._holder.communicate()


def space_below(folder: Path) -> int:
    """Bytes that the files below a folder take, in whole pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*"))


def flip(path: Path, draw: random.Random) -> None:
    """Turn one bit of a file that is not empty round; the file keeps its times."""
    content, times = bytearray(path.read_bytes()), path.stat()
    bit = draw.randrange(8 * len(content))
    content[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
