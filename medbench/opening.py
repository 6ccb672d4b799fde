"""Opening what somebody else may have made: regular files only, none larger than its limit.

A pipe would keep its reader waiting for ever and a device would never end, so both are refused, on
the descriptor that is read from afterwards: nothing can be put in a file's place in between. A
file's size bounds the memory that it can take; what is packed is bounded in ``medbench.packed``.
"""

from __future__ import annotations

import errno
import math
import os
import stat
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path

from medbench.byte_sizes import format_bytes
from medbench.errors import ConfigurationError

FACTOR_VARIABLE = "MEDBENCH_SIZE_FACTOR"
"""How to go beyond the sizes below: 2 in this variable doubles all of them."""
_KB, _MB, _GB = 10**3, 10**6, 10**9


@dataclass(frozen=True, kw_only=True)
class FileLimit:
    """What is about to be opened, and the most bytes that it may have, packed and unpacked."""

    name: str
    """In messages, with its article."""
    n_bytes: int
    """Before ``FACTOR_VARIABLE`` counts; see ``most_bytes``."""

    @property
    def most_bytes(self) -> int:
        """The most bytes, with what ``FACTOR_VARIABLE`` says.

        Raises:
            ConfigurationError: It is no number above 0.
        """
        said = os.environ.get(FACTOR_VARIABLE, "1")
        try:
            factor = float(said)
        except ValueError:
            factor = math.nan
        if not 0 < factor < math.inf:
            raise ConfigurationError(
                f"{FACTOR_VARIABLE}={said}: must be a number above 0. It multiplies the largest "
                "sizes of files; leave it out, or set it to 2, for example."
            )
        return int(self.n_bytes * factor)

    def refuse_above(self, n_bytes: int, *, unpacked: bool = False) -> None:
        """Refuse what is larger.

        Args:
            n_bytes: What the file has, or says that it has.
            unpacked: Whether that is what it unpacks to.

        Raises:
            RefusedFileError: It is above the limit.
        """
        if n_bytes > self.most_bytes:
            has = "it would unpack to" if unpacked else "it has"
            raise RefusedFileError(
                f"{has} {format_bytes(n_bytes)}, and {self.name} may have "
                f"{format_bytes(self.most_bytes)}; the environment variable {FACTOR_VARIABLE} "
                "multiplies that, where a larger one is meant"
            )


IMAGE = FileLimit(name="an image file", n_bytes=1 * _GB)
"""A volume or a stack of pages; it is held in memory once for each thread that reads."""
TABLE = FileLimit(name="a table", n_bytes=200 * _MB)
"""A CSV of a million rows; its cells take several times as much memory."""
SETTINGS = FileLimit(name="a YAML file", n_bytes=1 * _MB)
"""``datasets.yaml`` or a suite: the one that is shipped has 17 kB."""
ARCHIVE = FileLimit(name="an archive of images", n_bytes=100 * _GB)
"""An ``.npz`` of images, which are read one by one; the largest of MedMNIST has 13 GB. Or a zip or
tar archive of files."""
DENSE_ARCHIVE = FileLimit(name="an archive that is packed so densely", n_bytes=1 * _GB)
"""What unpacks to hundreds of times its size, as nothing but masks and made-up images does."""
ARRAY = FileLimit(name="an array", n_bytes=4 * _GB)
"""One that is read as a whole: the labels of an archive, or the predictions of a trial."""
RECORD = FileLimit(name="a record in JSON", n_bytes=100 * _MB)
"""What a run, a cell or a model says of itself; the largest that the demo writes has 2 MB."""
PARQUET = FileLimit(name="a table of a run", n_bytes=2 * _GB)
"""Predictions, images, curves: some hundred bytes an image."""
MODEL = FileLimit(name="a fitted model", n_bytes=4 * _GB)
"""One file of a model; the largest backbone here has 250 MB with the state of its optimiser."""
WEIGHTS = FileLimit(name="a file of weights", n_bytes=4 * _GB)
"""Pretrained weights of a backbone; the largest here have 90 MB."""
PICTURE = FileLimit(name="a picture of a report", n_bytes=100 * _MB)
"""A contact sheet or a heat map, in a run folder."""


class RefusedFileError(OSError):
    """A file that is not opened, because of what it is; ``strerror`` says why, without its name."""

    def __init__(self, why: str) -> None:
        super().__init__(errno.EINVAL, why)

    def __str__(self) -> str:
        return str(self.strerror)


def open_regular(path: str | Path, limit: FileLimit | None) -> BufferedReader:
    """Open a regular file for reading, without waiting for anybody.

    Args:
        path: The file; links are followed.
        limit: What it should be; None where its size does not matter, since it is read in chunks.

    Raises:
        RefusedFileError: It is something else, or too large.
        OSError: It cannot be opened.
        ValueError: No file can be called so.
    """
    file = _RegularFile(FileIO(path, "rb", opener=_open))
    try:
        if limit is not None:
            limit.refuse_above(os.fstat(file.fileno()).st_size)
    except BaseException:
        file.close()
        raise
    return file


class _RegularFile(BufferedReader):
    """Takes no more memory for a piece than the file has bytes.

    A reader of a format asks for as many bytes as the file announces of something, and Python
    allocates what is asked for.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MB:
            size = min(size, max(os.fstat(self.fileno()).st_size - self.tell(), _MB))
        return super().read(size)


def read_regular(path: str | Path, limit: FileLimit) -> bytes:
    """All bytes of a regular file, also if it grows meanwhile, up to the limit.

    Raises:
        RefusedFileError, OSError, ValueError: As ``open_regular``.
    """
    with open_regular(path, limit) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1)
        if len(content) > size:  # it has grown, or a file of the system tells no size
            content += file.read(min(max(limit.most_bytes - size, 0), _MB) + 1)
            while len(content) <= limit.most_bytes and (more := file.read(_MB)):
                content += more
            limit.refuse_above(len(content))
        return content


def what_it_is(mode: int) -> str:
    """What a path leads to that is no regular file, in words; "" of a regular file."""
    if stat.S_ISREG(mode):
        return ""
    for is_one, words in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if is_one(mode):
            return words
    return "no file"


def _open(path: str, flags: int) -> int:
    """A descriptor of a regular file; see ``open_regular``."""
    # a pipe is opened at once and a terminal does not become ours; regular files know no waiting
    flags |= getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError:
        try:
            what = what_it_is(os.stat(path).st_mode)  # noqa: PTH116  half the time
        except OSError:
            what = ""
        if what:  # sockets, and folders where nothing opens them
            raise _not_regular(what) from None
        raise
    try:
        if what := what_it_is(os.fstat(descriptor).st_mode):
            raise _not_regular(what)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _not_regular(what: str) -> RefusedFileError:
    return RefusedFileError(f"it is {what}, and only regular files are read")
