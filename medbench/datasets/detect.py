"""Looks at a folder, tree, table or archive and writes the entry that describes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from medbench.datasets.detect_bids import detect_bids
from medbench.datasets.detect_dicom import refuse_undecided_label
from medbench.datasets.detect_table import detect_table
from medbench.datasets.readers.dicom_tags import label_keyword
from medbench.datasets.sources.bids_tree import is_bids
from medbench.datasets.sources.dicomdir import is_dicomdir
from medbench.datasets.sources.image_files import image_folder
from medbench.datasets.sources.npz import guess_task
from medbench.datasets.sources.table_reading import SUFFIXES, parquet_files
from medbench.datasets.unpacked import archive_in, named_by_archive, opened
from medbench.errors import DatasetError

_PACKED = (".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_PART = re.compile(r"\.(?:[zr]?\d{2,3}|part)")
"""As in films.zip.001 and films.z01."""
_SHEETS = (".xls", ".xlsb", ".ods")


def detect(path: Path, *, by_folders: bool = False, **given: Any) -> dict[str, Any]:
    """The entry of ``datasets.yaml`` that describes a path.

    Args:
        path: A folder of class folders, of DICOM files or of Parquet files, a BIDS tree, a
            DICOMDIR, a table or an npz archive; or an archive that holds one, or a path through
            one, as ``films.zip/labels.csv``.
        by_folders: Whether a person says that folders, or names of files, tell the classes.
        given: Fields of the entry that a person names, as the table's columns ``file``, ``label``
            and ``group``; None where nothing is said.

    Raises:
        UndecidedError: Several columns, or elements of DICOM headers, may be the label.
        DatasetError: It is none of these, or a column cannot be guessed.
    """
    if not path.exists() and archive_in(path) is None:
        raise DatasetError(f"{path}: there is no such file or folder.")
    given = {field: value for field, value in given.items() if value is not None}
    with named_by_archive():
        entry = _entry(opened(path.resolve()), given, by_folders=by_folders)
        return entry | {"path": str(path.resolve())}


def _entry(path: Path, given: dict[str, Any], *, by_folders: bool) -> dict[str, Any]:
    """See ``detect``."""
    suffix = path.suffix.lower()
    if path.is_dir() and is_bids(path):
        return detect_bids(path, given)
    if "suffix" in given:
        raise DatasetError(f"{path}: --suffix is for BIDS trees only.")
    if path.is_dir() and parquet_files(path) and not image_folder(path).n_images:
        return detect_table(path, given)
    if path.is_dir() or is_dicomdir(path):
        entry: dict[str, Any] = {"source": "folder", "path": str(path)}
        if "label" in given:
            entry["label"] = {"tag": _keyword(given.pop("label"))}
        elif not by_folders:
            refuse_undecided_label(path)
    elif suffix == ".npz":
        entry = {"source": "npz", "path": str(path), **guess_task(path)}
        entry |= {"task": given.pop("task")} if "task" in given else {}
    elif suffix in SUFFIXES:
        return detect_table(path, given)
    else:
        raise DatasetError(f"{path}: {_what_else(suffix)}")
    if given:
        raise DatasetError(f"{path}: --{next(iter(given))} is for tables only.")
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
    if suffix in _PACKED or _PART.fullmatch(suffix):
        return (
            "is packed in a way that is not read (.zip, .tar, .tar.gz, .tar.bz2 and .tar.xz are). "
            "Unpack it, and name the folder or the table in it."
        )
    if suffix in _SHEETS:
        return "is a workbook of another kind. Save it as .xlsx or CSV, and name that."
    return (
        "neither a folder of class folders, nor a BIDS tree, nor a table (.csv, .tsv, .parquet, "
        ".xlsx), nor an archive (.zip, .tar, .npz)."
    )
