"""What a zip or tar archive holds: looked at as a whole before anything of it is unpacked.

Only files and folders are unpacked, below one folder and nowhere else. Links, devices and pipes are
never made, names that lead elsewhere are refused, and what is announced is bounded: so no archive
can write what it should not, whatever Python's own modules let pass.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast

from medbench.counts import check_files
from medbench.datasets.image_names import SYSTEM, why_left_out
from medbench.datasets.zip_names import real_names
from medbench.errors import DatasetError
from medbench.names import as_text
from medbench.opening import ARCHIVE, DENSE_ARCHIVE, RefusedFileError, open_regular, what_it_is
from medbench.packed import BROKEN_CONTENT

_AGAIN = "Get it again."
_PIECE = 1 << 20
"""Bytes that are unpacked at a time."""
_DENSE = 200
"""So many times its own size an archive seldom unpacks to; see ``DENSE_ARCHIVE``."""
_MOST_AT_ONCE = 4 * _PIECE
"""Bytes that ``tarfile`` may read at once: it takes what a header announces."""
_BLOCK = 512
"""Bytes of a header in a tar archive; one of zeros is its end."""
_END = 22
"""Bytes of the end of a zip archive, before a comment of at most 65,535 (APPNOTE 4.3.16)."""
_LISTED_BYTES = 46
"""The least that a file takes in the list of a zip archive."""
_ENCRYPTED = 1
"""The bit of a file's flags in a zip archive that says so."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Of which ``zipfile`` unpacks a bounded piece at a time."""
_OTHER_METHODS = {9: "deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 98: "PPMd"}
"""By their numbers (APPNOTE 4.4.5)."""
_LABEL, _CONTINUED = b"V", b"M"
"""Types of GNU tar: the name of the archive, and the rest of a file of another volume."""
_DAMAGE = (*BROKEN_CONTENT, struct.error, tarfile.TarError, lzma.LZMAError)
"""What Python's modules raise on what is damaged."""
_WINDOWS = os.name == "nt"
_DRIVE = re.compile(r"[A-Za-z]:")
_NOT_ON_WINDOWS = re.compile(
    r'.*[\\:*?"<>|\x00-\x1f].*|.*[. ]|(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?', re.IGNORECASE
)
"""Names that stand for devices or streams there, or for another name."""


@dataclass(frozen=True, kw_only=True)
class PackedFile:
    """A file in an archive."""

    name: str
    """Relative, with '/'; safe to be put below a folder."""
    n_bytes: int
    """Unpacked, as the archive announces it."""
    open: Callable[[], IO[bytes]]
    """Opens it for reading."""


class Archive:
    """The files in an archive, none of which leads out of it."""

    def __init__(self, called: str, files: Iterable[PackedFile], notes: tuple[str, ...]) -> None:
        """Keep what is there.

        Raises:
            DatasetError: There is nothing.
        """
        self.called = called
        """The archive, for messages."""
        self.files = tuple(files)
        """In the order in which they are read fastest."""
        self.notes = notes
        """What is doubtful about it, a sentence each."""
        self.n_bytes = sum(file.n_bytes for file in self.files)
        """All files unpacked."""
        if not self.files:
            raise DatasetError(f"{called}: holds no files. {_AGAIN}")

    def pieces(self, file: PackedFile) -> Iterator[bytes]:
        """The content of a file, a piece at a time, and no more of it than is announced.

        Raises:
            DatasetError: It is damaged, or there is less of it.
        """
        left = file.n_bytes
        with _reading(self.called), file.open() as content:
            while piece := content.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    break
                yield piece
        if left:
            raise DatasetError(
                f"{self.called}: {as_text(file.name)!r} has another size than is announced: the "
                f"archive is damaged. {_AGAIN}"
            )


class Bounds:
    """How much an archive unpacks to, counted with what is packed in it once more."""

    def __init__(self, packed_bytes: int, called: str) -> None:
        """Begin at nothing; ``packed_bytes`` has the whole archive."""
        self._packed_bytes = packed_bytes
        self._called = called
        self._n_files = self._n_bytes = 0

    def add(self, n_bytes: int) -> None:
        """Count another file.

        Raises:
            RefusedFileError: They are too large together, or too large for what they are packed in.
            DatasetError: They are too many.
        """
        self._n_files += 1
        check_files(self._n_files, self._called)
        self.add_bytes(n_bytes)

    def add_bytes(self, n_bytes: int) -> None:
        """Count bytes of no file; errors as ``add``."""
        self._n_bytes += n_bytes
        ARCHIVE.refuse_above(self._n_bytes, unpacked=True)
        if self._n_bytes > _DENSE * self._packed_bytes:
            DENSE_ARCHIVE.refuse_above(self._n_bytes, unpacked=True)


@contextmanager
def open_archive(path: Path, *, called: str, bounds: Bounds) -> Iterator[Archive]:
    """An archive, after everything in it was looked at; its content tells which kind it is.

    Args:
        path: A zip archive; or a tar archive, plain or packed by gzip, bzip2 or xz.
        called: What messages call it.
        bounds: Counts what it unpacks to.

    Raises:
        DatasetError: It cannot be read, or not be unpacked safely; with a remedy.
    """
    with ExitStack() as opened:
        with _reading(called):
            stream = opened.enter_context(open_regular(path, ARCHIVE))
            head = stream.read(8)
            stream.seek(0)
            if head.startswith((b"7z\xbc\xaf\x27\x1c", b"Rar!")):
                raise refused(called, "is a 7z or RAR archive, whatever it is called")
            read = _zip if head.startswith(b"PK") else _tar
            archive = read(stream, called, bounds)
        yield archive


@contextmanager
def _reading(called: str) -> Iterator[None]:
    """Turn what is raised on an archive that cannot be read into an error that names it."""
    try:
        yield
    except RefusedFileError as error:
        raise DatasetError(f"{called}: cannot be unpacked ({error}).") from error
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.strerror:
            raise DatasetError(f"{called}: cannot be read ({error.strerror}).") from error
        raise DatasetError(
            f"{called}: cannot be read as a zip or tar archive ({error or type(error).__name__}): "
            f"it is truncated, damaged or something else. {_AGAIN}"
        ) from error


def refused(called: str, why: str) -> DatasetError:
    """The error for an archive that is not unpacked, for a reason of this program's own."""
    return DatasetError(f"{called}: {why}. Unpack it yourself and name the folder.")


# --- names ------------------------------------------------------------------------------------


def _below(name: str, called: str) -> str:
    """The name of a file relative to the folder that it is unpacked into; "" of no use to anybody.

    Raises:
        DatasetError: It leads somewhere else, here or on another system.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if any(why_left_out(part) == SYSTEM for part in parts):
        return ""
    leads_out = name.startswith("/") or _DRIVE.match(name) or "\0" in name
    if leads_out or not parts or not all(part.strip(". ") for part in parts):
        raise refused(called, f"holds {as_text(name)!r}, a name that leads out of it")
    if _WINDOWS and any(_NOT_ON_WINDOWS.fullmatch(part) for part in parts):
        raise refused(called, f"holds {as_text(name)!r}, which cannot be a file on Windows")
    return "/".join(parts)


# --- zip --------------------------------------------------------------------------------------


def _zip(stream: IO[bytes], called: str, bounds: Bounds) -> Archive:
    _check_end(stream, called)
    packed = zipfile.ZipFile(stream)
    members = packed.infolist()
    names, notes = real_names(members)
    files = []
    for member, name in zip(members, names, strict=True):
        name = name.replace("\\", "/")  # so do programs of Windows, against the standard
        what = _what_it_is(member.external_attr >> 16)
        if name.endswith("/") or what == "a folder" or not (below := _below(name, called)):
            continue
        if what:
            raise refused(called, f"holds {what} ({below!r}), and only files are unpacked")
        if member.flag_bits & _ENCRYPTED:
            raise refused(called, f"is encrypted ({below!r} is, for one)")
        if member.compress_type not in _METHODS:
            number = member.compress_type
            method = _OTHER_METHODS.get(number, f"method {number}")
            raise refused(
                called,
                f"holds {below!r}, which is packed by {method}, and only deflate is read (Windows "
                "takes deflate64 for what is above 2 GB)",
            )
        bounds.add(member.file_size)
        files.append(
            PackedFile(name=below, n_bytes=member.file_size, open=partial(packed.open, member))
        )
    return Archive(called, files, notes)


def _check_end(stream: IO[bytes], called: str) -> None:
    """See to it that the end of a zip archive is there and its list can be held in memory.

    Raises:
        DatasetError: The archive is truncated, one of several parts, or its list too long.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _END - 0xFFFF))
    end = stream.read()
    at = end.rfind(b"PK\x05\x06")
    if at < 0 or len(end) < at + _END:
        raise DatasetError(
            f"{called}: is truncated: a zip archive has the list of its files at its end, and this "
            f"has none. {_AGAIN}"
        )
    part, _, _, _, n_bytes = struct.unpack_from("<4HL", end, at + 4)
    locator = end[max(0, at - 20) : at]
    if locator.startswith(b"PK\x06\x07"):  # of an archive above 4 GB or 65,535 files
        stream.seek(struct.unpack_from("<Q", locator, 8)[0])
        (n_bytes,) = struct.unpack_from("<Q", stream.read(56), 40)
    elif part:
        raise refused(called, f"is the last of {part + 1} parts of an archive")
    check_files(n_bytes // _LISTED_BYTES, called)
    stream.seek(0)


def _what_it_is(mode: int) -> str:
    """What a file is, in words, by the mode that it had under Unix; "" of a regular one."""
    if stat.S_ISLNK(mode):
        return "a link"
    return what_it_is(mode).replace("no file", "")


# --- tar --------------------------------------------------------------------------------------


class _Pieces:
    """Reads a stream of which nobody can ask for more than a piece at once."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.last = b""
        """What was read last."""
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, n_bytes: int) -> bytes:
        if not 0 <= n_bytes <= _MOST_AT_ONCE:
            raise ValueError(f"a header of {n_bytes:,} bytes")
        self.last = self._stream.read(n_bytes)
        return self.last


def _tar(stream: IO[bytes], called: str, bounds: Bounds) -> Archive:
    """All headers are read first, so what is packed is unpacked twice."""
    pieces = _Pieces(_unpacker(stream))
    packed = tarfile.TarFile(fileobj=cast(IO[bytes], pieces), encoding="utf-8")
    files = []
    for member in packed:
        if member.size < 0:
            raise ValueError("a file of less than nothing")
        bounds.add(member.size)  # also what is passed over, which takes time and memory
        if member.type == _CONTINUED:
            raise refused(called, "is one of several parts of an archive")
        if member.isdir() or member.type == _LABEL or not (below := _below(member.name, called)):
            continue
        if not member.isreg():
            what = _what_is(member)
            raise refused(called, f"holds {what} ({as_text(below)!r}), and only files are unpacked")
        files.append(
            PackedFile(name=below, n_bytes=member.size, open=partial(_open_member, packed, member))
        )
    if pieces.last != bytes(_BLOCK):  # tarfile takes any nonsense for the end
        raise ValueError("there is no end")
    while rest := pieces.read(_PIECE):  # so that the checksum of gzip or xz is looked at
        bounds.add_bytes(len(rest))
        if rest.strip(b"\0"):
            raise refused(called, "goes on behind its end, as where two archives are put together")
    return Archive(called, files, ())


def _unpacker(stream: IO[bytes]) -> IO[bytes]:
    """The bytes of a tar archive, of one that is packed."""
    head = stream.read(6)
    stream.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream))
    if head.startswith(b"BZh"):
        return bz2.BZ2File(stream)
    return lzma.LZMAFile(stream) if head == b"\xfd7zXZ\x00" else stream


def _open_member(packed: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = packed.extractfile(member)
    assert content is not None
    return content


def _what_is(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "a link"
    return "a pipe" if member.isfifo() else "a device" if member.isdev() else "something unknown"
