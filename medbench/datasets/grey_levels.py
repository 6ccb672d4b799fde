"""Values of any range become the 256 grey levels that models see."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.errors import DatasetError


def stretched(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """low..high mapped linearly to 0..255, rounded and clipped; 0 where low is not below high."""
    if not low < high:
        return np.zeros(values.shape, np.uint8)
    with np.errstate(all="ignore"):
        scaled = (values.astype(np.float64) - low) / (high - low) * 255
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def spread(values: NDArray[Any], origin: str, *, signed: bool = False) -> NDArray[np.uint8]:
    """The values' own lowest..highest mapped linearly to 0..255, rounded; same shape.

    Args:
        values: Numbers of which nobody says what is black and what is white.
        origin: Name of the image in messages.
        signed: Whether their format says that numbers below 0 are meant.

    Raises:
        DatasetError: Some are NaN, infinite or (of an unknown scale) negative.
    """
    low, high = ends(values, origin)
    if low < 0 and not signed:
        raise DatasetError(
            f"{origin}: pixels are negative (lowest {low:g}), so their scale is unclear. "
            "Shift or window them to 0 and above, for example Hounsfield units to 0..255."
        )
    return stretched(values, low, high)


def ends(values: NDArray[Any], origin: str) -> tuple[float, float]:
    """The lowest and the highest of the values.

    Raises:
        DatasetError: Some are NaN or infinite; names ``origin``.
    """
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DatasetError(
            f"{origin}: pixels are NaN or infinite. Replace them by numbers or remove the image."
        )
    return low, high
