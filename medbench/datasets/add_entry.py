"""A data set of the user's own: its entry is guessed, tried, and added to his file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from medbench import registry
from medbench.atomic_files import write_text
from medbench.datasets.detect import detect
from medbench.datasets.listing import Listing
from medbench.errors import ConfigurationError, UndecidedError

Answer = Callable[[UndecidedError], str]
"""Gives the choice that a person takes, or raises the error again."""
_OF_FOLDERS = ("folders", "exclude", "include")


def guessed_entry(path: Path, given: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """The entry of ``datasets.yaml`` that describes a path; what cannot be guessed is asked.

    Args:
        path: A folder, a table or an archive; see ``detect``.
        given: Fields of the entry that a person names; None where nothing is said.
        answer: Asks a person.

    Raises:
        ConfigurationError: A field is for folders, and it is none.
        UndecidedError: A column cannot be guessed, and there is no answer.
        DatasetError: As ``detect``.
    """
    of_folders = {field: given[field] for field in _OF_FOLDERS if given.get(field)}
    others = {field: value for field, value in given.items() if field not in _OF_FOLDERS}
    positive = others.pop("positive", None)
    while True:
        try:
            entry = detect(path, by_folders="folders" in of_folders, **others)
            break
        except UndecidedError as error:
            others[error.field] = answer(error)
    if of_folders and entry["source"] != "folder":
        raise ConfigurationError(
            f"--{next(iter(of_folders))}: is for folders, and {path} is a {entry['source']} data "
            "set."
        )
    return entry | of_folders | ({} if positive is None else {"positive": positive})


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
    """
    while True:
        try:
            source = registry.sources.get(entry["source"]).model_validate(entry)
            listing: Listing = source.listing()
            entry["image_size"] = source.side(listing)
            return listing
        except UndecidedError as error:
            entry[error.field] = answer(error)


def append_entry(file: Path, name: str, entry: dict[str, Any]) -> str:
    """Add an entry to a YAML file of data sets, below what stands there.

    Args:
        file: The file; it need not be there.
        name: Of the data set.
        entry: What describes it.

    Returns:
        What was added.

    Raises:
        ConfigurationError: It cannot be added there; the message has what to paste.
    """
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
