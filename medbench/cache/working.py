"""The folder in which a process puts what is not finished: it goes with the process.

Its lock is held for as long as the process lives, so what nobody holds was left by a killed one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.cache.folders import REMEDY, cache_folder, say_unwritable, temporary_folder
from medbench.disk import check_space
from medbench.errors import MachineError

if TYPE_CHECKING:
    from filelock import FileLock

WORK = "work"
BESIDE = ".work"
"""Name of the folder of working folders on a disk that a part of the cache is linked to."""
_LOCK = "lock"


class _WorkingFolder:
    """A folder whose lock is held for as long as its process lives."""

    def __init__(self, parent: Path) -> None:
        from filelock import FileLock

        parent.mkdir(parents=True, exist_ok=True)
        self.process = os.getpid()
        while True:
            self.folder = parent / f"{self.process}-{secrets.token_hex(8)}"
            self.folder.mkdir()
            self._lock: FileLock = FileLock(self.folder / _LOCK)
            with contextlib.suppress(FileNotFoundError):
                self._lock.acquire()
                if (self.folder / _LOCK).exists():
                    break
            # it was taken for abandoned, as it was not locked yet
        atexit.register(self.remove)

    def remove(self) -> None:
        """Remove it; in a process that was forked off it stays, for it is not that one's."""
        if self.process == os.getpid():
            self._lock.release()
            shutil.rmtree(self.folder, ignore_errors=True)


_own: dict[Path, _WorkingFolder] = {}
"""The working folder of this process in each parent; tests use several caches."""
_given: Path | None = None
"""A folder of another process in which this one is to work."""


def working_folder(needed: int = 0, *, beside: Path | None = None) -> Path:
    """This process's own folder for what is not finished: in the cache where that is possible.

    Where the cache cannot be written or has too little space it is in the system's temporary
    folder. The first call also removes what others have abandoned.

    Args:
        needed: Bytes that will be written there.
        beside: Where what is made shall be put, so that it is made on that disk.

    Raises:
        MachineError: It cannot be made anywhere, or has nowhere so much space.
    """
    return next(working_folders(needed, beside=beside))


def working_folders(needed: int = 0, *, beside: Path | None = None) -> Iterator[Path]:
    """The folders that ``working_folder`` may give, the next one for whom the one before fails.

    Args:
        needed: As of ``working_folder``.
        beside: As of ``working_folder``.

    Raises:
        MachineError: Neither can be made, or has so much space.
    """
    if _given is not None:
        yield _given
        return
    try:
        own = cache_folder() / WORK
        folder = _below(own) if beside is None else working_folder_beside(beside)
        check_space(folder, needed)
        yield folder
    except OSError as error:
        say_unwritable(error)
    parent: Path | None = None
    try:
        parent = temporary_folder()
        folder = _below(parent)
        check_space(folder, needed)
        yield folder
    except OSError as error:
        raise MachineError(
            f"{error.filename or parent}: cannot be written ({error.strerror or error}), nor can "
            f"the cache {cache_folder()}. {REMEDY}"
        ) from error


def working_folder_beside(path: Path) -> Path:
    """The working folder on the disk where something is to be put: a rename away from it.

    Parts of a cache may be links to other disks, onto which nothing can be renamed.

    Raises:
        OSError: It cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = _given if _given is not None else _below(cache_folder() / WORK)
    if own.stat().st_dev == path.parent.stat().st_dev:
        return own
    return _below(path.parent / BESIDE)


def _below(parent: Path) -> Path:
    own = _own.get(parent)
    if own is None or own.process != os.getpid() or not own.folder.is_dir():
        if _given is None:
            remove_abandoned()
        own = _own[parent] = _WorkingFolder(parent)
    return own.folder


def work_in(folder: Path | None) -> None:
    """Have this process work in a folder that another one made for it and removes; None ends that.

    For processes that may not look at what others do in the cache.
    """
    global _given
    _given = folder


def working_folders_there() -> Iterator[Path]:
    """Those of all other processes, also of such that are gone."""
    own = {one.folder for one in _own.values() if one.process == os.getpid()}
    cache = cache_folder()
    parents = [cache / WORK]
    with contextlib.suppress(OSError, MachineError):
        parents.append(temporary_folder())
    with contextlib.suppress(OSError):
        parents += [*cache.glob(f"*/{BESIDE}"), *cache.glob(f"*/*/{BESIDE}")]
    for parent in parents:
        with contextlib.suppress(OSError):
            for folder in sorted(parent.iterdir()):
                if folder.is_dir() and not folder.is_symlink() and folder not in own:
                    yield folder


def is_abandoned(folder: Path, *, remove: bool = False) -> bool:
    """Whether the process of a working folder is gone: nobody holds its lock.

    Args:
        folder: The working folder.
        remove: Whether to remove it then, before anybody else can take the lock.
    """
    from filelock import FileLock, Timeout

    lock: Any = FileLock(folder / _LOCK)
    try:
        if not (folder / _LOCK).exists():
            gone = not any(folder.iterdir())  # who is just making it makes another
            if gone and remove:
                folder.rmdir()
            return gone
        with lock.acquire(timeout=0):
            if remove:
                shutil.rmtree(folder, ignore_errors=True)
            return True
    except (Timeout, OSError):
        return False


def remove_abandoned() -> None:
    """Remove the working folders of processes that are gone."""
    for folder in working_folders_there():
        is_abandoned(folder, remove=True)
