"""Histograms of oriented gradients (Dalal & Triggs 2005)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medbench.features.extractor import Extractor
from medbench.features.grey import reduced_grey

_SMALLEST_CELL = 4
"""Pixels; a histogram of gradients over fewer says nothing about direction."""
_SMALLEST_CELL_OF_ENERGY = 2
"""Pixels; the energy of so few still tells where something is."""
_COARSEST = 6
"""Pixels along the longer side of the smallest image of a pyramid, at least."""
_BLOCK = 2
"""Cells along each side of a block that is normalised together."""
_LARGEST_SHARE = 0.2
"""Where a block's values are cut between its two normalisations ("Hys")."""
_EPSILON = 1e-5
_HALF_TURN = 180.0
_AT_ONCE = 16
"""Images whose gradients are in memory at once."""


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
    parallel: ClassVar[bool] = True

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors, float32, shape (n_images, n_features), of uint8 (n, height, width, 1 or 3)."""
        planes = reduced_grey(images, self.side)
        cell = max(_SMALLEST_CELL, min(planes.shape[1:]) // self.cells)
        cell = min(cell, *planes.shape[1:])
        block = min(_BLOCK, min(planes.shape[1:]) // cell)
        return _blocks(_histograms(planes, cell, self.orientations), block).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class HogPyramid(Extractor):
    """Gradient energy by direction in one grid of cells, of the image at several scales.

    Nothing is normalised: how strong an edge is, which blocks are made to forget, is what tells a
    faint round finding from healthy tissue, and coarse scales show it where pixels are noisy. Each
    scale is smoothed a little before its gradients, and a pixel votes for the cells around it by
    how near their centres are, so that neither noise nor a small shift of the patient moves energy
    from one cell to the next. The logarithm keeps strong edges, such as the skull's, from covering
    the rest. Beside the directions of each cell stands their sum.

    Source: the pyramid is after Bosch, Zisserman & Munoz (2007), "Representing shape with a spatial
    pyramid kernel", CIVR; here the image shrinks and the grid stays. The votes are those of Dalal &
    Triggs (2005), interpolated in position and not in direction.
    """

    side: int = 64
    """Images are reduced until their longer side is at most this many pixels; then to halves of
    that, down to ``_COARSEST``."""
    cells: int = 6
    """Cells along the shorter side: a few more where it is no multiple of them, since a cell is as
    many whole pixels as fit; fewer where they would be smaller than 2 pixels."""
    orientations: int = 4
    """Directions that are told apart in half a turn."""
    parallel: ClassVar[bool] = True

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors, float32, shape (n_images, n_features), of uint8 (n, height, width, 1 or 3)."""
        scales: list[NDArray[np.float32]] = []
        side = min(self.side, max(images.shape[1:3]))
        while not scales or side >= _COARSEST:
            planes = reduced_grey(images, side)
            scales.append(np.concatenate([self._energies(chunk) for chunk in _chunks(planes)]))
            side //= 2
        return np.log1p(np.concatenate(scales, axis=1))

    def _energies(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean gradient around each cell by direction, and over all, one row a plane."""
        n, height, width = planes.shape
        shorter = min(height, width)
        cell = min(max(_SMALLEST_CELL_OF_ENERGY, shorter // self.cells), shorter)
        rows, columns = _votes(height, height // cell), _votes(width, width // cell)
        strength, direction = _gradients(_smoothed(planes), self.orientations)
        strong = strength.astype(np.float32)
        maps = [strong * (direction == one) for one in range(self.orientations)]
        cells = [rows @ one @ columns.T for one in [*maps, strong]]
        energies: NDArray[np.float32] = np.stack(cells, axis=-1).reshape(n, -1)
        return energies


def _smoothed(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights 1, 2, 1 along both sides; beyond the border its pixels go on."""
    wide = np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")
    tall = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    smooth = tall[:, :, :-2] + 2 * tall[:, :, 1:-1] + tall[:, :, 2:]
    return np.asarray(smooth / 16, dtype=np.float32)


def _votes(pixels: int, cells: int) -> NDArray[np.float32]:
    """How much each pixel of a line counts for each cell, float32, shape (cells, pixels).

    It falls from the centre of a cell to nothing at those of its neighbours.
    """
    positions = (np.arange(pixels) + 0.5) * (cells / pixels)
    away = np.abs(positions - (np.arange(cells)[:, None] + 0.5))
    return np.asarray(np.maximum(1 - away, 0) * (cells / pixels), dtype=np.float32)


def _histograms(planes: NDArray[np.float32], cell: int, orientations: int) -> NDArray[np.float64]:
    """Mean gradient of each cell by direction, shape (n, cells down, cells across, orientations).

    Those of ``skimage.feature.hog`` before it normalises them, which it has no way to leave out.
    """
    return np.concatenate([_of_chunk(chunk, cell, orientations) for chunk in _chunks(planes)])


def _of_chunk(planes: NDArray[np.float32], cell: int, orientations: int) -> NDArray[np.float64]:
    n, height, width = planes.shape
    rows, columns = height // cell, width // cell
    inside = np.s_[:, : rows * cell, : columns * cell]
    strength, direction = (of_all[inside] for of_all in _gradients(planes, orientations))
    cells = np.arange(n * rows * columns).reshape(n, rows, columns)
    number = cells.repeat(cell, axis=1).repeat(cell, axis=2) * orientations + direction
    sums = np.bincount(number.ravel(), strength.ravel(), minlength=cells.size * orientations)
    return sums.reshape(*cells.shape, orientations) / cell**2


def _gradients(
    planes: NDArray[np.float32], orientations: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Strength of each pixel's gradient, none at the border, and the number of its direction."""
    down, across = np.zeros((2, *planes.shape))
    down[:, 1:-1] = planes[:, 2:] - planes[:, :-2]
    across[:, :, 1:-1] = planes[:, :, 2:] - planes[:, :, :-2]
    turned = np.rad2deg(np.arctan2(down, across)) / (_HALF_TURN / orientations)
    return np.hypot(across, down), np.floor(turned).astype(np.intp) % orientations


def _chunks(planes: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Few planes at a time."""
    return (planes[begin : begin + _AT_ONCE] for begin in range(0, len(planes), _AT_ONCE))


def _blocks(histograms: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """Every block of ``block`` x ``block`` cells, normalised ("L2-Hys"), one row a plane."""
    windows = np.lib.stride_tricks.sliding_window_view(histograms, (block, block), axis=(1, 2))
    values = np.moveaxis(windows, 3, -1).reshape(-1, block * block * histograms.shape[3])
    return _unit(np.minimum(_unit(values), _LARGEST_SHARE)).reshape(len(histograms), -1)


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length one, or shorter where there is hardly anything in them."""
    lengths = np.sqrt(np.sum(rows**2, axis=1, keepdims=True) + _EPSILON**2)
    return np.asarray(rows / lengths)
