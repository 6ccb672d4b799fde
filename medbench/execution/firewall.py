"""Keeps a family's code away from whatever holds held-out images or labels, wherever it looks.

A cell's process is given development images only. What is held out lies in files all the same: in
the user's data folder, in the prepared data set, in the predictions of models that ran before. In
that process Python may not open or list any of them. This protects against accident (a family that
reads "its" folder, a glob too wide), not against malice: code outside Python is not stopped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medbench.errors import ModelError

_LOOKING = frozenset({"open", "os.listdir", "os.scandir"})
"""Events of Python's audit hooks by which files and folders are looked into."""


class Firewall:
    """Folders and files that are closed, but for what in them is open."""

    def __init__(self, closed: Iterable[str | Path], open_: Iterable[str | Path]) -> None:
        """Begin to watch; a process cannot get rid of it again.

        Args:
            closed: Folders (with all that is in them) and files.
            open_: Exceptions below them.
        """
        self._closed = tuple(form for path in closed for form in _forms(path))
        self._open = tuple(form for path in open_ for form in _forms(path))
        sys.addaudithook(self._watch)

    def open_up(self, path: Path) -> None:
        """From now on ``path`` may be read too."""
        self._open += tuple(_forms(path))

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _LOOKING or not isinstance(arguments[0], str | bytes | os.PathLike | None):
            return
        path = os.path.abspath(os.fsdecode(arguments[0] or "."))  # noqa: PTH100  called for every import
        if _within(path, self._closed) and not _within(path, self._open):
            raise ModelError(
                f"tried to read {os.path.basename(path)!r} in a folder that holds held-out images "  # noqa: PTH119
                "or labels. A family gets all that it may see as arguments; keep files of your own "
                "elsewhere."
            )


def closed_places(run: Path, cache: Path, read_from: Sequence[Path]) -> list[str]:
    """What a cell's process must not read: the run, prepared and fetched data, the original files.

    Where a table lies among other things (in the working folder, beside the environment), the
    table itself is closed and the images are not.

    Args:
        run: The run folder.
        cache: Where prepared and fetched data are.
        read_from: Files and folders of the data set.
    """
    places = [run, cache / "prepared", cache / "data", *read_from]
    places += [path.parent for path in read_from if path.is_file()]
    return [str(place.resolve()) for place in places if not (place.is_dir() and _needed(place))]


def _needed(folder: Path) -> bool:
    """Whether Python itself or the user's own modules lie in a folder."""
    needed = (Path(sys.prefix), Path(sys.base_prefix), Path(__file__), Path.cwd())
    return any(path.resolve().is_relative_to(folder.resolve()) for path in needed)


def _forms(path: str | Path) -> set[str]:
    return {os.path.abspath(path), os.path.realpath(path)}  # noqa: PTH100


def _within(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(place + os.sep) for place in places)
