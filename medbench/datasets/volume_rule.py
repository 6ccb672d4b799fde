"""How pictures are made of a file with several slices: models here see one picture at a time."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from medbench.counts import MOST_SLICES
from medbench.datasets.readers import PIXEL_LIMIT, Header, OpenedImage, check_size
from medbench.datasets.slices import volume_index
from medbench.errors import DatasetError

_LARGEST, _PLANES, _MONTAGE = "largest", "planes", "montage"
_MOST_SLICES = 10_000
_TILES, _MOST_TILES = 9, 100
"""Slices in a montage where nobody says how many, and at most."""
_LEVELS = 256
_N_PLANES = 3


def _checked(value: object) -> int | str:
    """A rule in its one spelling; errors are for the catalog, which says where."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST_SLICES:
        return value
    if value in (_LARGEST, _PLANES):
        return str(value)
    if isinstance(value, str) and (
        found := re.fullmatch(rf"{_MONTAGE}(?: ([0-9]{{1,3}}))?", value)
    ):
        tiles = int(found[1] or _TILES)
        if 2 <= tiles <= _MOST_TILES:
            return f"{_MONTAGE} {tiles}"
    raise ValueError(
        f"must be a number of slices from 1 to {_MOST_SLICES:,}, {_LARGEST}, {_PLANES} or "
        f"{_MONTAGE} N with N from 2 to {_MOST_TILES}"
    )


SliceRule = Annotated[int | str, BeforeValidator(_checked)]
"""``3`` takes so many slices in the middle, each by itself; ``largest`` the one with the largest
foreground; ``planes`` the axial, coronal and sagittal one through the middle, each by itself;
``montage 9`` puts so many, at even distances, into one picture (9 where no number stands)."""


VolumeNumber = Annotated[int | None, Field(ge=1, le=MOST_SLICES)]
"""Which volume is taken of files that hold several (times, directions or contrasts), counted from
1; None where they hold one."""


