"""Seconds that this process was awake: a run that was suspended has not worked meanwhile.

Whoever suspends a process counts what it lost in memory that both share.
"""

from __future__ import annotations

import mmap
import time

_LOST, _SEEN = 0, 1
_SLACK_SECONDS = 1.5
"""How long nobody may look at the clock without all having been suspended together."""


class Sleep:
    """Seconds lost to suspension, told by one process to those that are forked off it."""

    def __init__(self) -> None:
        """Begin with none."""
        self._numbers = memoryview(mmap.mmap(-1, 2 * 8)).cast("d")
        self._numbers[_SEEN] = time.perf_counter()

    @property
    def lost(self) -> float:
        """Seconds lost so far.

        Where all of a machine or container stood still, nobody has looked since: that counts too,
        before whoever looks has said so.
        """
        unseen = time.perf_counter() - self._numbers[_SEEN] - _SLACK_SECONDS
        lost: float = self._numbers[_LOST]
        return lost + max(0.0, unseen)

    def look(self, *, asleep: bool = False) -> None:
        """Say what was lost since the last look; to be called several times a second.

        Args:
            asleep: Whether the processes were suspended all the while.
        """
        now = time.perf_counter()
        passed = now - self._numbers[_SEEN]
        if asleep:
            self._numbers[_LOST] += passed
        elif passed > _SLACK_SECONDS:  # whoever looks was suspended itself, with all the rest
            self._numbers[_LOST] += passed - _SLACK_SECONDS
        self._numbers[_SEEN] = now


_told: Sleep | None = None


def told_by(sleep: Sleep) -> None:
    """From now on leave out what ``sleep`` counts."""
    global _told
    _told = sleep


def awake_seconds() -> float:
    """A clock as ``time.perf_counter``, which stands still while this process is suspended."""
    now = time.perf_counter()
    return now if _told is None else now - _told.lost
