"""A slice of any file becomes uint8 pixels of one size, with what must be known of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medbench.datasets.batch import image_key
from medbench.datasets.duplicates import perceptual_hash
from medbench.datasets.mask_like import is_mask_like
from medbench.datasets.readers import PIXEL_LIMIT, Content, OpenedImage, open_image
from medbench.datasets.slices import slice_index, volume_index

Channels = Literal[1, 3]
"""1 for grey, 3 for RGB."""
_REDUCING_GAP = 2.0
"""Large images are first shrunk by whole factors, to no less than this many times the target."""
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
    """See ``OpenedImage``."""
    n_bytes: int
    """Size of the file, or of the array in memory, in bytes."""
    pixel_hash: str
    """See ``Picture``."""
    key: str
    """See ``medbench.datasets.batch.image_key``."""
    perceptual_hash: NDArray[np.uint8]
    """uint8, shape (32,); see ``medbench.datasets.duplicates.perceptual_hash``."""
    mask_like: bool
    """See ``medbench.datasets.mask_like``."""
    shown: str = ""
    """See ``Picture``."""
    warnings: tuple[str, ...] = ()
    """See ``OpenedImage.warnings``."""


class Picture:
    """One slice at full size, decoded once, and whatever is made of it."""

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        *,
        mode: str,
        n_bytes: int,
        shown: str = "",
        warnings: tuple[str, ...] = (),
    ) -> None:
        """Take grey that is stored as colour for grey.

        Args:
            pixels: uint8, shape (height, width) or (height, width, 3).
            mode: See ``OpenedImage``.
            n_bytes: Size of the file, or of the array in memory.
            shown: Which slice or plane of its file it is, in words; see ``OpenedImage.called``.
            warnings: See ``OpenedImage.warnings``.
        """
        if pixels.ndim == 3 and _channels_equal(pixels):
            pixels = pixels[..., 0]
        self.pixels = np.ascontiguousarray(pixels)
        """At full size: uint8, shape (height, width) of grey, (height, width, 3) of RGB."""
        self.mode = mode
        self.n_bytes = n_bytes
        self.shown = shown
        self.warnings = warnings
        self._image = Image.fromarray(self.pixels)

    @property
    def width(self) -> int:
        """In pixels, as displayed."""
        return self._image.width

    @property
    def height(self) -> int:
        """In pixels, as displayed."""
        return self._image.height

    @cached_property
    def _grey(self) -> Image.Image:
        return self._image.convert("L")

    @cached_property
    def pixel_hash(self) -> str:
        """Hash of the grey or RGB pixels at full size, 32 hexadecimal digits.

        Equal pixels hash alike whatever the container and however grey is stored.
        """
        digest = hashlib.blake2b(f"{self.pixels.shape}".encode(), digest_size=16)
        digest.update(self.pixels.data)
        return digest.hexdigest()

    @cached_property
    def _perceptual_hash(self) -> NDArray[np.uint8]:
        return perceptual_hash(self._grey)

    @cached_property
    def mask_like(self) -> bool:
        """Whether it has a few values only; see ``medbench.datasets.mask_like``."""
        return is_mask_like(self.pixels)

    def resized(self, size: int, channels: Channels) -> NDArray[np.uint8]:
        """The whole picture in a square.

        The aspect ratio is not kept: padding would draw it into the picture, where a model could
        read it. Resizing is antialiased (Lanczos, after a reduction by whole factors); a picture
        that has the size already is left as it is.

        Args:
            size: Height and width of the result, in pixels.
            channels: 1 for grey (ITU-R 601 luma of colour), 3 for RGB.

        Returns:
            uint8, shape (size, size, channels).
        """
        image = self._grey if channels == 1 else self._image
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
        if channels == 3:
            image = image.convert("RGB")
        return np.array(image, dtype=np.uint8).reshape(size, size, channels)

    def is_coloured(self, size: int) -> bool:
        """Whether it is really in colour at that size; see ``is_coloured``."""
        return self.pixels.ndim == 3 and is_coloured(self.resized(size, 3))

    def decoded(self, size: int, channels: Channels) -> Decoded:
        """What a prepared data set keeps of it; arguments as in ``resized``."""
        pixels = self.resized(size, channels)
        return Decoded(
            pixels=pixels,
            key=image_key(pixels),
            width=self.width,
            height=self.height,
            mode=self.mode,
            n_bytes=self.n_bytes,
            pixel_hash=self.pixel_hash,
            perceptual_hash=self._perceptual_hash,
            mask_like=self.mask_like,
            shown=self.shown,
            warnings=self.warnings,
        )


def read_slice(opened: OpenedImage, slice_number: int | None = None) -> Picture:
    """Decode a slice of a file that was opened.

    Args:
        opened: The file.
        slice_number: Slice, frame or plane, counted from 1; None will do where there is one.

    Raises:
        DatasetError: It has several volumes; see ``volume_rule.one_volume``.
        SliceError: Several slices of which none is chosen, or not so many.
        DatasetError: It cannot be decoded; names the image and the remedy.
    """
    volume_index(None, opened.header.n_volumes, origin=opened.origin, what=opened.what)
    index = slice_index(
        slice_number, opened.header.n_slices, origin=opened.origin, what=opened.what
    )
    pixels = opened.pixels(index)
    return Picture(
        pixels,
        mode=opened.mode,
        n_bytes=opened.n_bytes,
        shown=opened.called(index),
        warnings=opened.warnings(),
    )


def decode(
    content: Content,
    *,
    size: int,
    channels: Channels,
    origin: str,
    pixel_limit: int = PIXEL_LIMIT,
    slice_number: int | None = None,
) -> Decoded:
    """Open, decode and resize one image.

    Safe in threads, which gain speed because Pillow and hashlib release the interpreter's lock.

    Args:
        content: See ``open_image``.
        size: Height and width of the result, in pixels.
        channels: 1 for grey (ITU-R 601 luma of colour), 3 for RGB.
        origin: Name of the image in messages.
        pixel_limit: Most pixels of a slice (width x height), checked from the header.
        slice_number: As in ``read_slice``.

    Returns:
        The pixels in a square, and what must be known of the file.

    Raises:
        DatasetError: As ``open_image`` and ``read_slice``.
    """
    opened = open_image(content, origin=origin, pixel_limit=pixel_limit)
    picture = read_slice(opened, slice_number)
    return picture.decoded(size, channels)


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


def _channels_equal(pixels: NDArray[np.uint8]) -> bool:
    """Whether an RGB picture is grey; decided on one row first, as most colour shows there."""
    middle = pixels[len(pixels) // 2]
    return all(
        bool(np.array_equal(part[..., 0], part[..., other]))
        for part in (middle, pixels)
        for other in (1, 2)
    )
