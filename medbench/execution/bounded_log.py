"""What a process prints, kept up to a stated size: how it begins and how it ends."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

LOG_BYTES = 1 << 20
"""Most of a log that is kept; half of it from the beginning, half from the end."""

_LINE_BYTES = 100
"""Most of the line that says how much is left out."""


class BoundedLog:
    """Writes at once what comes first, and at last what came last."""

    def __init__(self, file: BinaryIO, size: int = LOG_BYTES) -> None:
        """``file``: unbuffered; it may hold something already, which is left as it is."""
        self._file = file
        self._half = size // 2
        self._head_left = self._half
        self._tail = bytearray()
        self._left_out = 0

    def write(self, content: bytes) -> None:
        """Take in what was printed."""
        now = content[: self._head_left]
        self._head_left -= len(now)
        self._file.write(now)
        self._tail += content[len(now) :]
        if len(self._tail) > 2 * self._half:  # not at every write, for the rest is moved
            self._cut()

    def close(self) -> None:
        """Write how it ends, after a line that says how much is left out between."""
        self._cut()
        if self._left_out:
            self._file.write(_left_out(self._left_out))
        self._file.write(self._tail)

    def _cut(self) -> None:
        over = max(0, len(self._tail) - self._half)
        del self._tail[:over]
        self._left_out += over


def read_log(path: Path, size: int = LOG_BYTES) -> bytes:
    """A log as ``BoundedLog`` would have written it, also where another process wrote it whole."""
    half, total = size // 2, path.stat().st_size
    with path.open("rb") as file:
        if total <= size + _LINE_BYTES:
            return file.read(total)
        head = file.read(half)
        file.seek(total - half)
        return head + _left_out(total - 2 * half) + file.read(half)


def _left_out(count: int) -> bytes:
    return f"\n[{count:,} bytes are left out here]\n".encode()
