"""Runs and exported models that somebody else may have made."""

from __future__ import annotations

from pathlib import Path

from medbench.atomic_files import read_json
from medbench.errors import StoreError
from medbench.inference import exported
from medbench.store import RunLayout, signature

SENTENCE = (
    "made by another user or on another machine. Its hashes show damage, but not who made it: use "
    "it only if you trust where you have it from."
)
"""What is said of a folder that is foreign, after its name."""


class ForeignWarning(UserWarning):
    """Models are loaded that somebody else may have made; see ``medbench.load_model``."""


def is_foreign(folder: Path) -> bool:
    """Whether somebody else may have made a run or an exported model.

    Each record of a cell that this user's runs write, and each manifest of his exports, is signed
    (see ``medbench.store.signature``). A folder with one that is not is foreign, and so are those
    of versions that signed nothing.
    """
    if exported.is_exported(folder):
        records = [folder / exported.MANIFEST]
    else:
        records = [cell.record for cell in RunLayout(folder).finished_cells()]
    return not all(map(_is_ours, records))


def _is_ours(path: Path) -> bool:
    try:
        record = read_json(path)
    except StoreError:
        return True  # nothing of it is used, and who uses the rest says so
    return isinstance(record, dict) and signature.is_ours(record)
