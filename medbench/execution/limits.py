"""What an attempt at a cell may use in all, beyond which it is ended."""

from __future__ import annotations

from dataclasses import dataclass

from medbench.byte_sizes import format_bytes

CELL_TIME, CELL_MEMORY = "--cell-time", "--cell-memory"
"""The options that set the limits, by which those are named."""

MESSAGE_BYTES = 1 << 20
"""Longest message of an attempt; that of a trial has some kilobytes."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one attempt, with all processes that it starts; None for no limit."""

    seconds: float | None = None
    """Wall seconds from its start to its last prediction, without those of a suspension."""
    memory: int | None = None
    """Bytes."""

    def __str__(self) -> str:
        texts = []
        if self.seconds is not None:
            texts.append(f"takes longer than {in_seconds(self.seconds)} ({CELL_TIME})")
        if self.memory is not None:
            texts.append(f"uses more than {format_bytes(self.memory)} of memory ({CELL_MEMORY})")
        return " or ".join(texts)


@dataclass(frozen=True, kw_only=True)
class Overrun:
    """A limit that an attempt has passed, for which it was ended."""

    limit: str
    """Name of the option."""
    allowed: float
    """Seconds or bytes."""
    used: float
    """Likewise, when it was ended."""

    def __str__(self) -> str:
        if self.limit == CELL_TIME:
            verb, used, allowed = "took", in_seconds(self.used), in_seconds(self.allowed)
        else:
            verb, used, allowed = "used", format_bytes(self.used), format_bytes(self.allowed)
        how_much = "" if used == allowed else f"{used}, "
        return f"{verb} {how_much}more than its limit of {allowed} ({self.limit})"


def in_seconds(seconds: float) -> str:
    """A duration in seconds, as ``4.2 s`` or ``4,200 s``."""
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:,.0f} s"
