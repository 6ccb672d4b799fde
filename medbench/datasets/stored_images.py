"""Images in a file, of which only those are read that are asked for."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_BLOCK_BYTES = 8 << 20
"""Mapped into memory at a time: what was read before is given back to the system."""


class StoredImages:
    """uint8 images in an ``.npy`` file, shape (n_images, height, width, channels).

    Indexing reads a copy of the images named and of no others. Nothing stays mapped, so that the
    memory of a process follows what it holds, not the size of the data set.
    """

    def __init__(self, path: Path, rows: NDArray[np.int64] | None = None) -> None:
        """Read the header.

        Args:
            path: The file.
            rows: Which of its images these are, in order; all where None.

        Raises:
            OSError: It cannot be read.
            ValueError: It is no array, or one of Python objects.
        """
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        self._path, self._offset = path, int(array.offset)
        self._in_file, self.dtype = array.shape, array.dtype
        self._rows = rows
        n = len(array) if rows is None else len(rows)
        height, width, channels = array.shape[1:]
        self.shape: tuple[int, int, int, int] = (n, height, width, channels)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return self.shape[1:]

    @property
    def nbytes(self) -> int:
        """Size of all of them in bytes."""
        return math.prod(self.shape) * int(self.dtype.itemsize)

    def take(self, indices: NDArray[np.int64]) -> StoredImages:
        """Those at ``indices``; nothing is read."""
        rows = np.asarray(indices) if self._rows is None else self._rows[indices]
        return StoredImages(self._path, rows)

    def __getitem__(self, which: Any) -> NDArray[np.uint8]:
        """The images at one index (an image), a slice or an array of indices, as NumPy has it."""
        rows = np.arange(len(self))[which] if self._rows is None else self._rows[which]
        wanted = np.atleast_1d(rows)
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        size = max(1, math.prod(self.shape[1:]))
        step = max(1, _BLOCK_BYTES // size)
        for begin in range(0, len(wanted), step):
            mapped = np.memmap(self._path, self.dtype, "r", self._offset, self._in_file)
            found[begin : begin + step] = mapped[wanted[begin : begin + step]]
        return found if np.ndim(rows) else found[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        found = self[:]
        return found if dtype is None else found.astype(dtype)


class ImageFile:
    """An ``.npy`` file of images that are written one by one, in any order, from any thread."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        """Begin a file.

        Args:
            path: The file; it must not exist.
            shape: (n_images, height, width, channels) of the uint8 images.

        Raises:
            OSError: It cannot be written.
        """
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, np.uint8))
        header["shape"] = tuple(int(side) for side in shape)
        self._guard = threading.Lock()
        self._image_bytes = math.prod(shape[1:])
        self._file = path.open("xb")
        np.lib.format.write_array_header_1_0(self._file, header)
        self._offset = self._file.tell()
        self._bytes = self._offset + math.prod(shape)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._file:
            self._file.truncate(self._bytes)  # images that were never put are black

    def put(self, first: int, images: NDArray[np.uint8]) -> None:
        """Write one image, or several that follow each other.

        Args:
            first: Index of the (first) image.
            images: uint8, shape (height, width, channels) or (n, height, width, channels).

        Raises:
            OSError: The disk is full.
        """
        with self._guard:
            self._file.seek(self._offset + first * self._image_bytes)
            self._file.write(np.ascontiguousarray(images).data)


def write_images(path: Path, images: StoredImages | NDArray[np.uint8]) -> None:
    """Write images into an ``.npy`` file, a block at a time.

    Args:
        path: The file; it must not exist.
        images: uint8, shape (n_images, height, width, channels).

    Raises:
        OSError: It cannot be written.
    """
    step = max(1, _BLOCK_BYTES // max(1, math.prod(images.shape[1:])))
    with ImageFile(path, images.shape) as file:
        for begin in range(0, len(images), step):
            file.put(begin, images[begin : begin + step])
