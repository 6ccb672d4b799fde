"""Data sets that are fetched before a run, with a bar where there is a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from medbench.datasets.fetch import download_folder, fetch
from medbench.datasets.places import Place, place_of
from medbench.errors import DatasetError

if TYPE_CHECKING:
    from rich.console import Console

    from medbench.datasets.catalog import Catalog
    from medbench.datasets.sources.base import Source


def download_missing(
    names: Sequence[str], catalog: Catalog, data_dir: Path | None, console: Console
) -> None:
    """Fetch those data sets that are not here and that MedBench can get.

    Raises:
        DatasetError: One cannot be had.
    """
    for name in names:
        source = catalog.get(name)
        if source.to_fetch is not None and not source.is_here():
            fetch_shown(name, source, data_dir, console)


def download_each(
    names: Sequence[str], catalog: Catalog, data_dir: Path | None, console: Console
) -> Iterator[tuple[str, DatasetError]]:
    """Fetch data sets, whatever is there of them; those that cannot be had, each with the reason.

    A name may also be a place, ``kaggle:OWNER/NAME``, which need not be registered.

    Raises:
        UnknownNameError: One is not registered; nothing is fetched.
        ConfigurationError: One begins like a place and cannot be one; nothing is fetched.
    """
    wanted = {name: place_of(name, to_fetch=True) or catalog.get(name) for name in names}
    for name, source in wanted.items():
        try:
            fetch_shown(name, source, data_dir, console)
        except DatasetError as error:
            yield name, error


def fetch_shown(name: str, source: Source | Place, data_dir: Path | None, console: Console) -> None:
    """Fetch a data set, whatever is there of it, and show how far that is.

    Raises:
        DatasetError: It cannot be had.
    """

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    with download_bar(console) as bar:
        fetch(name, source, download_folder(data_dir), say=say, progress=bar)


@contextlib.contextmanager
def download_bar(console: Console) -> Iterator[_Bar | None]:
    """A line that shows how far a download is, where there is a terminal."""
    if not console.is_terminal:
        yield None
        return
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bar(progress)


class _Bar:
    """What pooch asks of a progress bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, visible=False)

    @property
    def total(self) -> int:
        """Bytes to come; 0 where the server does not say."""
        return int(self._progress.tasks[0].total or 0)

    @total.setter
    def total(self, n_bytes: int) -> None:
        self._progress.update(self._task, total=n_bytes or None, visible=True)

    def update(self, n_bytes: int) -> None:
        """So many bytes more."""
        self._progress.advance(self._task, n_bytes)

    def reset(self) -> None:
        """Back to nothing; pooch does it before it fills the bar at the end."""
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """It is done."""
