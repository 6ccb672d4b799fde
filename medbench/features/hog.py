"""Histograms of oriented gradients (Dalal & Triggs 2005)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medbench.features.cache import Extractor
from medbench.features.grey import reduced_grey

_SMALLEST_CELL = 4
"""Pixels; a histogram of gradients over fewer says nothing about direction."""
_BLOCK = 2
"""Cells along each side of a block that is normalised together."""


@dataclass(frozen=True, kw_only=True)
class Hog(Extractor):
    """Edge directions in a grid of cells, normalised over overlapping 2x2 blocks.

    The grid is given in cells, not in pixels, so one setting means the same for images of any
    size; small images get fewer cells, none of them under 4 pixels.

    Source: Dalal & Triggs (2005), "Histograms of oriented gradients for human detection", CVPR.
    """

    side: int = 128
    """Images are reduced until their longer side is at most this many pixels."""
    cells: int = 8
    """Cells along the shorter side."""
    orientations: int = 9
    """Directions that are told apart in half a turn."""
    key: str = field(init=False)
    parallel: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        settings = f"side{self.side}-cells{self.cells}-orientations{self.orientations}"
        object.__setattr__(self, "key", f"hog-1-{settings}")

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors, float32, shape (n_images, n_features), of uint8 (n, height, width, 1 or 3)."""
        from skimage.feature import hog

        planes = reduced_grey(images, self.side)
        cell = max(_SMALLEST_CELL, min(planes.shape[1:]) // self.cells)
        cell = min(cell, *planes.shape[1:])
        block = min(_BLOCK, min(planes.shape[1:]) // cell)
        rows = [
            hog(
                plane,
                orientations=self.orientations,
                pixels_per_cell=(cell, cell),
                cells_per_block=(block, block),
                block_norm="L2-Hys",
            )
            for plane in planes
        ]
        return np.asarray(rows, dtype=np.float32)
