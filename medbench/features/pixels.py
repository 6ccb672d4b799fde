"""The image itself, reduced to a thumbnail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medbench.features.extractor import Extractor
from medbench.features.grey import resize


@dataclass(frozen=True, kw_only=True)
class Pixels(Extractor):
    """Every channel of the image as a square thumbnail, values in [0, 1]."""

    side: int = 16
    """Height and width of the thumbnail in pixels."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors, float32, shape (n_images, side * side * channels), of uint8 images."""
        channels = [
            resize(images[..., channel].astype(np.float32), self.side, self.side)
            for channel in range(images.shape[-1])
        ]
        return np.stack(channels, axis=-1).reshape(len(images), -1) / np.float32(255)
