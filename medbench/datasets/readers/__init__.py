"""Readers, one file a format: what opens an image file, by its content."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench import registry
from medbench.datasets.readers.array import OpenedArray
from medbench.datasets.readers.base import (
    BURNT_IN,
    HEAD_BYTES,
    PIXEL_LIMIT,
    Details,
    Header,
    OpenedImage,
    Reader,
    check_size,
    hashed,
)

__all__ = [
    "BURNT_IN",
    "HEAD_BYTES",
    "PICTURE",
    "PIXEL_LIMIT",
    "Content",
    "Details",
    "Header",
    "OpenedImage",
    "Reader",
    "all_readers",
    "check_size",
    "decoders",
    "hashed",
    "image_suffixes",
    "open_image",
    "reader_of",
]

Content = bytes | NDArray[Any]
"""An encoded image file, or pixels of shape (height, width) or (height, width, channels); of a
volume (slices, height, width, channels)."""
PICTURE = "picture"
"""The reader of what no other one recognises; its errors name the formats there are."""


def all_readers() -> list[type[Reader]]:
    """The class of every format, built in and of plugins; that of pictures comes first."""
    readers: list[type[Reader]] = [registry.readers.get(n) for n in registry.readers.usable()]
    return readers


def image_suffixes() -> tuple[str, ...]:
    """Ends of the names of image files of all formats, in lower case, as ``.nii.gz``."""
    return tuple(suffix for reader in all_readers() for suffix in reader.suffixes)


def reader_of(start: bytes) -> Reader:
    """The reader of a file, by its first ``HEAD_BYTES`` bytes; that of pictures where in doubt.

    Args:
        start: These bytes, or all if the file has fewer.
    """
    of_pictures, *others = all_readers()
    for reader in (one() for one in others):
        if reader.recognises(start):
            return reader
    return of_pictures()


def open_image(content: Content, *, origin: str, pixel_limit: int = PIXEL_LIMIT) -> OpenedImage:
    """Open the content of a file, or an array; its header is read and checked.

    Args:
        content: An encoded file of any format that is registered (PNG, JPEG, TIFF, BMP, GIF,
            WebP, PGM/PPM, DICOM, NIfTI and those of plugins); or an array of shape (height,
            width) or (height, width, channels) with 1 or 3 channels, and of a volume (slices,
            height, width, channels).
        origin: Name of the image in messages.
        pixel_limit: Most pixels of a slice (width x height), checked from the header.

    Raises:
        DatasetError: Not an image, not sound, too large, or of a kind that cannot be read here;
            names ``origin`` and the remedy.
    """
    if isinstance(content, np.ndarray):
        return OpenedArray(content, origin=origin, pixel_limit=pixel_limit)
    reader = reader_of(content[:HEAD_BYTES])
    return reader.open(content, origin=origin, pixel_limit=pixel_limit)


def decoders() -> tuple[str, ...]:
    """Distributions on which it depends what can be read, of all formats; see ``Reader``."""
    return tuple(sorted({name for reader in all_readers() for name in reader.decoders}))
