"""Whether a new image is unlike all those that the models of a data set were developed on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.atomic_files import replacing_file, writing
from medbench.datasets.stored_images import StoredImages
from medbench.errors import ProtocolError, StoreError
from medbench.features.grey import reduced_grey, resize, to_grey
from medbench.features.hog import Hog
from medbench.features.intensity import Intensity
from medbench.opening import MODEL
from medbench.packed import BROKEN_CONTENT, open_npz

Floats = NDArray[np.float64]

_VERSION = 1
"""Raised whenever the same image would be described differently; part of every file."""
_MOST_REFERENCES = 2000
"""Images kept to compare with; from more than this, whole groups are drawn."""
_FEWEST_GROUPS = 2
_FEW_GROUPS = 10
"""Where so many images are too many, no group gives more than its share among this many."""
_FLAGGED_SHARE = 0.01
"""Share of images like those of development that score above 1."""
_MOST_COMPONENTS = 128
_IMAGES_PER_COMPONENT = 4
"""With fewer images to a principal component, known images lie nearer to each other than new
ones of the same kind lie to them, and too many new ones are flagged."""
_RELATIVE_FLOOR = 0.1
"""A feature counts as varying at least this much, as a share of the spread of its block."""
_RARITY_COMPONENTS = 32
_LEAST_VARIANCE = 1e-4
"""Of a direction in which images hardly differ; where they do it is about a hundred times that."""
_FOLDS = 5
_COMMON = 0.95
_SMALLEST_LIMIT = 0.1
"""Where all images are alike; a block whose features are all one spread away has distance 1."""
_CHUNK = 32
"""Images described at once."""

_THUMBNAIL = 8
"""Height and width in pixels; a finer one costs detection, and shows more of a person."""
_SIDE = 64
"""Height and width at which edges and frequencies are described."""
_TEXTURE_SIDE = 128
_RADII = (1, 2)
_CIRCLE = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
_PATTERNS = len(_CIRCLE) + 2
"""Uniform patterns of 8 neighbours up to rotation, and one for all the others."""
_BINS = 16
_SHAPE = slice(_BINS + 2, _BINS + 4)
"""Skewness and kurtosis in ``Intensity``: of nearly constant images they are anything."""
_RINGS = 7
_SECTORS = 3
_FAINTEST = 0.01
"""Power added before the logarithm, in squared grey levels spread over all frequencies."""
_EDGES = Hog(side=_SIDE, cells=4, orientations=8)
_LEVELS = Intensity(bins=_BINS)

_ARRAYS = ("centre", "scale", "components", "references", "variances")
"""Fields of a detector that are float32 arrays."""

# The smallest spread that a feature of each block is given, in the block's own units.
_FLOORS = {"thumbnail": 0.01, "edges": 0.01, "texture": 0.01, "levels": 0.01, "frequencies": 0.1}
_COLOUR_FLOOR = 0.02
"""JPEG noise of grey pictures that are stored in colour stays below it."""


@dataclass(frozen=True, kw_only=True)
class OutOfDistribution:
    """How far an image lies from the images of the development part.

    An image is described by a thumbnail of 8 x 8 pixels, edge directions, local binary patterns,
    grey levels, spatial frequencies and, in colour, its tints. Each of these blocks is
    standardised and counts alike. Of the whole the principal components are kept, and the length
    of what they leave out; neither pixels nor full descriptors are stored. An image is unlike the
    others if it is far from the nearest one, or if it deviates where they hardly ever do: the
    first notices what lies between several kinds of images, the second a film upside down.

    A score says nothing about whether a model is right. An image that scores below 1 may still
    show what no model was taught, such as a rare disease or another body part that looks alike;
    mirrored images and small changes of exposure or sharpness are hardly noticed.

    Source: Sun, Ming, Zhu & Li (2022), "Out-of-distribution detection with deep nearest
    neighbors", ICML; here with a fixed descriptor in place of a network's, so that one detector
    serves all models. Rarity, the distance in and from a principal subspace: Moghaddam & Pentland
    (1997), "Probabilistic visual learning for object representation", IEEE TPAMI 19(7).
    """

    image_shape: tuple[int, int, int]
    """Height and width in pixels, and channels, of the images compared."""
    groups: int
    """Number of groups (patients) that the reference images come from."""
    nearest_limit: float
    """Distance to the nearest reference image from which on an image is unlike them."""
    rarity_limit: float
    """Rarity (see ``variances``) from which on an image is unlike them."""
    centre: NDArray[np.float32]
    """Mean descriptor, shape (n_features,)."""
    scale: NDArray[np.float32]
    """What each feature is divided by, shape (n_features,)."""
    components: NDArray[np.float32]
    """Orthonormal directions, shape (n_features, n_components)."""
    references: NDArray[np.float32]
    """The reference images, shape (n_references, n_components + 1)."""
    variances: NDArray[np.float32]
    """Variance of each of the first components, and last of any direction beyond them, shape
    (n_first + 1,); an image's rarity is its distance from the centre in these units
    (Mahalanobis)."""

    @property
    def expected_share(self) -> float:
        """Share (from 0 to 1) of images like those of development that score above 1, on average.

        0.01, or more where there are fewer than 99 groups: the largest of ``g`` independent
        distances is exceeded by one more of its kind once in ``g + 1`` times.
        """
        return max(_FLAGGED_SHARE, 1 / (self.groups + 1))

    def score(self, images: NDArray[np.uint8]) -> Floats:
        """Distance to the nearest reference image or rarity, the larger share of its limit.

        Args:
            images: Prepared pixels, uint8, shape (n_images, *image_shape).

        Returns:
            float64, shape (n_images,); above 1 an image is unlike those of development.

        Raises:
            ProtocolError: The images have another shape or dtype.
        """
        _check_images(images)
        if images.shape[1:] != self.image_shape:
            raise ProtocolError(
                f"images of {_sides(images.shape[1:])} cannot be compared with the "
                f"{_sides(self.image_shape)} of development. Prepare them in the same way first."
            )
        scores = np.empty(len(images))
        for start in range(0, len(images), _CHUNK):
            described = _describe(images[start : start + _CHUNK])
            rows = _project(described, self.centre, self.scale, self.components)
            scores[start : start + _CHUNK] = np.maximum(
                _distances(rows, self.references).min(axis=1) / self.nearest_limit,
                _rarity(rows, self.variances) / self.rarity_limit,
            )
        return scores

    def save(self, path: Path) -> None:
        """Write one ``.npz`` file, under a temporary name first.

        Args:
            path: The file; an old one is replaced.

        Raises:
            StoreError: It cannot be written.
        """
        arrays = {
            "version": np.int64(_VERSION),
            "image_shape": np.array(self.image_shape, dtype=np.int64),
            "groups": np.int64(self.groups),
            "limits": np.array([self.nearest_limit, self.rarity_limit]),
            **{name: getattr(self, name) for name in _ARRAYS},
        }
        with writing(path), replacing_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> OutOfDistribution:
        """Read what ``save`` wrote.

        Args:
            path: The file.

        Raises:
            StoreError: The file is missing, damaged or of another version of MedBench.
        """
        names = ("version", "image_shape", "groups", "limits", *_ARRAYS)
        try:
            with open_npz(path, MODEL) as file:
                arrays = {name: file[name] for name in names}
            return cls._checked(arrays)
        except (*BROKEN_CONTENT, MemoryError) as error:
            raise _damaged(path, error) from error

    @classmethod
    def _checked(cls, arrays: dict[str, NDArray[Any]]) -> OutOfDistribution:
        """An instance of arrays from a file.

        Raises:
            ValueError: They do not fit together.
        """
        if arrays["version"].shape != () or int(arrays["version"]) != _VERSION:
            raise ValueError("written by another version of MedBench")
        kept = {name: arrays[name] for name in _ARRAYS}
        shape = tuple(int(side) for side in arrays["image_shape"])
        if len(shape) != 3 or min(shape) < 1 or shape[2] not in (1, 3):
            raise ValueError(f"image_shape is {shape}")
        n_features = _n_features(shape[2])
        n_components = kept["components"].size // n_features
        expected = {
            "centre": (n_features,),
            "scale": (n_features,),
            "components": (n_features, n_components),
            "references": (kept["references"].size // (n_components + 1), n_components + 1),
            "variances": (min(_RARITY_COMPONENTS, n_components) + 1,),
        }
        for name, array in kept.items():
            if array.shape != expected[name] or array.dtype != np.float32 or array.size == 0:
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} is not finite")
        groups, limits = int(arrays["groups"]), arrays["limits"]
        if groups < _FEWEST_GROUPS or limits.shape != (2,) or limits.dtype != np.float64:
            raise ValueError("groups or limits are out of range")
        for positive in (limits, kept["scale"], kept["variances"]):
            if not (np.isfinite(positive) & (positive > 0)).all():
                raise ValueError("limits, scale or variances are out of range")
        nearest, rarity = limits.tolist()
        return cls(
            image_shape=shape, groups=groups, nearest_limit=nearest, rarity_limit=rarity, **kept
        )


def fit_out_of_distribution(
    images: NDArray[np.uint8] | StoredImages, groups: NDArray[np.int64], *, seed: int = 0
) -> OutOfDistribution:
    """Learn what the images of a development part look like; labels play no part.

    The limits are set so that 99% of the reference images score below 1, each compared with
    images of other groups only. With few groups that is hardly certain; see ``expected_share``.

    Args:
        images: Prepared pixels (read as they are needed), uint8, shape (n_images, height,
            width, channels) with 1 or 3 channels. Of more than 2,000 images whole groups are
            drawn, and of groups that are larger than a tenth of that, images.
        groups: Patient of each image, int, shape (n_images,).
        seed: Of the drawing.

    Raises:
        ProtocolError: Fewer than two groups, or arrays of a wrong shape or dtype.
    """
    _check_images(images)
    groups = np.asarray(groups)
    if groups.shape != (len(images),):
        raise ProtocolError(f"groups of shape {groups.shape} do not name {len(images)} images.")
    chosen = _draw(groups, seed)
    of_image = np.unique(groups[chosen], return_inverse=True)[1]
    n_groups = int(of_image.max(initial=-1)) + 1
    if n_groups < _FEWEST_GROUPS:
        raise ProtocolError(
            f"what a new image should look like cannot be learned from {n_groups} group(s): at "
            f"least {_FEWEST_GROUPS} are needed, to see how much they differ. Name the patient of "
            "each image, or add images of other patients."
        )
    described = np.concatenate(
        [
            _describe(images[chosen[start : start + _CHUNK]])
            for start in range(0, len(chosen), _CHUNK)
        ]
    )
    height, width, channels = images.shape[1:]
    centre, scale, components = _subspace(described, channels)
    references = _project(described, centre, scale, components).astype(np.float32)
    distances = _distances(references.astype(np.float64), references)
    distances[of_image[:, None] == of_image[None, :]] = np.inf
    nearest, rarity = distances.min(axis=1), _rarity_of_others(described, of_image, channels, seed)
    # Both count alike at the 95th percentile, which is steadier than the 99th.
    near, rare = (max(float(np.quantile(v, _COMMON)), _SMALLEST_LIMIT) for v in (nearest, rarity))
    joint = np.maximum(nearest / near, rarity / rare)
    limit = max(1.0, float(np.quantile(joint, 1 - _FLAGGED_SHARE, method="higher")))
    return OutOfDistribution(
        image_shape=(height, width, channels),
        groups=n_groups,
        nearest_limit=near * limit,
        rarity_limit=rare * limit,
        centre=centre,
        scale=scale,
        components=components,
        references=references,
        variances=_variances(references, len(centre)),
    )


def _draw(groups: NDArray[np.int64], seed: int) -> NDArray[np.intp]:
    """Indices of at most ``_MOST_REFERENCES`` images, ascending."""
    if len(groups) <= _MOST_REFERENCES:
        return np.arange(len(groups))
    shuffled = np.random.default_rng(seed).permutation(len(groups))
    # In random order: number the groups by their first image, and the images in each group.
    _, first, of_image = np.unique(groups[shuffled], return_index=True, return_inverse=True)
    turn = np.argsort(np.argsort(first))[of_image]
    together = np.argsort(turn, kind="stable")
    sizes = np.bincount(turn)
    position = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    share = _MOST_REFERENCES // min(len(sizes), _FEW_GROUPS)
    # A later group that would still fit is not taken: that would prefer small ones.
    whole = np.cumsum(np.minimum(sizes, share)) <= _MOST_REFERENCES
    taken = (position < share) & whole[turn[together]]
    return np.sort(shuffled[together[taken]])


def _describe(images: NDArray[np.uint8]) -> Floats:
    """Descriptors before they are standardised, float64, shape (n_images, n_features)."""
    planes = to_grey(images)
    square = resize(planes, _SIDE, _SIDE)
    levels = _LEVELS(np.rint(planes).astype(np.uint8)[..., None])
    blocks: dict[str, NDArray[Any]] = {
        "thumbnail": resize(planes, _THUMBNAIL, _THUMBNAIL).reshape(len(images), -1) / 255,
        "edges": _EDGES(np.rint(square).astype(np.uint8)[..., None]),
        "texture": _texture(np.rint(reduced_grey(images, _TEXTURE_SIDE)).astype(np.int16)),
        "levels": np.hstack([np.sqrt(levels[:, :_BINS]), np.delete(levels, _SHAPE, 1)[:, _BINS:]]),
        "frequencies": _frequencies(square),
    }
    if images.shape[-1] > 1:
        blocks["tints"] = _tints(images)
    return np.hstack([block.astype(np.float64) for block in blocks.values()])


def _texture(planes: NDArray[np.int16]) -> Floats:
    """Roots of the shares of local binary patterns (neighbours on squares, not on circles)."""
    n, height, width = planes.shape
    offsets = np.arange(n)[:, None, None] * _PATTERNS
    shares = []
    for radius in _RADII:
        padded = np.pad(planes, ((0, 0), (radius, radius), (radius, radius)), mode="edge")
        above = [
            padded[:, radius * (1 + y) :, radius * (1 + x) :][:, :height, :width] >= planes
            for y, x in _CIRCLE
        ]
        ones, changes = np.zeros((2, *planes.shape), dtype=np.uint8)
        for one, other in zip(above, above[1:] + above[:1], strict=True):
            ones += one
            changes += one != other
        patterns = np.where(changes <= 2, ones, np.uint8(_PATTERNS - 1)) + offsets
        counts = np.bincount(patterns.ravel(), minlength=n * _PATTERNS)
        shares.append(counts.reshape(n, _PATTERNS) / (height * width))
    return np.asarray(np.sqrt(np.hstack(shares)))


def _frequencies(planes: NDArray[np.float32]) -> Floats:
    """Logarithm of the mean power in rings of frequency by direction (across, oblique, down)."""
    window, cells = _frequency_cells()
    centred = (planes - planes.mean(axis=(1, 2), keepdims=True)) * window
    power = np.abs(np.fft.rfft2(centred)) ** 2 / _SIDE**4
    means = power.reshape(len(planes), -1) @ cells
    return np.asarray(np.log(means + _FAINTEST / _SIDE**2), dtype=np.float64)


@lru_cache(maxsize=1)
def _frequency_cells() -> tuple[NDArray[np.float32], Floats]:
    """A window that fades to the borders, and the weight of each frequency in each cell."""
    fade = np.hanning(_SIDE + 2)[1:-1].astype(np.float32)
    down, across = np.abs(np.fft.fftfreq(_SIDE))[:, None], np.fft.rfftfreq(_SIDE)[None, :]
    rings = np.digitize(np.hypot(across, down), np.geomspace(1 / _SIDE, 0.5, _RINGS + 1)) - 1
    angles = np.arctan2(down, across) / (np.pi / 2)
    sectors = np.minimum((angles * _SECTORS).astype(int), _SECTORS - 1)
    inside = (rings >= 0) & (rings < _RINGS)
    cells = np.where(inside, rings * _SECTORS + sectors, _RINGS * _SECTORS).ravel()
    weights = np.eye(_RINGS * _SECTORS + 1)[cells][:, :-1]
    counts = weights.sum(axis=0)
    return np.outer(fade, fade), (weights / np.maximum(counts, 1))


def _tints(images: NDArray[np.uint8]) -> Floats:
    """Means and spreads of red minus green and of yellow minus blue, and the mean saturation."""
    red, green, blue = np.moveaxis(images.astype(np.float32) / 255, -1, 0)
    columns = []
    for opponent in (red - green, (red + green) / 2 - blue):
        columns += [opponent.mean(axis=(1, 2)), opponent.std(axis=(1, 2))]
    largest = np.maximum(np.maximum(red, green), blue)
    smallest = np.minimum(np.minimum(red, green), blue)
    columns.append((largest - smallest).mean(axis=(1, 2)))
    return np.stack(columns, axis=1).astype(np.float64)


_TINTS = 5


def _blocks(channels: int) -> list[tuple[int, float]]:
    """Number of features of each block, and the smallest spread that they are given."""
    cells = (_EDGES.cells - 1) ** 2 * 4 * _EDGES.orientations
    sizes = {
        "thumbnail": _THUMBNAIL**2,
        "edges": cells,
        "texture": len(_RADII) * _PATTERNS,
        "levels": _BINS + 9,
        "frequencies": _RINGS * _SECTORS,
    }
    blocks = [(size, _FLOORS[name]) for name, size in sizes.items()]
    return [*blocks, (_TINTS, _COLOUR_FLOOR)] if channels > 1 else blocks


def _n_features(channels: int) -> int:
    return sum(size for size, _ in _blocks(channels))


def _standard(described: Floats, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean of each feature, and its spread times the root of the number in its block."""
    centre = described.mean(axis=0)
    spread = described.std(axis=0)
    scale = np.empty_like(spread)
    start = 0
    for size, floor in _blocks(channels):
        own = slice(start, start + size)
        typical = np.sqrt(np.mean(spread[own] ** 2))
        floors = max(_RELATIVE_FLOOR * float(typical), floor)
        scale[own] = np.maximum(spread[own], floors) * np.sqrt(size)
        start += size
    return centre.astype(np.float32), scale.astype(np.float32)


