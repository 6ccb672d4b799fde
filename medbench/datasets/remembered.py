"""What was found out about the content of a file, kept while the file stays as it is."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

from medbench.cache import cache_folder, replacing_note
from medbench.hashes import hash_of_file, sha256_of_text


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
