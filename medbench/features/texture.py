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
_AS_BRIGHT = 1e-9
"""Grey values by which a neighbour may be darker than a centre that it equals, from rounding."""
_ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
_NO_VARIANCE = 1e-9
"""Squares of levels; below it a plane has one level, and the rest is rounding."""
_FREQUENCIES = (0.08, 0.16, 0.32)
"""Centres of the Gabor filters, in cycles a pixel: one octave apart."""
_OCTAVE = 3 * np.sqrt(np.log(2) / 2) / np.pi
"""Width of a Gaussian (pixels) times its frequency, for a bandwidth of one octave at half height.

Source: Daugman (1985), "Uncertainty relation for resolution in space, spatial frequency, and
orientation optimized by two-dimensional visual cortical filters", JOSA A 2(7): sigma * f =
sqrt(ln 2 / 2) / pi * (2^b + 1) / (2^b - 1), b = 1.
"""
_MARGIN = 8
"""Pixels mirrored around an image, so that a filter does not wrap to the other side."""
_PIXELS = 1 << 14
"""Pixels whose patterns are looked for at once; as below."""
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
        planes = np.rint(reduced_grey(images, self.side)).astype(np.uint8)
        parts = _part_of_pixel(planes.shape[1], planes.shape[2], self.grid)
        at_once = max(1, _PIXELS // parts.size)
        chunks = [planes[i : i + at_once] for i in range(0, len(planes), at_once)]
        return np.concatenate([self._shares(chunk, parts) for chunk in chunks]).astype(np.float32)

    def _shares(self, planes: NDArray[np.uint8], parts: NDArray[np.intp]) -> NDArray[np.float64]:
        """One row a plane: of each radius the shares in the image, then those in each part."""
        n_parts = self.grid**2
        cells = (np.arange(len(planes))[:, None, None] * n_parts + parts) << _POINTS
        columns = []
        for radius in self.radii:
            found = (cells + _codes(planes, radius)).ravel()
            counts = np.bincount(found, minlength=len(planes) * n_parts << _POINTS)
            of_parts = counts.reshape(len(planes), n_parts, -1) @ _UNIFORM / parts.size
            columns += [of_parts.sum(axis=1), of_parts.reshape(len(planes), -1) * n_parts]
        return np.concatenate(columns, axis=1)


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
        planes = (reduced_grey(images, self.side) * (self.levels / 256)).astype(np.uint16)
        return np.concatenate(
            [self._statistics(planes[i : i + _CHUNK]) for i in range(0, len(planes), _CHUNK)]
        ).astype(np.float32)

    def _statistics(self, planes: NDArray[np.uint16]) -> NDArray[np.float64]:
        """One row a plane, of planes whose values are levels."""
        n_cells = self.levels**2
        shares = np.zeros((len(planes), len(self.distances), len(_ANGLES), n_cells))
        for at, distance in enumerate(self.distances):
            for direction, angle in enumerate(_ANGLES):
                down, across = round(np.sin(angle) * distance), round(np.cos(angle) * distance)
                first, second = _pairs(planes, down, across)
                for row, cells in enumerate(first * np.uint16(self.levels) + second):
                    counts = np.bincount(cells.ravel(), minlength=n_cells)
                    one_way = counts.reshape(self.levels, self.levels)
                    both = (one_way + one_way.T).ravel()  # a pair has no first one
                    shares[row, at, direction] = both / max(2 * cells.size, 1)
        values = self._properties(shares.reshape(-1, n_cells)).reshape(*shares.shape[:3], -1)
        values = np.moveaxis(values, 3, 1)  # plane, statistic, distance, angle
        means, spreads = values.mean(axis=3), values.std(axis=3)
        return np.concatenate([v.reshape(len(planes), -1) for v in (means, spreads)], axis=1)

    def _properties(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """The six statistics of symmetric matrices, one row each."""
        level = np.arange(self.levels, dtype=np.float64)
        i, j = (side.ravel() for side in np.meshgrid(level, level, indexing="ij"))
        apart = np.abs(i - j)
        weights = np.stack([apart**2, apart, 1 / (1 + apart**2), i, i**2, i * j], axis=1)
        contrast, dissimilarity, homogeneity, mean, square, product = (shares @ weights).T
        variance = square - mean**2
        constant = variance < _NO_VARIANCE
        correlation = np.where(
            constant, 1.0, (product - mean**2) / np.where(constant, 1.0, variance)
        )
        energy = np.sqrt(np.einsum("ij,ij->i", shares, shares))
        surprise = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
        entropy = -np.einsum("ij,ij->i", shares, surprise)
        columns = (contrast, dissimilarity, homogeneity, energy, correlation, entropy)
        return np.stack(columns, axis=1)


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

    def _energies(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        from scipy import fft

        planes = reduced_grey(images, self.side).astype(np.float64) / 255
        planes -= planes.mean(axis=(1, 2), keepdims=True)
        height, width = planes.shape[1:]
        margin = ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN))
        padded = np.pad(planes, margin, mode="symmetric")
        # Single precision is half the work, and rounds the energies in their seventh digit.
        spectrum = fft.fft2(padded.astype(np.float32))
        parts = _part_of_pixel(height, width, self.grid).ravel()
        sums = np.eye(self.grid**2, dtype=np.float32)[parts]
        sums /= np.maximum(sums.sum(axis=0), 1)
        columns = []
        for response in self._filters(padded.shape[1], padded.shape[2]):
            magnitude = np.abs(fft.ifft2(spectrum * response, overwrite_x=True))
            inner = magnitude[:, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].reshape(len(images), -1)
            columns += [inner.mean(axis=1)[:, None], inner.std(axis=1)[:, None], inner @ sums]
        return np.concatenate(columns, axis=1)

    def _filters(self, height: int, width: int) -> list[NDArray[np.float32]]:
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
                response = np.exp(-2 * (np.pi * sigma) ** 2 * distance)
                filters.append(response.astype(np.float32))
        return filters


def _part_of_pixel(height: int, width: int, grid: int) -> NDArray[np.intp]:
    """Which part of a ``grid`` x ``grid`` division each pixel is in, shape (height, width)."""
    rows = np.arange(height) * grid // height
    columns = np.arange(width) * grid // width
    return rows[:, None] * grid + columns[None, :]


def _pairs(
    planes: NDArray[np.uint16], down: int, across: int
) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """The pixels of each plane that have a neighbour so far away, and these neighbours."""
    height, width = planes.shape[1:]
    down, across = min(down, height), max(min(across, width), -width)
    left, right = max(0, -across), max(0, across)
    return planes[:, : height - down, left : width - right], planes[:, down:, right : width - left]


def _uniform() -> NDArray[np.int64]:
    """Which of the ten patterns each of the 256 codes is, one-hot, shape (256, 10).

    A code's bits are the neighbours on the circle that are at least as bright as its centre. It is
    uniform where they change at most twice around the circle, and then known by their number.
    """
    codes = np.arange(1 << _POINTS)
    bits = codes[:, None] >> np.arange(_POINTS) & 1
    changes = (bits != np.roll(bits, 1, axis=1)).sum(axis=1)
    pattern = np.where(changes <= 2, bits.sum(axis=1), _POINTS + 1)
    return np.eye(_PATTERNS, dtype=np.int64)[pattern]


_UNIFORM = _uniform()


def _codes(planes: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """The code of every pixel of some planes; see ``_uniform``.

    Neighbours between pixels are interpolated from the four around them, and beyond the border
    everything is black, as in scikit-image. A neighbour that rounding alone makes darker is as
    bright as its centre.
    """
    height, width = planes.shape[1:]
    margin = radius + 1
    padded = np.pad(planes.astype(np.float64), ((0, 0), (margin, margin), (margin, margin)))

    def moved(down: int, across: int) -> NDArray[np.float64]:
        rows = slice(margin + down, margin + down + height)
        return padded[:, rows, margin + across : margin + across + width]

    centre = moved(0, 0) - _AS_BRIGHT
    codes = np.zeros(planes.shape, np.uint8)
    for point in range(_POINTS):
        angle = 2 * np.pi * point / _POINTS
        down, across = round(-radius * np.sin(angle), 5), round(radius * np.cos(angle), 5)
        top, left = int(np.floor(down)), int(np.floor(across))
        lower, further = down - top, across - left
        neighbour = np.zeros_like(centre)
        for a, b, share in (
            (top, left, (1 - lower) * (1 - further)),
            (top, left + 1, (1 - lower) * further),
            (top + 1, left, lower * (1 - further)),
            (top + 1, left + 1, lower * further),
        ):
            if share:
                neighbour += share * moved(a, b)
        codes |= (neighbour >= centre).view(np.uint8) << np.uint8(point)
    return codes
