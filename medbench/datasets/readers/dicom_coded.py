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
    offset = frame.find(_CODESTREAM) if frame.startswith((_JP2, _CODESTREAM)) else -1
    head = frame[offset + 8 : offset + 24]
    if offset < 0 or len(head) < 16:
        return None
    right, bottom, left, top = struct.unpack(">4I", head)
    return right - left, bottom - top


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    offset = 2
    while frame[offset : offset + 1] == b"\xff" and offset + 9 <= len(frame):
        marker = frame[offset + 1]
        if marker == _SCAN:
            return None
        if marker in _FRAMES:
            height, width = struct.unpack_from(">2H", frame, offset + 5)
            return width, height
        if marker == 0xFF:
            offset += 1
        elif marker in _ALONE:
            offset += 2
        else:
            offset += 2 + int.from_bytes(frame[offset + 2 : offset + 4], "big")
    return None
