"""Grey planes of a common small size: where all texture and gradient features begin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


def to_grey(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey values in [0, 255], float32, shape (n_images, height, width).

    Args:
        images: uint8, shape (n_images, height, width, channels) with 1 or 3 channels.
    """
    if images.shape[-1] == 1:
        return images[..., 0].astype(np.float32)
    return images.astype(np.float32) @ _LUMA


def resize(planes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Planes of another size; a pixel of a smaller plane is the mean of the area it covers.

    Args:
        planes: float32, shape (n_images, old_height, old_width).
        height: New height in pixels.
        width: New width in pixels.

    Returns:
        float32, shape (n_images, height, width).
    """
    if planes.shape[1:] == (height, width):
        return planes
    resized = np.empty((len(planes), height, width), np.float32)
    for row, plane in zip(resized, planes, strict=True):
        smaller = Image.fromarray(plane).resize((width, height), Image.Resampling.BOX)
        row[:] = np.asarray(smaller)
    return resized


def reduced_grey(images: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Grey planes whose longer side is at most ``side`` pixels, their aspect kept.

    Smaller images keep their size: enlarging them adds cost and no information.

    Returns:
        float32 in [0, 255], shape (n_images, new_height, new_width).
    """
    height, width = images.shape[1:3]
    scale = min(1.0, side / max(height, width))
    return resize(to_grey(images), max(1, round(height * scale)), max(1, round(width * scale)))
