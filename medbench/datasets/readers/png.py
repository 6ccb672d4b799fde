"""What Pillow does not see in a PNG file: 16 bits of colour, and the transparency of grey."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medbench.datasets.readers.samples import Samples, opacity

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _GREY_ALPHA, _RGBA = 0, 2, 4, 6
_WIDE, _WHITE = 16, 255
_TOP = 2**_WIDE - 1
_KEPT = (b"IHDR", b"acTL", b"sBIT", b"tRNS")


@dataclass(frozen=True, kw_only=True)
class PngHeader:
    """What the chunks before the image data say."""

    width: int
    height: int
    bits: int
    """Of a sample."""
    colour: int
    """Colour type."""
    significant_bits: int
    """The most that the file says to hold; 0 where it says nothing."""
    transparent: tuple[int, ...]
    """The sample of grey, or the three of RGB, that is transparent; () where none is."""
    animated: bool

    @property
    def is_wide_colour(self) -> bool:
        """Whether it has 16 bits and more than one channel, of which Pillow keeps 8."""
        return self.bits == _WIDE and self.colour in (_RGB, _GREY_ALPHA, _RGBA)


def read_header(file: IO[bytes]) -> PngHeader | None:
    """What a PNG file says before its image data; None of another or a damaged file.

    Args:
        file: The file, at its beginning.
    """
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        return None
    chunks: dict[bytes, bytes] = {}
    while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
        length = int.from_bytes(head[:4], "big")
        if head[4:] in _KEPT and length <= _WHITE:
            chunks.setdefault(head[4:], file.read(length))
            length = 0
        file.seek(length + 4, io.SEEK_CUR)
    if len(start := chunks.get(b"IHDR", b"")) != 13:
        return None
    width, height, bits, colour = struct.unpack(">LLBB", start[:10])
    n = {_GREY: 1, _RGB: 3}.get(colour, 0)
    said = chunks.get(b"tRNS", b"")
    unmasked = struct.unpack(f">{n}H", said[: 2 * n]) if len(said) >= 2 * n else ()
    return PngHeader(
        width=width,
        height=height,
        bits=bits,
        colour=colour,
        significant_bits=max(chunks.get(b"sBIT", b"\0")[:3], default=0),
        transparent=tuple(value & (2**bits - 1) for value in unmasked),
        animated=b"acTL" in chunks,
    )


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
