"""Which files a user means: names, folders, patterns, or a list."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from medbench.datasets.readers import image_suffixes
from medbench.datasets.sources.image_files import image_folder
from medbench.errors import ConfigurationError

STANDARD_INPUT = "-"
"""Stands for a list of names, one a line, on standard input."""


def find_files(
    named: Iterable[str], standard_input: IO[str], say: Callable[[str], None] = lambda text: None
) -> list[str]:
    """The image files that a user names, in the order given, each once.

    A name of nothing that exists is given back as it is, to be reported as its row.

    Args:
        named: Files, folders (all that may be an image below, see
            ``medbench.datasets.image_names``), patterns such as ``films/*.png``, or ``"-"``.
        standard_input: Where the list is read that ``"-"`` stands for.
        say: Told what is left out in a folder.

    Raises:
        ConfigurationError: A folder holds no image, or nothing is found at all.
        DatasetError: A folder cannot be read.
    """
    named = list(named)
    found: dict[str, None] = {}
    for name in named:
        names = _lines(standard_input) if name == STANDARD_INPUT else [name]
        for one in names:
            found.update(dict.fromkeys(_expanded(one, say)))
    if not found:
        raise ConfigurationError(
            f"no image was found in {', '.join(named) or 'nothing'}. Name files, folders that hold "
            f"some ({', '.join(image_suffixes())}), patterns, or - for a list on standard input."
        )
    return list(found)


def _lines(file: IO[str]) -> Iterator[str]:
    yield from (line for line in (line.rstrip("\r\n") for line in file) if line.strip())


def _expanded(name: str, say: Callable[[str], None]) -> Iterator[str]:
    if os.path.isdir(name):  # noqa: PTH112  a name with a null character is no error here
        yield from _in_folder(name, say)
    elif glob.has_magic(name) and not os.path.lexists(name):
        yield from [path for path in sorted(_matching(name)) if Path(path).is_file()] or [name]
    else:
        yield name


def _matching(pattern: str) -> Iterator[str]:
    """What a pattern fits; ``**`` goes into no link, since two that lead up have no end."""
    if "**" not in pattern:
        yield from glob.iglob(pattern)  # noqa: PTH207  absolute patterns too
        return
    whole = Path(pattern)
    try:
        found = Path(whole.anchor or ".").glob(str(whole.relative_to(whole.anchor)))
        hidden = sum(part.startswith(".") for part in whole.parts)
        yield from (
            str(path) for path in found if sum(p.startswith(".") for p in path.parts) <= hidden
        )
    except (OSError, ValueError):  # such as a**b, or a folder that cannot be read
        return


def _in_folder(name: str, say: Callable[[str], None]) -> Iterator[str]:
    """The images in a folder, by the same rule as those of a data set."""
    folder = image_folder(Path(name), follow=True)
    if not folder.n_images:
        but = f" Left out: {folder.left_out}." if str(folder.left_out) else ""
        raise ConfigurationError(f"{name}: no image was found in this folder.{but}")
    if str(folder.left_out):
        say(f"{name}: left out: {folder.left_out}")
    base = str(Path(name).resolve())
    for _, path in folder.files():
        yield str(Path(name) / Path(path).relative_to(base))
