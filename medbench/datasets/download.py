"""Fetching published files on request, and knowing by their sum that they are those files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.cache import cache_folder, replacing_note
from medbench.errors import DatasetError
from medbench.hashes import hash_of_file, sha256_of_text

if TYPE_CHECKING:
    from medbench.datasets.sources.base import Source

_TIMEOUT_SECONDS = (10.0, 60.0)
"""How long to wait for a connection, and for each piece of an answer."""
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of a data set as somebody publishes it."""

    url: str
    md5: str
    """The official sum."""
    path: str
    """Where it belongs, relative to a data folder."""
    megabytes: int
    """The most it can have, told before the download begins."""


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
    if source.is_here():
        source.listing()
        say(f"{name}: is here already")
        return
    if source.remote is None:
        source.listing()  # its error says where to get the files and where to put them
        return
    remote = source.remote
    target = folder / remote.path
    say(
        f"{name}: fetching {remote.url} (at most {remote.megabytes:,} MB, licence "
        f"{source.licence}) into {target}"
    )
    download(remote, target, progress)
    say(f"{name}: is here now, its MD5 is the official one")


def download(remote: RemoteFile, target: Path, progress: Any | None = None) -> None:
    """Download a file to ``target``, under another name until it is whole and its sum is right.

    A download that is interrupted begins anew the next time. One with a wrong sum is kept beside
    the target, with ``.wrong-md5`` behind its name, and not used.

    Raises:
        DatasetError: No network, a refusing server, a full disk, a wrong sum, or another process
            is at it.
    """
    import pooch
    import requests
    from filelock import FileLock, Timeout

    part = target.with_name(f"{target.name}.part")
    downloader = pooch.HTTPDownloader(
        progressbar=progress or False, chunk_size=_CHUNK_BYTES, timeout=_TIMEOUT_SECONDS
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock"), timeout=0):
            try:
                downloader(remote.url, str(part), None)
                found = hash_of_file(part, "md5")
                if found == remote.md5:
                    part.replace(target)
                    return
                aside = target.with_name(f"{target.name}.wrong-md5")
                part.replace(aside)
            finally:
                part.unlink(missing_ok=True)
    except Timeout:
        raise DatasetError(
            f"{target}: another process is fetching it. Wait for it and give the command again."
        ) from None
    except requests.RequestException as error:  # an OSError too, so it comes first
        raise DatasetError(
            f"{remote.url}: cannot be fetched ({_reason(error)}). Try again, or get the file on "
            f"any computer that reaches it and put it at {target} (MD5 {remote.md5})."
        ) from error
    except OSError as error:
        raise DatasetError(
            f"{target}: cannot be written ({error.strerror or error}). Free space or permissions "
            "there, or name another folder with --data-dir or MEDBENCH_CACHE."
        ) from error
    raise DatasetError(
        f"{remote.url}: what came has the MD5 sum {found}, but the official one is {remote.md5}. "
        f"It is kept as {aside} and not used. Try again; if that gives the same sum, something "
        f"between here and there changes it: get it elsewhere and put it at {target}."
    )


def _reason(error: Exception) -> str:
    """What went wrong on the network, without the library's nested texts."""
    response = getattr(error, "response", None)
    return (
        type(error).__name__ if response is None else f"the server answers {response.status_code}"
    )


def md5_of(path: Path) -> str:
    """The MD5 sum of a file, computed again only when its size or time has changed."""
    return remembered(path, "md5", lambda path: hash_of_file(path, "md5"))


def remembered(path: Path, what: str, compute: Callable[[Path], str]) -> str:
    """What was computed of a file's content, from the cache while its size and time stay.

    Args:
        path: The file.
        what: Name of what is computed.
        compute: Computes it.
    """
    status = path.stat()
    state = [status.st_size, status.st_mtime_ns]
    key = sha256_of_text(what, path.resolve())[:32]
    note = cache_folder() / "checked" / f"{key}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # not there, or damaged
        known = json.loads(note.read_text())
        if known["state"] == state:
            return str(known["value"])
    value = compute(path)
    # where it cannot be written it is computed again the next time, that is all
    with contextlib.suppress(OSError), replacing_note(note) as temporary:
        temporary.write_text(json.dumps({"state": state, "value": value}))
    return value
