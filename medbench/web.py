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
_LISTED = 10
"""Files of a record that an error names."""


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
    _fetch(fetcher, path.name, transport)


def download_of_doi(doi: str, name: str, path: Path, *, progress: Any | None = None) -> str:
    """Fetch a file of a record of Zenodo, Figshare or a Dataverse, and compare its sum.

    Args:
        doi: The record's.
        name: Name of the file there.
        path: As of ``download``.
        progress: As of ``download``.

    Returns:
        Its sum as the repository says it, as "md5:0123...", which is that of the file.

    Raises:
        DownloadError: As ``download``; or there is no such record or file, or its sum is another.
        OSError: It cannot be written.
    """
    import pooch
    import requests

    path.unlink(missing_ok=True)
    fetcher = pooch.create(path=path.parent, base_url=f"doi:{doi}/", registry=None)
    transport = pooch.DOIDownloader(
        progressbar=progress or False, chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_SECONDS
    )
    try:
        fetcher.load_registry_from_doi()
    except requests.JSONDecodeError as error:
        raise DownloadError("the repository's answer is not understood") from error
    except requests.RequestException as error:
        raise DownloadError(_reason(error)) from error
    except (ValueError, LookupError, TypeError) as error:
        raise DownloadError(
            f"no record of Zenodo, Figshare or a Dataverse, or not an open one ({error})"
        ) from error
    if name not in fetcher.registry:
        there = ", ".join(map(repr, sorted(fetcher.registry)[:_LISTED]))
        raise DownloadError(f"the record has no file {name!r}, but {there}")
    try:
        _fetch(fetcher, name, transport)
    except ValueError as error:  # of pooch, which has removed what came
        raise DownloadError("what came has another sum than the repository says") from error
    if (came := path.parent / name) != path:
        came.replace(path)
    return str(fetcher.registry[name])


def _fetch(fetcher: Any, name: str, transport: Any) -> None:
    """Have pooch fetch a file of its registry; see ``download``."""
    import pooch
    import requests

    broken = (requests.exceptions.ChunkedEncodingError, requests.ReadTimeout)
    for last in (False, True):
        try:
            with _quiet(pooch.get_logger()):
                fetcher.fetch(name, downloader=transport)
            return
        except requests.RequestException as error:
            if isinstance(error, broken) and not last:
                continue
            raise DownloadError(_reason(error)) from error


def _reason(error: Any) -> str:
    """Why a request failed, in a few words."""
    status = getattr(error.response, "status_code", None)
    return f"the server answers {status}" if status else type(error).__name__


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Leave out what a logger would say of a success: callers say it."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
