"""The process of one cell: ``python -m medbench.execution.worker``, spoken to in lines of JSON.

Standard input brings the specification, then, after the fit, where the held-out images are.
Messages go out through the original standard output; whatever libraries print goes to the log.
When standard input closes, the parent is gone and the process ends at once.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def main() -> int:
    """Serve one cell; 0 unless it failed."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    faulthandler.enable()  # a crash in native code leaves the Python line in the log
    inbox: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(inbox,), daemon=True).start()

    def announce(message: Mapping[str, Any]) -> None:
        channel.write(json.dumps(message, allow_nan=False) + "\n")

    from medbench.execution.cell import Cell, CellSpec

    try:
        spec = inbox.get()
        spec = {k: tuple(v) if isinstance(v, list) else v for k, v in spec.items()}
        cell = Cell(CellSpec(**spec), announce)
        announce({"event": "fitted", "record": cell.fit()})
        announce({"event": "predicted", "record": cell.predict(Path(inbox.get()["held_out"]))})
    except Exception as error:  # the cell's boundary: it becomes a row with its reason
        traceback.print_exc()
        reason = str(error) if _ours(error) else f"{type(error).__name__}: {error}"
        announce({"event": "failed", "reason": reason})
        return 1
    return 0


def _listen(inbox: queue.Queue[Any]) -> None:
    for line in sys.stdin:
        inbox.put(json.loads(line))
    # The parent is gone: nobody waits for this cell any more, nor for what it started.
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _ours(error: Exception) -> bool:
    from medbench.errors import MedBenchError

    return isinstance(error, MedBenchError)


if __name__ == "__main__":
    status = main()
    # TensorFlow's and OpenMP's threads can hang in their own clean-up; everything is written.
    sys.stderr.flush()
    os._exit(status)
