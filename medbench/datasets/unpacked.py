"""An archive of images is used as the folder that it holds: unpacked once, into the cache.

An entry is named by the content of its archive, so that a changed archive is another one, and the
same archive is unpacked once wherever it lies. It is whole or not there: a killed process leaves
nothing that is taken for it.
"""

from __future__ import annotations

import copy
import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from medbench.cache import Entry, cache_folder, found_entry, made_entry
from medbench.datasets.archive_files import Archive, Bounds, open_archive, refused
from medbench.datasets.image_names import HIDDEN, SYSTEM, why_left_out
from medbench.datasets.remembered import remembered, state_of
from medbench.disk import check_space
from medbench.errors import DatasetError, UndecidedError
from medbench.hashes import hash_of_file, sha256_of_text
from medbench.names import as_text

SUFFIXES = (
    ".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz",
)  # fmt: skip
"""Of files that are archives of images."""
_VERSION = 1
"""Raised whenever archives are unpacked otherwise."""
_FILES, _ABOUT = "files", "about.json"
"""In an entry: what was packed, and what is to be told of it."""
_BLOCK_BYTES = 4096
"""What a file takes of a disk beyond its bytes, at most."""
_NO_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)
"""What systems say of names that no file can have there."""
_LISTED, _LONGEST = 5, 100
"""Names in a message, and characters of one."""


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """An archive that was unpacked."""

    entry: Entry
    """Held, so that nobody removes it meanwhile."""
    folder: Path
    """What it holds; where all of it is in one folder, that folder."""
    notes: tuple[str, ...]
    """What a reader of results must know, a sentence each."""


_in_use: dict[Path, Unpacked] = {}
"""The archives that this process uses."""


def archive_in(path: Path) -> Path | None:
    """The archive that a path names or leads through, as ``films.zip/labels.csv``; None if none."""
    for one in (path, *path.parents):
        if one.name.lower().endswith(SUFFIXES) and one.is_file():
            return one
    return None


def without_suffix(name: str) -> str:
    """The name of an archive without what tells that it is one."""
    longest = max((s for s in SUFFIXES if name.lower().endswith(s)), key=len, default="")
    return name[: len(name) - len(longest)]


def opened(path: Path) -> Path:
    """Where a file or folder is by a path that may lead through an archive, which is unpacked.

    Args:
        path: One that is there, or leads through an archive.

    Raises:
        DatasetError: The archive cannot be unpacked, or does not hold it.
        MachineError: There is no space for it.
    """
    archive = archive_in(path)
    if archive is None:
        return path
    folder = unpacked(archive).folder
    there = folder / path.relative_to(archive)
    if not there.exists():
        names = sorted(as_text(one.name) for one in folder.iterdir())
        more = ", ..." if len(names) > _LISTED else ""
        raise DatasetError(
            f"{path}: is not in the archive. At its top are {', '.join(names[:_LISTED])}{more}."
        )
    return there


def notes_of(archive: Path) -> tuple[str, ...]:
    """The notes on an archive that this process has opened."""
    return _in_use[archive].notes


@contextmanager
def named_by_archive() -> Iterator[None]:
    """Have errors name what was unpacked as a person may: by the path through its archive."""
    try:
        yield
    except DatasetError as error:
        error.args = (_by_archive(str(error)),)
        if isinstance(error, UndecidedError):
            error.question = _by_archive(error.question)
        raise


def _by_archive(text: str) -> str:
    for archive, found in _in_use.items():
        text = text.replace(str(found.folder), str(archive))
    return text


# --- the cache --------------------------------------------------------------------------------


