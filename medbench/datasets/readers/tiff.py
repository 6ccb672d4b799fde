"""TIFF: its tags are read first, and Pillow is asked only for what it is known to read right."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medbench.datasets.readers.base import Header, OpenedImage, Reader, check_size
from medbench.datasets.readers.picture import BROKEN, QUIET, grey_or_rgb
from medbench.datasets.readers.samples import Samples, opacity, picture, upright
from medbench.datasets.readers.tiff_pages import (
    CMYK,
    MIN_IS_BLACK,
    MIN_IS_WHITE,
    PALETTE,
    RGB,
    YCBCR,
    Page,
    has_one_page,
    pages_of,
    refusal,
)
from medbench.datasets.readers.tiff_samples import COMPRESSIONS, stored
from medbench.errors import DatasetError

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_FAX, _JPEGS, _WEBP = (2, 3, 4), (6, 7), 50001
_PLAIN = (MIN_IS_WHITE, MIN_IS_BLACK, RGB, YCBCR)
"""Meanings of 8-bit samples that Pillow knows."""
_BYTES_A_PIXEL = 16
"""Bytes that the samples of a pixel may take, at the largest size."""
_BROKEN = (*BROKEN, AttributeError, ArithmeticError, AssertionError, RuntimeError)
"""What tifffile, Pillow and numpy raise on bytes that are no sound file."""
_COLOURS = {
    MIN_IS_WHITE: "L", MIN_IS_BLACK: "L", RGB: "RGB", PALETTE: "P", CMYK: "CMYK", YCBCR: "YCbCr",
}  # fmt: skip


class TiffReader(Reader):
    """Shows each page of a stack.

    Pages of the largest size are slices; reduced copies, masks and pages of another size are not.
    White as 0 is inverted, palettes, CMYK and YCbCr become RGB, what is transparent is black, and
    the orientation is applied. How more than 8 bits are shown: ``samples.picture``.

    Source: TIFF 6.0 (Adobe, 1992) and its technical notes; BigTIFF.
    """

    title: ClassVar[str] = "TIFF"
    suffixes: ClassVar[tuple[str, ...]] = (".tif", ".tiff")

    def recognises(self, start: bytes) -> bool:
        """See ``Reader.recognises``; what the preamble of DICOM may be, which is asked before."""
        return start.startswith(_MAGIC)

    def open(self, content: bytes, *, origin: str, pixel_limit: int) -> OpenedImage:
        """See ``Reader.open``; also refused are kinds of samples that are not pictures."""
        with _reading(origin):
            pages, n_other = pages_of(io.BytesIO(content), origin)
            page = pages[0]
            check_size(page.width, page.height, origin, pixel_limit)
            tile_width, tile_height = page.tile or (1, 1)
            check_size(tile_width, tile_height, origin, pixel_limit)
            n_pixels = max(page.width * page.height, tile_width * tile_height)
            if n_pixels * page.samples * page.bits > pixel_limit * _BYTES_A_PIXEL * 8:
                raise refusal(origin, f"of {page.samples} samples of {page.bits} bits at that size")
            return _OpenedTiff(content, pages, n_other, origin)

    def look(self, file: IO[bytes], *, origin: str) -> Header:
        """See ``Reader.look``; only the directories are read."""
        if has_one_page(file):
            return Header(n_slices=1)
        file.seek(0)
        with _reading(origin):
            return Header(n_slices=len(pages_of(file, origin)[0]))

    def shorter_side(self, file: IO[bytes], *, origin: str) -> int:
        """See ``Reader.shorter_side``; only the directories are read."""
        with _reading(origin):
            page = pages_of(file, origin)[0][0]
            return min(page.width, page.height)


class _OpenedTiff(OpenedImage):
    def __init__(self, content: bytes, pages: list[Page], n_other: int, origin: str) -> None:
        n = len(pages)
        super().__init__(
            origin=origin,
            header=Header(n_slices=n),
            mode=_mode(pages[0]),
            n_bytes=len(content),
            what=f"a TIFF stack of {n} pages" if n > 1 else "one picture",
        )
        self.sliced = n > 1
        self._content = content
        self._pages = pages
        self._n_other = n_other

    def pixels(self, index: int) -> NDArray[np.uint8]:
        page = self._pages[index]
        with _reading(self.origin):
            if _is_for_pillow(page, self.origin):
                return _by_pillow(self._content, page)
            if page.compression not in COMPRESSIONS:
                raise refusal(self.origin, f"with compression {page.compression}")
            shown = picture(_samples(self._content, page, self.origin), self.origin)
            return np.ascontiguousarray(upright(shown, page.orientation))

    def warnings(self) -> tuple[str, ...]:
        """Whether pages are passed over."""
        n = self._n_other
        return (f"{n} page{'s' * (n > 1)} of another size left out",) if n else ()


@contextmanager
def _reading(origin: str) -> Iterator[None]:
    try:
        with QUIET:
            yield
    except Image.DecompressionBombError as error:
        raise refusal(origin, "of strips too large to be unpacked") from error
    except _BROKEN as error:
        raise DatasetError(
            f"{origin}: the TIFF file is damaged or truncated ({error}). "
            "Copy it again from its source or remove it."
        ) from error


def _mode(page: Page) -> str:
    """As Pillow calls such pixels."""
    colour = _COLOURS[page.photometric]
    if colour == "L" and page.alpha is None and (page.bits == 1 or page.bits > 8):
        return {"u1": "1", "u16": "I;16"}.get(f"{page.kind}{page.bits}", "FI"[page.kind != "f"])
    return colour + ("" if page.alpha is None else "a" if page.premultiplied else "A")


def _is_for_pillow(page: Page, origin: str) -> bool:
    """Whether Pillow reads it, and right.

    Raises:
        DatasetError: Only Pillow could read it, and it does not.
    """
    simple = page.kind == "u" and not page.premultiplied and not page.planar
    if page.big_tiff and page.big_endian:  # which Pillow does not know
        simple = False
    eight = simple and page.bits == 8
    if page.compression in _FAX:
        known = simple and page.bits == 1 and page.photometric in (MIN_IS_WHITE, MIN_IS_BLACK)
    elif page.compression in (*_JPEGS, _WEBP):
        known = eight and page.photometric in (*_PLAIN, CMYK) and len(page.extra) <= 1
    else:
        plain = eight and page.photometric in _PLAIN and not page.extra
        return plain and page.compression in COMPRESSIONS[1:] and not page.reversed_bits
    if not known:
        raise refusal(origin, f"of {page.bits}-bit samples with compression {page.compression}")
    return True


def _by_pillow(content: bytes, page: Page) -> NDArray[np.uint8]:
    """A page as Pillow reads it, which takes it for the first one."""
    order, (word, end) = "<>"[page.big_endian], ("Q", 16) if page.big_tiff else ("L", 8)
    offset = struct.pack(order + word, page.offset)
    start = end - len(offset)
    if content[start:end] != offset:  # another page than the first
        content = content[:start] + offset + content[end:]
    image: Image.Image = Image.open(io.BytesIO(content), formats=("TIFF",))
    ImageOps.exif_transpose(image, in_place=True)
    return np.asarray(grey_or_rgb(image))


def _samples(content: bytes, page: Page, origin: str) -> Samples:
    """The samples of a page as grey or RGB."""
    values = stored(content, page, origin)
    colours, top = values[..., : page.channels], page.top
    if page.photometric in (MIN_IS_WHITE, MIN_IS_BLACK):
        colours = colours[..., 0]
    elif page.photometric == PALETTE:
        colours, top = _coloured(colours[..., 0], page, origin), 255
    elif page.photometric == CMYK:
        if top is None:
            raise refusal(origin, "of CMYK in signed or floating-point numbers")
        light = 1 - colours.astype(np.float64) / top
        colours, top = np.rint(light[..., :3] * light[..., 3:] * 255), 255
    elif page.photometric == YCBCR:
        if page.bits != 8 or max(page.subsampling) > 1 or not page.default_ycbcr:
            raise refusal(origin, "of YCbCr with subsampled colour or levels of its own")
        whole = Image.frombytes("YCbCr", (page.width, page.height), colours.tobytes())
        colours = np.asarray(whole.convert("RGB"))
    inverted = page.photometric == MIN_IS_WHITE
    if page.alpha is not None and (
        page.kind == "i" or (page.kind == "f" and page.premultiplied and inverted)
    ):
        raise refusal(origin, "of an opacity whose scale is unclear")
    alpha = None if page.alpha is None else opacity(values[..., page.alpha], page.top)
    return Samples(
        values=colours,
        top=top,
        opacity=alpha,
        premultiplied=page.premultiplied,
        inverted=inverted,
        said_tops=() if page.said_top is None else (page.said_top,),
    )


def _coloured(indices: NDArray[Any], page: Page, origin: str) -> NDArray[np.uint8]:
    """Palette indices as RGB."""
    n = 2**page.bits
    if page.kind != "u" or page.bits > 16:
        raise refusal(origin, f"of a palette of {page.bits} bits")
    entries = np.array(page.color_map[: 3 * n], np.float64)
    if len(entries) < 3 * n:
        raise ValueError(f"a palette of {len(entries)} of {3 * n} entries")
    wide = entries.max() > 255  # old files have 8 bits there
    table = np.rint(entries / (257 if wide else 1)).astype(np.uint8)
    coloured: NDArray[np.uint8] = table.reshape(3, n).T[indices]
    return coloured
