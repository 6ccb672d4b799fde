"""The contract of an executor."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unittest import SkipTest

import numpy as np

from medbench.execution.events import Event, Fitted, Outcome, RefitBegan, Started, TrialEnded
from medbench.execution.executor import Executor, Resources, Work
from medbench.testing.contract import Contract, needed, require
from medbench.testing.executor_work import (
    FAMILIES,
    GUARDED,
    INNER_FOLDS,
    N_HELD_OUT,
    NAP_SECONDS,
    TRIALS,
    Run,
    cell_id,
    closed_work,
    grows,
    small_work,
    wait_for,
    watched_work,
    weighted_work,
)

_OVERDUE = (
    "check-sleeping", "check-holding", "check-sleeping-later",
    *(("check-stopping", "check-forking") if GUARDED else ()),
)  # fmt: skip
_LIMIT_SECONDS, _LIMIT_BYTES = 6.0, 700_000_000
_PLAIN = Resources(threads=1)
_SAME = 1e-9


class ExecutorContract(Contract):
    """What an executor promises; a subclass that names one is a test class of pytest.

    ::

        class TestMyExecutor(ExecutorContract):
            executor = MyExecutor

    It is given a few small cells of families that learn, fail, sleep, grow or end their process.
    What only a process for each cell can promise is left out where ``isolates`` is False.
    """

    executor: Callable[[Resources], Executor] = needed("MyExecutor")
    """Its class, or what makes one of given resources; write a function as a ``staticmethod``."""

    @property
    def isolates(self) -> bool:
        """See ``Executor.isolates``."""
        return self.executor(_PLAIN).isolates

    def needs_isolation(self) -> None:
        """Leave a test out for an executor that does not promise what it is of.

        Raises:
            SkipTest: ``isolates`` is False.
        """
        if not self.isolates:
            raise SkipTest("it does not isolate: isolates = False")

    def test_order(self) -> None:
        """Each cell is started, tried, fitted and has one outcome, in that order.

        The run folder and the progress of a run are written from these events alone.
        """
        wanted = [Started, *[TrialEnded] * TRIALS, RefitBegan, Fitted, Outcome]
        for cell in (cell_id("check-brightness"), cell_id("check-brightness", 1)):
            own = [type(event) for event in self._run.told if event.cell == cell]
            require(own == wanted, f"{cell} told {own}; the order is {wanted}.")

    def test_outcome(self) -> None:
        """An outcome has probabilities of every held-out image, a saved model, and a record.

        A row of the leaderboard is computed from them, and ``predict`` uses the model.
        """
        seen = []
        for fold in (0, 1):
            outcome = self._run.outcome("check-brightness", fold)
            require(outcome.reason == "", f"it failed: {outcome.reason} {outcome.log!r}")
            seen.append(np.asarray(outcome.probabilities))
        require(seen[0].shape == (N_HELD_OUT, 2), f"probabilities have shape {seen[0].shape}.")
        require(
            not np.allclose(seen[0], seen[1]),
            "two cells with other images gave the same probabilities.",
        )
        require(
            self._run.files_were_there,
            "files that events name were not there; keep them until the next event is asked for.",
        )

    def test_failure(self) -> None:
        """A family that raises is an outcome with its reason, and the other cells go on.

        One broken family must cost its own row and no other.
        """
        failed = self._run.outcome("check-failing")
        require("as it was told to" in failed.reason, f"the reason is {failed.reason!r}.")
        require(
            failed.record is None and failed.probabilities is None,
            "an outcome with a reason has a record or probabilities as well; a row is one of both.",
        )
        require(self._run.outcome("check-brightness").reason == "", "another cell failed too.")

    def test_fault(self) -> None:
        """Trouble of the machine is an outcome that says so; the trial that met it is none.

        A full disk is no property of a family: the cell is tried again instead of counted.
        """
        ended = self._run.outcome("check-full")
        require(ended.fault, f"no disk left is told as a failure of the model: {ended.reason!r}.")
        require("No space left" in ended.reason, f"the reason is {ended.reason!r}.")
        own = [type(e) for e in self._run.told if e.cell == ended.cell]
        require(
            own == [Started, Outcome],
            f"a cell that met it at once told {own}; it is Started and Outcome, as no trial ended.",
        )
        require(
            not self._run.outcome("check-failing").fault,
            "a family's own error is told as trouble of the machine.",
        )

    def test_held_out(self) -> None:
        """Held-out images are handed over after the fit, and no image is left afterwards.

        So nothing that is fitted can have seen them.
        """
        run = self._run
        after = run.held_out.times[0] - run.development.times[0]
        fits = TRIALS * INNER_FOLDS + 1
        require(len(run.held_out.folders) == 1, "held-out images were written more than once.")
        require(
            after >= fits * NAP_SECONDS,
            f"held-out images were written {after:.2f} s after the development part, and {fits} "
            f"fits take {fits * NAP_SECONDS:.1f} s: hand them over after Fitted.",
        )
        folders = (*run.development.folders, *run.held_out.folders)
        left = [folder for folder in folders if folder.exists()]
        require(not left, f"images are left in {left}; remove them when the cell has ended.")

    def test_resume(self) -> None:
        """Trials of an earlier attempt are not repeated; the result is that of a single one.

        A run that was interrupted gives the numbers of one that was not.
        """
        whole = self._run.outcome("check-brightness")
        trials, oofs = self._run.trials, self._run.oofs
        best = max((0, 1), key=lambda i: (trials[i]["score"], -i))
        work = small_work("check-brightness")
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

    def test_close(self) -> None:
        """Where the iterator is left early, everything ends and no image is left.

        That is what Ctrl-C does.
        """
        with tempfile.TemporaryDirectory() as name, self._executor() as executor:
            endless = weighted_work(small_work("check-endless"), Path(name))
            work, development, _ = watched_work(endless)
            events = executor.run([work, replace(work, task=small_work("check-endless", 1).task)])
            next(events)
            pulse = Path(name) / "pulse"
            if self.isolates:  # it works on its own, and not only when an event is asked for
                wait_for(pulse)
            events.close()
            left = [folder for folder in development.folders if folder.exists()]
            require(not left, f"images are left in {left}; remove them when run is closed.")
            if self.isolates:
                require(not grows(pulse), "an attempt went on after its executor was closed.")

    def test_process(self) -> None:
        """A family that ends its process is a failed cell, and the other cells go on."""
        self.needs_isolation()
        reason = self._run.outcome("check-exiting").reason
        require("status 3" in reason, f"how its process ended is told as {reason!r}.")
        require(self._run.outcome("check-remembering", 1).reason == "", "another cell failed too.")

    def test_memory(self) -> None:
        """An attempt's process has seen no other attempt's images."""
        self.needs_isolation()
        reasons = [self._run.outcome("check-remembering", fold).reason for fold in (0, 1)]
        require(
            reasons == ["", ""],
            f"two cells of one family gave {reasons}; give each a process of its own.",
        )

    def test_firewall(self) -> None:
        """A family cannot look into what is closed to it."""
        self.needs_isolation()
        reason = self._run.outcome("check-looking").reason
        require(
            "tried to read" in reason,
            f"a look at what is closed gave {reason!r}; build medbench.execution.firewall.",
        )

    def test_messages(self) -> None:
        """What a family writes among the messages of its attempt is a failed cell, and no event.

        Else a family could write its own scores into a result.
        """
        self.needs_isolation()
        outcome = self._run.outcome("check-writing")
        require(
            outcome.reason != "" and not outcome.fault,
            f"a family that wrote among the messages ended with {outcome.reason!r}.",
        )

    def test_leftovers(self) -> None:
        """What a family has started ends with its attempt, even cut loose from it, on Linux.

        Raises:
            SkipTest: This system is another one, or the executor does not isolate.
        """
        self.needs_isolation()
        if not GUARDED:
            raise SkipTest("only Linux shows all that a process has started")
        with tempfile.TemporaryDirectory() as name:
            work = weighted_work(small_work("check-leaving"), Path(name))
            outcome = list(self._events([work]))[-1]
            assert isinstance(outcome, Outcome)
            require(outcome.reason == "", f"it failed: {outcome.reason} {outcome.log!r}")
            require(not grows(Path(name) / "pulse"), "what it had started went on after it.")

    def test_limits(self) -> None:
        """An attempt that passes a limit is ended, whatever it does, and is a failed cell.

        Memory is looked at on Linux only.
        """
        self.needs_isolation()
        slow = Resources(threads=1, jobs=len(_OVERDUE), cell_seconds=_LIMIT_SECONDS)
        large = Resources(threads=1, cell_memory=_LIMIT_BYTES)
        overdue = [small_work(family) for family in _OVERDUE]
        growing = [small_work("check-growing")] if GUARDED else []
        told = [*self._events(overdue, slow), *self._events(growing, large)]
        ended = [event for event in told if isinstance(event, Outcome)]
        require(len(ended) == len(overdue) + len(growing), f"there were {len(ended)} outcomes.")
        for outcome in ended:
            grown = outcome.cell.model == "check-growing"
            limit = "--cell-memory" if grown else "--cell-time"
            require(limit in outcome.reason, f"{outcome.cell} ended with {outcome.reason!r}.")
            require(not outcome.fault, f"{outcome.cell} is to be started again.")
            require(outcome.overrun is not None, f"{outcome.cell} does not say by how much.")

    @property
    def _run(self) -> Run:
        """A run of all families, which most tests look at; made once."""
        return self.once(self._whole_run, self.executor)

    def _whole_run(self, executor: Callable[[Resources], Executor]) -> Run:
        napping, development, held_out = watched_work(small_work("check-napping", 2))
        work = [
            small_work("check-brightness"),
            small_work("check-failing"),
            small_work("check-full"),
            napping,
        ]
        run = Run(development=development, held_out=held_out)
        with tempfile.TemporaryDirectory() as name:
            if self.isolates:
                work += [small_work("check-exiting"), small_work("check-writing")]
                work += [closed_work(small_work("check-looking"), Path(name))]
                work += [small_work("check-remembering"), small_work("check-remembering", 1)]
            for event in self._events([*work, small_work("check-brightness", 1)]):
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
            yield self.executor(replace(resources, features=features, plugins=(FAMILIES,)))


def check_executor(executor: Callable[[Resources], Executor]) -> tuple[str, ...]:
    """Check that an executor keeps its contract; returns if it does.

    Args:
        executor: The class, or what makes one of given resources.

    Returns:
        Names of the tests that were left out, since it does not isolate.

    Raises:
        AssertionError: A test failed; the message says what is wrong and what to do.
    """
    return ExecutorContract.check(executor=executor)
