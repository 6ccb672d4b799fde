"""Contract checks of an executor, shared by the built-in ones and by those of packages.

One call checks all: ``check_executor(MyExecutor)``. Or let pytest show each check by itself::

    @pytest.fixture(scope="module")
    def contract():
        return ExecutorContract(MyExecutor)

    @pytest.mark.parametrize("check", EXECUTOR_CHECKS)
    def test_my_executor_keeps_the_contract(contract, check):
        contract.check(check)
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.batch import image_key
from medbench.execution.events import Event, Fitted, Outcome, RefitBegan, Started, TrialEnded
from medbench.execution.executor import Executor, Resources, Work
from medbench.execution.parts import DevelopmentPart, HeldOutPart
from medbench.execution.task import CellTask
from medbench.models.weights import Weights
from medbench.store import CellId
from medbench.testing.fits import require

FAMILIES = Path(__file__).with_name("executor_families.py")
"""The families that the checks hand to an executor, as a plugin file."""
NAP_SECONDS = 0.1
"""How long a fit of ``check-napping`` takes at least."""
PULSE_SECONDS = 0.01
"""How often ``check-endless`` shows that it lives."""
LONG_SECONDS = 600.0
"""How long the families do nothing that must be ended."""
GROWN_MEGABYTES = 1500
"""How much ``check-growing`` takes at most."""
EXECUTOR_CHECKS = (
    "order", "outcome", "failure", "fault", "held_out", "resume", "close",
    "process", "memory", "firewall", "messages", "leftovers", "limits",
)  # fmt: skip
"""Names of all checks; each is a method of ``ExecutorContract``."""
NEEDS_ISOLATION = ("process", "memory", "firewall", "messages", "leftovers", "limits")
"""Those of what an executor promises only where ``Executor.isolates``."""
_N_DEVELOPMENT, _N_HELD_OUT, _SIDE = 36, 12, 8
_TRIALS = 3
_INNER_FOLDS = 2
_GUARDED = sys.platform == "linux"
"""Whether this system shows and ends all that a process has started."""
_OVERDUE = (
    "check-sleeping", "check-holding", "check-sleeping-later",
    *(("check-stopping", "check-forking") if _GUARDED else ()),
)  # fmt: skip
_LIMIT_SECONDS, _LIMIT_BYTES = 6.0, 700_000_000
_WAIT_SECONDS = 60.0
_PLAIN = Resources(threads=1)
_SAME = 1e-9


class ExecutorContract:
    """An executor under test; a run that several checks look at is made once."""

    def __init__(self, make: Callable[[Resources], Executor]) -> None:
        """``make``: what makes the executor, mostly its class."""
        self._make = make

    @property
    def isolates(self) -> bool:
        """See ``Executor.isolates``."""
        return self._make(Resources(threads=1)).isolates

    def check(self, name: str) -> None:
        """One check by its name.

        Raises:
            AssertionError: The executor does not keep it; the message says what is wrong.
        """
        getattr(self, name)()

    def order(self) -> None:
        """Each cell is started, tried, fitted and has one outcome, in that order."""
        wanted = [Started, *[TrialEnded] * _TRIALS, RefitBegan, Fitted, Outcome]
        for cell in (_cell("check-brightness"), _cell("check-brightness", 1)):
            own = [type(event) for event in self._run.told if event.cell == cell]
            require(own == wanted, f"{cell} told {own}; the order is {wanted}.")

    def outcome(self) -> None:
        """An outcome has probabilities of every held-out image, a saved model, and a record."""
        seen = []
        for fold in (0, 1):
            outcome = self._run.outcome("check-brightness", fold)
            require(outcome.reason == "", f"it failed: {outcome.reason} {outcome.log!r}")
            seen.append(np.asarray(outcome.probabilities))
        require(seen[0].shape == (_N_HELD_OUT, 2), f"probabilities have shape {seen[0].shape}.")
        require(not np.allclose(seen[0], seen[1]), "two cells with other images gave the same.")
        require(self._run.files_were_there, "files that events name were not there.")

    def failure(self) -> None:
        """A family that raises is an outcome with its reason, and the other cells go on."""
        failed = self._run.outcome("check-failing")
        require("as it was told to" in failed.reason, f"the reason is {failed.reason!r}.")
        require(failed.record is None and failed.probabilities is None, "it has a result as well.")
        require(self._run.outcome("check-brightness").reason == "", "another cell failed too.")

    def fault(self) -> None:
        """Trouble of the machine is an outcome that says so; the trial that met it is none."""
        ended = self._run.outcome("check-full")
        require(ended.fault, f"no disk left is told as a failure of the model: {ended.reason!r}.")
        require("No space left" in ended.reason, f"the reason is {ended.reason!r}.")
        own = [type(e) for e in self._run.told if e.cell == ended.cell]
        require(own == [Started, Outcome], f"a cell that met it at once told {own}.")
        require(not self._run.outcome("check-failing").fault, "so is a family's own error.")

    def held_out(self) -> None:
        """Held-out images are handed over after the fit, and no image is left afterwards."""
        run = self._run
        after = run.held_out.times[0] - run.development.times[0]
        fits = _TRIALS * _INNER_FOLDS + 1
        require(len(run.held_out.folders) == 1, "held-out images were written more than once.")
        require(
            after >= fits * NAP_SECONDS,
            f"held-out images were written {after:.2f} s after the development part, and {fits} "
            f"fits take {fits * NAP_SECONDS:.1f} s: hand them over after Fitted.",
        )
        folders = (*run.development.folders, *run.held_out.folders)
        left = [folder for folder in folders if folder.exists()]
        require(not left, f"images are left in {left}.")

    def resume(self) -> None:
        """Trials of an earlier attempt are not repeated; the result is that of a single one."""
        whole = self._run.outcome("check-brightness")
        trials, oofs = self._run.trials, self._run.oofs
        best = max((0, 1), key=lambda i: (trials[i]["score"], -i))
        work = _work("check-brightness")
        work = replace(work, earlier=tuple(trials[:2]), earlier_oof=oofs[best])
        told = list(self._events([work]))
        numbers = [event.record["number"] for event in told if isinstance(event, TrialEnded)]
        require(numbers == [2], f"after two finished trials of three, {numbers} were made.")
        outcome = told[-1]
        assert isinstance(outcome, Outcome) and whole.record is not None
        require(outcome.record is not None, f"the attempt failed: {outcome.reason}")
        assert outcome.record is not None
        for name in ("params", "trial", "threshold", "calibration"):
            same = outcome.record[name] == whole.record[name]
            require(same, f"{name} is another one than without an interruption.")
        apart = np.abs(np.asarray(outcome.probabilities) - np.asarray(whole.probabilities)).max()
        require(bool(apart <= _SAME), "probabilities are others than without an interruption.")

    def close(self) -> None:
        """Where the iterator is left early, everything ends and no image is left."""
        with tempfile.TemporaryDirectory() as name, self._executor() as executor:
            endless = _weighted(_work("check-endless"), Path(name))
            work, development, _ = _watched(endless)
            events = executor.run([work, replace(work, task=_work("check-endless", 1).task)])
            next(events)
            pulse = Path(name) / "pulse"
            if self.isolates:  # it works on its own, and not only when an event is asked for
                _wait_for(pulse)
            events.close()
            left = [folder for folder in development.folders if folder.exists()]
            require(not left, f"images are left in {left}.")
            if self.isolates:
                require(not _grows(pulse), "an attempt went on after its executor was closed.")

    def process(self) -> None:
        """A family that ends its process is a failed cell, and the other cells go on."""
        reason = self._run.outcome("check-exiting").reason
        require("status 3" in reason, f"how its process ended is told as {reason!r}.")
        require(self._run.outcome("check-remembering", 1).reason == "", "another cell failed too.")

    def memory(self) -> None:
        """An attempt's process has seen no other attempt's images."""
        reasons = [self._run.outcome("check-remembering", fold).reason for fold in (0, 1)]
        require(reasons == ["", ""], f"two cells of one family gave {reasons}.")

    def firewall(self) -> None:
        """A family cannot look into what is closed to it."""
        reason = self._run.outcome("check-looking").reason
        require("tried to read" in reason, f"a look at what is closed gave {reason!r}.")

    def messages(self) -> None:
        """What a family writes among the messages of its attempt is a failed cell, and no event."""
        outcome = self._run.outcome("check-writing")
        require(outcome.reason != "" and not outcome.fault, f"it ended with {outcome.reason!r}.")

    def leftovers(self) -> None:
        """What a family has started ends with its attempt, even cut loose from it, on Linux."""
        if not _GUARDED:
            return
        with tempfile.TemporaryDirectory() as name:
            work = _weighted(_work("check-leaving"), Path(name))
            outcome = list(self._events([work]))[-1]
            assert isinstance(outcome, Outcome)
            require(outcome.reason == "", f"it failed: {outcome.reason} {outcome.log!r}")
            require(not _grows(Path(name) / "pulse"), "what it had started went on after it.")

    def limits(self) -> None:
        """An attempt that passes a limit is ended, whatever it does, and is a failed cell.

        Memory is looked at on Linux only.
        """
        slow = Resources(threads=1, jobs=len(_OVERDUE), cell_seconds=_LIMIT_SECONDS)
        large = Resources(threads=1, cell_memory=_LIMIT_BYTES)
        overdue = [_work(family) for family in _OVERDUE]
        growing = [_work("check-growing")] if _GUARDED else []
        told = [*self._events(overdue, slow), *self._events(growing, large)]
        ended = [event for event in told if isinstance(event, Outcome)]
        require(len(ended) == len(overdue) + len(growing), f"there were {len(ended)} outcomes.")
        for outcome in ended:
            grown = outcome.cell.model == "check-growing"
            limit = "--cell-memory" if grown else "--cell-time"
            require(limit in outcome.reason, f"{outcome.cell} ended with {outcome.reason!r}.")
            require(not outcome.fault, f"{outcome.cell} is to be started again.")
            require(outcome.overrun is not None, f"{outcome.cell} does not say by how much.")

    @cached_property
    def _run(self) -> _Run:
        """A run of all families, which most checks look at."""
        napping, development, held_out = _watched(_work("check-napping", 2))
        work = [_work("check-brightness"), _work("check-failing"), _work("check-full"), napping]
        run = _Run(development=development, held_out=held_out)
        with tempfile.TemporaryDirectory() as name:
            if self.isolates:
                work += [_work("check-exiting"), _work("check-writing")]
                work += [_closed(_work("check-looking"), Path(name))]
                work += [_work("check-remembering"), _work("check-remembering", 1)]
            for event in self._events([*work, _work("check-brightness", 1)]):
                run.take(event)
        return run

    def _events(self, work: Sequence[Work], resources: Resources = _PLAIN) -> Iterator[Event]:
        with (
            self._executor(resources) as executor,
            contextlib.closing(executor.run(work)) as events,
        ):
            yield from events

    @contextlib.contextmanager
    def _executor(self, resources: Resources = _PLAIN) -> Iterator[Executor]:
        with tempfile.TemporaryDirectory() as name:
            features = Path(name) / "features"
            yield self._make(replace(resources, features=features, plugins=(FAMILIES,)))


def check_executor(executor: type[Executor]) -> tuple[str, ...]:
    """Check that an executor keeps its contract; returns if it does.

    Args:
        executor: The class.

    Returns:
        Names of the checks that were left out, since it does not isolate.

    Raises:
        AssertionError: A check failed; the message says what is wrong.
    """
    contract = ExecutorContract(executor)
    left_out = () if executor.isolates else NEEDS_ISOLATION
    for name in EXECUTOR_CHECKS:
        if name not in left_out:
            contract.check(name)
    return left_out


@dataclass(kw_only=True)
class _Run:
    """What was told of a run."""

    development: _Watched
    """Where the development part of ``check-napping`` was written."""
    held_out: _Watched
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
            if event.oof is not None and event.cell == _cell("check-brightness"):
                self.trials.append(dict(event.record))
                self.oofs.append(np.load(event.oof, allow_pickle=False))
        elif isinstance(event, Outcome) and event.reason == "":
            self.files_were_there &= event.model is not None and any(event.model.iterdir())

    def outcome(self, family: str, fold: int = 0) -> Outcome:
        """The outcome of a cell."""
        found = [e for e in self.told if isinstance(e, Outcome) and e.cell == _cell(family, fold)]
        require(len(found) == 1, f"{_cell(family, fold)} has {len(found)} outcomes.")
        return found[0]


# --- work ---------------------------------------------------------------------------------


def _cell(family: str, fold: int = 0) -> CellId:
    return CellId(dataset="check", model=family, split=f"r0f{fold}")


def _work(family: str, fold: int = 0) -> Work:
    """A small cell: bright images are of class 1, mostly."""
    generator = np.random.default_rng(fold)
    n = _N_DEVELOPMENT + _N_HELD_OUT
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
            cell=_cell(family, fold),
            tuner="optuna",
            classes=("dark", "bright"),
            image_shape=(_SIDE, _SIDE, 1),
            kind="binary",
            trials=_TRIALS,
            seconds=None,
            inner_folds=_INNER_FOLDS,
            operating_point="youden",
            split_seed=fold,
            cell_seed=fold,
        ),
        development=DevelopmentPart(
            images=images, table=table, rows=rows, labels=labels[rows], groups=rows, validation=None
        ),
        held_out=HeldOutPart(images=images, table=table, rows=np.arange(_N_DEVELOPMENT, n)),
    )


def _closed(work: Work, folder: Path) -> Work:
    """The work with something beside its weights that it must not read."""
    (folder / "secret").mkdir()
    (folder / "secret" / "labels.csv").write_text("label\n1\n")
    return replace(_weighted(work, folder), closed=(str((folder / "secret").resolve()),))


def _weighted(work: Work, folder: Path) -> Work:
    """The work with weights in a folder."""
    (folder / "weights.bin").write_text("")
    weights = Weights(path=folder / "weights.bin", sha256=None, note="for a check")
    return replace(work, weights=weights)


def _grows(pulse: Path) -> bool:
    """Whether somebody still writes into a file."""
    before = pulse.stat().st_size
    time.sleep(50 * PULSE_SECONDS)
    return pulse.stat().st_size > before


def _wait_for(pulse: Path) -> None:
    """Return once ``check-endless`` fits."""
    end = time.monotonic() + _WAIT_SECONDS
    while not pulse.exists():
        require(time.monotonic() < end, f"no fit began within {_WAIT_SECONDS:.0f} s.")
        time.sleep(PULSE_SECONDS)


@dataclass(frozen=True, kw_only=True)
class _Watched:
    """Where and when a part was written."""

    folders: list[Path] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def note(self, folder: Path) -> None:
        self.folders.append(folder)
        self.times.append(time.monotonic())


@dataclass(frozen=True, kw_only=True, eq=False)
class _WatchedDevelopment(DevelopmentPart):
    watched: _Watched

    def write(self, folder: Path) -> None:
        super().write(folder)
        self.watched.note(folder)


@dataclass(frozen=True, kw_only=True, eq=False)
class _WatchedHeldOut(HeldOutPart):
    watched: _Watched

    def write(self, folder: Path) -> None:
        super().write(folder)
        self.watched.note(folder)


def _watched(work: Work) -> tuple[Work, _Watched, _Watched]:
    """The work with parts that remember where they were written."""
    development, held_out = _Watched(), _Watched()
    return (
        replace(
            work,
            development=_WatchedDevelopment(**vars(work.development), watched=development),
            held_out=_WatchedHeldOut(**vars(work.held_out), watched=held_out),
        ),
        development,
        held_out,
    )
