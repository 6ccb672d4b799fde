"""Texture: local binary patterns, co-occurrence of grey levels, and Gabor energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medbench.features.extractor import Extractor
from medbench.features.grey import reduced_grey

_POINTS = 8
"""Neighbours on each circle of a local binary pattern."""
_PATTERNS = _POINTS + 2
"""Uniform patterns of 8 neighbours up to rotation, and one for all the others."""
_ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
_HARALICK = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "entropy")
_FREQUENCIES = (0.08, 0.16, 0.32)
"""Centres of the Gabor filters, in cycles a pixel: one octave apart."""
_OCTAVE = 3 * np.sqrt(np.log(2) / 2) / np.pi
"""Width of a Gaussian (pixels) times its frequency, for a bandwidth of one octave at half height.

Source: Daugman (1985), JOSA A 2(7): sigma * f = sqrt(ln 2 / 2) / pi * (2^b + 1) / (2^b - 1), b = 1.
"""
_MARGIN = 8
"""Pixels mirrored around an image, so that a filter does not wrap to the other side."""
_CHUNK = 16
"""Images that are filtered, or described, at once: few enough for the processor's cache, enough
that Python's own share of the work does not show."""


@dataclass(frozen=True, kw_only=True)
class Lbp(Extractor):
    """How often each local binary pattern occurs, over the image and in each part of a grid.

    Source: Ojala, Pietikäinen & Mäenpää (2002), "Multiresolution gray-scale and rotation invariant
    texture classification with local binary patterns", IEEE TPAMI 24(7).
    """

    side: int = 128
    """Images are reduced until their longer side is at most this many pixels."""
    radii: tuple[int, ...] = (1, 2)
    """Radii of the circles of neighbours, in pixels."""
    grid: int = 4
    """Parts along each side."""
    parallel: ClassVar[bool] = True

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors, float32, shape (n_images, n_features), of uint8 (n, height, width, 1 or 3)."""
        from skimage.feature import local_binary_pattern

        planes = np.rint(reduced_grey(images, self.side)).astype(np.uint8)
        parts = _part_of_pixel(planes.shape[1], planes.shape[2], self.grid).ravel()
        rows = []
        for plane in planes:
            row = []
            for radius in self.radii:
                patterns = local_binary_pattern(plane, _POINTS, radius, method="uniform")
                cells = parts * _PATTERNS + patterns.ravel().astype(np.intp)
                counts = np.bincount(cells, minlength=self.grid**2 * _PATTERNS)
                row += [counts.reshape(-1, _PATTERNS).sum(axis=0) / len(parts)]
                row += [counts / len(parts) * self.grid**2]
            rows.append(np.concatenate(row))
        return np.asarray(rows, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Glcm(Extractor):
    """Six statistics of the grey-level co-occurrence matrix: mean and spread over directions.

    Source: Haralick, Shanmugam & Dinstein (1973), "Textural features for image classification",
    IEEE Transactions on Systems, Man and Cybernetics 3(6).
    """

    side: int = 128
    """Images are reduced until their longer side is at most this many pixels."""
    levels: int = 32
    """Grey levels that are told apart."""
    distances: tuple[int, ...] = (1, 2, 4)
    """Distances between the two pixels of a pair, in pixels."""
    parallel: ClassVar[bool] = True

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors, float32, shape (n_images, n_features), of uint8 (n, height, width, 1 or 3)."""
        planes = (reduced_grey(images, self.side) * (self.levels / 256)).astype(np.uint8)
        chunks = [planes[start : start + _CHUNK] for start in range(0, len(planes), _CHUNK)]
        return np.concatenate([self._statistics(chunk) for chunk in chunks]).astype(np.float32)

    def _statistics(self, planes: NDArray[np.uint8]) -> NDArray[np.float64]:
        """One row a plane, of planes whose values are levels."""
        from skimage.feature import graycomatrix, graycoprops

        settings = {"levels": self.levels, "symmetric": True, "normed": True}
        matrices = [graycomatrix(p, self.distances, _ANGLES, **settings) for p in planes]
        # To graycoprops the same distance in another image is just one more distance.
        joined = np.concatenate(matrices, axis=2)
        values = np.stack([graycoprops(joined, name) for name in _HARALICK])
        of_plane = values.reshape(len(_HARALICK), len(planes), len(self.distances), -1)
        of_plane = np.moveaxis(of_plane, 1, 0)
        means, spreads = of_plane.mean(axis=3), of_plane.std(axis=3)
        return np.concatenate([v.reshape(len(planes), -1) for v in (means, spreads)], axis=1)


@dataclass(frozen=True, kw_only=True)
class Gabor(Extractor):
    """Energy of a few Gabor filters: mean and spread over the image, and mean in each grid part.

    Filtered by FFT, all images of a chunk at once. The mean grey value is taken out first,
    so a constant image has no energy.

    Source: Jain & Farrokhnia (1991), "Unsupervised texture segmentation using Gabor filters",
    Pattern Recognition 24(12).
    """

    side: int = 64
    """Images are reduced until their longer side is at most this many pixels."""
    orientations: int = 4
    """Directions of the filters in half a turn."""
    grid: int = 4
    """Parts along each side."""
    parallel: ClassVar[bool] = True

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors, float32, shape (n_images, n_features), of uint8 (n, height, width, 1 or 3)."""
        chunks = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
        return np.concatenate([self._energies(chunk) for chunk in chunks]).astype(np.float32)

    def _energies(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        planes = reduced_grey(images, self.side).astype(np.float64) / 255
        planes -= planes.mean(axis=(1, 2), keepdims=True)
        height, width = planes.shape[1:]
        margin = ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN))
        padded = np.pad(planes, margin, mode="symmetric")
        spectrum = np.fft.fft2(padded)
        parts = _part_of_pixel(height, width, self.grid).ravel()
        sums = np.eye(self.grid**2)[parts]
        sums /= np.maximum(sums.sum(axis=0), 1)
        columns = []
        for response in self._filters(padded.shape[1], padded.shape[2]):
            magnitude = np.abs(np.fft.ifft2(spectrum * response))
            inner = magnitude[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].reshape(len(images), -1)
            columns += [inner.mean(axis=1)[:, None], inner.std(axis=1)[:, None], inner @ sums]
        return np.concatenate(columns, axis=1)

    def _filters(self, height: int, width: int) -> list[NDArray[np.float64]]:
        """Transfer functions: Gaussians around each centre frequency, shape (height, width)."""
        v = np.fft.fftfreq(height)[:, None]
        u = np.fft.fftfreq(width)[None, :]
        filters = []
        for frequency in _FREQUENCIES:
            sigma = _OCTAVE / frequency
            for angle in np.pi * np.arange(self.orientations) / self.orientations:
                distance = (u - frequency * np.cos(angle)) ** 2 + (
                    v - frequency * np.sin(angle)
                ) ** 2
                filters.append(np.exp(-2 * (np.pi * sigma) ** 2 * distance))
        return filters


def _part_of_pixel(height: int, width: int, grid: int) -> NDArray[np.intp]:
    """Which part of a ``grid`` x ``grid`` division each pixel is in, shape (height, width)."""
    rows = np.arange(height) * grid // height
    columns = np.arange(width) * grid // width
    return rows[:, None] * grid + columns[None, :]
