"""Where what can be computed again is kept: prepared data sets, features, weights.

An *entry* is a folder of files that is made once and never changed. It carries the SHA-256 of
each of its files, which is compared when the entry is opened: a damaged one is removed and made
again. Whatever a process has not finished lies in a folder of its own, which goes with it; what a
killed process left is removed by the next one.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.errors import ConfigurationError
from medbench.files import replacing_file, replacing_folder
from medbench.hashes import sha256_of_files

if TYPE_CHECKING:
    from filelock import FileLock

VARIABLE = "MEDBENCH_CACHE"
_CHECKSUMS = "sha256.json"
_WORK = "work"
_LOCK = "lock"


def cache_folder() -> Path:
    """The folder in ``MEDBENCH_CACHE``, else the user's cache folder of this system.

    Raises:
        ConfigurationError: ``MEDBENCH_CACHE`` begins with the home of somebody who has none here.
    """
    if wanted := os.environ.get(VARIABLE):
        try:
            return Path(wanted).expanduser().resolve()
        except RuntimeError as error:
            raise ConfigurationError(
                f"{VARIABLE}={wanted}: {error} Write the whole path."
            ) from error
    from platformdirs import user_cache_path

    return user_cache_path("medbench")


# --- entries ------------------------------------------------------------------------------


@contextlib.contextmanager
def adding_entry(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes the entry ``path`` when the block ends well.

    Of several processes that make the same entry the first to finish keeps it.

    Args:
        path: A folder below ``cache_folder()``.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    with replacing_folder(path, through=_on_the_disk_of(path), there="keep") as temporary:
        yield temporary
        sums = sha256_of_files(temporary)
        (temporary / _CHECKSUMS).write_text(json.dumps(sums))


def is_sound(path: Path) -> bool:
    """Whether there is an entry whose files are as they were written; a damaged one is removed.

    Raises:
        OSError: It cannot be read, or is damaged and cannot be removed.
    """
    if not path.is_dir():
        return False
    try:
        found = sha256_of_files(path)
        found.pop(_CHECKSUMS)
        if found == sums_of(path):
            return True
    except (FileNotFoundError, ValueError, KeyError):
        pass
    # away by one rename, so that nobody sees half of it, and who makes it anew is not disturbed
    with contextlib.suppress(FileNotFoundError):
        away = (_on_the_disk_of(path) or path.parent) / f".{path.name}.{secrets.token_hex(8)}.tmp"
        path.rename(away)
        shutil.rmtree(away, ignore_errors=True)
    return False


def sums_of(path: Path) -> dict[str, str]:
    """SHA-256 of each file of a sound entry, by its name, as it was written."""
    sums: dict[str, str] = json.loads((path / _CHECKSUMS).read_text())
    return sums


@contextlib.contextmanager
def replacing_note(path: Path) -> Iterator[Path]:
    """As ``medbench.files.replacing_file``, for a small file of the cache that may change."""
    with replacing_file(path, through=_on_the_disk_of(path)) as temporary:
        yield temporary


def _on_the_disk_of(path: Path) -> Path | None:
    """The working folder, if it is on the disk where ``path`` is or will be; else None.

    Parts of a cache may be links to other disks, onto which nothing can be renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = working_folder()
    return own if own.stat().st_dev == path.parent.stat().st_dev else None


# --- what is not finished -----------------------------------------------------------------


class _WorkingFolder:
    """A folder whose lock is held for as long as its process lives."""

    def __init__(self, above: Path) -> None:
        from filelock import FileLock

        above.mkdir(parents=True, exist_ok=True)
        self.process = os.getpid()
        while True:
            self.folder = above / f"{self.process}-{secrets.token_hex(8)}"
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
"""The working folder of this process below each cache folder; tests use several caches."""
_given: Path | None = None
"""A folder of another process in which this one is to work."""


def working_folder() -> Path:
    """This process's own folder in the cache, for what is not finished; it goes with the process.

    The first call also removes what others have abandoned there.

    Raises:
        OSError: It cannot be made.
    """
    if _given is not None:
        return _given
    above = cache_folder() / _WORK
    own = _own.get(above)
    if own is None or own.process != os.getpid() or not own.folder.is_dir():
        remove_abandoned()
        own = _own[above] = _WorkingFolder(above)
    return own.folder


def work_in(folder: Path | None) -> None:
    """Have this process work in a folder that another one made for it and removes; None ends that.

    For processes that may not look at what others do in the cache.
    """
    global _given
    _given = folder


def remove_abandoned() -> None:
    """Remove the working folders of processes that are gone: nobody holds their lock."""
    from filelock import FileLock, Timeout

    above = cache_folder() / _WORK
    for folder in above.iterdir() if above.is_dir() else ():
        lock: Any = FileLock(folder / _LOCK)
        try:
            if not (folder / _LOCK).exists():
                continue  # just being made by another process
            with lock.acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):
            continue
