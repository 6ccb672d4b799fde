"""The processes of running attempts: started, spoken to in lines of JSON, and ended together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from medbench.cache import say_once
from medbench.execution.bounded_log import read_log
from medbench.execution.fork_server import ForkServer
from medbench.execution.limits import CELL_TIME, MESSAGE_BYTES, Limits, Overrun
from medbench.execution.process_tree import ENDING_SIGNALS

_GRACE_SECONDS = 5.0
"""How long a process that has said its last word, or was told to end, may take to end."""
_LONGEST_REASON = 2100
"""Characters of what a process gives as its reason."""
_QUOTED = 200
"""Characters of the last line of a log that are shown."""
_FROM_OUTSIDE = ("SIGKILL", *(each.name for each in ENDING_SIGNALS))
"""Names of signals by which others end a process, and the system where memory is short."""
FOREIGN = (
    "something else wrote into its messages: a file descriptor that a family did not open is not "
    "for it to write to"
)
"""Why an attempt failed that told what is no message."""


class AttemptFailedError(Exception):
    """An attempt's process said or showed that it failed."""

    def __init__(self, reason: str, *, fault: bool = False, overrun: Overrun | None = None) -> None:
        super().__init__(reason)
        self.fault = fault
        """Whether the machine ended it, and not the family."""
        self.overrun = overrun
        """The limit for which it was ended; None for another reason."""


class KilledError(Exception):
    """An attempt's process was ended by something outside of it."""


class StoppedError(Exception):
    """An attempt was given up because the run ends; it leaves no row."""


class Processes:
    """All processes of a run. Each serves one attempt; none outlives ``end_all`` nor this process.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._running: set[AttemptHandle] = set()
        self.ended = False
        """Whether the run is over, so that the end of a process is no failure of its cell."""

    @contextlib.contextmanager
    def start(
        self, log: Path, environment: Mapping[str, str], server: ForkServer | None, limits: Limits
    ) -> Iterator[AttemptHandle]:
        """A fresh process, which ends with the block.

        Args:
            log: Where whatever libraries print goes.
            environment: All its environment variables, where it is not forked.
            server: What it is forked off; None starts an interpreter of its own.
            limits: What it may use; memory is not looked at but on Linux.

        Raises:
            StoppedError: The run is over.
            OSError: It cannot be started.
        """
        with log.open("ab") as errors, self._guard:  # so that end_all sees every process there is
            if self.ended:
                raise StoppedError
            process = (_Guarded if sys.platform == "linux" else _Unguarded)(log, self, limits)
            process.begin(errors, environment, server)
            self._running.add(process)
        try:
            yield process
        finally:
            process.end()
            with self._guard:
                self._running.discard(process)

    def wake(self) -> None:
        """Let go on what was stopped; a stopped guardian keeps no limit and passes nothing on."""
        with self._guard:
            for process in self._running:
                process.wake()

    def end_all(self) -> None:
        """Kill every process with all that it started; none can be started afterwards."""
        with self._guard:
            self.ended = True
            for process in self._running:
                process.kill()


class AttemptHandle(ABC):
    """One attempt's process, as the thread sees it that waits for it."""

    def __init__(self, log: Path, owner: Processes, limits: Limits) -> None:
        self._log = log
        self._owner = owner
        self._limits = limits
        self._popen: subprocess.Popen[bytes] | None = None
        self._over = False
        self._late: threading.Timer | None = None
        self.pid = 0
        """Number of the process, or of its guardian."""
        self._to: IO[str]
        self._from: IO[bytes]

    def begin(
        self, errors: IO[bytes], environment: Mapping[str, str], server: ForkServer | None
    ) -> None:
        """Start it, by a fork or as an interpreter of its own."""
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        self._to, self._from = os.fdopen(ours_out, "w"), os.fdopen(ours_in, "rb")
        given = (theirs_in, theirs_out, errors.fileno())
        try:
            if server is not None:
                with contextlib.suppress(OSError):  # where it has died, a start costs the imports
                    self.pid = server.fork(given, self._limits)
                    return
            self._popen = subprocess.Popen(
                [sys.executable, "-m", *self._module()],
                stdin=theirs_in,
                stdout=theirs_out,
                stderr=errors,
                env=dict(environment),
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends it
            )
            self.pid = self._popen.pid
        except OSError:
            self._to.close()
            self._from.close()
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell the process something, JSON-ready."""
        with contextlib.suppress(OSError):  # a dead process is reported where its answer is awaited
            self._to.write(json.dumps(message) + "\n")
            self._to.flush()

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the process tells, until it ends; what it warns of is said here.

        Raises:
            AttemptFailedError: It says that it failed, has ended by itself or passed a limit, or
                tells what is no message.
            KilledError: Something else has ended it.
            StoppedError: It was ended by ``Processes.end_all``.
        """
        while line := self._from.readline(MESSAGE_BYTES + 1):
            message = _parsed(line)
            if message is None:
                raise self._stopped_or(AttemptFailedError(FOREIGN))
            if message["event"] == "ended":
                raise self._stopped_or(self._how_it_ended(message))
            if message["event"] == "failed":
                reason, fault = message.get("reason"), message.get("fault") is True
                reason = str(reason)[:_LONGEST_REASON]
                raise self._stopped_or(AttemptFailedError(reason, fault=fault))
            if message["event"] == "warned":
                say_once(str(message.get("text"))[:_LONGEST_REASON])
                continue
            yield message
        raise self._stopped_or(self._how_it_ended(self._last_word()))

    @abstractmethod
    def kill(self) -> None:
        """End the process and whatever it started, at once."""

    @abstractmethod
    def wake(self) -> None:
        """Let whoever keeps the limits go on, where it was stopped from outside."""

    @abstractmethod
    def end(self) -> None:
        """Let the process end, and see to it that it does."""

    @abstractmethod
    def _module(self) -> list[str]:
        """What an interpreter of its own runs."""

    @abstractmethod
    def _last_word(self) -> dict[str, Any]:
        """How it ended, where it has told nothing."""

    def _stopped_or(self, failure: Exception) -> Exception:
        return StoppedError() if self._owner.ended else failure

    def _how_it_ended(self, end: Mapping[str, Any]) -> Exception:
        status = end.get("status")
        if limit := end.get("limit"):
            return self._passed(limit, end)
        logged = read_log(self._log).decode(errors="replace")
        lines = [line for line in logged.splitlines() if line.strip()]
        last = f"; last line of its log: {lines[-1][:_QUOTED]}" if lines else ""
        if status is None:
            return KilledError(f"its process ended, nobody knows how{last}")
        if status >= 0:
            return AttemptFailedError(f"its process ended with status {status}{last}")
        name = signal.strsignal(-status) or f"signal {-status}"
        name = next((s.name for s in signal.Signals if s == -status), name)
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        reason = f"its process was ended by {name}{hint}{last}"
        return (KilledError if name in _FROM_OUTSIDE else AttemptFailedError)(reason)

    def _passed(self, limit: str, end: Mapping[str, Any]) -> AttemptFailedError:
        used = float(end["used"])
        if limit == CELL_TIME:
            assert self._limits.seconds is not None
            overrun = Overrun(limit=limit, allowed=self._limits.seconds, used=used)
        else:
            assert self._limits.memory is not None
            overrun = Overrun(limit=limit, allowed=self._limits.memory, used=used)
        stopped = "; its process had been stopped, by a signal" if end.get("stopped") else ""
        return AttemptFailedError(f"{overrun}{stopped}", overrun=overrun)


