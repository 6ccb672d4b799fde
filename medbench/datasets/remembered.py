"""What was found out about the content of a file, kept while the file stays as it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from medbench.cache import cache_folder, keep_note, read_note
from medbench.hashes import hash_of_file, sha256_of_text


def md5_of(path: Path) -> str:
    """The MD5 sum of a file, computed again only when the file may have changed."""
    return remembered(path, "md5", lambda path: hash_of_file(path, "md5"))


def remembered(path: Path, what: str, compute: Callable[[Path], str]) -> str:
    """What was computed of a file's content, from the cache while it stays as it is.

    Args:
        path: The file.
        what: Name of what is computed.
        compute: Computes it.
    """
    key = sha256_of_text(what, path.resolve())[:32]
    note = cache_folder() / "checked" / f"{key}.json"
    state = state_of(path)
    known = read_note(note)
    if isinstance(known, dict) and known.get("state") == state:
        return str(known["value"])
    value = compute(path)
    keep_note(note, {"state": state, "value": value})
    return value


def state_of(path: str | Path) -> list[int]:
    """Whatever of a file changes with its content, as far as can be told without reading it.

    Size, time of the last change of the content, and that of the last change of anything, which
    nobody can set back: a file of the same size and time with other content is noticed.
    """
    status = os.stat(path)  # noqa: PTH116  half the time, of many files
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
