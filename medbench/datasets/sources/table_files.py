"""Finds the files that a table names, also where it names them as another machine or person did."""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medbench.datasets.image_names import HIDDEN, SYSTEM, composed, why_left_out
from medbench.datasets.readers import image_suffixes
from medbench.datasets.sources.base import inside, leads_to_file, unreadable_folder
from medbench.names import as_text, real_name

_LISTED = 5
"""Names in an error; more are counted."""
_LONGEST = 100
"""Characters of a name in an error."""
_FILE, _FOLDER, _LINK = "file", "folder", "link"
_DRIVE = re.compile(r"[A-Za-z]:(?=[\\/])")
_ADDRESS = re.compile(r"[a-z]+://")
_REMEDY = (
    "Put them there, name their folder in the field images (--images of datasets add), or leave "
    "the rows out (--where of datasets add)."
)


@dataclass(frozen=True, kw_only=True)
class FoundFiles:
    """What became of the names of a table, in their order."""

    paths: list[str]
    """Where the file of each name is, resolved; "" where it was not found."""
    names: list[str]
    """Its name below the folder, with '/'; that of the table where it was not found."""
    otherwise: dict[str, str]
    """Names whose file lies or is called otherwise, with its name below the folder."""
    several: dict[str, list[str]]
    """Names that could be any of several files."""


class NamedFiles:
    """The files below a folder; each of its folders is looked into once, and only where needed."""

    def __init__(self, root: Path, *, named_in: str) -> None:
        """``named_in`` is the table, for messages."""
        self.root = root.resolve()
        self._named_in = named_in
        self._suffixes = image_suffixes()
        self._listed: dict[str, tuple[str, dict[str, str]]] = {}
        self._below: dict[str, bool] | None = None
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}

    def find(self, names: Sequence[str]) -> FoundFiles:
        """Look for files: as they are named, else by what cannot be another one.

        That is a name with back slashes, in another case, without its extension, of a file in a
        folder below, or with a beginning that is of another machine. A file that could be several
        ones is not chosen.

        Raises:
            DatasetError: A name leads out of the folder by a link, or a folder cannot be read.
        """
        paths = [self._as_named(name) for name in names]
        lost = {name for name, path in zip(names, paths, strict=True) if not path}
        guesses = {name: self._guess(name) for name in sorted(lost)}
        only = {name: files[0] for name, files in guesses.items() if len(files) == 1}
        for stray in _strays(only, others_found=len(lost) < len(set(names))):
            del only[stray]
        start = f"{self.root}/"
        return FoundFiles(
            paths=[
                path or (self._located(only[name]) if name in only else "")
                for name, path in zip(names, paths, strict=True)
            ],
            names=[only.get(name, name).removeprefix(start) for name in names],
            otherwise=only,
            several={name: files for name, files in guesses.items() if len(files) > 1},
        )

    def at(self, path: str) -> Path:
        """The file that was found at a path."""
        return Path(real_name(path))

    def image_files(self) -> list[str]:
        """Names of all image files below the folder, by their suffix."""
        return [name for name in self._all() if name.lower().endswith(self._suffixes)]

    def with_other_extension(self, name: str) -> str:
        """A file that is called so but for its extension; "" where there is none."""
        self._all()
        *folders, base = map(_key, _parts(name) or [""])
        files = self._by_stem.get(self._stem(base), [])
        return max(files, key=lambda file: _common_end(folders, _folders(file)), default="")

    def is_folder(self, name: str) -> bool:
        """Whether there is a folder of that name."""
        try:
            return bool(name) and (self.root / real_name(name)).is_dir()
        except (OSError, ValueError):
            return False

    # --- as named ------------------------------------------------------------------------------

    def _as_named(self, name: str) -> str:
        """The file that lies exactly where the name says, below the folder; "" if there is none."""
        plain = posixpath.normpath(name.removeprefix(f"{self.root}/"))
        if plain.startswith(("../", "/")) or plain in ("..", "."):
            return ""
        folder, _, base = plain.rpartition("/")
        path, here = self._listed.get(folder) or self._look_into(folder)
        kind = here.get(base)
        if kind == _LINK:
            return self._linked(plain)
        return f"{path}/{real_name(base)}" if kind == _FILE else ""

    def _look_into(self, folder: str) -> tuple[str, dict[str, str]]:
        """Where a folder lies, and what is in it, each with its kind; nothing if there is none."""
        above = ""
        if above not in self._listed:
            self._listed[above] = str(self.root), _kinds_in(str(self.root))
        for part in folder.split("/") if folder else ():
            below = f"{above}/{part}" if above else part
            if below not in self._listed:
                path, here = self._listed[above]
                kind = here.get(part)
                if kind not in (_FOLDER, _LINK):
                    self._listed[folder] = path, {}
                    break
                path = f"{path}/{real_name(part)}" if kind == _FOLDER else self._inside(below)
                self._listed[below] = path, _kinds_in(path)
            above = below
        return self._listed[folder]

    def _inside(self, name: str) -> str:
        return str(inside(self.root, real_name(name), named_in=self._named_in))

    def _linked(self, name: str) -> str:
        path = self._inside(name)
        return path if Path(path).is_file() else ""

    # --- by what cannot be another one -----------------------------------------------------------

    def _guess(self, name: str) -> list[str]:
        """The files that a name may mean; more than one where nothing tells them apart."""
        parts = _parts(name)
        if not parts:
            return []
        self._all()
        base = _key(parts[-1])
        candidates = self._by_name.get(base, [])
        if not candidates and not base.endswith(self._suffixes):
            candidates = self._by_stem.get(base, [])
        if not candidates and base.endswith(self._suffixes):
            candidates = self._by_name.get(self._stem(base), [])  # as DICOM files are exported
        folders = [_key(part) for part in parts[:-1]]
        common = {file: _common_end(folders, _folders(file)) for file in candidates}
        best = [file for file in candidates if common[file] == max(common.values())]
        exact = [file for file in best if file.rpartition("/")[2] == parts[-1]]
        return exact if len(exact) == 1 else best

    def _all(self) -> dict[str, bool]:
        """All files below the folder that are not hidden, with whether each is a link."""
        if self._below is None:
            self._below = dict(sorted(_files_below(self.root)))
            for name in self._below:
                base = _key(name.rpartition("/")[2])
                self._by_name.setdefault(base, []).append(name)
                if base.endswith(self._suffixes):
                    self._by_stem.setdefault(self._stem(base), []).append(name)
        return self._below

    def _located(self, name: str) -> str:
        return self._linked(name) if self._all()[name] else f"{self.root}/{real_name(name)}"

    def _stem(self, base: str) -> str:
        """A name without the extension of an image."""
        fitting = [suffix for suffix in self._suffixes if base.endswith(suffix)]
        return base[: len(base) - max(map(len, fitting), default=0)]


