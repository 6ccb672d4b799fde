"""Locks of entries: who uses one has its checksum file locked, and nobody removes it meanwhile."""

from __future__ import annotations

import os
import time
from pathlib import Path

CHECKSUMS = "sha256.json"
_ATTEMPTS, _WAIT_SECONDS = 20, 0.02
"""How often, and how far apart, it is tried to use an entry at which somebody looks."""


def lock_of(path: Path) -> int | None:
    """The checksum file of an entry, open and locked against its removal; None if it is gone.

    On Windows nobody can remove what somebody has open.
    """
    for _ in range(_ATTEMPTS):
        try:
            lock = os.open(path / CHECKSUMS, os.O_RDONLY)
        except OSError:
            return None
        try:
            if locked(lock, shared=True) and os.path.samestat(
                os.fstat(lock), (path / CHECKSUMS).stat()
            ):
                return lock
        except OSError:
            pass
        os.close(lock)
        time.sleep(_WAIT_SECONDS)  # somebody looks whether it is used, or removes it
    return None


def in_use(path: Path) -> bool:
    """Whether a process uses an entry, also this one."""
    try:
        lock = os.open(path / CHECKSUMS, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not locked(lock, shared=False)
    finally:
        os.close(lock)


def locked(lock: int, *, shared: bool) -> bool:
    """Whether the lock could be had; it goes with the descriptor."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return shared  # a disk without locks: nothing there is removed
    return True
