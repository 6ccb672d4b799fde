"""Getting data sets that are not here yet, from wherever they are published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from medbench.cache import cache_folder
from medbench.datasets.download import Download
from medbench.datasets.places import Place
from medbench.datasets.sources.base import Source


def download_folder(data_dir: Path | None) -> Path:
    """Where fetched files land: below ``--data-dir`` where it is given, else in the cache."""
    return cache_folder() / "data" if data_dir is None else data_dir


def fetch(
    name: str,
    source: Source | Place,
    folder: Path,
    *,
    say: Callable[[str], None],
    progress: Any | None = None,
) -> None:
    """Get a data set that is not here yet; one that is here is looked at only.

    Args:
        name: Its name in the catalog, or of a place as a path names it.
        source: Its source; or a place, of which all is fetched, whatever it is.
        folder: See ``download_folder``.
        say: Shows a line to the user.
        progress: Progress bar as pooch asks for it (``total``, ``update``, ``reset``, ``close``).

    Raises:
        DatasetError: MedBench cannot get it, the download failed, or what is here or came is
            not what it should be; says what to put where by hand.
    """
    if isinstance(source, Place):
        _get(name, source.download, folder, say=say, progress=progress)
        return
    download = source.to_fetch
    if source.is_here() and not (download is not None and download.asks_again):
        source.listing()
        say(f"{name}: is here already")
    elif download is None:
        source.locate()  # its error says where to get the files and where to put them
    else:
        _get(name, download, folder, say=say, progress=progress, licence=source.licence)
        source.locate()


def _get(
    name: str,
    download: Download,
    folder: Path,
    *,
    say: Callable[[str], None],
    progress: Any | None,
    licence: str = "not stated",
) -> None:
    download = download.measured()
    target = download.target(folder)
    say(f"{name}: fetching {download.address} ({download.size}, licence {licence}) into {target}")
    proof = download.fetch(target, progress)
    say(f"{name}: is here now, {proof}")
