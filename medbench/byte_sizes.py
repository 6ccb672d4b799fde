"""Amounts of bytes, as people read them in messages and write them in options."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([KMGT])B?", re.IGNORECASE | re.ASCII)
_BYTES = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def size_in_bytes(text: str) -> int | None:
    """Bytes of ``500MB``, ``4 GB`` or ``1.5T``; None for what is no size.

    A number without its unit is none: nobody means bytes.
    """
    found = _SIZE.fullmatch(text.strip())
    return None if found is None else int(float(found[1]) * _BYTES[found[2].upper()])


def format_bytes(n_bytes: float) -> str:
    """An amount as ``850 B``, ``12.0 kB``, ``3.1 MB`` or ``1.2 GB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes:.0f} B"
