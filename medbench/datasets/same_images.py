"""Which prepared data set holds the images of a listing, whatever path and time stamps they have.

An entry is named by what was asked for and by the content of all files. The content of files that
stay as they are (path, size and times) is known from the last time; else all are read once, unless
nothing of the kind was ever prepared.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medbench.atomic_files import folder_name
from medbench.cache import (
    Entry,
    cache_folder,
    entries_like,
    found_entry,
    keep_note,
    made_entry,
    read_note,
)
from medbench.datasets.decode_listing import ListedImages
from medbench.hashes import sha256_of_text

_DIGITS = 16
"""Hexadecimal digits of each part of a name."""


class EntryPath:
    """The path at which the entry of a listing is, or will be."""

    def __init__(self, cache: Path, recipe: str, signature: str) -> None:
        """Say what is looked for.

        Args:
            cache: Folder of prepared data sets.
            recipe: Hash of all that decides what is prepared but the content of the files.
            signature: A hash that changes whenever the content of a file may have.
        """
        self._cache = cache
        self._recipe = recipe[:_DIGITS]
        key = sha256_of_text("prepared", recipe, signature)[:32]
        self._note = cache_folder() / "checked" / f"{key}.json"

    def find(self, images: ListedImages) -> Entry | None:
        """The entry, if there is one."""
        known = read_note(self._note)
        if isinstance(known, str) and (found := self._of_content(known)):
            return found
        if not self._prepared_of("*"):
            return None
        content = images.content()
        found = None if content == known else self._of_content(content)
        if found is not None:
            keep_note(self._note, content)
        return found

    def make(
        self, name: str, images: ListedImages, write: Callable[[Path], None], *, needed: int
    ) -> Entry:
        """Make it anew.

        Args:
            name: Of the data set, with which the name of the entry begins.
            images: The images.
            write: Fills a folder.
            needed: About how many bytes that takes.

        Raises:
            MachineError: There is nowhere space for it.
        """

        def written(folder: Path) -> str:
            write(folder)
            return f"{folder_name(name)}-{self._recipe}-{images.content()[:_DIGITS]}"

        entry = made_entry(self._cache, written, needed)
        keep_note(self._note, images.content())
        return entry

    def _of_content(self, content: str) -> Entry | None:
        return next(filter(None, map(found_entry, self._prepared_of(content[:_DIGITS]))), None)

    def _prepared_of(self, content: str) -> list[Path]:
        """Entries of the recipe with a content, whatever they are called."""
        return entries_like(self._cache, f"*-{self._recipe}-{content}")
