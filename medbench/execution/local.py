"""The local executor: a fresh process for each cell on this machine, some at a time."""

from __future__ import annotations

import contextlib
import queue
import sys
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medbench.execution.bounded_log import read_log
from medbench.execution.environment import child_environment, keras_backend
from medbench.execution.events import (
    Event,
    Fitted,
    NoMessageError,
    Outcome,
    Started,
    TrialEnded,
    from_message,
    predicted,
)
from medbench.execution.executor import Executor, Resources, Work, whole_record
from medbench.execution.fork_server import ForkServer
from medbench.execution.limits import Limits
from medbench.execution.parts import read_probabilities
from medbench.execution.process import (
    FOREIGN,
    AttemptFailedError,
    AttemptHandle,
    KilledError,
    Processes,
    StoppedError,
)
from medbench.execution.working_folders import WorkingFolders
from medbench.execution.workspace import Workspace
from medbench.faults import is_fault, reason_of
from medbench.store import CellId
from medbench.tuning.tuner import best_of

StartMethod = Literal["fork", "spawn"]
_STARTS = 3
"""How often an attempt is started, each from the trials that are finished, if it is always killed
from outside."""
_LOG = "log"
_POLL_SECONDS = 1.0
"""How often the waiting main thread wakes; on Windows, Ctrl-C is noticed only then."""
_FORKED_BACKENDS = ("tensorflow",)
"""Keras backends that may be imported before a fork; the rules of JAX and PyTorch forbid it."""


class LocalExecutor(Executor):
    """A process for each cell, with a firewall around it.

    On Linux it is forked off a server that has imported what the families need (one for those
    without Keras, one for those with it); elsewhere it is an interpreter of its own.
    """

    def __init__(self, resources: Resources, start_method: StartMethod | None = None) -> None:
        """Prepare.

        Args:
            resources: What may be used.
            start_method: How processes start; None forks where that is possible.
        """
        super().__init__(resources)
        self._forks = sys.platform == "linux" if start_method is None else start_method == "fork"

    def run(self, work: Sequence[Work]) -> Generator[Event, None, None]:
        """See ``Executor.run``."""
        told: queue.Queue[Event | BaseException] = queue.Queue()
        with contextlib.ExitStack() as stack:
            working_folders = stack.enter_context(
                contextlib.closing(WorkingFolders(self.resources, work))
            )
            pool = ThreadPoolExecutor(self.resources.jobs, thread_name_prefix="cell")
            stack.callback(pool.shutdown, cancel_futures=True)
            servers = _servers(work, self.resources.threads) if self._forks else {}
            for server in servers.values():
                stack.callback(server.stop)
            processes = Processes()
            stack.callback(processes.end_all)  # first, so that no thread waits for its process
            attendant = _Attendant(self.resources, working_folders, processes, servers, told)
            for one in work:
                pool.submit(attendant.attend, one)
            left = len(work)
            while left:
                try:
                    event = told.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    processes.wake()
                    continue
                if isinstance(event, BaseException):
                    raise event
                yield event
                if isinstance(event, Outcome):
                    left -= 1
                    attendant.outcome_is_taken(event)


def _servers(work: Sequence[Work], threads: int) -> dict[bool, ForkServer]:
    """The fork servers of a run, by whether they import Keras."""
    servers = {}
    for keras in (False, True):
        own = [one for one in work if one.keras == keras]
        if own and (not keras or keras_backend() in _FORKED_BACKENDS):
            modules = dict.fromkeys(name for one in own for name in one.modules)
            environment = child_environment(threads)
            servers[keras] = ForkServer(environment, tuple(modules))
    return servers


