"""Images in a file, of which only those are read that are asked for."""

from __future__ import annotations

import errno
import math
import threading
from collections.abc import Callable
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medbench.disk import take_space

_BLOCK_BYTES = 8 << 20
"""Copied at a time from one file to another."""


class StoredImages:
    """Images in an ``.npy`` file, uint8, shape (n_images, height, width, channels).

    Indexing reads a copy of the images named and of no others, so that the memory of a process
    follows what it holds, not the size of the data set. Nothing is mapped into memory: a file that
    became shorter, or a disk that fails, is an error and not the end of the process.
    """

    def __init__(self, path: Path, rows: NDArray[np.int64] | None = None) -> None:
        """Read the header.

        Args:
            path: The file.
            rows: Which of its images these are, in order, int64, shape (n_images,); all where None.

        Raises:
            OSError: It cannot be read.
            ValueError: It is no array, or one of Python objects.
        """
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"{path}: is of another version of the format.")
            in_file, fortran, self.dtype = np.lib.format.read_array_header_1_0(file)
            self._path, self._offset = path, file.tell()
        if fortran or self.dtype != np.uint8 or len(in_file) != 4:
            raise ValueError(f"{path}: holds no uint8 images.")
        self._rows = rows
        n, height, width, channels = in_file
        self._in_file = n
        self.shape: tuple[int, int, int, int] = (
            n if rows is None else len(rows), height, width, channels
        )  # fmt: skip
        """(n_images, height, width, channels); ``dtype`` is uint8."""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height and width of an image in pixels, and its channels."""
        return self.shape[1:]

    @property
    def nbytes(self) -> int:
        """Size of all of them in bytes."""
        return math.prod(self.shape) * int(self.dtype.itemsize)

    def take(self, indices: NDArray[np.int64]) -> StoredImages:
        """Some of the images; nothing is read.

        Args:
            indices: Which, int64, shape (n_chosen,), counted from 0, in the order wanted.
        """
        rows = np.arange(len(self))[indices] if self._rows is None else self._rows[indices]
        return StoredImages(self._path, rows)

    def __getitem__(self, which: Any) -> NDArray[np.uint8]:
        """The images at one index (an image), a slice or an array of indices, as NumPy has it.

        Returns:
            uint8, shape (height, width, channels) of one index, else (n, height, width, channels).

        Raises:
            IndexError: There are not so many images.
            OSError: They cannot be read, or the file is shorter than it was.
        """
        rows = np.arange(len(self))[which] if self._rows is None else self._rows[which]
        wanted = np.atleast_1d(rows)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < self._in_file:
            raise IndexError(f"{self._path}: has {self._in_file} images.")
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        ends = [0, *(np.flatnonzero(np.diff(wanted) != 1) + 1).tolist(), len(wanted)]
        size = math.prod(self.shape[1:])
        with self._path.open("rb", buffering=0) as file:
            for begin, end in pairwise(ends):  # images that follow each other are read together
                if begin < end:
                    file.seek(self._offset + int(wanted[begin]) * size)
                    self._read_into(file, found[begin:end].reshape(-1).data)
        return found if np.ndim(rows) else found[0]

    def _read_into(self, file: FileIO, space: memoryview) -> None:
        while space.nbytes:
            n_bytes = file.readinto(space)
            if not n_bytes:
                raise OSError(errno.EIO, "ends before its last image", str(self._path))
            space = space[n_bytes:]

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
            OSError: It cannot be written, or the disk has no space for all of them.
        """
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, np.uint8))
        header["shape"] = tuple(int(side) for side in shape)
        self._guard = threading.Lock()
        self._image_bytes = math.prod(shape[1:])
        self._file = path.open("xb")
        try:
            np.lib.format.write_array_header_1_0(self._file, header)
            self._offset = self._file.tell()
            self._file.flush()
            take_space(self._file, self._offset + math.prod(shape))
        except OSError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()  # images that were never put are black, as is what was set aside

    def put(self, first: int, images: NDArray[np.uint8]) -> None:
        """Write one image, or several that follow each other.

        Args:
            first: Index of the (first) image.
            images: uint8, shape (height, width, channels) or (n, height, width, channels).

        Raises:
            OSError: The disk fails.
        """
        with self._guard:
            self._file.seek(self._offset + first * self._image_bytes)
            self._file.write(np.ascontiguousarray(images).data)


def write_images(
    path: Path,
    images: StoredImages | NDArray[np.uint8],
    check: Callable[[int, NDArray[np.uint8]], None] | None = None,
) -> None:
    """Write images into an ``.npy`` file, a block at a time.

    Args:
        path: The file; it must not exist.
        images: uint8, shape (n_images, height, width, channels).
        check: Is given the index of the first image of each block, and the block.

    Raises:
        OSError: It cannot be written.
    """
    step = max(1, _BLOCK_BYTES // max(1, math.prod(images.shape[1:])))
    with ImageFile(path, images.shape) as file:
        for begin in range(0, len(images), step):
            block = images[begin : begin + step]
            if check is not None:
                check(begin, block)
            file.put(begin, block)
