"""Values of any range become the 256 grey levels that models see."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def stretched(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """low..high mapped linearly to 0..255, rounded and clipped; 0 where low is not below high."""
    if not low < high:
        return np.zeros(values.shape, np.uint8)
    with np.errstate(all="ignore"):
        scaled = (values.astype(np.float64) - low) / (high - low) * 255
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
