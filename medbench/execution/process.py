"""The processes of running attempts: started, spoken to in lines of JSON, and ended together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

from medbench.cache import say_once
from medbench.execution.fork_server import ForkServer

_GRACE_SECONDS = 5.0
"""How long a process that has said its last word may take to end by itself."""
_QUOTED = 200
"""Characters of the last line of a log that are shown."""


class AttemptFailedError(Exception):
    """An attempt's process said or showed that it failed."""

    def __init__(self, reason: str, *, fault: bool = False) -> None:
        """``fault``: whether the machine ended it; see ``Outcome``."""
        super().__init__(reason)
        self.fault = fault


class StoppedError(Exception):
    """An attempt was given up because the run ends; it leaves no row."""


class Processes:
    """All processes of a run. Each serves one attempt; none outlives ``end_all`` nor this process.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._running: set[AttemptProcess] = set()
        self.ended = False
        """Whether the run is over, so that the end of a process is no failure of its cell."""

    @contextlib.contextmanager
    def start(
        self, log: Path, environment: Mapping[str, str], server: ForkServer | None
    ) -> Iterator[AttemptProcess]:
        """A fresh process, which ends with the block.

        Args:
            log: Where whatever libraries print goes.
            environment: All its environment variables, where it is not forked.
            server: What it is forked off; None starts an interpreter of its own.

        Raises:
            StoppedError: The run is over.
            OSError: It cannot be started.
        """
        with log.open("ab") as errors, self._guard:  # so that end_all sees every process there is
            if self.ended:
                raise StoppedError
            process = AttemptProcess(log, self)
            process.begin(errors, environment, server)
            self._running.add(process)
        try:
            yield process
        finally:
            process.end()
            with self._guard:
                self._running.discard(process)

    def end_all(self) -> None:
        """Kill every process with all that it started; none can be started afterwards."""
        with self._guard:
            self.ended = True
            for process in self._running:
                process.kill()


class AttemptProcess:
    """One attempt's process, as the thread sees it that waits for it."""

    def __init__(self, log: Path, owner: Processes) -> None:
        self._log = log
        self._owner = owner
        self.pid = 0
        self._status: Future[int] = Future()
        self._to: IO[str]
        self._from: IO[str]

    def begin(
        self, errors: IO[bytes], environment: Mapping[str, str], server: ForkServer | None
    ) -> None:
        """Start it, by a fork or as an interpreter of its own."""
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        self._to, self._from = os.fdopen(ours_out, "w"), os.fdopen(ours_in)
        given = (theirs_in, theirs_out, errors.fileno())
        try:
            if server is not None:
                with contextlib.suppress(OSError):  # where it has died, a start costs the imports
                    self.pid, self._status = server.fork(given)
                    return
            process = subprocess.Popen(
                [sys.executable, "-m", "medbench.execution.worker"],
                stdin=theirs_in,
                stdout=theirs_out,
                stderr=errors,
                env=dict(environment),
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends it
            )
        except OSError:
            self._to.close()
            self._from.close()
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self.pid = process.pid
        waiter = threading.Thread(
            target=lambda: self._status.set_result(process.wait()), daemon=True
        )
        waiter.start()

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell the process something, JSON-ready."""
        with contextlib.suppress(OSError):  # a dead process is reported where its answer is awaited
            self._to.write(json.dumps(message) + "\n")
            self._to.flush()

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the process tells, until it ends; what it warns of is said here.

        Raises:
            AttemptFailedError: It says that it failed, or has ended.
            StoppedError: It was ended by ``Processes.end_all``.
        """
        for line in self._from:
            try:
                message: dict[str, Any] = json.loads(line)
            except ValueError:
                raise self._failure("something else wrote into its messages") from None
            if message["event"] == "failed":
                raise self._failure(message["reason"], fault=message.get("fault") is True)
            if message["event"] == "warned":
                say_once(message["text"])
                continue
            yield message
        raise self._failure(self._how_it_ended())

    def kill(self) -> None:
        """End the process and whatever it started, at once."""
        if hasattr(os, "killpg"):
            # gone, or (on macOS) dead and not waited for yet
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        elif not self._status.done():
            os.kill(self.pid, signal.SIGTERM)

    def end(self) -> None:
        """Let the process end, and see to it that it does."""
        with contextlib.suppress(OSError):
            self._to.close()  # the worker ends when it sees this
        self._wait(_GRACE_SECONDS)
        self.kill()
        self._wait(_GRACE_SECONDS)
        self._from.close()

    def _wait(self, seconds: float) -> int | None:
        """Its exit status, or None where it is not known (in time)."""
        with contextlib.suppress(TimeoutError, OSError):
            return self._status.result(seconds)
        return None

    def _failure(self, reason: str, *, fault: bool = False) -> AttemptFailedError | StoppedError:
        return StoppedError() if self._owner.ended else AttemptFailedError(reason, fault=fault)

    def _how_it_ended(self) -> str:
        code = self._wait(_GRACE_SECONDS)
        logged = self._log.read_bytes().decode(errors="replace")
        lines = [line for line in logged.splitlines() if line.strip()]
        last = f"; last line of its log: {lines[-1][:_QUOTED]}" if lines else ""
        if code is None:
            return f"its process ended, nobody knows how{last}"
        if code >= 0:
            return f"its process ended with status {code}{last}"
        name = signal.strsignal(-code) or f"signal {-code}"
        name = next((s.name for s in signal.Signals if s == -code), name)
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}{last}"
