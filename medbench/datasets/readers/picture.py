"""Everyday pictures (PNG, JPEG and their like), by Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import IO, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from medbench.datasets.grey_levels import spread
from medbench.datasets.readers import all_readers, png, ppm
from medbench.datasets.readers.base import Header, OpenedImage, Reader, check_size
from medbench.datasets.readers.quiet import Quiet
from medbench.datasets.readers.samples import Samples, picture, upright
from medbench.errors import DatasetError

QUIET = Quiet("PIL", logs=False)
"""Pillow warns of large pictures, for which there is a limit here."""
_SMALL = 1 << 14
"""Bytes of a picture that it hardly warns of, and that silence would cost a share of its time."""
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")
"""Pillow readers in use; a short list keeps rarely tested parsers away from untrusted files."""
_WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow modes with more than 8 bits a pixel."""
BROKEN = (
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
_JPEGS = ("JPEG", "MPO")
_ORIENTATION = 274
"""EXIF's tag."""
_GIF, _RIFF, _EXTENDED_WEBP, _WEBP_ANIMATION = b"GIF8", b"RIFF", b"WEBPVP8X", 2
_LONGEST_START = 21
_LOSSLESS = tuple(bytes([code]) for code in (0xC3, 0xC7, 0xCB, 0xCF))
_JPEG_FRAMES = (*_LOSSLESS, *(bytes([0xC0 + n]) for n in (0, 1, 2, 5, 6, 9, 10, 13, 14)))
"""Second bytes of the markers of JPEG files that say how the picture is coded."""
_PIXELS_OF_FRAMES = 20
"""Frames of an animation may have so many times the pixels of the largest image."""


class PictureReader(Reader):
    """Reads whatever no other reader recognises, and says so where it is no picture.

    EXIF orientation is applied, palettes are expanded, and transparency is composed on black. More
    than 8 bits a pixel: see ``samples.picture``. The frames of an animation are slices.
    """

    title: ClassVar[str] = "PNG, JPEG, BMP, GIF, WebP, PPM"
    suffixes: ClassVar[tuple[str, ...]] = (
        ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm",
    )  # fmt: skip

    def recognises(self, start: bytes) -> bool:
        """See ``Reader.recognises``; Pillow decides."""
        try:
            with Image.open(io.BytesIO(start), formats=_FORMATS):
                return True
        except BROKEN:
            return False

    def open(self, content: bytes, *, origin: str, pixel_limit: int) -> OpenedImage:
        """See ``Reader.open``."""
        if not content:
            raise DatasetError(f"{origin}: the file is empty. Copy it again or remove it.")
        try:
            with QUIET if len(content) > _SMALL else nullcontext():
                image = Image.open(io.BytesIO(content), formats=_FORMATS)
                n_frames = _n_frames(image)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DatasetError(
                f"{origin}: the header announces more pixels than Pillow accepts ({error}). "
                "Shrink the image or remove it."
            ) from error
        except BROKEN as error:
            known = ", ".join(reader.title for reader in all_readers())
            raise DatasetError(
                f"{origin}: not an image of a known format ({known}), whatever its name says. "
                "Convert it to PNG or remove it."
            ) from error
        if image.format in _JPEGS and _is_lossless(content):
            raise DatasetError(
                f"{origin}: a lossless JPEG, which is not read here. Convert it to PNG."
            )
        check_size(image.width, image.height, origin, pixel_limit)
        if n_frames * image.width * image.height > _PIXELS_OF_FRAMES * pixel_limit:
            raise DatasetError(
                f"{origin}: {n_frames} frames of {image.width} x {image.height} pixels are too "
                "many. Save the frame that is meant in a file of its own."
            )
        return _OpenedPicture(image, n_frames, content, origin)

    def look(self, file: IO[bytes], *, origin: str) -> Header:
        """See ``Reader.look``: only animations say more than that they are a picture."""
        start = file.read(_LONGEST_START)
        if start.startswith(png.SIGNATURE):
            animated = png.is_animated(file)
        else:
            animated = start.startswith(_GIF) or _is_animated_webp(start)
        if not animated:
            return Header()
        file.seek(0)
        return super().look(file, origin=origin)

    def shorter_side(self, file: IO[bytes], *, origin: str) -> int:
        """See ``Reader.shorter_side``; only the header is read."""
        try:
            with QUIET, Image.open(file, formats=_FORMATS) as image:
                return min(image.size)
        except BROKEN as error:
            raise DatasetError(f"{origin}: not a picture of a known format.") from error


class _OpenedPicture(OpenedImage):
    def __init__(
        self,
        image: ImageFile.ImageFile,
        n_frames: int,
        content: bytes,
        origin: str,
    ) -> None:
        super().__init__(
            origin=origin,
            header=Header(n_slices=n_frames),
            mode=image.mode,
            n_bytes=len(content),
            what=f"a {image.format} of {n_frames} frames" if n_frames > 1 else "one picture",
        )
        self.sliced = n_frames > 1
        self._image = image
        self._png = png.header_that_counts(content, image)
        if self.sliced and self._png is not None and self._png.is_wide_colour:
            raise DatasetError(
                f"{origin}: an animation of 16 bits of colour or opacity, of which 8 would be "
                "read. Save the frame that is meant in a file of its own."
            )
        self._wide = None if self.sliced else _wide_colour(image, content, self._png)

    def pixels(self, index: int) -> NDArray[np.uint8]:
        try:
            return self._pixels(index)
        except BROKEN as error:
            raise DatasetError(
                f"{self.origin}: the image is damaged or truncated ({error}). "
                "Copy it again from its source or remove it."
            ) from error

    def _pixels(self, index: int) -> NDArray[np.uint8]:
        image: Image.Image = self._image
        if self.sliced:
            image.seek(index)
            image = image.copy()  # what follows may turn it, and the next frame is drawn upon it
        if self._wide is not None:
            shown = picture(self._wide(), self.origin)
            return np.ascontiguousarray(upright(shown, image.getexif().get(_ORIENTATION, 1)))
        header = self._png
        if header is not None:
            png.state_transparency(image, header)
        ImageOps.exif_transpose(image, in_place=True)
        if image.mode not in _WIDE_MODES:
            return np.asarray(grey_or_rgb(image))
        values = np.asarray(image)
        if header is not None and header.transparent:
            values = np.where(values == header.transparent[0], 0, values)
        return spread(values, self.origin)

    def warnings(self) -> tuple[str, ...]:
        """Whether there are more pictures than the one that is shown, which only JPEG hides."""
        if self.sliced:
            return ()
        try:
            n_pictures = int(getattr(self._image, "n_frames", 1))
        except BROKEN:
            return ("the pictures after the first are damaged",)
        return (f"the first of {n_pictures} pictures",) if n_pictures > 1 else ()


def _n_frames(image: Image.Image) -> int:
    """Frames of an animation. The further pictures of a JPEG file are previews and depth maps."""
    return 1 if image.format in _JPEGS else int(getattr(image, "n_frames", 1))


def _is_lossless(content: bytes) -> bool:
    """Whether a JPEG file is coded without loss, which Pillow opens and cannot decode."""
    offset = 2
    while (marker := content[offset : offset + 2]).startswith(b"\xff"):
        if marker[1:] in _JPEG_FRAMES:
            return marker[1:] in _LOSSLESS
        length = int.from_bytes(content[offset + 2 : offset + 4], "big")
        offset += 1 if marker == b"\xff\xff" else 2 + length
    return False


def _is_animated_webp(start: bytes) -> bool:
    """Whether a file begins like a WebP file of several frames."""
    extended = start.startswith(_RIFF) and start[8:16] == _EXTENDED_WEBP
    return extended and bool(start[20:21] and start[20] & _WEBP_ANIMATION)


def _wide_colour(
    image: ImageFile.ImageFile, content: bytes, header: png.PngHeader | None
) -> Callable[[], Samples] | None:
    """What gives all bits of a picture in 16-bit colour, of which Pillow keeps 8; None of others.

    Args:
        image: Opened, and not decoded yet.
        content: The whole file.
        header: Of a PNG file.
    """
    if header is not None and header.is_wide_colour:
        return partial(png.wide_samples, content, header)
    return ppm.wide_colour(image, content)


def grey_or_rgb(image: Image.Image) -> Image.Image:
    """Any 8-bit mode as L or RGB, with transparent parts on black."""
    if image.mode in ("L", "RGB") and not image.has_transparency_data:
        return image
    if not image.has_transparency_data:
        return image.convert("L" if image.mode == "1" else "RGB")
    rgba = image.convert("RGBA")
    black = Image.new("RGB", image.size)
    black.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
    return black
