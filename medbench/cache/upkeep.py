"""What lies in the cache: listed, checked, cleared, and kept within a bound.

Only what is known to be MedBench's is touched: entries by their checksums, notes and downloads by
their names, working folders by their locks. What else lies there is left, and no link is followed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from medbench.backbones import BACKBONES
from medbench.byte_sizes import size_in_bytes
from medbench.cache.entries import discard, is_ours, is_sound
from medbench.cache.folders import REMEDY, cache_folder
from medbench.cache.locks import CHECKSUMS, in_use
from medbench.cache.notes import read_note
from medbench.cache.working import BESIDE, WORK, is_abandoned, working_folders_there
from medbench.errors import ConfigurationError, MachineError

SIZE_VARIABLE = "MEDBENCH_CACHE_SIZE"
KINDS: Mapping[str, str] = {
    "prepared": "decoded images of data sets",
    "unpacked": "archives of images, unpacked",
    "features": "features and embeddings of images",
    "headers": "what files say of slices and patients",
    "networks": "models of runs as ONNX",
    "checked": "sums and states of files",
    "costs": "what cells took on this machine",
    "jax": "programs that JAX has compiled",
    "work": "what runs are at work on, or killed ones left",
    "weights": "pretrained weights that were downloaded",
    "data": "data sets that were downloaded",
}
"""Folders of the cache, and what is in them."""
DOWNLOADED = ("weights", "data")
"""What is not computed again, so that it goes only if it is asked for by name."""
ENTRIES = ("prepared", "unpacked", "features", "headers", "networks")
"""What consists of entries."""
NOTES = ("checked", "costs")
"""What consists of notes."""
CHECKED = (*ENTRIES, *NOTES, "weights")
"""What has checksums."""
_AT = {**dict.fromkeys(KINDS, 1), "features": 2, "jax": 2}
"""How many folders deep."""
_HASH = r"[0-9a-f]{32}"
_OURS: Mapping[str, Callable[[str], object]] = {
    "prepared": re.compile(r".+-[0-9a-f]{16}-[0-9a-f]{16}").fullmatch,
    **dict.fromkeys(("unpacked", "features", "headers", "networks"), re.compile(_HASH).fullmatch),
    **dict.fromkeys(NOTES, re.compile(rf"{_HASH}\.json").fullmatch),
    "jax": re.compile(r".+-(cache|atime)").fullmatch,
    "weights": frozenset(one.weights.file_name for one in BACKBONES.values()).__contains__,
}
"""By what name each kind is known; an entry also by its checksums."""
_LEFT = re.compile(r"\.([0-9a-f]{32}|.+\.[0-9a-f]{16}\.tmp)")
"""What earlier versions had not finished, beside its final place and without a lock."""
_LEFT_SECONDS = 24 * 3600.0
"""How old that must be, as nobody can tell whether somebody is at work on it."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """An entry, a file or a working folder."""

    kind: str
    path: Path
    n_bytes: int
    used: float
    """When it was last used, in seconds since 1970."""
    in_use: bool

    def is_sound(self) -> bool:
        """Whether it is as it was written, as far as that is known; else an entry is removed."""
        if self.kind in ENTRIES:
            return is_sound(self.path)
        return self.kind not in NOTES or read_note(self.path) is not None

    def remove(self) -> bool:
        """Remove it unless it is in use; whether it is gone."""
        if self.kind in ENTRIES:
            return discard(self.path)
        if self.kind == WORK:
            if not _LEFT.fullmatch(self.path.name):
                return is_abandoned(self.path, remove=True) and not self.path.exists()
            if _is_left(self.path):
                shutil.rmtree(self.path, ignore_errors=True)
            return not self.path.exists()
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            return False
        return True


def check_readable() -> None:
    """See to it that what lies in the cache can be told; one that is not there is empty.

    Raises:
        MachineError: It is no folder, or cannot be looked into.
    """
    try:
        os.listdir(cache_folder())  # noqa: PTH208
    except FileNotFoundError:
        pass
    except OSError as error:
        raise MachineError(
            f"{cache_folder()}: the cache cannot be read ({error.strerror}). {REMEDY}"
        ) from error


def items(kinds: Collection[str] = tuple(KINDS), *, downloads: Collection[str] = ()) -> list[Item]:
    """What lies in the cache of some kinds.

    Args:
        kinds: Of ``KINDS``.
        downloads: Files of data sets that can be fetched, relative to the folder ``data``.
    """
    return [_item(kind, path) for kind in kinds for path in _paths_of(kind, downloads)]


def foreign(found: Collection[Item]) -> list[Path]:
    """Files and links in the cache that are of none of the items, nor in the use of a process."""
    cache, known = cache_folder(), {item.path for item in found}
    strangers: list[Path] = []
    pending = [cache]
    while pending:
        for path in sorted(_inside(pending.pop())):
            if path in known or path.name in (WORK, BESIDE):
                continue
            if path.is_dir() and not path.is_symlink():
                pending.append(path)
            elif path.suffix != ".lock":
                strangers.append(path)
    return strangers


def clear(
    kinds: Collection[str] | None = None, *, downloads: Collection[str] = ()
) -> tuple[list[Item], list[Item]]:
    """Remove what is not in use.

    Args:
        kinds: Of ``KINDS``; all that are not downloads where None.
        downloads: As of ``items``.

    Returns:
        What was removed, and what could not be.
    """
    chosen = [kind for kind in KINDS if kind not in DOWNLOADED] if kinds is None else kinds
    gone: list[Item] = []
    kept: list[Item] = []
    for item in items(chosen, downloads=downloads):
        (gone if item.remove() else kept).append(item)
    for kind in chosen:
        if _AT[kind] > 1:
            for folder in _below(cache_folder() / kind, _AT[kind] - 1):
                _remove_empty(folder)
    return gone, kept


def bound() -> int | None:
    """Most bytes of what can be computed again, from ``MEDBENCH_CACHE_SIZE``; None for no bound.

    Raises:
        ConfigurationError: It is no size.
    """
    wanted = os.environ.get(SIZE_VARIABLE, "").strip()
    if not wanted:
        return None
    most = size_in_bytes(wanted)
    if most is None:
        raise ConfigurationError(
            f"{SIZE_VARIABLE}={wanted}: is no size. Write it as 500MB, 20GB or 1.5TB, or leave it "
            "away for no bound."
        )
    return most


def keep_within_bound() -> list[Item]:
    """Remove entries, those first that were not used for longest, until the others fit.

    What is in use stays, and so does what was downloaded, which is not counted.

    Returns:
        What was removed.

    Raises:
        ConfigurationError: ``MEDBENCH_CACHE_SIZE`` is no size.
    """
    most = bound()
    if most is None:
        return []
    there = items(ENTRIES)
    too_much = sum(item.n_bytes for item in there) - most
    gone: list[Item] = []
    for item in sorted(there, key=lambda item: item.used):
        if too_much <= 0:
            break
        if item.remove():
            gone.append(item)
            too_much -= item.n_bytes
    return gone


def _paths_of(kind: str, downloads: Collection[str]) -> Iterator[Path]:
    folder = cache_folder() / kind
    if kind == WORK:
        yield from working_folders_there()
        for depth in (2, 3):
            left = (path for path in _below(cache_folder(), depth, hidden=True))
            yield from (path for path in left if _LEFT.fullmatch(path.name))
    elif kind == "data":
        paths = (folder / name for name in sorted(downloads))
        yield from (path for path in paths if path.is_file() and not _by_a_link(path))
    else:
        for path in _below(folder, _AT[kind]):
            if _OURS[kind](path.name) or (kind in ENTRIES and is_ours(path)):
                yield path


def _item(kind: str, path: Path) -> Item:
    used = in_use(path) if kind in ENTRIES else kind == WORK and not _is_left(path)
    try:
        when = (path / CHECKSUMS if kind in ENTRIES else path).stat().st_mtime
    except OSError:  # damaged, gone meanwhile, or not ours to look at
        when = 0.0
    return Item(kind=kind, path=path, n_bytes=_size(path), used=when, in_use=used)


def _is_left(path: Path) -> bool:
    """Whether the process that was at work in a folder is gone."""
    if not _LEFT.fullmatch(path.name):
        return is_abandoned(path)
    try:
        return time.time() - path.stat().st_mtime > _LEFT_SECONDS
    except OSError:
        return False


def _below(folder: Path, depth: int, *, hidden: bool = False) -> list[Path]:
    """What lies so deep in a folder, without links and what is reached through them.

    Args:
        folder: The folder.
        depth: 1 for what lies right in it.
        hidden: Only what is hidden, else only what is not.
    """
    found = [folder]
    for level in range(1, depth + 1):
        wanted = hidden and level == depth
        found = [
            path
            for parent in found
            for path in sorted(_inside(parent))
            if path.name.startswith(".") == wanted and not path.is_symlink()
        ]
    return found


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
    except OSError:
        return []


def _remove_empty(folder: Path) -> None:
    """Remove a folder in which nothing lies but, at most, an empty place for unfinished work."""
    for one in (folder / BESIDE, folder):
        with contextlib.suppress(OSError):  # it is not there, or not empty
            one.rmdir()


def _by_a_link(path: Path) -> bool:
    """Whether something in the cache is a link, or reached through one."""
    cache = cache_folder()
    return any(one.is_symlink() for one in (path, *path.parents) if one.is_relative_to(cache))


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; what cannot be looked at counts nothing."""
    total = 0
    try:
        if not path.is_dir():
            return path.lstat().st_size
        for folder, _, names in os.walk(path):
            total += sum(os.lstat(os.path.join(folder, name)).st_size for name in names)  # noqa: PTH118
    except OSError:
        pass
    return total
