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
        channels = np.moveaxis(images, -1, 1)
        counts = [
            np.bincount(np.ascontiguousarray(channel).ravel(), minlength=_GREY_LEVELS)
            for image in channels
            for channel in image
        ]
        size = max(images.shape[1] * images.shape[2], 1)
        shares = np.reshape(counts, (-1, _GREY_LEVELS)) / size
        return self._describe(shares).reshape(len(images), -1).astype(np.float32)

    def _describe(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of channels, given the share of each grey level in them, shape (n_channels, 256)."""
        levels = np.arange(_GREY_LEVELS) / (_GREY_LEVELS - 1)
        mean = shares @ levels
        deviations = levels - mean[:, None]
        spread = np.sqrt((shares * deviations**2).sum(axis=1))
        constant = shares.max(axis=1) == 1
        scale = np.where(constant, 1.0, spread)
        skewness = (shares * deviations**3).sum(axis=1) / scale**3
        kurtosis = (shares * deviations**4).sum(axis=1) / scale**4 - 3
        shape = np.where(constant, 0.0, [skewness, kurtosis])
        below = np.cumsum(shares, axis=1)
        percentiles = [
            levels[(below < percent / 100).sum(axis=1).clip(max=_GREY_LEVELS - 1)]
            for percent in _PERCENTILES
        ]
        histogram = shares.reshape(len(shares), self.bins, -1).sum(axis=2)
        return np.concatenate([histogram, np.stack([mean, spread, *shape, *percentiles]).T], axis=1)
