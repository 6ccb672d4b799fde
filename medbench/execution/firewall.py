"""Keeps a family's code away from whatever holds held-out images or labels, wherever it looks.

A cell's process is given development images only. What is held out lies in files all the same: in
the user's data folder, in the prepared data set, in the predictions of models that ran before. In
that process Python may not open or list any of them. This protects against accident (a family that
reads "its" folder, a glob too wide), not against malice: code outside Python is not stopped.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import Any

from medbench.errors import ModelError
from medbench.store.layout import RunLayout

_LOOKING = frozenset({"open", "os.listdir", "os.scandir"})
"""Events of Python's audit hooks by which files and folders are looked into."""
_OF_IMAGES = ("prepared", "unpacked", "data")
"""Folders of the cache with images or labels."""


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
        _have_arrow_announce()

    def open_up(self, path: Path) -> None:
        """From now on ``path`` may be read too."""
        self._open += tuple(_forms(path))

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _LOOKING:
            return
        wanted = arguments[0]
        if isinstance(wanted, int) and event != "open":  # a folder that was opened before
            wanted = _of_descriptor(wanted)
        if not isinstance(wanted, str | bytes | os.PathLike | None):
            return
        path = os.path.abspath(os.fsdecode(wanted or "."))  # noqa: PTH100  called for every import
        for form in (path, _real(path)):
            if _within(form, self._closed) and not _within(form, self._open):
                raise ModelError(
                    f"tried to read {os.path.basename(path)!r} in a folder that holds held-out "  # noqa: PTH119
                    "images or labels. A family gets all that it may see as arguments; keep files "
                    "of your own elsewhere."
                )


def closed_paths(
    run: Path, cache: Path, read_from: Sequence[Path], origins: Iterable[str]
) -> list[str]:
    """What a cell's process must not read: the run, prepared and fetched data, the original files.

    Where images or a table lie among other things (in the working folder, beside the environment),
    what is named there is closed: the table, and the folders and files of the images.

    Args:
        run: The run folder.
        cache: Where prepared and fetched data are.
        read_from: Files and folders of the data set.
        origins: Names of the images; those of files are relative to one of the folders.
    """
    folders = [path.parent if path.is_file() else path for path in read_from]
    layout = RunLayout(run)
    paths = [layout.cells, layout.datasets]
    paths += [path for path in read_from if path.is_file()]
    for folder in (run, *(cache / kind for kind in _OF_IMAGES), *folders):
        if folder.is_dir() and _needed(folder):
            names = {origin.replace("\\", "/").partition("/")[0] for origin in origins}
            named = [folder / name for name in sorted(names)]
            paths += [path for path in named if path.exists() and not _needed(path)]
        else:
            paths.append(folder)
    return [str(path.resolve()) for path in paths]


def _needed(folder: Path) -> bool:
    """Whether Python itself or the user's own modules lie in a folder."""
    needed = (sys.prefix, sys.base_prefix, __file__, "", *sys.path)  # "" is the working folder
    return any(Path(path).resolve().is_relative_to(folder.resolve()) for path in needed)


def _forms(path: str | Path) -> set[str]:
    return {os.path.abspath(path), os.path.realpath(path)}  # noqa: PTH100


def _have_arrow_announce() -> None:
    """Have pyarrow tell which Parquet files it opens, which it does outside Python.

    With pandas 3.1 and later ``pd.read_parquet`` of a path is seen by this only.
    """
    from pyarrow import parquet

    for reader in (parquet.ParquetFile, parquet.ParquetDataset):
        reader.__init__ = _announcing(reader.__init__)


def _announcing(begin: Callable[..., None]) -> Callable[..., None]:
    @wraps(begin)
    def announced(self: Any, *arguments: Any, **named: Any) -> None:
        source = arguments[0] if arguments else next(iter(named.values()))
        for path in source if isinstance(source, list | tuple) else [source]:
            if isinstance(path, str | os.PathLike):
                sys.audit("open", path, "rb", 0)
        begin(self, *arguments, **named)

    return announced


def _real(path: str) -> str:
    """The path without symbolic links; folders are remembered, for it is asked at every import."""
    folder, name = os.path.split(path)
    path = os.path.join(_real_folder(folder), name)  # noqa: PTH118
    return os.path.realpath(path) if os.path.islink(path) else path  # noqa: PTH114


_real_folder = cache(os.path.realpath)


def _of_descriptor(number: int) -> str | int:
    """The path of an open folder, where the system tells it."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
    return number


def _within(path: str, paths: tuple[str, ...]) -> bool:
    return any(path == each or path.startswith(each + os.sep) for each in paths)
