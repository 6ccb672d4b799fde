"""Image files in the cells of a Parquet table, read forward and a row at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medbench.datasets.inside import InsideFile
from medbench.datasets.parquet_files import reading_parquet
from medbench.datasets.sources.table_files import FoundFiles
from medbench.errors import DatasetError
from medbench.opening import ARCHIVE, IMAGE, open_regular

_KEPT_BYTES = 64 << 20
_LEAST_KEPT = 32
"""Images kept of those just read: threads ask for neighbours in nearly, not quite, their order."""
_BUFFER_BYTES = 1 << 20
"""Read at a time of a column, which may be as large as the file."""


@dataclass(frozen=True, kw_only=True)
class ImageColumn:
    """The column of images of one file."""

    path: Path
    name: str
    """The file's name relative to the data set."""
    at: str
    """Path of the bytes in it."""
    n_rows: int


class CellReader:
    """Gives the image of any row of several files, one behind the other.

    A row can only be reached through those of its row group before it, so images are cheap in
    their order and dear in another. In memory are the few that were read last.
    """

    def __init__(self, files: Sequence[ImageColumn]) -> None:
        """Read nothing yet."""
        self.files = list(files)
        self._starts = np.cumsum([0, *(file.n_rows for file in files)])
        self._lock = threading.Lock()
        self._recent: dict[int, bytes | None] = {}
        self._recent_bytes = 0
        self._open = ExitStack()
        self._number = -1
        self._file: Any = None
        self._groups: Any = ()
        self._cells: Iterator[bytes | None] = iter(())
        self._next = self._end = 0

    def where(self, row: int) -> tuple[ImageColumn, int]:
        """The file of a row, counted over all files from 0, and which row of it that is."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self.files[number], row - int(self._starts[number])

    def content(self, row: int) -> bytes:
        """The image file in a row, counted over all files from 0.

        Raises:
            DatasetError: The cell is empty or too large, or the file is damaged.
        """
        file, in_file = self.where(row)
        with self._lock:
            if row not in self._recent:
                if not self._next <= row < self._end:
                    self._go_to(row)
                while self._next <= row:
                    self._read_next(file)
            content = self._recent[row]
        if content is None:
            raise DatasetError(f"{file.name}/row {in_file + 1}: the cell of the image is empty.")
        return content

    def _go_to(self, row: int) -> None:
        """Begin to read the row group of a row, in a file that is opened where it is not yet."""
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        file = self.files[number]
        with reading_parquet(file.path):
            if number != self._number:
                self._open.close()
                self._number = -1
                self._file = self._open.enter_context(_opened(file.path))
                metadata = self._file.metadata
                sizes = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]
                self._groups = int(self._starts[number]) + np.cumsum([0, *sizes])
                if self._groups[-1] != self._starts[number + 1]:
                    raise ValueError("it has other rows than before")
                self._number = number
            group = int(np.searchsorted(self._groups, row, side="right")) - 1
            self._cells = _cells(self._file, group, file.at)
            self._next, self._end = map(int, self._groups[group : group + 2])

    def _read_next(self, file: ImageColumn) -> None:
        with reading_parquet(file.path):
            content = next(self._cells, None)
            IMAGE.refuse_above(len(content or b""))
        self._recent[self._next] = content
        self._recent_bytes += len(content or b"")
        self._next += 1
        while self._recent_bytes > _KEPT_BYTES and len(self._recent) > _LEAST_KEPT:
            oldest = next(iter(self._recent))
            self._recent_bytes -= len(self._recent.pop(oldest) or b"")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A Parquet file; it is closed too when nobody holds what this gives any more."""
    from pyarrow.parquet import ParquetFile

    with open_regular(path, ARCHIVE) as stream:
        yield ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER_BYTES)


def _cells(file: Any, group: int, at: str) -> Iterator[bytes | None]:
    """The cells of a column of a row group, one after the other."""
    batches = file.iter_batches(1, row_groups=[group], columns=[at], use_threads=False)
    for batch in batches:
        (column,) = batch.columns
        yield (column.field(0) if column.type.num_fields else column)[0].as_py()


class CellImage(InsideFile):
    """An image file in a row of a table."""

    def __init__(self, reader: CellReader, row: int) -> None:
        """``row`` is counted over all files of the reader, from 0."""
        self._reader, self._row = reader, row
        file, self._in_file = reader.where(row)
        self.container = file.path

    def __str__(self) -> str:
        return f"{self.container}/row {self._in_file + 1}"

    def read(self) -> bytes:
        """See ``InsideFile.read``."""
        return self._reader.content(self._row)


class CellFiles:
    """The image files in a column, by names that say their rows."""

    def __init__(self, reader: CellReader) -> None:
        """Name them."""
        self._reader = reader
        self.names = [f"{f.name}/row {n + 1}" for f in reader.files for n in range(f.n_rows)]
        """The name of each, relative to the data set."""
        self._row_of = {name: row for row, name in enumerate(self.names)}

    def find(self, names: Sequence[str]) -> FoundFiles:
        """Which of the names are some of these; see ``NamedFiles.find``."""
        paths = [name if name in self._row_of else "" for name in names]
        return FoundFiles(paths=paths, names=list(names), otherwise={}, several={})

    def at(self, path: str) -> CellImage:
        """The file that was found at a path."""
        return CellImage(self._reader, self._row_of[path])
