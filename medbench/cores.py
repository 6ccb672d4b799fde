"""How many cores this process may use."""

from __future__ import annotations

import os


def available_threads() -> int:
    """Cores this process may use: those it is bound to, else all of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
