"""What packed files say that they unpack to, looked at before anything is unpacked."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

from medbench.opening import FileLimit, RefusedFileError, open_regular

DAMAGED_ZIP = (
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What ``zipfile`` and NumPy raise on an archive that is none, damaged or encrypted."""
BROKEN_CONTENT = (
    *DAMAGED_ZIP,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    TypeError,
)
"""What libraries raise that build an object by what a damaged file says."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of which ``zipfile`` unpacks a bounded piece at a time; and all that anybody writes here."""
_MOST_MEMBERS = 100_000
_LONGEST_ARRAY_HEADER = 10_000
"""Characters, as in NumPy; all of its own are below 200."""


@contextmanager
def open_zip(path: str | Path, limit: FileLimit) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose members, together, do not unpack to more than its limit.

    ``zipfile`` never unpacks more of a member than is announced, so what is announced counts.
    Members that are NumPy's arrays must be as large as their headers say, since an array is
    allocated by its header.

    Args:
        path: The archive.
        limit: What it should be.

    Raises:
        RefusedFileError: It is no regular file, or too large, packed or unpacked.
        zipfile.BadZipFile: It is no archive; and what else ``DAMAGED_ZIP`` names.
    """
    with open_regular(path, limit) as stream, zipfile.ZipFile(stream) as file:
        check_zip(file, limit)
        yield file


def check_zip(file: zipfile.ZipFile, limit: FileLimit) -> None:
    """See ``open_zip``."""
    members = file.infolist()
    if len(members) > _MOST_MEMBERS:
        raise RefusedFileError(f"it holds {len(members):,} files, above {_MOST_MEMBERS:,}")
    limit.refuse_above(sum(member.file_size for member in members), unpacked=True)
    for member in members:
        if member.compress_type not in _METHODS:
            raise RefusedFileError("it is packed by another method than deflation")
        if member.filename.endswith(".npy"):
            with file.open(member) as data:
                read_array_header(data, member.file_size)


def read_array_header(data: IO[bytes], n_bytes: int) -> tuple[tuple[int, ...], bool, Any]:
    """Read past the header of an ``.npy`` file and compare it with the file's size.

    Args:
        data: The file, at its beginning.
        n_bytes: Its size.

    Returns:
        Shape, whether the first axis runs fastest, and the type.

    Raises:
        ValueError: It is none, holds Python objects, or announces another size than it has.
    """
    import numpy as np

    version = np.lib.format.read_magic(data)
    read: Any = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"format {version}")
    try:
        shape, fortran, dtype = read(data, max_header_size=_LONGEST_ARRAY_HEADER)
    except (SyntaxError, TokenError, RecursionError, MemoryError, TypeError) as error:
        raise ValueError("its header is none") from error  # it is parsed as Python
    if dtype.hasobject:
        raise ValueError("Python objects")
    announced = math.prod(shape) * dtype.itemsize
    # an array of nothing may have any shape, by which others allocate
    if (
        min(shape, default=0) < 0
        or (math.prod(shape) and not dtype.itemsize)
        or max(shape, default=0) > max(n_bytes, 1)
    ):
        raise ValueError(f"shape {shape} of {dtype}")
    if announced != n_bytes - data.tell():
        raise ValueError(f"shape {shape} of {dtype} in {n_bytes} bytes")
    return shape, fortran, dtype


@contextmanager
def open_npz(path: str | Path, limit: FileLimit) -> Iterator[Any]:
    """The arrays of an ``.npz`` file, by name, as ``numpy.load`` gives them; none are objects.

    Raises:
        As ``open_zip``.
    """
    import numpy as np

    with open_regular(path, limit) as stream:
        with zipfile.ZipFile(stream) as file:
            check_zip(file, limit)
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as arrays:
            yield arrays


def read_npy_file(path: str | Path, limit: FileLimit) -> Any:
    """The array of an ``.npy`` file.

    Raises:
        RefusedFileError: It is no regular file, or too large.
        OSError, EOFError, ValueError: It cannot be read, or is no array of numbers or text.
    """
    import numpy as np

    with open_regular(path, limit) as file:
        size = file.seek(0, 2)
        file.seek(0)
        read_array_header(file, size)
        file.seek(0)
        return np.load(file, allow_pickle=False)
