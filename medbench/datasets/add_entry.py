"""A data set of the user's own: its entry is guessed, tried, and added to his file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from medbench import registry
from medbench.atomic_files import write_text
from medbench.datasets.detect import detect
from medbench.datasets.listing import Listing
from medbench.datasets.places import place_of
from medbench.datasets.sources.folder import FolderSource
from medbench.errors import ConfigurationError, UndecidedError

Answer = Callable[[UndecidedError], str]
"""Gives the choice that a person takes, or raises the error again."""
_PATHS = ("path", "images")
"""Fields that name files and folders."""
_OF_FOLDERS = {
    "folders": "folders",
    "exclude": "exclude",
    "include": "include",
    "labels": "pattern",
}
"""Fields of folders alone, with the options that give them."""


def guessed_entry(path: Path, given: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """The entry of ``datasets.yaml`` that describes a path; what cannot be guessed is asked.

    Args:
        path: A folder, a table or an archive (see ``detect``), also in a place that is here; the
            entry then names just the version that is.
        given: Fields of the entry that a person names; None where nothing is said.
        answer: Asks a person.

    Raises:
        ConfigurationError: A field is for folders, and it is none.
        UndecidedError: A column cannot be guessed, and there is no answer.
        DatasetError: As ``detect``, or the place is not here yet.
    """
    place = Placed.of(path)
    path = place.local(path)
    of_folders = {field: given[field] for field in _OF_FOLDERS if given.get(field)}
    others = {field: value for field, value in given.items() if field not in _OF_FOLDERS}
    if others.get("images"):
        others["images"] = place.local(others["images"])
    positive = others.pop("positive", None)
    while True:
        try:
            entry = detect(path, by_folders=bool({"folders", "labels"} & set(of_folders)), **others)
            break
        except UndecidedError as error:
            others[error.field] = answer(error)
    if of_folders and entry["source"] != "folder":
        option = _OF_FOLDERS[next(iter(of_folders))]
        raise ConfigurationError(
            f"--{option}: is for folders, and {path} is a {entry['source']} data set."
        )
    entry |= {field: place.named(entry[field]) for field in _PATHS if field in entry}
    return entry | of_folders | ({} if positive is None else {"positive": positive})


@dataclass(frozen=True, kw_only=True)
class Placed:
    """The folder of a place on this machine, in which paths are looked at before they are named."""

    whole: Path | None
    """Where all of it lies; None where there is no place."""
    name: str
    """How a path names it, with the version that is here."""

    @classmethod
    def of(cls, path: Path) -> Placed:
        """What a path names; a path of a file or folder is left as it is.

        Raises:
            ConfigurationError: It begins like a place and cannot be one.
            DatasetError: The place is not here yet; says how it is fetched.
        """
        if (place := place_of(path)) is None:
            return cls(whole=None, name="")
        source = FolderSource(path=place.name)
        return cls(whole=source.here()["path"], name=source.place_name())

    def local(self, path: str | Path) -> Path:
        """Where something lies that a path names, in this place or elsewhere.

        Raises:
            ConfigurationError: It begins like a place and cannot be one.
            DatasetError: It is not here.
        """
        if place_of(path) is None:
            return Path(path)
        return FolderSource(path=str(path)).here()["path"]

    def named(self, path: str) -> str:
        """How an entry names what lies here."""
        if self.whole is None or not Path(path).is_relative_to(self.whole):
            return path
        return f"{self.name}/{Path(path).relative_to(self.whole).as_posix()}".removesuffix("/.")


def tried(entry: dict[str, Any], answer: Answer) -> Listing:
    """What an entry lists.

    Where something is unclear, a person's answer goes into the entry. So does the side to which
    images are brought, so that files that are added later do not change the size of all.

    Args:
        entry: As ``guessed_entry`` gives it.
        answer: Asks a person.

    Raises:
        DatasetError: Something is missing or cannot be understood.
        UndecidedError: Something is unclear, and there is no answer.
        ConfigurationError: A field cannot have the value that is given.
    """
    while True:
        try:
            source = registry.sources.get(entry["source"]).model_validate(entry)
            listing: Listing = source.listing()
            entry["image_size"] = source.side(listing)
            return listing
        except UndecidedError as error:
            entry[error.field] = answer(error)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise ConfigurationError(f"{field}: {first['msg']}.") from None


def append_entry(file: Path, name: str, entry: dict[str, Any]) -> str:
    """Add an entry to a YAML file of data sets, below what stands there.

    Paths below the folder of the file are written relative to it, so that both can be moved.

    Args:
        file: The file; it need not be there.
        name: Of the data set.
        entry: What describes it.

    Returns:
        What was added.

    Raises:
        ConfigurationError: It cannot be added there; the message has what to paste.
    """
    entry = entry | {
        field: _from(file.resolve().parent, entry[field]) for field in _PATHS if field in entry
    }
    text: str = yaml.safe_dump({name: entry}, sort_keys=False, allow_unicode=True)
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    whole = f"{before.rstrip()}\n\n{text}" if before.strip() else text
    try:
        appended = yaml.safe_load(whole)[name] == entry
    except yaml.YAMLError:
        appended = False
    if not appended:
        raise ConfigurationError(
            f"{file}: an entry cannot be added below what stands there. Paste this into it:\n\n"
            f"{text}"
        )
    write_text(file, whole)
    return text


def _from(folder: Path, path: str) -> str:
    """A path as a file in a folder names it: relative where it lies below, else as it is."""
    if place_of(path) is not None or folder not in Path(path).parents:
        return path
    return Path(path).relative_to(folder).as_posix()