def missing_files(files: NamedFiles, names: Sequence[str], found: FoundFiles) -> str:
    """What to tell of names without a file: which, what was tried, what is there, the remedy."""
    missing = [name for name, path in zip(names, found.paths, strict=True) if not path]
    listed = ", ".join(repr(name[:_LONGEST]) for name in missing[:_LISTED])
    more = ", ..." if len(missing) > _LISTED else ""
    text = f"{len(missing)} of {len(names)} files are not in {files.root}: {listed}{more}."
    if found.several:
        name, paths = next(iter(found.several.items()))
        where = " and ".join(map(repr, paths[:_LISTED]))
        return (
            f"{text} {len(found.several)} of these names fit several files, as {name!r} fits "
            f"{where}. Name the folder of the right ones in the field images (--images of datasets "
            "add), or write the names as they are there."
        )
    if all(not name for name in missing):
        return f"{text} These cells are empty. {_REMEDY}"
    if addresses := [name for name in missing if _ADDRESS.match(name)]:
        return f"{text} {addresses[0][:_LONGEST]!r} is an address, not a file. {_REMEDY}"
    if folders := [name for name in missing if files.is_folder(name)]:
        return f"{text} {folders[0]!r} is a folder. Name the files in it, one row each."
    return f"{text} {_tried(files.root, missing)} {_there(files, missing)} {_REMEDY}"


def _tried(root: Path, missing: Sequence[str]) -> str:
    outside = [n for n in missing if n.startswith("/") or posixpath.normpath(n).startswith("..")]
    leads_out = [f"{name[:_LONGEST]!r} leads out of the data folder {root}. " for name in outside]
    return (
        f"{''.join(leads_out[:1])}Also tried: back slashes, another case, a missing extension, "
        "folders below, and only the ends of paths."
    )


