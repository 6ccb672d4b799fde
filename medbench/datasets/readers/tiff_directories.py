"""What the directories of a TIFF file announce, before any of their values is read.

A few bytes of a directory name any number of values, anywhere in the file: many directories, or
many tags of one, may share the same long list, which every reader takes into memory once for each.
"""

from __future__ import annotations

import io
import struct
from typing import IO

import numpy as np

_MOST_DIRECTORIES = 100_000
_SHARED = 16
"""How many times over the bytes of a file may be values of its directories."""
_SIZES = np.array([1, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 1, 1, 8, 8, 8], np.float64)
"""Bytes of a value, by the number of its type (TIFF 6.0, section 2, and BigTIFF)."""
_LAYOUTS = {
    b"II*\0": ("<", "H", "I", 12), b"MM\0*": (">", "H", "I", 12),
    b"II+\0": ("<", "Q", "Q", 20), b"MM\0+": (">", "Q", "Q", 20),
}  # fmt: skip
"""Byte order, types of the number of tags and of an offset, and bytes of a tag, by the magic."""


def check_directories(file: IO[bytes]) -> None:
    """Refuse a file whose chain of directories announces more than it can hold.

    Args:
        file: The file, at its beginning, where it is again afterwards.

    Raises:
        ValueError: There are too many directories, or too many values.
        struct.error: The file is truncated.
    """
    magic = file.read(4)
    if magic not in _LAYOUTS:
        return
    order, number, offset, tag_bytes = _LAYOUTS[magic]
    width = struct.calcsize(offset)
    a_tag = np.dtype([
        ("code", f"{order}u2"), ("type", f"{order}u2"), ("n", f"{order}u{width}"),
        ("value", f"V{width}"),
    ])  # fmt: skip
    file.seek(width)
    n_file_bytes = _size(file)
    seen: set[int] = set()
    n_bytes = 0.0
    at = _read(file, order + offset)
    while at and at not in seen and at < n_file_bytes:
        seen.add(at)
        file.seek(at)
        n_tags = _read(file, order + number)
        if n_tags * tag_bytes > n_file_bytes:
            raise ValueError(f"a directory of {n_tags} tags")
        content = file.read(n_tags * tag_bytes)
        tags = np.frombuffer(content[: len(content) // tag_bytes * tag_bytes], a_tag)
        n_bytes += float(np.sum(_SIZES[np.minimum(tags["type"], len(_SIZES) - 1)] * tags["n"]))
        if len(seen) > _MOST_DIRECTORIES or n_bytes > _SHARED * n_file_bytes:
            raise ValueError(
                f"{len(seen)} directories with {n_bytes:.0f} bytes of values, in a file of "
                f"{n_file_bytes}"
            )
        if len(content) < n_tags * tag_bytes:
            break
        at = _read(file, order + offset)
    file.seek(0)


def _size(file: IO[bytes]) -> int:
    here = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(here)
    return size


def _read(file: IO[bytes], layout: str) -> int:
    value: int = struct.unpack(layout, file.read(struct.calcsize(layout)))[0]
    return value
