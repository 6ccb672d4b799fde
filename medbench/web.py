"""Files that are published on the web, fetched by pooch."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TIMEOUT_SECONDS = (10.0, 60.0)
"""How long to wait for a connection, and for each piece of an answer."""
_CHUNK_BYTES = 1 << 20


class DownloadError(Exception):
    """A file cannot be had from the web; its text is the reason, in a few words."""


def download(url: str, path: Path, *, progress: Any | None = None) -> None:
    """Fetch a file, under another name in its folder until all of it is there.

    One that breaks off is begun anew once; where there is no connection at all, waiting a second
    time for it would help nobody. Proxies are those of the environment
    (``HTTPS_PROXY``, ``NO_PROXY``).

    Args:
        url: Where it is published.
        path: Where it goes, in a folder of the caller's own: what a process that is killed
            leaves there is not removed. What bears this name is replaced.
        progress: Progress bar as pooch asks for it (``total``, ``update``, ``reset``, ``close``).

    Raises:
        DownloadError: No network, a server that refuses, or a connection that breaks.
        OSError: It cannot be written.
    """
    import pooch
    import requests

    path.unlink(missing_ok=True)  # which pooch would keep
    fetcher = pooch.create(
        path=path.parent,
        base_url="",
        registry={path.name: None},
        urls={path.name: url},
    )
    transport = pooch.HTTPDownloader(
        progressbar=progress or False, chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_SECONDS
    )
    broken = (requests.exceptions.ChunkedEncodingError, requests.ReadTimeout)
    for last in (False, True):
        try:
            with _quiet(pooch.get_logger()):
                fetcher.fetch(path.name, downloader=transport)
            return
        except requests.RequestException as error:
            if isinstance(error, broken) and not last:
                continue
            status = getattr(error.response, "status_code", None)
            reason = f"the server answers {status}" if status else type(error).__name__
            raise DownloadError(reason) from error


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Leave out what a logger would say of a success: callers say it."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
