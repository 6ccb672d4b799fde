"""What sheets of thumbnails are drawn with: colours, type, and images in squares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

from medbench.reports.drawing import FONT, cut
from medbench.reports.text import plain

THUMBNAIL = 140
"""Side of a thumbnail in pixels."""
PAPER, INK, FAINT = "#ffffff", "#1d2733", "#5b6673"
_LONGEST = 200
"""Characters of a text that are measured; no more would ever fit."""


def thumbnail_of(pixels: NDArray[np.uint8]) -> Image.Image:
    """An image within a square of the thumbnail's size; small ones grow by whole factors.

    Args:
        pixels: uint8, shape (height, width) or (height, width, channels) with 1 or 3 channels.
    """
    image = Image.fromarray(
        np.ascontiguousarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)
    )
    longest = max(image.size)
    if longest <= THUMBNAIL:
        factor = THUMBNAIL // longest
        size = (image.width * factor, image.height * factor)
        return image.resize(size, Image.Resampling.NEAREST).convert("RGB")
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return image.convert("RGB")


def load_font(weight: str, size: int) -> ImageFont.FreeTypeFont:
    """The type of figures; ``size`` in pixels."""
    from matplotlib.font_manager import FontProperties, findfont

    return ImageFont.truetype(findfont(FontProperties(family=FONT, weight=weight)), size)


def fit_line(text: str, font: Any, width: int) -> str:
    """One line without control characters, its end cut off where it is too wide."""
    text = cut(plain(text), _LONGEST)
    for longest in range(len(text), 0, -1):
        line = cut(text, longest)
        if font.getlength(line) <= width:
            return line
    return ""
