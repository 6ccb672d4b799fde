"""Entries of the cache: folders of files that are made once and never changed.

An entry carries the SHA-256 of each of its files and its own name, so that what is damaged or lies
in another's place is noticed when it is read: it is removed and made again. Nothing here fails
because of the cache: what cannot be read is not there, what cannot be written is not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import weakref
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from medbench.atomic_files import place_folder, replacing_folder
from medbench.cache.folders import REMEDY, say_unwritable
from medbench.cache.locks import CHECKSUMS, lock_of, locked
from medbench.cache.working import working_folder_beside, working_folders
from medbench.errors import MachineError
from medbench.hashes import hash_of_file, sha256_of_files

_ENTRY, _FILES = "entry", "files"
_HEX_DIGITS = 64
_DAMAGE = (
    FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError,
)  # fmt: skip
"""What is met where files are not what they were, not where they cannot be read."""
_temporary: dict[Path, Path] = {}
"""Entries that could not be kept, and where they lie until this process ends."""


# --- reading ------------------------------------------------------------------------------


def is_sound(
    path: Path, *, belongs: Path | None = None, contents_of: Collection[str] | None = None
) -> bool:
    """Whether there is an entry whose files are as they were written; a damaged one is removed.

    Args:
        path: Where it lies.
        belongs: Where it belongs, if it is elsewhere.
        contents_of: Names of the files that are read; of the others it is only looked whether they
            are there, which is quick for many large ones. None for all.
    """
    try:
        if contents_of is None:
            found = sha256_of_files(path)
        else:
            found = dict.fromkeys(_names_in(path), "")
            found |= {name: hash_of_file(path / name) for name in contents_of}
        if not found and not os.path.lexists(path):
            return False
        found.pop(CHECKSUMS, None)
        sums = _sums_of(path, entry_of(belongs or path))
        if contents_of is not None:
            sums = {name: said if name in contents_of else "" for name, said in sums.items()}
        if found == sums:
            mark_used(path)
            return True
    except _DAMAGE:
        pass
    except OSError:
        return False  # who knows what it is; it may be read another time
    discard(path)
    return False


def read_entry(path: Path) -> dict[str, bytes] | None:
    """Content of each file of a sound entry, by its name; None where there is none.

    What is given is what was checked, whatever happens to the files afterwards.
    """
    try:
        sums = _sums_of(path, entry_of(path))
        content = {name: (path / name).read_bytes() for name in sums}
    except _DAMAGE:
        content, sums = {}, {}
    except OSError:
        return None
    if sums and all(hashlib.sha256(content[name]).hexdigest() == sums[name] for name in sums):
        mark_used(path)
        return content
    discard(path)
    return None


class Entry:
    """An entry that somebody uses: nobody else removes it as long as this object lives."""

    def __init__(self, path: Path, lock: int) -> None:
        """Keep what ``lock_of`` opened."""
        self.path = path
        """The folder with its files."""
        self._closed = weakref.finalize(self, os.close, lock)


def found_entry(path: Path, *, contents_of: Collection[str] | None = None) -> Entry | None:
    """A sound entry, from where it belongs or where ``made_entry`` left it; None if nowhere.

    Args:
        path: Where it belongs.
        contents_of: As of ``is_sound``.
    """
    for folder in (path, _temporary.get(path)):
        if folder is not None and is_sound(folder, belongs=path, contents_of=contents_of):
            lock = lock_of(folder)
            if lock is not None:
                return Entry(folder, lock)
    return None


def entries_like(parent: Path, pattern: str) -> list[Path]:
    """Where the entries belong that are called like a pattern; not all need be sound."""
    found = {path for path in _temporary if path.parent == parent and path.match(pattern)}
    with contextlib.suppress(OSError):  # what cannot be listed is not there
        found |= {*parent.glob(pattern)}
    return sorted(path for path in found if not path.name.startswith("."))


def sums_of(path: Path) -> dict[str, str]:
    """SHA-256 of each file of a sound entry, by its name, as it was written.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """
    return _sums_of(path, None)


def entry_of(path: Path) -> str:
    """The name that an entry carries: that of its folder, and of the folder it lies in."""
    return f"{path.parent.name}/{path.name}"


def _names_in(folder: Path) -> Iterator[str]:
    """Names of the files below a folder, relative to it, with '/'."""
    pending = [""]
    while pending:
        above = pending.pop()
        with os.scandir(folder / above) as entries:
            for one in entries:
                if one.is_dir(follow_symlinks=False):
                    pending.append(f"{above}{one.name}/")
                else:
                    yield above + one.name


def _sums_of(path: Path, entry: str | None) -> dict[str, str]:
    said = json.loads((path / CHECKSUMS).read_bytes())
    if not isinstance(said, dict) or not isinstance(said.get(_FILES), dict):
        raise ValueError(f"{path / CHECKSUMS}: no checksums.")
    if entry is not None and said.get(_ENTRY) != entry:
        raise ValueError(f"{path / CHECKSUMS}: of another entry.")
    return {str(name): str(value) for name, value in said[_FILES].items()}


def is_ours(path: Path) -> bool:
    """Whether a folder is an entry, sound or not: nothing else has a file of checksums like it.

    Those of earlier versions, which had no names, are entries that are not sound.
    """
    try:
        said = json.loads((path / CHECKSUMS).read_bytes())
        sums = said.get(_FILES, said)
        return bool(sums) and all(len(value) == _HEX_DIGITS for value in sums.values())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


# --- writing ------------------------------------------------------------------------------


def keep_entry(path: Path, write: Callable[[Path], None]) -> bool:
    """Keep an entry if that is possible; whether it was.

    Of several processes that make the same entry the first to finish keeps it.

    Args:
        path: A folder below ``cache_folder()``.
        write: Fills a folder with its files.
    """
    try:
        beside = working_folder_beside(path)
        with replacing_folder(path, through=beside, there="keep") as temporary:
            write(temporary)
            _seal(temporary, path)
    except OSError as error:
        say_unwritable(error, path)
        return False
    return True


def made_entry(parent: Path, write: Callable[[Path], str], needed: int) -> Entry:
    """Make an entry that is needed, and keep it if that is possible.

    Args:
        parent: The folder below ``cache_folder()`` in which it belongs.
        write: Fills a folder with its files and tells its name.
        needed: About how many bytes it has.

    Returns:
        The entry where it belongs; else in the working folder, with which it goes.

    Raises:
        MachineError: There is no space for it anywhere.
    """
    for working in working_folders(needed, beside=parent / CHECKSUMS):
        folder = working / secrets.token_hex(8)
        try:
            folder.mkdir()
            path = parent / write(folder)
            _seal(folder, path)
            return _kept(folder, path)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            say_unwritable(error, working)
            trouble = MachineError(
                f"{working}: cannot be written ({error.strerror or error}). {REMEDY}"
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    raise trouble


def _kept(folder: Path, path: Path) -> Entry:
    """An entry, after it was put where it belongs if that is possible.

    Raises:
        OSError: It is gone.
    """
    if found := found_entry(path):  # another process was first
        shutil.rmtree(folder, ignore_errors=True)
        return found
    lock = os.open(folder / CHECKSUMS, os.O_RDONLY)
    locked(lock, shared=True)
    try:
        place_folder(folder, path)
        return Entry(path, lock)
    except OSError as error:
        say_unwritable(error, path)
    _temporary[path] = folder
    return Entry(folder, lock)


def _seal(folder: Path, path: Path) -> None:
    """Write down the checksums of an entry that belongs to a path."""
    sums = {_ENTRY: entry_of(path), _FILES: sha256_of_files(folder)}
    (folder / CHECKSUMS).write_text(json.dumps(sums))


# --- use ----------------------------------------------------------------------------------


def mark_used(path: Path) -> None:
    """Note that an entry was used now, as the time of its checksum file; where it can be."""
    with contextlib.suppress(OSError):
        os.utime(path / CHECKSUMS)


def discard(path: Path) -> bool:
    """Remove an entry that nobody uses; whether it is gone.

    Away by one rename, so that nobody sees half of it, and who makes it anew is not disturbed.
    """
    lock: int | None = None
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            lock = os.open(path / CHECKSUMS, os.O_RDONLY)
            if not locked(lock, shared=False):
                return False
        if not os.path.lexists(path):
            return True
        away = working_folder_beside(path) / f".{path.name}.{secrets.token_hex(8)}.tmp"
        path.rename(away)
    except OSError:
        return not os.path.lexists(path)
    finally:
        if lock is not None:
            os.close(lock)
    if away.is_dir() and not away.is_symlink():
        shutil.rmtree(away, ignore_errors=True)
    else:
        away.unlink(missing_ok=True)
    return True
