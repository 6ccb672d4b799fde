"""Looks at a folder, table or archive and writes the entry that describes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medbench.datasets.csv_files import SPLIT_WORDS, is_file, read_csv
from medbench.datasets.sources.archive import NpzArchive
from medbench.errors import DatasetError

_FILE_COLUMNS = ("file", "filename", "file_name", "image", "image_path", "path", "filepath", "img")
_LABEL_COLUMNS = ("label", "class", "target", "diagnosis", "finding", "category", "y")
_GROUP_COLUMNS = (
    "group_id", "group", "patient_id", "patient", "patientid", "subject_id", "subject",
    "lesion_id", "study_id", "case_id",
)  # fmt: skip
_SPLIT_COLUMNS = ("split", "fold", "set", "subset", "partition")
_ROWS_LOOKED_AT = 20
_MOST_CLASSES = 100


def detect(
    path: Path, *, file: str | None = None, label: str | None = None, group: str | None = None
) -> dict[str, Any]:
    """The entry of ``datasets.yaml`` that describes a path.

    Args:
        path: A folder of class folders, a CSV or an npz archive.
        file: The CSV's column of files, where it cannot be guessed.
        label: The CSV's column of labels, likewise.
        group: The CSV's column of patients, likewise.

    Raises:
        DatasetError: It is none of the three, or a column cannot be guessed.
    """
    if not path.exists():
        raise DatasetError(f"{path}: there is no such file or folder.")
    path = path.resolve()
    if path.is_dir():
        entry: dict[str, Any] = {"source": "folder", "path": str(path)}
    elif path.suffix.lower() == ".npz":
        entry = {"source": "npz", "path": str(path)}
        labels = NpzArchive(path).headers.get("train_labels")
        if labels is not None and len(labels.shape) == 2 and labels.shape[1] > 1:
            entry["task"] = "multi-label"
    elif path.suffix.lower() in (".csv", ".txt"):
        return _detect_table(path, file, label, group)
    else:
        raise DatasetError(
            f"{path}: neither a folder of class folders, nor a .csv table, nor an .npz archive."
        )
    if file or label or group:
        raise DatasetError(f"{path}: --file, --label and --group are for tables (CSV) only.")
    return entry


def _detect_table(
    path: Path, file: str | None, label: str | None, group: str | None
) -> dict[str, Any]:
    rows = read_csv(path)
    for option, column in (("--file", file), ("--label", label), ("--group", group)):
        if column is not None and column not in rows.columns:
            raise DatasetError(
                f"{option} {column}: {path} has no such column. Columns: {', '.join(rows.columns)}."
            )
    file = file or _file_column(path, rows)
    label = label or _named(rows, _LABEL_COLUMNS)
    if label is None:
        raise DatasetError(
            f"{path}: which column is the label? Give --label with one of "
            f"{', '.join(rows.columns)}."
        )
    n_labels = rows[label].nunique()
    if n_labels > min(_MOST_CLASSES, max(2, len(rows) // 2)):
        raise DatasetError(
            f"{path}: column {label!r} has {n_labels} different values, too many for classes. "
            "Give another one with --label."
        )
    entry: dict[str, Any] = {"source": "table", "path": str(path), "file": file, "label": label}
    group = group or _named(rows, _GROUP_COLUMNS)
    if group is not None:
        entry["group"] = group
    split = _named(rows, _SPLIT_COLUMNS)
    if split is not None and set(rows[split].str.lower()) <= set(SPLIT_WORDS):
        entry["split"] = split
    return entry


def unused_split(entry: dict[str, Any]) -> str | None:
    """A column that is called like an official split but cannot be taken for one."""
    if entry["source"] != "table" or "split" in entry:
        return None
    return _named(read_csv(Path(entry["path"])), _SPLIT_COLUMNS)


def _named(rows: pd.DataFrame, names: Sequence[str]) -> str | None:
    """The first column that goes by one of the usual names."""
    lower = {str(column).strip().lower(): str(column) for column in rows.columns}
    return next((lower[name] for name in names if name in lower), None)


def _file_column(path: Path, rows: pd.DataFrame) -> str:
    """The column whose values are files beside the table."""
    usual = _named(rows, _FILE_COLUMNS)
    for column in [usual, *rows.columns] if usual else list(rows.columns):
        values = [value for value in rows[column].head(_ROWS_LOOKED_AT) if value]
        if any(is_file(path.parent / value) for value in values):
            return str(column)
    raise DatasetError(
        f"{path}: no column names files that lie in {path.parent}. Put the table beside the "
        "images' folders so that its names fit, or write the entry by hand with the field images."
    )
