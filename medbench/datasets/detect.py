"""Looks at a folder, table or archive and writes the entry that describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medbench.datasets.csv_files import TABLE_SUFFIXES
from medbench.datasets.detect_dicom import refuse_undecided_label
from medbench.datasets.detect_table import detect_table
from medbench.datasets.readers.dicom_tags import label_keyword
from medbench.datasets.sources.dicomdir import is_dicomdir
from medbench.datasets.sources.npz import guess_task
from medbench.errors import DatasetError

_PACKED = (".zip", ".gz", ".tgz", ".tar", ".bz2", ".xz", ".7z", ".rar")
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods")


def detect(path: Path, *, by_folders: bool = False, **given: Any) -> dict[str, Any]:
    """The entry of ``datasets.yaml`` that describes a path.

    Args:
        path: A folder of class folders or of DICOM files, a DICOMDIR, a CSV or an npz archive.
        by_folders: Whether a person says that the folders in a folder tell the classes.
        given: Fields of the entry that a person names, as the CSV's columns ``file``, ``label``
            and ``group``; None where nothing is said.

    Raises:
        UndecidedError: Several columns, or elements of DICOM headers, may be the label.
        DatasetError: It is none of the three, or a column cannot be guessed.
    """
    if not path.exists():
        raise DatasetError(f"{path}: there is no such file or folder.")
    path = path.resolve()
    given = {field: value for field, value in given.items() if value is not None}
    suffix = path.suffix.lower()
    if path.is_dir() or is_dicomdir(path):
        entry: dict[str, Any] = {"source": "folder", "path": str(path)}
        if "label" in given:
            entry["label"] = {"tag": _keyword(given.pop("label"))}
        elif not by_folders:
            refuse_undecided_label(path)
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


def _keyword(tag: str) -> str:
    """The element of DICOM headers that a person means.

    Raises:
        DatasetError: There is none, or it may be no label.
    """
    try:
        return label_keyword(tag)
    except ValueError as error:
        raise DatasetError(f"--label {tag}: {error}.") from None


def _what_else(suffix: str) -> str:
    """Why a file of another kind is not read, and what to do."""
    if suffix in _PACKED:
        return "is packed. Unpack it, and name the folder or the table in it."
    if suffix in _SHEETS:
        return "is a workbook. Save its sheet as CSV, and name that."
    return "neither a folder of class folders, nor a table (.csv, .tsv), nor an .npz archive."
