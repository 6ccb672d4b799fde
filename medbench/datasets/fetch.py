"""Getting data sets that are not here yet, from wherever they are published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from medbench.cache import cache_folder
from medbench.datasets.sources.base import Source


def download_folder(data_dir: Path | None) -> Path:
    """Where fetched files land: below ``--data-dir`` where it is given, else in the cache."""
    return cache_folder() / "data" if data_dir is None else data_dir


def fetch(
    name: str,
    source: Source,
    folder: Path,
    *,
    say: Callable[[str], None],
    progress: Any | None = None,
) -> None:
    """Get a data set that is not here yet; one that is here is looked at only.

    Args:
        name: Its name in the catalog.
        source: Its source.
        folder: See ``download_folder``.
        say: Shows a line to the user.
        progress: Progress bar as pooch asks for it (``total``, ``update``, ``reset``, ``close``).

    Raises:
        DatasetError: MedBench cannot get it, the download failed, or what is here or came is
            not what it should be; says what to put where by hand.
    """
    download = source.download
    if source.is_here():
        source.listing()
        say(f"{name}: is here already")
    elif download is None:
        source.locate()  # its error says where to get the files and where to put them
    else:
        target = folder / download.path
        say(
            f"{name}: fetching {download.address} (at most {download.megabytes:,} MB, licence "
            f"{source.licence}) into {target}"
        )
        proof = download.fetch(target, progress)
        say(f"{name}: is here now, {proof}")
