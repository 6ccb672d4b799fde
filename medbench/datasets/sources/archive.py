"""Reading .npz archives without unpickling, and images out of them without holding them all."""

from __future__ import annotations

import contextlib
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.remembered import remembered
from medbench.errors import DatasetError
from medbench.opening import ARCHIVE, ARRAY, RefusedFileError
from medbench.packed import DAMAGED_ZIP, open_zip, read_array_header

_FEWEST_KEPT, _MOST_KEPT, _BYTES_KEPT = 32, 256, 1 << 28
"""Images kept of those just read (fewer where they are large): threads ask for neighbours in
nearly, not quite, their order."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What an array is, known without reading it."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran: bool
    """Whether the first axis runs fastest, so that no image lies in one piece."""


class NpzArchive:
    """The plain arrays of an .npz file, by name."""

    def __init__(self, path: Path) -> None:
        """Read what the arrays are.

        Raises:
            DatasetError: It is no archive, is damaged, or holds Python objects.
        """
        self.path = path
        with self.reading(), open_zip(path, ARCHIVE) as file:
            self.headers = {
                name.removesuffix(".npy"): _header(file, name)
                for name in file.namelist()
                if name.endswith(".npy")
            }

    def check_content(self) -> None:
        """Read everything once, a piece at a time, and remember that it is sound.

        Raises:
            DatasetError: An array is damaged.
        """

        def first_damaged(path: Path) -> str:
            with open_zip(path, ARCHIVE) as file:
                return file.testzip() or ""

        with self.reading():
            if damaged := remembered(self.path, "content", first_damaged):
                raise ValueError(damaged)

    def array(self, name: str) -> NDArray[np.generic]:
        """A whole array.

        Raises:
            DatasetError: It is damaged, or larger than an array may be that is read at once.
        """
        with self.reading(), open_zip(self.path, ARCHIVE) as file:
            ARRAY.refuse_above(file.getinfo(f"{name}.npy").file_size, unpacked=True)
            with file.open(f"{name}.npy") as data:
                array: NDArray[np.generic] = np.lib.format.read_array(data, allow_pickle=False)
            return array

    @contextlib.contextmanager
    def open_at_data(self, name: str) -> Iterator[IO[bytes]]:
        """The bytes of an array behind its header, to be read forward."""
        member = f"{name}.npy"
        with self.reading(), open_zip(self.path, ARCHIVE) as file, file.open(member) as data:
            _read_header(data, file.getinfo(member).file_size)
            yield data

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what a damaged archive raises into an error that names it."""
        try:
            yield
        except RefusedFileError as error:
            raise DatasetError(f"{self.path}: cannot be read ({error}).") from error
        except DAMAGED_ZIP as error:
            # NumPy's own words advise to unpickle what it does not know; they are not passed on.
            raise DatasetError(
                f"{self.path}: cannot be read as an npz archive of plain arrays "
                f"({type(error).__name__}): it is damaged, something else, or holds Python "
                "objects. Get it again."
            ) from error


class ImageReader:
    """Gives the n-th image of several arrays, one behind the other.

    A compressed archive can only be read forward, so images are cheap in their order and dear in
    another. In memory are the few that were read last, never a whole array.
    """

    def __init__(
        self,
        archive: NpzArchive,
        arrays: Sequence[str],
        *,
        channels_first: Sequence[str] = (),
        volumes: Sequence[str] = (),
    ) -> None:
        """Read nothing yet.

        Args:
            archive: Where they are.
            arrays: Names of uint8 arrays, images along their first axis.
            channels_first: Those whose images are (channels, height, width), or (channels, depth,
                height, width).
            volumes: Those whose images are volumes without an axis of channels.
        """
        self._archive = archive
        self._arrays = list(arrays)
        self._channels_first = frozenset(channels_first)
        self._volumes = frozenset(volumes)
        self._starts = np.cumsum([0, *(archive.headers[name].shape[0] for name in arrays)])
        self._lock = threading.Lock()
        self._recent: dict[int, NDArray[np.uint8]] = {}
        self._open = contextlib.ExitStack()
        self._data: IO[bytes] | None = None
        self._next = self._end = 0

    def __call__(self, index: int) -> NDArray[np.uint8]:
        """Image ``index``, uint8, with the shape that it has in its array, channels last.

        A volume has an axis of channels in any case.

        Raises:
            DatasetError: The archive is damaged or no longer there.
        """
        with self._lock:
            if index not in self._recent:
                if self._data is None or not self._next <= index < self._end:
                    self._start_array_of(index)
                while self._next <= index:
                    self._read_next()
            return self._recent[index]

    def _start_array_of(self, index: int) -> None:
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        self._open.close()
        self._name = self._arrays[part]
        self._data = self._open.enter_context(self._archive.open_at_data(self._name))
        self._next, self._end = int(self._starts[part]), int(self._starts[part + 1])

    def _read_next(self) -> None:
        assert self._data is not None
        shape = self._archive.headers[self._name].shape[1:]
        with self._archive.reading():
            data = self._data.read(int(np.prod(shape)))
            image = np.frombuffer(data, np.uint8).reshape(shape)
        if self._name in self._volumes:
            image = image[..., None]
        first = self._name in self._channels_first
        self._recent[self._next] = np.moveaxis(image, 0, -1) if first else image
        self._next += 1
        kept = min(max(_BYTES_KEPT // image.size, _FEWEST_KEPT), _MOST_KEPT)
        if len(self._recent) > kept:
            del self._recent[next(iter(self._recent))]
        if self._next == self._end:
            self._open.close()
            self._data = None


def _header(file: zipfile.ZipFile, name: str) -> Header:
    with file.open(name) as data:
        return _read_header(data, file.getinfo(name).file_size)


def _read_header(data: IO[bytes], n_bytes: int) -> Header:
    """Read past the header of an array; see ``medbench.packed.read_array_header``."""
    shape, fortran, dtype = read_array_header(data, n_bytes)
    return Header(shape=shape, dtype=dtype, fortran=fortran)