class _Guarded(AttemptHandle):
    """An attempt below a guardian, which is the only one that we deal with (Linux).

    Nobody else holds what we read from, so that its end is the guardian's.
    """

    def _module(self) -> list[str]:
        return ["medbench.execution.guardian", json.dumps(asdict(self._limits))]

    def _last_word(self) -> dict[str, Any]:
        return {"status": -signal.SIGKILL}  # only who is killed has none

    def kill(self) -> None:
        self._send(signal.SIGTERM)
        if not self._over:
            self._expect_end()

    def wake(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        if not self._over:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self._to.close()
        self._expect_end()
        while self._from.read(MESSAGE_BYTES):
            pass  # until it has ended
        self._over = True
        if self._late is not None:
            self._late.cancel()
        self._from.close()
        if self._popen is not None:
            self._popen.wait()

    def _expect_end(self) -> None:
        """See to it that the guardian ends soon, even one that was stopped itself."""
        if self._late is None:
            self._late = threading.Timer(_GRACE_SECONDS, self._kill_guardian)
            self._late.daemon = True
            self._late.start()

    def _kill_guardian(self) -> None:
        self._send(signal.SIGKILL)  # with which its attempt dies


class _Unguarded(AttemptHandle):
    """An attempt alone, where no guardian can stand beside it."""

    _is_late = False

    def begin(
        self, errors: IO[bytes], environment: Mapping[str, str], server: ForkServer | None
    ) -> None:
        super().begin(errors, environment, None)
        if self._limits.seconds is not None:
            self._late = threading.Timer(self._limits.seconds, self._end_late)
            self._late.daemon = True
            self._late.start()

    def _end_late(self) -> None:
        self._is_late = True
        self.kill()

    def _module(self) -> list[str]:
        return ["medbench.execution.attempt_process"]

    def _last_word(self) -> dict[str, Any]:
        if self._is_late:
            return {"limit": CELL_TIME, "used": self._limits.seconds}
        return {"status": self._wait()}

    def kill(self) -> None:
        if self._over or self._popen is None:
            return
        if hasattr(os, "killpg"):
            # gone, or (on macOS) dead and not waited for yet
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        else:
            self._popen.terminate()

    def wake(self) -> None:
        """Nobody keeps them who could be stopped."""

    def end(self) -> None:
        if self._late is not None:
            self._late.cancel()
        with contextlib.suppress(OSError):
            self._to.close()  # the attempt ends when it sees this
        self._wait()
        self.kill()
        self._wait()
        self._over = True
        self._from.close()

    def _wait(self) -> int | None:
        """Its exit status, or None where it does not end."""
        assert self._popen is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._popen.wait(_GRACE_SECONDS)
        return None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A message, or None for anything else."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(message, dict) and isinstance(message.get("event"), str):
        return message
    return None
