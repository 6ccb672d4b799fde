"""Processes of both sides: pinned to one core, timed from start to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_SHOWN_LINES = 15
_LOOKED_EVERY = 5.0
"""Seconds between two looks at whether a process has done enough."""


class SideError(Exception):
    """A side failed; the message has the last lines of what it said."""


def timed(
    command: Sequence[object],
    environment: Mapping[str, str],
    *,
    core: int | None = None,
    accepted: Sequence[int] = (0,),
    enough: Callable[[], bool] | None = None,
    python: Path = Path(sys.executable),
    limit: float | None = None,
) -> tuple[float, str]:
    """Run a command of a Python to its end.

    Args:
        command: Arguments of that Python.
        environment: What is added to the environment variables.
        core: The only core that it may use, with all that it starts; None for all of them.
        accepted: Statuses with which it may end.
        enough: Whether it has done what is wanted of it; it is then told to stop.
        python: The interpreter.
        limit: Seconds after which it is ended, with all that it has started; None for no limit.

    Returns:
        Wall seconds, and what it printed on its standard output.

    Raises:
        SideError: It ended with another status, or was ended at the limit.
    """
    arguments = [str(part) for part in command]
    began = time.perf_counter()
    process = subprocess.Popen(
        [str(python), *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        start_new_session=limit is not None,
    )
    try:
        said, complained = _output(process, enough, limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise SideError(
            f"{' '.join(arguments)[:200]} was ended after {limit:.0f} s without an answer."
        ) from None
    seconds = time.perf_counter() - began
    if process.returncode not in accepted:
        lines = (said + complained).splitlines()[-_SHOWN_LINES:]
        raise SideError(
            f"{' '.join(arguments)[:200]} ended with status {process.returncode}: "
            + "\n".join(lines)
        )
    return seconds, said


def _output(
    process: subprocess.Popen[str], enough: Callable[[], bool] | None, limit: float | None
) -> tuple[str, str]:
    """What it prints until its end, to which it is brought as soon as it has done enough."""
    while enough is not None:
        try:
            return process.communicate(timeout=_LOOKED_EVERY)
        except subprocess.TimeoutExpired:
            if enough():
                process.send_signal(signal.SIGTERM)  # Ctrl-C may be ignored in the background
                enough = None
    return process.communicate(timeout=limit)


def last_core() -> int:
    """The core to which sides are pinned: the last one that this process may use.

    Raises:
        SideError: This system pins no processes.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise SideError("processes can be pinned to a core on Linux only: run this there.")
    return max(os.sched_getaffinity(0))
