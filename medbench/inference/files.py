"""Which files a user means: names, folders, patterns, or a list."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from medbench.datasets.readers import HEAD_BYTES, PICTURE, all_readers, reader_of
from medbench.errors import ConfigurationError

STANDARD_INPUT = "-"
"""Stands for a list of names, one a line, on standard input."""


def find_files(named: Iterable[str], standard_input: IO[str]) -> list[str]:
    """The image files that a user names, in the order given, each once.

    A name of nothing that exists is given back as it is, to be reported as its row.

    Args:
        named: Files, folders (all image files below, by suffix, or by content where a format
            other than a picture's is told by it, since names such as ``1.2.840.113619`` are
            common), patterns such as ``films/*.png``, or ``"-"``.
        standard_input: Where the list is read that ``"-"`` stands for.

    Raises:
        ConfigurationError: A folder holds no image, or nothing is found at all.
    """
    named = list(named)
    found: dict[str, None] = {}
    for name in named:
        names = _lines(standard_input) if name == STANDARD_INPUT else [name]
        for one in names:
            found.update(dict.fromkeys(_expanded(one)))
    if not found:
        raise ConfigurationError(
            f"no image was found in {', '.join(named) or 'nothing'}. Name files, folders that hold "
            f"some ({', '.join(_suffixes())}), patterns, or - for a list on standard input."
        )
    return list(found)


def _lines(file: IO[str]) -> Iterator[str]:
    yield from (line for line in (line.rstrip("\r\n") for line in file) if line.strip())


def _expanded(name: str) -> Iterator[str]:
    if os.path.isdir(name):  # noqa: PTH112  a name with a null character is no error here
        found = [str(path) for path in sorted(Path(name).rglob("*")) if _is_image(path)]
        if not found:
            raise ConfigurationError(f"{name}: no image was found in this folder.")
        yield from found
    elif glob.has_magic(name) and not os.path.lexists(name):
        matching = sorted(glob.glob(name, recursive=True))  # noqa: PTH207  absolute patterns too
        yield from [path for path in matching if Path(path).is_file()] or [name]
    else:
        yield name


def _suffixes() -> tuple[str, ...]:
    """What of a folder's files is meant; of a file named by itself the content decides."""
    return tuple(suffix for reader in all_readers() for suffix in reader.suffixes)


def _is_image(path: Path) -> bool:
    """Whether a file of a folder is meant: it looks like an image and is not hidden."""
    if path.name.startswith(".") or not path.is_file():
        return False
    if path.name.lower().endswith(_suffixes()):
        return True
    with path.open("rb") as file:
        return reader_of(file.read(HEAD_BYTES)).name != PICTURE
