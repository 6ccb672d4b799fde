"""The processes of running cells: started, spoken to in lines of JSON, and ended together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

_GRACE_SECONDS = 5.0
"""How long a process that has said its last word may take to end by itself."""


class CellFailedError(Exception):
    """A cell's process said or showed that it failed."""


class StoppedError(Exception):
    """A cell was given up because the run ends; it leaves no row."""


class Processes:
    """All processes of a run. Each serves one cell; none outlives ``end_all`` nor this process.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self.ended = False
        """Whether the run is over, so that the end of a process is no failure of its cell."""

    @contextlib.contextmanager
    def start(self, log: Path, environment: Mapping[str, str]) -> Iterator[CellProcess]:
        """A fresh process, which ends with the block.

        Args:
            log: Where it adds whatever libraries print.
            environment: All its environment variables.

        Raises:
            StoppedError: The run is over.
        """
        with log.open("ab") as errors:
            logged_before = errors.tell()
            with self._guard:  # so that end_all sees every process there is
                if self.ended:
                    raise StoppedError
                process = subprocess.Popen(
                    [sys.executable, "-m", "medbench.execution.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    env=dict(environment),
                    start_new_session=True,  # Ctrl-C reaches the parent alone, which ends it
                )
                self._running.add(process)
        try:
            yield CellProcess(process, self, log, logged_before)
        finally:
            assert process.stdin is not None and process.stdout is not None
            with contextlib.suppress(OSError):
                process.stdin.close()  # the worker ends when it sees this
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
            with self._guard:
                self._running.discard(process)
            _kill_all(process)
            process.wait()
            process.stdout.close()

    def end_all(self) -> None:
        """Kill every process with all that it started; none can be started afterwards."""
        with self._guard:
            self.ended = True
            for process in self._running:
                _kill_all(process)


class CellProcess:
    """One cell's process, as the thread sees it that waits for the cell."""

    def __init__(
        self, process: subprocess.Popen[str], owner: Processes, log: Path, logged_before: int
    ) -> None:
        self._process = process
        self._owner = owner
        self._log = log
        self._logged_before = logged_before

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell the process something, JSON-ready."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # a dead process is reported where its answer is awaited
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def wait_for(self, event: str, other: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
        """The record of the awaited message; other messages are handed on.

        Raises:
            CellFailedError: The process says that it failed, or ends.
            StoppedError: It was ended by ``Processes.end_all``.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                raise self._failure("something else wrote into its messages") from None
            if message["event"] == "failed":
                raise self._failure(message["reason"])
            if message["event"] == event:
                record: dict[str, Any] = message["record"]
                return record
            other(message)
        raise self._failure(self._how_it_ended())

    def _failure(self, reason: str) -> CellFailedError | StoppedError:
        return StoppedError() if self._owner.ended else CellFailedError(reason)

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        logged = self._log.read_bytes()[self._logged_before :].decode(errors="replace")
        lines = [line for line in logged.splitlines() if line.strip()]
        last = f"; last line of its log: {lines[-1][:200]}" if lines else ""
        if code >= 0:
            return f"its process ended with status {code}{last}"
        name = signal.strsignal(-code) or f"signal {-code}"
        name = next((s.name for s in signal.Signals if s == -code), name)
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}{last}"


def _kill_all(process: subprocess.Popen[str]) -> None:
    """End a cell's process and whatever it started (it leads a session of its own)."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
