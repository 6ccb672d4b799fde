"""A process with all that it started, however it hides: seen, measured and ended (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

ENDING_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
)
"""By which others ask a process to end: a person, a terminal, a cluster's scheduler."""
_PDEATHSIG, _CHILD_SUBREAPER = 1, 36
"""Requests of prctl(2)."""
_KB = 1024
_END_SECONDS = 3.0
"""How long processes may take to end that were killed; one that waits for a disk may not."""
_AGAIN_SECONDS = 0.002
_STOPPED = "T"
_QUICK = ("RssAnon", "RssShmem", "VmSwap")
_EXACT = ("Pss_Anon", "Pss_Shmem", "SwapPss")


def adopt_orphans() -> None:
    """Whatever is started below this process stays below it, also where its own parent ends."""
    _prctl(_CHILD_SUBREAPER, 1)


def end_with_parent(parent: int) -> None:
    """Have the system kill this process when ``parent``, which forked it, ends."""
    _prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before
        os.kill(os.getpid(), signal.SIGKILL)


def _prctl(request: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(request, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def descendants(pid: int) -> Iterator[int]:
    """All processes below one, parents first."""
    with contextlib.suppress(OSError):  # it has just ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text().split():
                yield int(child)
                yield from descendants(int(child))


def is_stopped(pid: int) -> bool:
    """Whether a process was stopped, as by Ctrl-Z, and was not told to go on."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == _STOPPED
    return False


def memory_of(pid: int, *, exact: bool = False) -> int:
    """Bytes of memory and swap that only go when a process frees them; files that it reads do not.

    Args:
        pid: The process; one that has ended has none.
        exact: Count what several processes share in parts, which takes the system a while; else
            each of them is said to have all of it.
    """
    name, wanted = ("smaps_rollup", _EXACT) if exact else ("status", _QUICK)
    total = 0
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/{name}").read_text().splitlines():
            field, _, amount = line.partition(":")
            if field in wanted:
                total += int(amount.split()[0]) * _KB
    return total


def end_children() -> dict[int, int]:
    """Kill all that is below this process, however it hides; returns when all of it has ended.

    Returns:
        Exit status by number, of a signal minus its number, of those that ended since anybody
        asked.
    """
    ended: dict[int, int] = {}
    until = time.monotonic() + _END_SECONDS
    while time.monotonic() < until:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended |= ended_children()
        if next(descendants(os.getpid()), None) is None:
            break
        time.sleep(_AGAIN_SECONDS)
    return ended


def ended_children() -> dict[int, int]:
    """As ``end_children`` returns, of those that have ended by themselves."""
    ended: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            ended[found[0]] = os.waitstatus_to_exitcode(found[1])
    return ended


class Pause:
    """Stops all that is below this process for a while, and lets go on what it has stopped."""

    def __init__(self) -> None:
        self._stopped: set[int] = set()

    def begin(self) -> None:
        """Stop them; to be called again as long as the pause lasts, for those that are new."""
        for pid in descendants(os.getpid()):
            if pid not in self._stopped and not is_stopped(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    self._stopped.add(pid)

    def end(self) -> None:
        """Let them go on."""
        for pid in self._stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._stopped.clear()
