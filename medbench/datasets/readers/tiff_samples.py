"""The strips or tiles of a TIFF page become an array of its samples, whatever they are."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medbench.datasets.readers.tiff_pages import Page, refusal

_NONE, _LZW, _DEFLATES, _PACKBITS, _LZMA, _ZSTD = 1, 5, (8, 32946), 32773, 34925, 50000
_BY_LIBTIFF = (_LZW, _PACKBITS, _LZMA, _ZSTD)
COMPRESSIONS = (_NONE, *_DEFLATES, *_BY_LIBTIFF)
"""Those that keep every sample as it is, whatever its type."""
_PREDICTED = (_LZW, *_DEFLATES, _LZMA, _ZSTD)
"""Of these a predictor counts; elsewhere it has no meaning, and libtiff does not look at it."""
_NO_PREDICTOR, _DIFFERENCES, _FLOAT_DIFFERENCES = 1, 2, 3
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def stored(content: bytes, page: Page, origin: str) -> NDArray[Any]:
    """All samples of a page.

    Args:
        content: The whole file.
        page: One of its pages, whose compression is one of ``COMPRESSIONS``.
        origin: Name of the file in messages.

    Returns:
        Shape (height, width, samples), in the byte order of this machine.

    Raises:
        DatasetError: The type and the predictor are of a kind that is not read.
        ValueError: The page is damaged or truncated; likewise what zlib and Pillow raise.
    """
    width, height = page.tile or (page.width, page.rows_per_strip)
    if not (width > 0 and height > 0):
        raise ValueError(f"tiles or strips of {width} x {height} pixels")
    n_planes, per_pixel = (page.samples, 1) if page.planar else (1, page.samples)
    corners = list(_corners(page, n_planes, width, height))
    if len(page.offsets) < len(corners):
        raise ValueError(f"{len(page.offsets)} of {len(corners)} strips or tiles")
    whole: NDArray[Any] = np.empty((page.height, page.width, page.samples), _kind(page))
    for number, (plane, y, x) in enumerate(corners):
        rows = height if page.tile else min(height, page.height - y)
        segment = _segment(content, page, number, (rows, width, per_pixel), origin)
        shown = segment[: page.height - y, : page.width - x]
        whole[y : y + rows, x : x + width, plane : plane + per_pixel] = shown
    return whole


def _corners(page: Page, n_planes: int, width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """Plane, row and column at which each strip or tile begins, in their order."""
    for plane in range(n_planes):
        for y in range(0, page.height, height):
            for x in range(0, page.width, width):
                yield plane, y, x


def _kind(page: Page) -> np.dtype[Any]:
    size = next(size for size in (1, 2, 4, 8) if page.bits <= 8 * size)
    return np.dtype(f"{page.kind}{size}")


def _segment(
    content: bytes, page: Page, number: int, shape: tuple[int, int, int], origin: str
) -> NDArray[Any]:
    """A strip or tile of that many rows, columns and samples a pixel."""
    rows, columns, per_pixel = shape
    row_bytes = -(-columns * per_pixel * page.bits // 8)
    offset = page.offsets[number]
    length = page.counts[number] if number < len(page.counts) else 0
    if not length and page.compression == _NONE:
        length = rows * row_bytes
    data = content[offset : offset + length]
    if not offset or not data:
        raise ValueError("a strip or tile is missing")
    if page.reversed_bits:
        data = data.translate(_REVERSED)
    raw = _unpacked(data, page.compression, rows, row_bytes)
    if len(raw) < rows * row_bytes:
        raise ValueError(f"a strip or tile has {len(raw)} of {rows * row_bytes} bytes")
    raw = raw[: rows * row_bytes]
    predictor = page.predictor if page.compression in _PREDICTED else _NO_PREDICTOR
    if predictor == _FLOAT_DIFFERENCES and page.kind == "f":
        return _undone_float(raw, page.bits // 8, shape)
    values = _values(raw, page, shape)
    if predictor == _DIFFERENCES and page.bits == values.itemsize * 8:
        words = values.view(f"u{values.itemsize}")
        return np.cumsum(words, axis=1, dtype=words.dtype).view(values.dtype)
    if predictor != _NO_PREDICTOR:
        raise refusal(origin, f"of {page.bits}-bit samples with predictor {predictor}")
    return values


def _values(raw: bytes, page: Page, shape: tuple[int, int, int]) -> NDArray[Any]:
    rows, columns, per_pixel = shape
    kind = _kind(page)
    if page.bits == kind.itemsize * 8:
        stored_as = kind.newbyteorder(">" if page.big_endian else "<")
        return np.frombuffer(raw, stored_as).reshape(shape).astype(kind)
    bytes_ = np.frombuffer(raw, np.uint8).reshape(rows, -1)
    n = columns * per_pixel
    bits = np.unpackbits(bytes_, axis=1)[:, : n * page.bits].reshape(rows, n, page.bits)
    values = np.zeros((rows, n), kind)
    for bit in range(page.bits):
        values = (values << 1) | bits[..., bit]
    return values.reshape(shape)


def _undone_float(raw: bytes, size: int, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Numbers whose bytes lie apart, the highest of all first, as differences (Adobe's note 3)."""
    rows, _, per_pixel = shape
    differences = np.frombuffer(raw, np.uint8).reshape(rows, -1, per_pixel)
    bytes_ = np.cumsum(differences, axis=1, dtype=np.uint8).reshape(rows, size, -1)
    numbers = np.ascontiguousarray(bytes_.transpose(0, 2, 1)).view(f">f{size}")
    return numbers.reshape(shape).astype(f"f{size}")


def _unpacked(data: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    """The bytes, at most as many as the rows have."""
    if compression == _NONE:
        return data
    if compression in _DEFLATES:
        return zlib.decompressobj().decompress(data, rows * row_bytes)
    return _unpacked_by_libtiff(data, compression, rows, row_bytes)


def _unpacked_by_libtiff(data: bytes, compression: int, rows: int, row_bytes: int) -> bytes:
    """What is packed as bytes, through Pillow as a grey picture whose pixels are the bytes."""
    tags = {256: row_bytes, 257: rows, 258: 8, 259: compression, 262: 1, 277: 1, 278: rows}
    start = 8 + 2 + 12 * (len(tags) + 2) + 4
    tags |= {273: start, 279: len(data)}
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    head = struct.pack("<2sHLH", b"II", 42, 8, len(tags)) + entries + bytes(4)
    return Image.open(io.BytesIO(head + data), formats=("TIFF",)).tobytes()