class VolumeRule(BaseModel):
    """How pictures are made of each file that has several slices."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    slices: SliceRule = 1
    """See ``SliceRule``."""
    volume: VolumeNumber = None
    """See ``VolumeNumber``."""

    def numbers(self, n_slices: int) -> range:
        """Numbers, counted from 1, of the pictures of a file: its slices, or those of ``of``.

        Args:
            n_slices: How many slices the file has.
        """
        if isinstance(self.slices, int):
            return middle_slices(n_slices, self.slices)
        n_pictures = _N_PLANES if self.slices == _PLANES and n_slices > 1 else 1
        return range(1, n_pictures + 1)

    def of(self, opened: OpenedImage, *, volume: int | None = None) -> OpenedImage:
        """A file as if what is made of it were its slices, in the order of ``numbers``.

        Args:
            opened: The file.
            volume: Another volume than that of the rule.

        Raises:
            DatasetError: It has several volumes of which none is chosen, is no volume of which
                planes can be cut, or its montage is too large.
        """
        opened = one_volume(opened, volume or self.volume)
        if isinstance(self.slices, int) or opened.header.n_slices == 1:
            return opened
        if self.slices == _LARGEST:
            return _Largest(opened)
        return _Planes(opened) if self.slices == _PLANES else _Montage(opened, self._tiles)

    def like(self, other: VolumeRule) -> bool:
        """Whether both make pictures of one kind, which one model can see."""
        return self.slices == other.slices or (
            isinstance(self.slices, int) and isinstance(other.slices, int)
        )

    @property
    def rows(self) -> int:
        """How many slices are below each other in a picture."""
        return _grid(self._tiles)[0]

    @property
    def words(self) -> str:
        """What is taken of each file."""
        return f"{self._words} of volume {self.volume}" if self.volume else self._words

    @property
    def _words(self) -> str:
        if isinstance(self.slices, int):
            return "the middle slice" if self.slices == 1 else f"the middle {self.slices} slices"
        if self.slices == _LARGEST:
            return "the slice with the largest foreground"
        if self.slices == _PLANES:
            return "the middle planes of the three directions"
        return f"a montage of {self._tiles} slices"

    @property
    def _tiles(self) -> int:
        """Slices in one picture."""
        rule = str(self.slices)
        return int(rule.split()[1]) if rule.startswith(_MONTAGE) else 1


def one_volume(opened: OpenedImage, number: int | None) -> OpenedImage:
    """A file with one volume, if it has several.

    Args:
        opened: The file.
        number: Of the volume, counted from 1; None where nobody chose.

    Raises:
        DatasetError: It has several of which none was chosen, or not so many.
    """
    n_volumes = opened.header.n_volumes
    index = volume_index(number, n_volumes, origin=opened.origin, what=opened.what)
    return opened if n_volumes == 1 else _OneVolume(opened, index)


class _Made(OpenedImage):
    """A file whose slices are pictures that are made of its own."""

    def __init__(self, opened: OpenedImage, n_pictures: int, what: str) -> None:
        header = opened.header
        super().__init__(
            origin=opened.origin,
            header=Header(n_slices=n_pictures, patient=header.patient, series=header.series),
            mode=opened.mode,
            n_bytes=opened.n_bytes,
            what=f"{what} of {opened.what}",
        )
        self._opened = opened
        self._n_slices = header.n_slices

    @abstractmethod
    def called(self, index: int) -> str: ...

    def warnings(self) -> tuple[str, ...]:
        return self._opened.warnings()

    def _slices(self, indices: range | list[int]) -> Iterator[NDArray[np.uint8]]:
        """Slices of the file, all of one size.

        Raises:
            DatasetError: They are not.
        """
        size = None
        for index in indices:
            pixels = self._opened.pixels(index)
            size = size or pixels.shape[:2]
            if pixels.shape[:2] != size:
                raise DatasetError(
                    f"{self.origin}: its slices have several sizes, so no {self.what} can be made. "
                    "Take single ones (slices: 1 in the entry), or leave it out."
                )
            yield pixels


class _OneVolume(_Made):
    """One of the volumes of a file."""

    def __init__(self, opened: OpenedImage, index: int) -> None:
        n_slices = opened.header.n_slices
        super().__init__(opened, n_slices, f"volume {index + 1}")
        self.planes = opened.planes
        self._index = index

    def pixels(self, index: int) -> NDArray[np.uint8]:
        return self._opened.pixels(self._index * self._n_slices + index)

    def called(self, index: int) -> str:
        of_slice = self._opened.called(index)
        return " of ".join(filter(None, (of_slice, f"volume {self._index + 1}")))


class _Largest(_Made):
    """The slice with most pixels above Otsu's threshold of all; of equal ones the middlemost.

    Source: N. Otsu (1979), "A threshold selection method from gray-level histograms", IEEE
    Transactions on Systems, Man, and Cybernetics 9(1), 62-66.
    """

    def __init__(self, opened: OpenedImage) -> None:
        super().__init__(opened, 1, "the slice with the largest foreground")

    @cached_property
    def _index(self) -> int:
        from skimage.filters import threshold_otsu

        counts = np.empty((self._n_slices, _LEVELS), np.uint32)
        for index, pixels in enumerate(self._slices(range(self._n_slices))):
            levels = pixels if pixels.ndim == 2 else pixels.max(axis=2)
            counts[index] = np.bincount(levels.ravel(), minlength=_LEVELS)
        of_all = counts.sum(axis=0, dtype=np.int64)
        several = np.count_nonzero(of_all) > 1
        threshold = int(threshold_otsu(hist=(of_all, np.arange(_LEVELS)))) if several else 0
        areas = counts[:, threshold + 1 :].sum(axis=1)
        best = np.flatnonzero(areas == areas.max())
        return int(best[np.argmin(np.abs(2 * best - self._n_slices + 1))])

    def pixels(self, index: int) -> NDArray[np.uint8]:
        return self._opened.pixels(self._index)

    def called(self, index: int) -> str:
        return self._opened.called(self._index)


class _Planes(_Made):
    """The planes of the three directions through the middle of a volume.

    Where a format knows the patient's axes they are the axial, the coronal and the sagittal one,
    and lie as radiologists look at them: superior above in the latter two; the patient's right on
    the left, in the sagittal one anterior.
    """

    def __init__(self, opened: OpenedImage) -> None:
        if not opened.planes:
            raise DatasetError(
                f"{opened.origin}: {opened.what}, of which no planes can be cut (slices: {_PLANES} "
                "in the entry): only of NIfTI and of arrays are the slices known to lie above each "
                "other and to share one range. Take another rule, for example slices: 1."
            )
        named = ", ".join(f"{n} {name}" for n, name in enumerate(opened.planes, start=1))
        super().__init__(opened, _N_PLANES, f"three planes ({named})")
        self._names = opened.planes

    @cached_property
    def _upright(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The coronal and the sagittal plane."""
        rows, columns = [], []
        for pixels in self._slices(range(self._n_slices)):
            rows.append(pixels[(len(pixels) - 1) // 2])
            columns.append(pixels[:, (pixels.shape[1] - 1) // 2])
        return np.stack(rows[::-1]), np.stack(columns[::-1])

    def pixels(self, index: int) -> NDArray[np.uint8]:
        if index == 0:
            return self._opened.pixels((self._n_slices - 1) // 2)
        return self._upright[index - 1]

    def called(self, index: int) -> str:
        return self._names[index]


class _Montage(_Made):
    """Slices at even distances in one picture, row by row; the first is on the upper left."""

    def __init__(self, opened: OpenedImage, tiles: int) -> None:
        super().__init__(opened, 1, f"a montage of {tiles} slices")
        self._tiles = tiles

    def pixels(self, index: int) -> NDArray[np.uint8]:
        n, n_slices = self._tiles, self._n_slices
        rows, columns = _grid(n)
        chosen = [(2 * i + 1) * n_slices // (2 * n) for i in range(n)]  # the middles of n parts
        height, width = self._opened.pixels(chosen[0]).shape[:2]
        check_size(columns * width, rows * height, self.origin, PIXEL_LIMIT)
        tiles = list(self._slices(chosen))
        if any(tile.ndim == 3 for tile in tiles):
            tiles = [t if t.ndim == 3 else np.repeat(t[..., None], 3, axis=2) for t in tiles]
        tiles += [np.zeros_like(tiles[0])] * (rows * columns - n)
        lines = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
        return np.vstack(lines)

    def called(self, index: int) -> str:
        return f"montage of {self._tiles} slices"


def middle_slices(n_slices: int, wanted: int) -> range:
    """Numbers, counted from 1, of the middle ``wanted`` slices of so many; of fewer, all.

    Of an even number the lower one of the two in the middle comes first: of 4 slices 2, then 2
    and 3.
    """
    taken = min(wanted, n_slices)
    first = (n_slices - taken) // 2 + 1
    return range(first, first + taken)


def _grid(tiles: int) -> tuple[int, int]:
    """Rows and columns of a montage, as square as can be."""
    columns = math.isqrt(tiles - 1) + 1
    return -(-tiles // columns), columns


def recorded(record: Any) -> VolumeRule | None:
    """The rule that a record of a data set or a model has; None where it has none.

    Raises:
        ValueError: It is none.
    """
    return None if record is None else VolumeRule.model_validate(record)