def _subspace(
    described: Floats, channels: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Centre, scale and principal directions; see ``OutOfDistribution``."""
    centre, scale = _standard(described, channels)
    rows = (described - centre) / scale
    most = min(_MOST_COMPONENTS, max(1, len(rows) // _IMAGES_PER_COMPONENT))
    if 2 * len(rows) < rows.shape[1]:  # the same directions, many times sooner
        vectors = np.linalg.svd(rows, full_matrices=False)[2].T
    else:
        vectors = np.linalg.eigh(rows.T @ rows)[1][:, ::-1]
    return centre, scale, np.ascontiguousarray(vectors[:, :most], dtype=np.float32)


def _variances(rows: NDArray[np.floating], n_features: int) -> NDArray[np.float32]:
    """Variances of the first components and of any direction beyond, of projected rows."""
    squares = np.mean(rows.astype(np.float64) ** 2, axis=0)
    first = min(_RARITY_COMPONENTS, len(squares) - 1)
    beyond = squares[first:].sum() / (n_features - first)
    return np.maximum([*squares[:first], beyond], _LEAST_VARIANCE).astype(np.float32)


def _rarity(rows: Floats, variances: NDArray[np.float32]) -> Floats:
    """Mahalanobis distance from the centre; all directions beyond the first share a variance."""
    first = len(variances) - 1
    squares = np.column_stack([rows[:, :first] ** 2, np.sum(rows[:, first:] ** 2, axis=1)])
    return np.asarray(np.sqrt(np.sum(squares / variances, axis=1)))


def _rarity_of_others(
    described: Floats, of_image: NDArray[np.intp], channels: int, seed: int
) -> Floats:
    """The rarity of each image among images of other groups, by cross-validation."""
    n_groups = int(of_image.max()) + 1
    fold = (np.random.default_rng(seed).permutation(n_groups) % _FOLDS)[of_image]
    rarity = np.empty(len(described))
    for left_out in np.unique(fold):
        others, own = described[fold != left_out], described[fold == left_out]
        subspace = _subspace(others, channels)
        variances = _variances(_project(others, *subspace), others.shape[1])
        rarity[fold == left_out] = _rarity(_project(own, *subspace), variances)
    return rarity


def _project(
    described: Floats,
    centre: NDArray[np.float32],
    scale: NDArray[np.float32],
    components: NDArray[np.float32],
) -> Floats:
    """Components of standardised descriptors, and the length of what is left of them."""
    rows = (described - centre) / scale
    kept = rows @ components.astype(np.float64)
    left = np.sum(rows**2, axis=1) - np.sum(kept**2, axis=1)
    return np.column_stack([kept, np.sqrt(np.maximum(left, 0))])


def _distances(rows: Floats, references: NDArray[np.float32]) -> Floats:
    """Euclidean distances, shape (n_rows, n_references)."""
    others = references.astype(np.float64)
    squares = np.sum(rows**2, axis=1)[:, None] + np.sum(others**2, axis=1) - 2 * rows @ others.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _check_images(images: NDArray[np.uint8] | StoredImages) -> None:
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or 0 in shape[1:]:
        raise ProtocolError(
            f"images are uint8 of shape (n_images, height, width, 1 or 3), not {images.dtype} of "
            f"shape {shape}."
        )


def _sides(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]} pixels in {'grey' if shape[2] == 1 else 'colour'}"


def _damaged(path: Path, error: BaseException) -> StoreError:
    return StoreError(
        f"{path}: cannot be read ({error}), so it cannot be said which images are unlike those of "
        "development. If it is damaged, remove its folder and give the run's command again."
    )
