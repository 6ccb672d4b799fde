"""What the elements of a DICOM file say: texts, numbers, and those of one frame."""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

BROKEN = (
    ArithmeticError,
    AttributeError,  # a header without a needed element
    EOFError,
    LookupError,
    OSError,
    RuntimeError,  # no decoder could read the pixels; nesting too deep; not implemented
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom raises on bytes that are no sound file (found by flipping bytes of sound ones)."""
_QUOTED = 160
"""Characters of a library's own message that are shown."""


def said(dataset: Dataset, keyword: str) -> str:
    """The text of an element; "" where there is none, or none that can be read."""
    try:
        value = dataset.get(keyword)
    except BROKEN:
        return ""  # damage there does not make the pixels unreadable
    return " ".join(str(value).split()) if value is not None else ""


def number(dataset: Dataset, keyword: str) -> float | None:
    """The first number of an element that may hold several.

    Returns:
        None where the element is missing or empty, NaN where it holds anything but a number.
    """
    try:
        value = dataset.get(keyword)
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        several = not isinstance(value, str) and hasattr(value, "__len__")
        return float(str(value[0] if several else value)) if not several or len(value) else None
    except BROKEN:
        return float("nan")


def of_frame(dataset: Dataset, frame: int, macro: str) -> Dataset:
    """Where a frame states something: its own functional group, the shared one, or the file.

    Source: DICOM PS3.3, section C.7.6.16.
    """
    own, shared = (
        dataset.get(f"{kind}FunctionalGroupsSequence") or () for kind in ("PerFrame", "Shared")
    )
    for groups in (*own[frame : frame + 1], *shared[:1]):
        if stated := groups.get(macro):
            found: Dataset = stated[0]
            return found
    return dataset


def one_line(error: Exception) -> str:
    """A library's message, without the values of the file that it may quote."""
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, (AttributeError, RuntimeError)):
        text = re.sub(r"""b?(['"]).*\1""", "...", text)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."
