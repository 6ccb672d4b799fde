"""Values of any range become the 256 grey levels that models see."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.errors import DatasetError

_TAIL = 0.005
"""Share of the darkest and of the brightest values that do not decide what is black and white."""


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


def robust_ends(values: NDArray[Any], *, falling: bool = False) -> tuple[float, float]:
    """What of a whole volume becomes black and white, whatever a few extreme voxels are.

    Black is the 0.5 percentile of all values, white the 99.5 percentile of those above black: the
    foreground, as the percentiles of all would leave nothing of a small object in an empty field.
    Where nothing is above black the lowest and the highest value are the ends. Values that are NaN
    or infinite do not count.

    Args:
        values: Numbers of any shape and type; they are copied once.
        falling: Whether a low number is bright.

    Returns:
        Black and white, in this order; equal where all values are. 0 and 0 where none counts.

    Source: percentiles 0.5 and 99.5 of the foreground as F. Isensee et al. (2021), "nnU-Net: a
    self-configuring method for deep learning-based biomedical image segmentation", Nature Methods
    18, 203-211, have them for CT; there labels tell the foreground.
    """
    ordered = np.sort(values, axis=None)
    if ordered.dtype.kind == "f":
        ordered = ordered[np.isfinite(ordered)]
    if not len(ordered):
        return 0.0, 0.0
    if falling:
        ordered = ordered[::-1]
    cut = int(_TAIL * len(ordered))
    foreground = ordered[cut:][ordered[cut:] != ordered[cut]]
    if not len(foreground):
        return float(ordered[0]), float(ordered[-1])
    return float(ordered[cut]), float(foreground[-1 - int(_TAIL * len(foreground))])
