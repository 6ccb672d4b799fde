"""Samples of any depth, with or without opacity, become the picture that is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.grey_levels import ends, spread, stretched

_WHITE = 255
_EVIDENT = (255, 4095)
"""Full light of 8 and 12 bits, as cameras and scanners store them in wider numbers."""
_CONTAINERS = tuple(2**bits - 1 for bits in (16, 32, 64))
"""Largest numbers of the types that hold fewer bits as well."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples of a picture as its file stores them."""

    values: NDArray[Any]
    """Shape (height, width) of grey, (height, width, 3) of RGB; any type of real numbers."""
    top: int | None
    """Full light: 2**bits - 1 of unsigned numbers; None of signed and floating-point ones."""
    opacity: NDArray[np.float64] | None = None
    """Shape (height, width), from 0 to 1; None where all is opaque. Black lies behind."""
    premultiplied: bool = False
    """Whether the values have been multiplied by the opacity."""
    inverted: bool = False
    """Whether 0 is white."""
    said_tops: tuple[int, ...] = ()
    """Full light of what is stored in a wider type, as the file says it."""


def picture(samples: Samples, origin: str) -> NDArray[np.uint8]:
    """The picture on black, in 8 bits.

    Up to 8 bits, full light becomes 255. Of more, grey (stored as colour or not) is spread from
    its own lowest..highest value, and the channels of colour, whose balance counts, from 0 to full
    light together: that of the least of 8 bits, 12 bits, what the file says and its type that
    holds the highest value.

    Args:
        samples: What the file stores.
        origin: Name of the image in messages.

    Returns:
        uint8, shape (height, width) or (height, width, 3).

    Raises:
        DatasetError: Values are NaN or infinite.
    """
    values, top = samples.values, samples.top
    if samples.inverted or samples.opacity is not None:
        values = _on_black(samples, origin)
    elif values.dtype == np.uint8 and top == _WHITE:
        return np.ascontiguousarray(values)
    if top is not None and top <= _WHITE:
        return stretched(values, 0, top)
    values = _as_grey(values)
    if values.ndim == 2:
        return spread(values, origin, signed=top is None)
    return stretched(values, *_range(samples, origin))


def opacity(alpha: NDArray[Any], top: int | None) -> NDArray[np.float64]:
    """Stored opacity as 0 to 1.

    Args:
        alpha: Any type of real numbers.
        top: As in ``Samples``; floating-point numbers are taken as they are.
    """
    highest = int(alpha.max()) if top in _CONTAINERS else None
    full = highest if highest in _EVIDENT else top or 1
    return np.clip(alpha / np.float64(full), 0, 1)


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The picture as it is looked at, by the number that TIFF and EXIF give its orientation."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _as_grey(values: NDArray[Any]) -> NDArray[Any]:
    """Grey where all channels are equal."""
    if values.ndim == 3 and all(np.array_equal(values[..., 0], values[..., k]) for k in (1, 2)):
        return values[..., 0]
    return values


def _on_black(samples: Samples, origin: str) -> NDArray[np.float64]:
    """Light as values, with what is transparent on black."""
    values = samples.values
    light: NDArray[np.float64] = values.astype(np.float64)
    opaque = np.ones(values.shape[:2]) if samples.opacity is None else samples.opacity
    opaque = opaque.reshape(opaque.shape + (1,) * (values.ndim - 2))
    if samples.inverted:
        full = ends(values, origin)[1] if samples.top is None else samples.top
        light = np.maximum((opaque if samples.premultiplied else 1) * full - light, 0)
    return light if samples.premultiplied else light * opaque


def _range(samples: Samples, origin: str) -> tuple[float, float]:
    """No light and full light of colour."""
    values, top = samples.values, samples.top
    if samples.opacity is not None and samples.opacity.any():
        values = values[samples.opacity > 0]
    low, high = ends(values, origin)
    if low < 0:
        return low, high
    if top is not None and top not in _CONTAINERS:
        return 0, top
    tops = (*_EVIDENT, *samples.said_tops, *((1, *_CONTAINERS[:1]) if top is None else (top,)))
    return 0, min((one for one in tops if one >= high), default=high)
