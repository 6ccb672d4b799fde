"""What Pillow does not see in a PNG file: 16 bits of colour, and the transparency of grey."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medbench.datasets.readers.samples import Samples, opacity

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _GREY_ALPHA, _RGBA = 0, 2, 4, 6
_WIDE, _WHITE = 16, 255
_TOP = 2**_WIDE - 1
_KEPT, _LONGEST = (b"IHDR", b"sBIT", b"tRNS"), 256
"""Chunks that are looked at, and the most bytes that they have."""


@dataclass(frozen=True, kw_only=True)
class PngHeader:
    """What the chunks before the image data say."""

    bits: int
    """Of a sample."""
    colour: int
    """Colour type."""
    significant_bits: int
    """The most that the file says to hold; 0 where it says nothing."""
    transparent: tuple[int, ...]
    """The sample of grey, or the three of RGB, that is transparent; () where none is."""

    @property
    def is_wide_colour(self) -> bool:
        """Whether it has 16 bits and more than one channel, of which Pillow keeps 8."""
        return self.bits == _WIDE and self.colour in (_RGB, _GREY_ALPHA, _RGBA)


def read_header(file: IO[bytes]) -> PngHeader | None:
    """What a PNG file says before its image data; None of a damaged one.

    Args:
        file: The file, at its beginning.
    """
    chunks: dict[bytes, bytes] = {}
    for name, length in _chunks(file):
        if name in _KEPT and length <= _LONGEST:
            chunks.setdefault(name, file.read(length))
    if len(start := chunks.get(b"IHDR", b"")) != 13:
        return None
    bits, colour = start[8:10]
    n = {_GREY: 1, _RGB: 3}.get(colour, 0)
    said = chunks.get(b"tRNS", b"")
    unmasked = struct.unpack(f">{n}H", said[: 2 * n]) if len(said) >= 2 * n else ()
    return PngHeader(
        bits=bits,
        colour=colour,
        significant_bits=max(chunks.get(b"sBIT", b"\0")[:3], default=0),
        transparent=tuple(value & (2**bits - 1) for value in unmasked),
    )


def is_animated(file: IO[bytes]) -> bool:
    """Whether a PNG file has several frames.

    Args:
        file: The file, at its beginning.
    """
    return any(name == b"acTL" for name, _ in _chunks(file))


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Name and length of each chunk before the image data; the file is where its content begins."""
    offset = len(SIGNATURE)
    while True:
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IDAT":
            return
        length = int.from_bytes(head[:4], "big")
        yield head[4:], length
        offset += length + 12


def header_that_counts(content: bytes, image: Image.Image) -> PngHeader | None:
    """The header of a PNG file that Pillow alone may misread; None of all others.

    Args:
        content: The whole file.
        image: As Pillow opened it.
    """
    if image.format != "PNG" or (content[24] == 8 and "transparency" not in image.info):
        return None
    return read_header(io.BytesIO(content))


def state_transparency(image: Image.Image, header: PngHeader) -> None:
    """Tell Pillow the transparent value in the 8 bits that it expands up to 8 bits to."""
    if header.transparent and header.bits <= 8:
        scale = _WHITE // (2**header.bits - 1)
        value = tuple(sample * scale for sample in header.transparent)
        image.info["transparency"] = value if len(value) > 1 else value[0]


def wide_samples(content: bytes, header: PngHeader) -> Samples:
    """All 16 bits of grey with an opacity, RGB or RGBA.

    Args:
        content: The whole file.
        header: Of the file; ``is_wide_colour`` is True.

    Raises:
        OSError: The file is damaged or truncated; likewise what else Pillow raises.
    """
    if header.colour == _GREY_ALPHA:
        values = _decoded(content, "RGBA").view(">u2")  # two bytes each of grey and of opacity
    else:
        kind = "RGB" if header.colour == _RGB else "RGBA"
        high, low = (_decoded(content, f"{kind};16{order}") for order in "BL")
        values = (high.astype(np.uint16) << 8) | low
    n_colours = 1 if header.colour == _GREY_ALPHA else 3
    colours = values[..., :n_colours].astype(np.uint16)
    alpha = None
    if header.transparent:
        alpha = (colours != np.array(header.transparent)).any(axis=-1).astype(np.float64)
    elif header.colour != _RGB:
        alpha = opacity(values[..., -1], _TOP)
    return Samples(
        values=colours[..., 0] if n_colours == 1 else colours,
        top=_TOP,
        opacity=alpha,
        said_tops=(2**header.significant_bits - 1,) if header.significant_bits else (),
    )


def _decoded(content: bytes, layout: str) -> NDArray[np.uint8]:
    """The picture, where Pillow takes the bytes of a pixel to lie in another layout."""
    image = Image.open(io.BytesIO(content), formats=("PNG",))
    image.tile = [tile._replace(args=layout) for tile in image.tile]
    return np.asarray(image)
