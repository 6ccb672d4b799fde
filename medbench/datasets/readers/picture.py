"""Everyday pictures (PNG, JPEG, TIFF and their like), by Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from typing import IO, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medbench.datasets.grey_levels import spread
from medbench.datasets.readers import all_readers
from medbench.datasets.readers.base import Header, OpenedImage, Reader, check_size
from medbench.errors import DatasetError

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
"""Pillow readers in use; a short list keeps rarely tested parsers away from untrusted files."""
_WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow modes with more than 8 bits a pixel."""
_BROKEN = (
    OSError,  # truncated; also Pillow's UnidentifiedImageError
    SyntaxError,  # Pillow's word for a broken chunk
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # raised where warnings are errors
)
"""What Pillow raises on bytes that are no sound image (found by flipping bytes of sound ones)."""
_MIN_IS_WHITE = 0
_PHOTOMETRIC_TAG = 262


class PictureReader(Reader):
    """Reads whatever no other reader recognises, and says so where it is no picture.

    EXIF orientation is applied, palettes are expanded, transparency is composed on black, and the
    first page or frame is taken. More than 8 bits a pixel are mapped linearly from the image's own
    lowest..highest value to 0..255; a constant one becomes 0. Pillow itself keeps only the high
    byte of 16-bit colour.
    """

    title: ClassVar[str] = "PNG, JPEG, TIFF, BMP, GIF, WebP, PPM"
    suffixes: ClassVar[tuple[str, ...]] = (
        ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm",
    )  # fmt: skip

    def recognises(self, start: bytes) -> bool:
        """See ``Reader.recognises``; Pillow decides."""
        try:
            with Image.open(io.BytesIO(start), formats=_FORMATS):
                return True
        except _BROKEN:
            return False

    def open(self, content: bytes, *, origin: str, pixel_limit: int) -> OpenedImage:
        """See ``Reader.open``."""
        if not content:
            raise DatasetError(f"{origin}: the file is empty. Copy it again or remove it.")
        try:
            image: Image.Image = Image.open(io.BytesIO(content), formats=_FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DatasetError(
                f"{origin}: the header announces more pixels than Pillow accepts ({error}). "
                "Shrink the image or remove it."
            ) from error
        except _BROKEN as error:
            known = ", ".join(reader.title for reader in all_readers())
            raise DatasetError(
                f"{origin}: not an image of a known format ({known}), whatever its name says. "
                "Convert it to PNG or remove it."
            ) from error
        check_size(image.width, image.height, origin, pixel_limit)
        return _OpenedPicture(image, len(content), origin)

    def look(self, file: IO[bytes], *, origin: str) -> Header:
        """See ``Reader.look``: pictures say nothing of patients, and there is one to a file."""
        return Header()


class _OpenedPicture(OpenedImage):
    sliced: ClassVar[bool] = False

    def __init__(self, image: Image.Image, n_bytes: int, origin: str) -> None:
        super().__init__(
            origin=origin, header=Header(), mode=image.mode, n_bytes=n_bytes, what="one picture"
        )
        self._image = image

    def pixels(self, index: int) -> NDArray[np.uint8]:
        image = self._image
        try:
            ImageOps.exif_transpose(image, in_place=True)
            if self.mode in _WIDE_MODES:
                values = np.asarray(image)
                if _is_inverted(image, self.mode):
                    values = values.max() - values
                return spread(values, self.origin)
            return np.asarray(_grey_or_rgb(image))
        except _BROKEN as error:
            raise DatasetError(
                f"{self.origin}: the image is damaged or truncated ({error}). "
                "Copy it again from its source or remove it."
            ) from error

    def warnings(self) -> tuple[str, ...]:
        """Whether there are more pages or frames than the one that is shown."""
        try:
            n_pages = int(getattr(self._image, "n_frames", 1))
        except _BROKEN:
            return ("the pages or frames after the first are damaged",)
        return (f"the first of {n_pages} pages or frames",) if n_pages > 1 else ()


def _is_inverted(image: Image.Image, mode: str) -> bool:
    """Whether a 16-bit TIFF stores white as 0, which Pillow undoes for 8 bits only."""
    tags = getattr(image, "tag_v2", {})
    return mode.startswith("I;16") and tags.get(_PHOTOMETRIC_TAG) == _MIN_IS_WHITE


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    """Any 8-bit mode as L or RGB, with transparent parts on black."""
    if image.mode in ("L", "RGB") and not image.has_transparency_data:
        return image
    if not image.has_transparency_data:
        return image.convert("L" if image.mode == "1" else "RGB")
    rgba = image.convert("RGBA")
    black = Image.new("RGB", image.size)
    black.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    return black
