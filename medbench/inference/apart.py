"""Commands that use the models of a folder: of a foreign one, in a process that may crash.

Models are read and run by libraries in C. A file that is made to harm them may end the process in
which they work; then this one says so. It does not keep a library from what else it may do: for
that, use no models of people whom you do not trust.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from medbench.errors import ModelError
from medbench.inference.foreign import SENTENCE, ForeignWarning, is_foreign

_PIPE = "MEDBENCH_APART"
"""In the process of its own: a pipe whose other end its parent holds, until that ends."""
_APART = "Its models work in a process of their own."
_GRACE_SECONDS = 5.0
"""How long it may take to end after Ctrl-C."""
_LARGEST_STATUS = 255
"""A larger one is how Windows tells of a crash."""


def apart(folder: Path, command: Sequence[str], execute: Callable[[], int]) -> int:
    """Execute a command here, or, where the folder is foreign, in a process of its own.

    Args:
        folder: The run, or the exported model.
        command: The whole command line, without the program.
        execute: What it does.

    Returns:
        The exit status.

    Raises:
        ModelError: That process was ended by its models.
    """
    if _PIPE in os.environ:  # the parent has said it
        _end_with_parent(int(os.environ.pop(_PIPE)))
        warnings.simplefilter("ignore", ForeignWarning)
        return execute()
    if not is_foreign(folder):
        return execute()
    print(f"{folder}: {SENTENCE} {_APART}", file=sys.stderr, flush=True)
    return _ended_well(folder, _in_process_of_its_own(command))


def _in_process_of_its_own(command: Sequence[str]) -> int:
    """The exit status of a command line; below zero the signal that ended it."""
    theirs, ours = os.pipe()
    try:
        given = {} if sys.platform == "win32" else {"pass_fds": (theirs,)}
        child = subprocess.Popen(
            [sys.executable, "-m", "medbench", *command],
            env={**os.environ, _PIPE: "-1" if sys.platform == "win32" else str(theirs)},
            **given,  # type: ignore[call-overload]
        )
        try:
            return int(child.wait())
        except KeyboardInterrupt:  # which it gets from the terminal too, and ends well by
            with contextlib.suppress(subprocess.TimeoutExpired):
                return int(child.wait(_GRACE_SECONDS))
            raise
    finally:
        os.close(theirs)
        os.close(ours)  # by which it ends, if it has not yet


def _end_with_parent(pipe: int) -> None:
    """Have this process end when its parent does, however that ends."""
    if pipe < 0:
        return

    def wait() -> None:
        os.read(pipe, 1)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _ended_well(folder: Path, status: int) -> int:
    if 0 <= status <= _LARGEST_STATUS:
        return status
    name = next((s.name for s in signal.Signals if s == -status), str(status))
    raise ModelError(
        f"{folder}: its models ended the process in which they worked ({name}), so nothing more is "
        "said by them. They were made elsewhere: ask whoever made them, or use none of them."
    )
