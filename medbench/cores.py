"""How many cores this process may use."""

from __future__ import annotations


def available_threads() -> int:
    """Cores this process may use, at least 1.

    The least of what the machine has, what the process is bound to (affinity), and what the CPU
    quota of its container allows, rounded up; joblib reads all three.
    """
    from joblib import cpu_count

    return max(1, int(cpu_count()))
