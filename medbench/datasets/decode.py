"""Encoded files and arrays of any kind become uint8 pixels of one size, with their properties."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medbench.datasets.batch import image_key
from medbench.datasets.dicom import dicom_pixels, is_dicom
from medbench.datasets.duplicates import perceptual_hash
from medbench.datasets.grey_levels import stretched
from medbench.datasets.listing import Content
from medbench.datasets.nifti import is_nifti, nifti_pixels
from medbench.errors import DatasetError

PIXEL_LIMIT = 50_000_000
"""Default largest image in pixels (a mammogram has 13 million); stops decompression bombs."""

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
_REDUCING_GAP = 2.0
"""Large images are first shrunk by whole factors, to no less than this many times the target."""
_MIN_IS_WHITE = 0
_PHOTOMETRIC_TAG = 262
_COLOUR_SPREAD = 24
"""Difference between channels that JPEG noise of a grey picture stays below, in grey levels."""
_COLOUR_SHARE = 0.01
"""Share of the pixels that must exceed it; a small coloured mark does not make a picture colour."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """One image, ready for a prepared data set."""

    pixels: NDArray[np.uint8]
    """uint8, shape (size, size, channels)."""
    width: int
    """Original width in pixels, as displayed (after the EXIF orientation)."""
    height: int
    """Original height in pixels, as displayed."""
    mode: str
    """Pillow's mode of the file, DICOM's photometric interpretation, or the name of the type of
    an array's or NIfTI file's values."""
    n_bytes: int
    """Size of the file, or of the array in memory, in bytes."""
    pixel_hash: str
    """Hash of the grey or RGB pixels at full resolution; equal pixels hash alike whatever the
    container, the requested size and channels, and however grey is stored. 32 hex digits."""
    key: str
    """See ``medbench.datasets.batch.image_key``."""
    perceptual_hash: NDArray[np.uint8]
    """See ``medbench.datasets.duplicates.perceptual_hash``."""


def decode(
    content: Content,
    *,
    size: int,
    channels: Literal[1, 3],
    origin: str,
    pixel_limit: int = PIXEL_LIMIT,
    slice_number: int | None = None,
) -> Decoded:
    """Decode one image and resize it to a square.

    The content decides the format, not a file's name. EXIF orientation is applied, palettes are
    expanded, transparency is composed on black, and the first frame of an animation is taken.
    More than 8 bits a pixel (and arrays other than uint8) are mapped linearly from the image's
    own lowest..highest value to 0..255; a constant one becomes 0. Pillow itself keeps only the
    high byte of 16-bit colour. DICOM is shown through its window and NIfTI as an axial slice, see
    ``dicom_pixels`` and ``nifti_pixels``. The aspect ratio is not kept: padding would draw it into
    the picture, where a model could read it. Resizing is antialiased (Lanczos, after a reduction
    by whole factors); an image that has the size already is left as it is. Safe in threads, which
    gain speed because Pillow and hashlib release the interpreter's lock.

    Args:
        content: An encoded PNG, JPEG, TIFF, BMP, GIF, WebP, PGM/PPM, DICOM or NIfTI (also
            gzipped) file; or an array of shape (height, width) or (height, width, channels) with
            1 or 3 channels. uint8 is taken as it is and bool as black and white.
        size: Height and width of the result, in pixels.
        channels: 1 for grey (ITU-R 601 luma of colour), 3 for RGB.
        origin: Name of the image in messages.
        pixel_limit: Largest width x height, checked from the header before decoding.
        slice_number: Frame of a DICOM file or axial slice of a NIfTI volume, counted from 1;
            needed where there are several.

    Raises:
        DatasetError: Not an image, truncated, too large, several slices of which none is chosen,
            or pixels that are NaN, infinite or (of an unknown scale) negative; names ``origin``
            and the remedy.
    """
    image, mode = _opened(content, origin, pixel_limit, slice_number)
    full = np.asarray(image)
    if image.mode == "RGB" and _channels_equal(full):
        image = image.getchannel(0)
        full = full[..., 0]
    width, height = image.size
    digest = hashlib.blake2b(f"{full.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(full).data)
    grey = image.convert("L")
    if channels == 1:
        image = grey
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    if channels == 3:
        image = image.convert("RGB")
    pixels = np.array(image, dtype=np.uint8).reshape(size, size, channels)
    return Decoded(
        pixels=pixels,
        key=image_key(pixels),
        width=width,
        height=height,
        mode=mode,
        n_bytes=content.nbytes if isinstance(content, np.ndarray) else len(content),
        pixel_hash=digest.hexdigest(),
        perceptual_hash=perceptual_hash(grey),
    )


def is_coloured(pixels: NDArray[np.uint8]) -> bool:
    """Whether an image is really coloured, or grey stored as RGB.

    Args:
        pixels: uint8, shape (height, width, channels) with 1 or 3 channels.

    Returns:
        True where the channels differ by more than JPEG noise in over 1% of the pixels.
    """
    if pixels.shape[-1] == 1:
        return False
    red, green, blue = np.moveaxis(pixels, -1, 0)  # twenty times as fast as along the last axis
    largest = np.maximum(np.maximum(red, green), blue)
    spread = largest - np.minimum(np.minimum(red, green), blue)
    return bool((spread > _COLOUR_SPREAD).mean() > _COLOUR_SHARE)


def _opened(
    content: Content, origin: str, pixel_limit: int, slice_number: int | None
) -> tuple[Image.Image, str]:
    """The image as L or RGB at full resolution, and the mode it is stored in."""
    if isinstance(content, bytes):
        for is_one, pixels in ((is_dicom, dicom_pixels), (is_nifti, nifti_pixels)):
            if is_one(content):
                shown, mode = pixels(
                    content, origin=origin, slice_number=slice_number, pixel_limit=pixel_limit
                )
                return Image.fromarray(np.ascontiguousarray(shown)), mode
    if isinstance(content, np.ndarray):
        image, mode = _from_array(content, origin, pixel_limit), content.dtype.name
    else:
        image, mode = _from_bytes(content, origin, pixel_limit)
    if slice_number not in (None, 1):
        raise DatasetError(
            f"{origin}: slice {slice_number} was asked for, and only DICOM and NIfTI files have "
            "several: leave --slice out."
        )
    return image, mode


def _from_bytes(content: bytes, origin: str, pixel_limit: int) -> tuple[Image.Image, str]:
    """The decoded image as L or RGB, and the mode it is stored in."""
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
        raise DatasetError(
            f"{origin}: not an image of a known format (PNG, JPEG, TIFF, BMP, GIF, WebP, PPM, "
            "DICOM, NIfTI), whatever its name says. Convert it to PNG or remove it."
        ) from error
    _check_size(image.width, image.height, origin, pixel_limit)
    mode = image.mode
    try:
        ImageOps.exif_transpose(image, in_place=True)
        if mode in _WIDE_MODES:
            values = np.asarray(image)
            if _is_inverted(image, mode):
                values = values.max() - values
            return Image.fromarray(_window(values, origin)), mode
        return _grey_or_rgb(image), mode
    except _BROKEN as error:
        raise DatasetError(
            f"{origin}: the image is damaged or truncated ({error}). "
            "Copy it again from its source or remove it."
        ) from error


def _from_array(values: NDArray[Any], origin: str, pixel_limit: int) -> Image.Image:
    """An array as an L or RGB image."""
    n_channels = values.shape[2] if values.ndim == 3 else 1
    if values.ndim not in (2, 3) or n_channels not in (1, 3) or values.size == 0:
        raise DatasetError(
            f"{origin}: an array of shape {values.shape} is not an image. Give (height, width), "
            "or (height, width, channels) with 1 or 3 channels."
        )
    _check_size(values.shape[1], values.shape[0], origin, pixel_limit)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    if values.ndim == 3 and n_channels == 1:
        values = values[..., 0]
    if values.dtype != np.uint8:
        if values.dtype.kind not in "iuf":
            raise DatasetError(
                f"{origin}: pixels of dtype {values.dtype} cannot be read. "
                "Store uint8, uint16 or float32."
            )
        values = _window(values, origin)
    return Image.fromarray(np.ascontiguousarray(values))


def _check_size(width: int, height: int, origin: str, pixel_limit: int) -> None:
    if width * height > pixel_limit:
        raise DatasetError(
            f"{origin}: {width} x {height} pixels is above the limit of {pixel_limit:,} pixels. "
            "Shrink or crop the image, or raise the pixel limit if its source is trusted."
        )


def _window(values: NDArray[Any], origin: str) -> NDArray[np.uint8]:
    """Lowest..highest value mapped linearly to 0..255, rounded; same shape."""
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DatasetError(
            f"{origin}: pixels are NaN or infinite. Replace them by numbers or remove the image."
        )
    if low < 0:
        raise DatasetError(
            f"{origin}: pixels are negative (lowest {low:g}), so their scale is unclear. "
            "Shift or window them to 0 and above, for example Hounsfield units to 0..255."
        )
    return stretched(values, low, high)


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


def _channels_equal(pixels: NDArray[np.uint8]) -> bool:
    """Whether an RGB picture is grey; decided on one row first, as most colour shows there."""
    middle = pixels[len(pixels) // 2]
    return all(
        bool(np.array_equal(part[..., 0], part[..., other]))
        for part in (middle, pixels)
        for other in (1, 2)
    )