def unpacked(archive: Path) -> Unpacked:
    """What an archive holds, unpacked now or before.

    Raises:
        DatasetError: It cannot be read, or not be unpacked safely; with a remedy.
        MachineError: There is no space for it.
    """
    archive = archive.resolve()
    try:
        state = state_of(archive)
        content = remembered(archive, "sha256", hash_of_file)
    except OSError as error:
        raise DatasetError(f"{archive}: cannot be read ({error.strerror or error}).") from error
    key = sha256_of_text("unpacked", _VERSION, content)[:32]
    path = cache_folder() / "unpacked" / key
    entry = found_entry(path, contents_of=(_ABOUT,)) or _made(path, archive, state)
    about = json.loads((entry.path / _ABOUT).read_bytes())
    _in_use[archive] = Unpacked(
        entry=entry, folder=_top(entry.path / _FILES), notes=tuple(about["notes"])
    )
    return _in_use[archive]


def _made(path: Path, archive: Path, state: list[int]) -> Entry:
    bounds = Bounds(archive.stat().st_size, str(archive))
    with open_archive(archive, called=str(archive), bounds=bounds) as packed:

        def write(folder: Path) -> str:
            files = folder / _FILES
            files.mkdir()
            notes = _unpack(packed, files, copy.copy(bounds))
            (folder / _ABOUT).write_text(json.dumps({"notes": notes}))
            if state_of(archive) != state:
                raise DatasetError(
                    f"{archive}: was changed while it was unpacked. Give the command again."
                )
            return path.name

        return made_entry(path.parent, write, _needed(packed))


def _needed(packed: Archive) -> int:
    return packed.n_bytes + _BLOCK_BYTES * len(packed.files)


# --- files ------------------------------------------------------------------------------------


def _unpack(packed: Archive, root: Path, bounds: Bounds) -> list[str]:
    """Write what an archive holds, and what archives in it hold where there are no images beside.

    Returns:
        Notes.

    Raises:
        DatasetError: As ``unpacked``.
        OSError: It cannot be written.
    """
    _write(packed, root)
    notes = list(packed.notes)
    for name in _inner_archives(packed):
        inside = f"{packed.called}/{as_text(name)}"
        target, aside = root / without_suffix(name), root.with_name("inner")
        if os.path.lexists(target):
            raise refused(packed.called, f"holds {as_text(name)!r} and a folder of that name")
        aside.mkdir()
        with open_archive(root / name, called=inside, bounds=bounds) as inner:
            check_space(aside, _needed(inner))
            if _inner_archives(inner):
                raise refused(inside, "is an archive in an archive and holds archives itself")
            _write(inner, aside)
            notes += inner.notes
        (root / name).unlink()
        _top(aside).rename(target)
        shutil.rmtree(aside, ignore_errors=True)
    return notes


def _write(packed: Archive, root: Path) -> None:
    """Write all files below a folder, in which nothing is; nothing is ever written over."""
    made = {""}
    for file in packed.files:
        try:
            folders = file.name.split("/")[:-1]
            for depth in range(len(folders)):
                folder = "/".join(folders[: depth + 1])
                if folder not in made:
                    (root / folder).mkdir()
                    made.add(folder)
            with (root / file.name).open("xb") as written:
                for piece in packed.pieces(file):
                    written.write(piece)
        except FileExistsError as error:
            raise refused(
                packed.called,
                f"holds {as_text(file.name)!r} and something else of that name, or one that this "
                "disk takes for the same (as in another case)",
            ) from error
        except OSError as error:
            if error.errno in _NO_NAME:
                name = as_text(file.name)[:_LONGEST]
                raise refused(
                    packed.called, f"holds {name!r}, which cannot be a name here"
                ) from error
            raise


def _inner_archives(packed: Archive) -> list[str]:
    """The archives in an archive, if they hold the images: where none lie beside them."""
    names = [file.name for file in packed.files]
    inner = [name for name in names if name.lower().endswith(SUFFIXES)]
    others = {name.rpartition("/")[2] for name in names if name not in inner}
    return inner if all(map(why_left_out, others)) else []


def _top(folder: Path) -> Path:
    """The only folder in a folder in which there is nothing else; else the folder itself."""
    with os.scandir(folder) as entries:
        shown = [e for e in entries if why_left_out(e.name) not in (HIDDEN, SYSTEM)]
    return Path(shown[0]) if len(shown) == 1 and shown[0].is_dir() else folder