def _there(files: NamedFiles, missing: Sequence[str]) -> str:
    """What is there instead."""
    others = {file: None for name in missing if (file := files.with_other_extension(name))}
    if others:
        return (
            f"There is {', '.join(map(repr, [*others][:_LISTED]))}, with another extension: write "
            "the names so."
        )
    images = files.image_files()
    if not images:
        return "There are no image files below that folder."
    return f"There are image files ({len(images)}) below that folder, the first is {images[0]!r}."


def told_otherwise(found: FoundFiles) -> tuple[str, ...]:
    """A note on files that do not lie as the table names them; none where all do."""
    if not found.otherwise:
        return ()
    ways = Counter(way for name, file in found.otherwise.items() for way in _ways(name, file))
    how = ", ".join(f"{way} ({n})" for way, n in sorted(ways.items()))
    n = len(found.otherwise)
    return (f"{n} files do not lie as the table names them and were found otherwise: {how}",)


def _strays(guesses: Mapping[str, str], *, others_found: bool) -> set[str]:
    """Guesses that are none: the folder is another one, though others lie in the one named.

    A file that is named a/1.png and is not there is not b/1.png, where a/2.png is in its place;
    and two names do not mean one file.
    """
    dropped = {name: _dropped(name, file) for name, file in guesses.items()}
    kept = {*dropped.values(), *([()] if others_found else [])}
    meant = Counter(guesses.values())
    return {
        name
        for name, start in dropped.items()
        if start and (meant[guesses[name]] > 1 or any(start[:n] in kept for n in range(len(start))))
    }


def _dropped(name: str, file: str) -> tuple[str, ...]:
    """The folders at the beginning of a name that the file that was found does not lie in."""
    folders = [_key(part) for part in _parts(name)[:-1]]
    return tuple(folders[: len(folders) - _common_end(folders, _folders(file))])


def _ways(name: str, file: str) -> Iterable[str]:
    """How the name of a table and that of the file differ."""
    dropped, there = len(_dropped(name, file)), file.split("/")
    parts = _parts(name)[dropped:]
    if "\\" in name:
        yield "back slashes"
    if dropped:
        yield "without the folders of another machine"
    if len(there) > len(parts):
        yield "in a folder below"
    if _key(there[-1]) != _key(parts[-1]):
        longer = len(there[-1]) > len(parts[-1])
        yield f"extension {there[-1][len(parts[-1]) :]} added" if longer else "without extension"
    elif there[-len(parts) :] != parts:
        yield "in another case"


def _common_end(one: Sequence[str], other: Sequence[str]) -> int:
    """How many of the last folders are the same."""
    n = 0
    while n < min(len(one), len(other)) and one[-1 - n] == other[-1 - n]:
        n += 1
    return n


def _parts(name: str) -> list[str]:
    """Folders and file of a name as any system writes it."""
    plain = name[2:] if _DRIVE.match(name) else name
    return [part for part in plain.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _folders(file: str) -> list[str]:
    return [_key(part) for part in file.split("/")[:-1]]


def _key(name: str) -> str:
    """What names have in common that differ in case or in how accents are composed."""
    return composed(name).casefold()


def _files_below(root: Path) -> Iterable[tuple[str, bool]]:
    """All files below a folder that are not hidden, and whether each is a link.

    Raises:
        DatasetError: A folder cannot be read.
    """
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as entries:
                shown = [e for e in entries if why_left_out(e.name) not in (HIDDEN, SYSTEM)]
        except OSError as error:
            raise unreadable_folder(root / folder, error) from error
        for entry in shown:
            if entry.is_dir(follow_symlinks=False):
                pending.append(f"{folder}{entry.name}/")
            elif leads_to_file(entry):
                yield as_text(f"{folder}{entry.name}"), entry.is_symlink()


def _kinds_in(folder: str) -> dict[str, str]:
    """What is in a folder, each with its kind; nothing if it is none.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return {as_text(entry.name): _kind(entry) for entry in entries}
    except NotADirectoryError:
        return {}
    except OSError as error:
        raise unreadable_folder(folder, error) from error


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return _LINK
    return _FOLDER if entry.is_dir() else _FILE if entry.is_file() else ""
