"""How large a compressed frame is by its own header, which decoders believe and allocate by."""

from __future__ import annotations

import struct

_START, _SCAN = b"\xff\xd8", 0xDA
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG and JPEG-LS behind which the size stands."""
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length."""
_JP2, _CODESTREAM = b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"
"""Beginnings of JPEG 2000, in a box and bare."""


def coded_size(frame: bytes) -> tuple[int, int] | None:
    """Width and height that a frame in JPEG, JPEG-LS or JPEG 2000 announces.

    Returns:
        None of another kind, and where none can be found.

    Source: ITU-T T.81, annex B; T.87, annex C; T.800, annex A.5.1.
    """
    if frame.startswith(_START):
        return _jpeg_size(frame)
    place = frame.find(_CODESTREAM) if frame.startswith((_JP2, _CODESTREAM)) else -1
    head = frame[place + 8 : place + 24]
    if place < 0 or len(head) < 16:
        return None
    right, bottom, left, top = struct.unpack(">4I", head)
    return right - left, bottom - top


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    place = 2
    while frame[place : place + 1] == b"\xff" and place + 9 <= len(frame):
        marker = frame[place + 1]
        if marker == _SCAN:
            return None
        if marker in _FRAMES:
            height, width = struct.unpack_from(">2H", frame, place + 5)
            return width, height
        if marker == 0xFF:
            place += 1
        elif marker in _ALONE:
            place += 2
        else:
            place += 2 + int.from_bytes(frame[place + 2 : place + 4], "big")
    return None
