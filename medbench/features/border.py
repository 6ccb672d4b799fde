"""The frame of an image: where markers, collimation and padding are, and hardly ever a finding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medbench.features.extractor import Extractor
from medbench.features.grey import resize, to_grey


@dataclass(frozen=True, kw_only=True)
class Border(Extractor):
    """Grey pixels of the outer tenth of the image on each side, values in [0, 1].

    The image is first reduced, so that one marker covers a few of the values.
    """

    side: int = 40
    """Height and width in pixels to which the whole image is brought."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors, float32, shape (n_images, n_features), of uint8 (n, height, width, channels)."""
        planes = resize(to_grey(images), self.side, self.side)
        width = self.side // 10
        frame = np.ones((self.side, self.side), dtype=bool)
        frame[width:-width, width:-width] = False
        return planes[:, frame] / np.float32(255)
