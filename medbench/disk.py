"""Disk space is looked for, and taken, before anything is written to it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import IO

_NO_ROOM = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
"""A full disk, a limit of the size of files, a quota."""
_CANNOT_ALLOCATE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_BLOCK_BYTES = 1 << 20


def check_space(folder: Path, needed: int) -> None:
    """Look whether a disk has space for what is about to be written.

    Args:
        folder: Where.
        needed: Bytes.

    Raises:
        OSError: It has not; says how much is needed and how much is free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise _no_room(errno.ENOSPC, folder, needed)


def take_space(file: IO[bytes], n_bytes: int) -> None:
    """Have the disk set aside the first bytes of a new file, so that writing them cannot fail.

    A disk that copies on writing (btrfs, ZFS) promises less than that.

    Args:
        file: At its end.
        n_bytes: How many, with those that it has.

    Raises:
        OSError: It has no room; says how much is needed and how much is free.
    """
    if not n_bytes:
        return
    try:
        try:
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        except AttributeError:  # macOS and Windows have no such call
            _write_zeros(file, n_bytes)
        except OSError as error:
            if error.errno not in _CANNOT_ALLOCATE:
                raise
            _write_zeros(file, n_bytes)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise _no_room(error.errno or errno.ENOSPC, Path(file.name), n_bytes) from error


def _write_zeros(file: IO[bytes], n_bytes: int) -> None:
    begin = file.tell()
    for at in range(begin, n_bytes, _BLOCK_BYTES):
        file.write(bytes(min(_BLOCK_BYTES, n_bytes - at)))
    file.flush()
    file.seek(begin)


def _no_room(number: int, path: Path, needed: int) -> OSError:
    free = shutil.disk_usage(path if path.is_dir() else path.parent).free
    said = f"{os.strerror(number)}: {needed / 1e6:,.1f} MB are needed and {free / 1e6:,.1f} MB free"
    return OSError(number, said, str(path))
