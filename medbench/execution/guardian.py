"""The guardian of an attempt: a process between the run and the attempt's process (Linux).

It does nothing but look: several times a second, and whenever something happens. It ends the
attempt with all that this has started when the run goes away or asks for it, when the attempt ends,
and when a limit is passed; whatever they hold, as nothing of it happens in them. While the run is
stopped (Ctrl-Z), they are stopped too, and the seconds are told to the attempt as lost.

What the attempt tells and prints goes through it, so that nobody waits for a pipe that something
left behind keeps open. Its own last line to the run is how the attempt ended::

    {"event": "ended", "status": -9, "limit": "--cell-time", "used": 60.1, "stopped": false}

    python -m medbench.execution.guardian LIMITS

is a guardian, given its limits in JSON, and its attempt in a fresh interpreter.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from typing import Any

from medbench import awake
from medbench.execution import process_tree
from medbench.execution.bounded_log import BoundedLog
from medbench.execution.limits import CELL_MEMORY, CELL_TIME, MESSAGE_BYTES, Limits

_LOOK_SECONDS = 0.2
_EXACT_SHARE = 0.05
"""Most of its time that measuring memory exactly may take."""
_CHUNK = 1 << 16


def guard(limits: Limits, run: int) -> None:
    """Fork the attempt. Returns in it alone: this process becomes its guardian, and ends as such.

    Args:
        limits: What the attempt and all that it starts may use.
        run: Number of the process that is stopped where a user suspends the run.

    Standard input is what the run writes to the attempt, of whom the guardian only wants to know
    whether it is still there; output is what the run reads; error is the log. Nothing else may
    run in this process: no thread, and no device may be open.
    """
    process_tree.adopt_orphans()
    sleep = awake.Sleep()
    messages, log, signals = os.pipe(), os.pipe(), os.pipe()
    os.set_blocking(signals[1], False)
    signal.set_wakeup_fd(signals[1], warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *process_tree.ENDING_SIGNALS):
        signal.signal(number, lambda number, frame: None)
    guardian, attempt = os.getpid(), os.fork()
    if attempt:
        try:
            os.close(messages[1])
            os.close(log[1])
            sources = (messages[0], log[0], signals[0])
            _Guardian(attempt, sources, limits, run, sleep).watch()
        finally:
            process_tree.end_children()
            os._exit(0)
    process_tree.end_with_parent(guardian)
    os.setpgid(0, 0)  # what it sends to its group is not sent to its guardian
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, *process_tree.ENDING_SIGNALS):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(messages[1], 1)
    os.dup2(log[1], 2)
    for end in (*messages, *log, *signals):
        os.close(end)
    awake.told_by(sleep)


class _Guardian:
    """Looks after one attempt."""

    def __init__(
        self,
        attempt: int,
        sources: tuple[int, int, int],
        limits: Limits,
        run: int,
        sleep: awake.Sleep,
    ) -> None:
        """``sources``: what is read of messages, of the log, and of signals that arrive."""
        self._attempt = attempt
        self._messages, self._log, self._signals = sources
        self._limits, self._run, self._sleep = limits, run, sleep
        self._began = time.perf_counter()
        self._pause = process_tree.Pause()
        self._asleep = False
        self._exact_again = 0.0
        self._line = bytearray()
        self._kept = BoundedLog(os.fdopen(2, "wb", buffering=0, closefd=False))
        self._end: dict[str, Any] | None = None

    def watch(self) -> None:
        """Until the attempt and all that it started have ended, and the run is told so."""
        poll = select.poll()
        poll.register(0, 0)  # no event but that the run has closed it, or is gone
        for source in (self._messages, self._log, self._signals):
            os.set_blocking(source, False)
            poll.register(source, select.POLLIN)
        look_at = time.perf_counter() + _LOOK_SECONDS
        while self._end is None:
            wait = max(0.0, look_at - time.perf_counter())
            for source, _ in poll.poll(wait * 1000):
                if source == 0:
                    self._end = {"status": None}
                elif not self._take(source):
                    poll.unregister(source)
            if time.perf_counter() >= look_at:
                self._look()
                look_at = time.perf_counter() + _LOOK_SECONDS
        status = process_tree.end_children().get(self._attempt)
        if self._end.get("status", 0) is None and status is not None:
            self._end["status"] = status
        for source in (self._messages, self._log):
            while self._take(source):
                pass
        with contextlib.suppress(OSError):
            self._kept.close()
        self._tell(json.dumps({"event": "ended", **self._end}).encode() + b"\n")

    def _take(self, source: int) -> bool:
        """Take what there is in a pipe; False where nothing is or will be there."""
        try:
            content = os.read(source, _CHUNK)
        except BlockingIOError:
            return False
        if source == self._log:
            with contextlib.suppress(OSError):  # no room for what it prints is no end of the work
                self._kept.write(content)
        elif source == self._messages:
            self._pass_on(content)
        else:
            self._heed(content)
        return bool(content)

    def _pass_on(self, content: bytes) -> None:
        """Give the run whole lines; what is longer than any message can be none, and is cut."""
        self._line += content
        whole = self._line.rfind(b"\n") + 1
        if whole:
            self._tell(bytes(self._line[:whole]))
            del self._line[:whole]
        if len(self._line) > MESSAGE_BYTES:
            self._tell(bytes(self._line) + b"\n")
            self._line.clear()

    def _heed(self, numbers: bytes) -> None:
        """Act on signals that have arrived."""
        ended = process_tree.ended_children()
        if self._attempt in ended:
            self._end = {"status": ended[self._attempt]}
        for number in process_tree.ENDING_SIGNALS:
            if number in numbers:  # somebody outside ends this attempt
                self._end = {"status": -number}

    def _look(self) -> None:
        """What has no event: that the run is stopped, and how much is used."""
        stopped = process_tree.is_stopped(self._run)
        self._sleep.look(asleep=self._asleep)
        if stopped:
            self._pause.begin()
        elif self._asleep:
            self._pause.end()
        self._asleep = stopped
        if stopped:
            return
        seconds = time.perf_counter() - self._began - self._sleep.lost
        if self._limits.seconds is not None and seconds > self._limits.seconds:
            self._end = {"status": None, "limit": CELL_TIME, "used": seconds}
            self._end["stopped"] = process_tree.is_stopped(self._attempt)
        elif self._limits.memory is not None:
            memory = self._memory()
            if memory > self._limits.memory:
                self._end = {"status": None, "limit": CELL_MEMORY, "used": memory}

    def _memory(self) -> int:
        """Bytes that are used; 0 where they are surely within the limit."""
        assert self._limits.memory is not None
        tree = list(process_tree.descendants(os.getpid()))
        at_most = sum(map(process_tree.memory_of, tree))
        began = time.perf_counter()
        if at_most <= self._limits.memory or began < self._exact_again:
            return 0
        exactly = sum(process_tree.memory_of(pid, exact=True) for pid in tree)
        now = time.perf_counter()
        self._exact_again = now + (now - began) / _EXACT_SHARE
        return exactly

    def _tell(self, content: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # the run is gone, as its input says too
            while content:
                content = content[os.write(1, content) :]


if __name__ == "__main__":
    guard(Limits(**json.loads(sys.argv[1])), os.getppid())
    from medbench.execution import attempt_process

    attempt_process.leave(attempt_process.main())
