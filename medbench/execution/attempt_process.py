"""The process of one attempt, spoken to in lines of JSON.

Standard input brings task and workspace, then, after the fit, where the held-out images are.
Messages go out through the original standard output; whatever libraries print goes to the log.
When standard input closes, the parent is gone and the process ends at once.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import queue
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn


def main() -> int:
    """Serve one attempt; 0 unless it failed."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    told_by = os.dup(0)  # a family may read or close standard input, and finds nothing there
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    faulthandler.enable()  # a crash in native code leaves the Python line in the log
    inbox: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(told_by, inbox), daemon=True).start()

    def tell(message: Mapping[str, Any]) -> None:
        channel.write(json.dumps(message, allow_nan=False) + "\n")

    from medbench.faults import is_fault, reason_of

    try:
        from medbench import cache
        from medbench.execution.attempt import Attempt
        from medbench.execution.events import PREDICTED, as_message
        from medbench.execution.task import CellTask
        from medbench.execution.workspace import Workspace

        told = inbox.get()
        workspace = Workspace.from_message(told["workspace"])
        unfinished = Path(workspace.folder) / "unfinished"
        unfinished.mkdir()
        cache.work_in(unfinished)
        _pass_on_warnings(tell)
        attempt = Attempt(CellTask.from_message(told["task"]), workspace)
        for event in attempt.fit():
            tell(as_message(event))
        record = attempt.predict(Path(inbox.get()["held_out"]))
        tell({"event": PREDICTED, "record": record})
    except Exception as error:  # the attempt's boundary: a row with its reason, or none yet
        # told first: the log may lie on the very disk that is full
        tell({"event": "failed", "reason": reason_of(error), "fault": is_fault(error)})
        with contextlib.suppress(OSError, MemoryError):
            traceback.print_exc()
        return 1
    return 0


def _pass_on_warnings(tell: Callable[[Mapping[str, Any]], None]) -> None:
    """Have the parent say that the cache cannot be written, which a log would hide."""
    from medbench.errors import CacheWarning

    before = warnings.showwarning

    def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, CacheWarning):
            tell({"event": "warned", "text": str(message)})
        else:
            before(message, category, *where, **more)

    warnings.showwarning = show
    warnings.simplefilter("always", CacheWarning)


def warm_up() -> None:
    """Import what an attempt of any family needs, and look once at what is installed."""
    import threadpoolctl  # noqa: F401

    import medbench.execution.attempt  # noqa: F401
    from medbench.versions import installed_modules

    installed_modules()


def leave(status: int) -> NoReturn:
    """End the process: threads of TensorFlow and OpenMP can hang in their own clean-up."""
    with contextlib.suppress(OSError):  # of a log on a full disk
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _listen(told_by: int, inbox: queue.Queue[Any]) -> None:
    with os.fdopen(told_by) as lines:
        for line in lines:
            inbox.put(json.loads(line))
    # The parent is gone: nobody waits for this attempt any more, nor for what it started.
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    leave(main())  # everything is written