class _Attendant:
    """Attends to one cell in the calling thread, beside others."""

    def __init__(
        self,
        resources: Resources,
        working_folders: WorkingFolders,
        processes: Processes,
        servers: Mapping[bool, ForkServer],
        told: queue.Queue[Event | BaseException],
    ) -> None:
        self._environment = child_environment(resources.threads)
        self._limits = Limits(seconds=resources.cell_seconds, memory=resources.cell_memory)
        self._working_folders = working_folders
        self._processes = processes
        self._servers = servers
        self._told = told
        self._workspaces: dict[CellId, list[Workspace]] = {}

    def attend(self, work: Work) -> None:
        """Have a process work on a cell, to its outcome."""
        try:
            self._told.put(Started(cell=work.task.cell))
            self._told.put(self._outcome(work))
        except StoppedError:
            return
        except BaseException as error:  # told to the thread that runs the executor
            if is_fault(error):  # such as no room for the images of a cell
                reason = reason_of(error)
                self._told.put(Outcome(cell=work.task.cell, reason=reason, fault=True))
            else:
                self._told.put(error)

    def outcome_is_taken(self, outcome: Outcome) -> None:
        """Remove what the attempts wrote: nothing that they told of is read any more."""
        for workspace in self._workspaces.pop(outcome.cell, ()):
            self._working_folders.leave(workspace)

    def _outcome(self, work: Work) -> Outcome:
        """What comes of a cell, started again where something outside has ended its process."""
        log = b""
        with self._working_folders.development(work) as development:
            for start in range(1, _STARTS + 1):
                closed = (*work.closed, self._working_folders.hidden)
                workspace = self._working_folders.workspace(work, development, closed=closed)
                self._workspaces.setdefault(work.task.cell, []).append(workspace)
                finished: list[TrialEnded] = []
                try:
                    outcome = self._attempted(work, workspace, finished)
                    return replace(outcome, log=log + _log_of(workspace))
                except KilledError as killed:
                    reason = str(killed)
                said = f"[{reason}: start {start} of {_STARTS}]\n"
                log += _log_of(workspace) + said.encode()
                work = _from_there(work, workspace, finished)
        reason += f"; it was started {_STARTS} times"
        return Outcome(cell=work.task.cell, reason=reason, fault=True, log=log)

    def _attempted(self, work: Work, workspace: Workspace, finished: list[TrialEnded]) -> Outcome:
        """What comes of one start, whose finished trials are added to ``finished``.

        Raises:
            KilledError: Something outside has ended it.
        """
        cell = work.task.cell
        server = self._servers.get(work.keras)
        if server is not None and not server.is_alone():
            server = None
        log = Path(workspace.folder) / _LOG
        start = self._processes.start(log, self._environment, server, self._limits)
        try:
            with start as process:
                fitted = self._fitted(work, workspace, process, finished)
                with self._working_folders.held_out(work) as held_out:
                    process.send({"held_out": str(held_out)})
                    message = next(process.messages())
                    record = whole_record(fitted, predicted(message))
                    probabilities = read_probabilities(held_out)
        except AttemptFailedError as failure:
            return Outcome(
                cell=cell, reason=str(failure), fault=failure.fault, overrun=failure.overrun
            )
        except NoMessageError:
            return Outcome(cell=cell, reason=FOREIGN)
        return Outcome(cell=cell, record=record, model=workspace.model, probabilities=probabilities)

    def _fitted(
        self, work: Work, workspace: Workspace, process: AttemptHandle, finished: list[TrialEnded]
    ) -> Mapping[str, Any]:
        """Have the process fit; the record of what it froze.

        Raises:
            NoMessageError: It told what is no event.
        """
        process.send({"task": work.task.as_message(), "workspace": workspace.as_message()})
        for message in process.messages():
            event = from_message(work.task.cell, message)
            if isinstance(event, TrialEnded):
                _check(event, workspace, len(work.earlier) + len(finished))
                finished.append(event)
            self._told.put(event)
            if isinstance(event, Fitted):
                return event.record
        raise AssertionError("messages end by an exception")


def _log_of(workspace: Workspace) -> bytes:
    return read_log(Path(workspace.folder) / _LOG)


def _check(event: TrialEnded, workspace: Workspace, number: int) -> None:
    """Raise ``NoMessageError`` unless it is the trial of that number, with files of its own."""
    files = [path for path in (event.oof, event.checkpoint) if path is not None]
    if event.record["number"] != number or not all(
        path.resolve().is_relative_to(Path(workspace.folder).resolve()) for path in files
    ):
        raise NoMessageError("no trial of this attempt")


def _from_there(work: Work, workspace: Workspace, finished: Sequence[TrialEnded]) -> Work:
    """The work that is left of a killed attempt, which has finished some trials there."""
    if not finished:
        return work
    trials = (*work.earlier, *(trial.record for trial in finished))
    oof, best = work.earlier_oof, best_of(trials)
    if best is not None:
        for trial in finished:
            if trial.record is best and trial.oof is not None:
                oof = np.load(trial.oof, allow_pickle=False)
    checkpoints = (
        workspace.checkpoints if workspace.checkpoints.is_dir() else work.earlier_checkpoints
    )
    return replace(work, earlier=trials, earlier_oof=oof, earlier_checkpoints=checkpoints)
