"""Looks at a folder, tree, table or archive and writes the entry that describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medbench.datasets.csv_files import TABLE_SUFFIXES
from medbench.datasets.detect_bids import detect_bids
from medbench.datasets.detect_table import detect_table
from medbench.datasets.sources.bids_tree import is_bids
from medbench.datasets.sources.npz import guess_task
from medbench.errors import DatasetError

_PACKED = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar")
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods")


def detect(path: Path, **given: Any) -> dict[str, Any]:
    """The entry of ``datasets.yaml`` that describes a path.

    Args:
        path: A folder of class folders, a BIDS tree, a CSV or an npz archive.
        given: Fields of the entry that a person names, as the CSV's columns ``file``, ``label``
            and ``group``; None where nothing is said.

    Raises:
        UndecidedError: Several columns may be the label.
        DatasetError: It is none of these, or a column cannot be guessed.
    """
    if not path.exists():
        raise DatasetError(f"{path}: there is no such file or folder.")
    path = path.resolve()
    given = {field: value for field, value in given.items() if value is not None}
    suffix = path.suffix.lower()
    if path.is_dir() and is_bids(path):
        return detect_bids(path, given)
    if "suffix" in given:
        raise DatasetError(f"{path}: --suffix is for BIDS trees only.")
    if path.is_dir():
        entry: dict[str, Any] = {"source": "folder", "path": str(path)}
    elif suffix == ".npz":
        entry = {"source": "npz", "path": str(path), **guess_task(path)}
        entry |= {"task": given.pop("task")} if "task" in given else {}
    elif suffix in TABLE_SUFFIXES:
        return detect_table(path, given)
    else:
        raise DatasetError(f"{path}: {_what_else(suffix)}")
    if given:
        raise DatasetError(f"{path}: --{next(iter(given))} is for tables (CSV) only.")
    return entry


def _what_else(suffix: str) -> str:
    """Why a file of another kind is not read, and what to do."""
    if suffix in _PACKED:
        return "is packed. Unpack it, and name the folder or the table in it."
    if suffix in _SHEETS:
        return "is a workbook. Save its sheet as CSV, and name that."
    return (
        "neither a folder of class folders, nor a BIDS tree, nor a table (.csv, .tsv), nor an .npz "
        "archive."
    )
