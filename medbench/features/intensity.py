"""How bright an image is: histogram, moments and percentiles of each channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medbench.features.extractor import Extractor

_PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_GREY_LEVELS = 256


@dataclass(frozen=True, kw_only=True)
class Intensity(Extractor):
    """Of each channel: histogram (shares), mean, spread, skewness, excess kurtosis, percentiles.

    Nothing in it knows where in the image a pixel is. A constant channel has no shape, so its
    skewness and kurtosis are zero.
    """

    bins: int = 32
    """Bins of the histogram; a divisor of 256."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors, float32, shape (n_images, n_features), of uint8 (n, height, width, channels)."""
        rows = [
            np.concatenate([self._describe(channel) for channel in np.moveaxis(image, -1, 0)])
            for image in images
        ]
        return np.asarray(rows, dtype=np.float32)

    def _describe(self, channel: NDArray[np.uint8]) -> NDArray[np.float64]:
        """One channel; everything follows from its 256 counts, so its size hardly matters."""
        shares = np.bincount(channel.ravel(), minlength=_GREY_LEVELS) / channel.size
        levels = np.arange(_GREY_LEVELS) / (_GREY_LEVELS - 1)
        mean = float(shares @ levels)
        deviations = levels - mean
        spread = float(np.sqrt(shares @ deviations**2))
        shape = [0.0, 0.0]
        if shares.max() < 1:
            shape = [
                float(shares @ deviations**3) / spread**3,
                float(shares @ deviations**4) / spread**4 - 3,
            ]
        below = np.cumsum(shares)
        percentiles = levels[np.searchsorted(below, np.array(_PERCENTILES) / 100)]
        histogram = shares.reshape(self.bins, -1).sum(axis=1)
        return np.concatenate([histogram, [mean, spread, *shape], percentiles])
