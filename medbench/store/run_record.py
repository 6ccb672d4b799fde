"""``run.json``: what a run was begun with. Without it nobody can say what a folder is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medbench.atomic_files import read_json
from medbench.errors import StoreError
from medbench.store import schemas, seals
from medbench.store.reading import FORMAT, READABLE, is_hashed

_RESTORE = (
    "Only this file is damaged, the cells are untouched: restore it from a copy, or begin a new "
    "run in another folder with --out."
)


def read_run(path: Path) -> dict[str, Any]:
    """What is in ``run.json``, of which nothing is damaged.

    Raises:
        StoreError: It is not there or damaged, or another version wrote it.
    """
    run = read_any_run(path)
    if not is_whole(run):
        raise StoreError(f"{path}: damaged, its hash does not match. {_RESTORE}")
    return run


def read_any_run(path: Path) -> dict[str, Any]:
    """What is in ``run.json``, if it is one at all; see ``is_whole`` for whether to believe it.

    Raises:
        StoreError: It is not there or no such record, or another version wrote it.
    """
    if not path.is_file():
        raise StoreError(f"{path.parent}: there is no run here (no run.json).")
    try:
        run = read_json(path)
    except StoreError as error:
        raise StoreError(f"{path}: cannot be read ({error.__cause__}). {_RESTORE}") from error
    if not isinstance(run, dict):
        raise StoreError(f"{path}: damaged, it is no JSON object. {_RESTORE}")
    if not seals.holds(run, required=False):  # of what is damaged nothing else can be said
        return run
    found, wrong = run.get("format"), schemas.damaged(run, schemas.Run)
    readable = f"{', '.join(map(str, READABLE[:-1]))} or {READABLE[-1]}"
    if "format" not in wrong and run["format"] > FORMAT:
        raise StoreError(
            f"{path}: written by a newer MedBench (format {found}, this one reads {readable}): "
            "update MedBench."
        )
    if "format" in wrong or found not in READABLE:
        raise StoreError(
            f"{path}: written in format {found!r}, this MedBench reads format {readable}. "
            "Use the version that wrote it.",
            options={"--out": "names another folder"},
        )
    if "configuration" in wrong:
        raise StoreError(f"{path}: damaged, it names no configuration. {_RESTORE}")
    return run


def is_whole(run: Mapping[str, Any]) -> bool:
    """Whether ``run.json`` is as it was written."""
    format_ = run.get("format")
    return seals.holds(run, required=isinstance(format_, int) and is_hashed(format_))
