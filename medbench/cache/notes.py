"""Notes: small JSON values of the cache that may change, each in a file with its own checksum."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medbench.atomic_files import replacing_file
from medbench.cache.folders import say_unwritable
from medbench.cache.working import working_folder_beside
from medbench.hashes import sha256_of_json


def read_note(path: Path) -> Any:
    """The JSON value of a small file of the cache; None where it is not there or damaged."""
    try:
        said = json.loads(path.read_bytes())
        sound = said["sha256"] == sha256_of_json([path.name, said["value"]])
        return said["value"] if sound else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def keep_note(path: Path, value: Any) -> bool:
    """Keep a JSON value, in place of what is there, if that is possible; whether it was."""
    content = {"value": value, "sha256": sha256_of_json([path.name, value])}
    try:
        beside = working_folder_beside(path)
        with replacing_file(path, through=beside) as temporary:
            temporary.write_text(json.dumps(content))
    except OSError as error:
        say_unwritable(error, path)
        return False
    return True
