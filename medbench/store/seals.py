"""Records that show whether they are as they were written, and the files that belong to them.

A record is a JSON object. One that is written here carries the hash of all else in it
(``record_sha256``) and those of the files that it stands for (``sha256``, by name).

They show accidents: a damaged disk, half a copy, a file that somebody edited. They show nothing of
whoever made the folder, who can write the hashes too; see ``medbench.store.signature`` for that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medbench.atomic_files import append_line, write_json
from medbench.hashes import hash_of_file, sha256_of_json

SEAL = "record_sha256"
_FILES = "sha256"
NO_FILES: Mapping[str, Path] = {}


def as_read(record: Mapping[str, Any], files: Mapping[str, Path] = NO_FILES) -> dict[str, Any]:
    """A record as JSON gives it back, with the hashes of files.

    Args:
        record: JSON-ready.
        files: Files that the record stands for, by the names under which it knows them.

    Raises:
        ValueError: There is a NaN in it, which JSON does not know.
        OSError: A file cannot be read.
    """
    plain: dict[str, Any] = json.loads(json.dumps(dict(record), allow_nan=False))
    plain.pop(SEAL, None)
    if files:
        plain[_FILES] = {name: hash_of_file(path) for name, path in files.items()}
    return plain


def sealed(record: Mapping[str, Any], files: Mapping[str, Path] = NO_FILES) -> dict[str, Any]:
    """A record with the hashes of files, and its own; arguments and errors as ``as_read``."""
    plain = as_read(record, files)
    return {**plain, SEAL: sha256_of_json(plain)}


def write_record(
    path: Path, record: Mapping[str, Any], files: Mapping[str, Path] = NO_FILES
) -> None:
    """Write a record with its hashes; errors as of ``write_json`` and ``as_read``."""
    write_json(path, sealed(record, files))


def append_record(
    path: Path, record: Mapping[str, Any], files: Mapping[str, Path] = NO_FILES
) -> None:
    """Add a record as a line to a file that only grows; errors as ``write_record``."""
    append_line(path, sealed(record, files))


def holds(record: Mapping[str, Any], *, required: bool = True) -> bool:
    """Whether a record is as it was written.

    Args:
        record: As it was read.
        required: Whether one without a hash, as earlier versions wrote it, is none.
    """
    if SEAL not in record:
        return not required
    content = {name: value for name, value in record.items() if name != SEAL}
    return bool(record[SEAL] == sha256_of_json(content))


def is_same(record: Mapping[str, Any], name: str, path: Path) -> bool:
    """Whether a file is the one that a record stands for; earlier versions did not say."""
    hashes = record.get(_FILES)
    if hashes is None:
        return True
    try:
        return isinstance(hashes, dict) and hashes.get(name) == hash_of_file(path)
    except OSError:
        return False


def unsealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says, without the hash of itself."""
    return {name: value for name, value in record.items() if name != SEAL}


def without_hashes(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says, without any hash."""
    return {name: value for name, value in record.items() if name not in (SEAL, _FILES)}
