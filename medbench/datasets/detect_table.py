"""Guesses which columns of a table hold the files, labels, patients and official split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medbench.datasets.readers import image_suffixes
from medbench.datasets.sources.table_columns import (
    FILE_NAMES,
    LABEL_NAMES,
    box_columns,
    column_called,
    named,
    patient_columns,
    split_columns,
    why_no_patients,
    why_no_split,
)
from medbench.datasets.sources.table_files import NamedFiles, missing_files
from medbench.datasets.sources.table_flags import flag_columns, one_each
from medbench.datasets.sources.table_ids import id_column
from medbench.datasets.sources.table_joined import joined_by, split_labels
from medbench.datasets.sources.table_measured import is_measured, refuse_measured
from medbench.datasets.sources.table_reading import Table, read_table
from medbench.datasets.spellings import counted, is_missing
from medbench.datasets.unpacked import opened
from medbench.errors import DatasetError, UndecidedError

_ROWS_LOOKED_AT = 20
_MOST_CLASSES = 100


def detect_table(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """The entry that describes a table.

    Args:
        path: The table; see ``read_table``.
        given: Fields that a person names; a label may be several columns, as ``MEL,NV,BCC``.

    Raises:
        UndecidedError: Several columns may be the label, or several sheets the table.
        DatasetError: A column cannot be guessed, or is not there.
    """
    if "separator" in given:
        _check_separator(given)
    table = read_table(path, given.get("sheet"))
    rows, images = table.rows, table.folder
    entry: dict[str, Any] = {"source": "table", "path": str(path)}
    if "images" in given:
        named = Path(given["images"]).resolve()
        images = opened(named)
        if not images.is_dir():
            raise DatasetError(f"--images {given['images']}: there is no such folder.")
        entry["images"] = str(named)
    real = {
        field: _given_column(rows, given[field], path, field)
        for field in ("file", "group", "split")
        if field in given
    }
    labels = _given_labels(rows, given["label"], path) if "label" in given else ()
    taken = {*labels, *real.values()}
    file = real.get("file") or _column_of_files(path, table, taken)
    try:
        file = file or _file_column(path, images, rows, taken)
    except DatasetError:
        others = [str(column) for column in rows.columns if column not in labels]
        if (by_id := id_column(rows, images, others)) is None:
            raise
        file, entry["match"] = by_id
    taken |= {file, *table.images}
    labels = labels or _label_columns(path, rows, taken, given.get("separator"))
    if len(labels) == 1:
        _refuse_too_many(path, rows, labels[0], given.get("separator"))
    taken |= {*labels}
    group = real.get("group") or next(
        (c for c in patient_columns(rows, taken) if not why_no_patients(rows, c, rows[labels[0]])),
        None,
    )
    other = [column for column in split_columns(rows, taken) if column != group]
    split = real.get("split") or next((c for c in other if not why_no_split(rows, c)), None)
    entry |= {"file": file, "label": labels[0] if len(labels) == 1 else list(labels)}
    entry |= _about_joined(rows, labels, given)
    entry |= {field: c for field, c in (("group", group), ("split", split)) if c is not None}
    return entry | {field: value for field, value in given.items() if field not in _GUESSED}


_GUESSED = ("images", "file", "label", "group", "split")


def _given_column(rows: pd.DataFrame, name: str, path: Path, option: str) -> str:
    return column_called(rows, name, table=path, said_in=f"--{option}")


def _given_labels(rows: pd.DataFrame, label: str, path: Path) -> tuple[str, ...]:
    """The columns that a person names as the label: one, or several with commas between them."""
    names = [label] if label in rows.columns or "," not in label else label.split(",")
    return tuple(column_called(rows, name.strip(), table=path, said_in="--label") for name in names)


def _about_joined(
    rows: pd.DataFrame, labels: tuple[str, ...], given: Mapping[str, Any]
) -> dict[str, str]:
    """The fields of a multi-label task, where a mark joins labels: a bar, or what is given."""
    separator = given.get("separator")
    if separator is None and len(labels) == 1 and "task" not in given:
        separator = "|" if joined_by(rows[labels[0]].unique().tolist()) == "|" else None
    return {} if separator is None else {"task": "multi-label", "separator": separator}


def _check_separator(given: Mapping[str, Any]) -> None:
    """Refuse a mark that is none, or for another task.

    Raises:
        DatasetError: It is.
    """
    separator = given["separator"]
    if not separator or given.get("task", "multi-label") != "multi-label":
        raise DatasetError(
            f"--separator {separator!r} is what joins several labels in a cell, of --task "
            "multi-label."
        )


# --- files ------------------------------------------------------------------------------------


def _column_of_files(path: Path, table: Table, taken: set[str]) -> str:
    """The column that holds the files themselves; "" where none does.

    Raises:
        UndecidedError: Several do, and none is called as images are.
    """
    columns = [column for column in table.images if column not in taken]
    called_so = [c for c in named(table.rows, FILE_NAMES, taken) if c in columns]
    if len(columns) > 1 and not called_so:
        raise UndecidedError(
            f"{path}: several columns hold files.",
            field="file",
            choices={column: "its files are the images" for column in columns},
        )
    return next(iter([*called_so, *columns]), "")


def _file_column(path: Path, images: Path, rows: pd.DataFrame, taken: set[str]) -> str:
    """The column whose values are files below a folder.

    Raises:
        DatasetError: None is; says of the likeliest why not.
    """
    files = NamedFiles(images, named_in=str(path))
    usual = named(rows, FILE_NAMES, taken)
    others = [str(c) for c in rows.columns if c not in taken and c not in usual]
    called_so = [column for column in [*usual, *others] if _looks_like_files(rows[column])]
    ids = [column for column in usual if column not in called_so]
    # Numbers of rows or ages may happen to be names of files, so they come last.
    people = patient_columns(rows, taken)  # one image each, in several rows
    numbers = [
        column
        for column in others
        if column not in called_so and (column in people or 2 * rows[column].nunique() >= len(rows))
    ]
    for columns in (called_so, ids, numbers):
        share = {column: _share_found(files, rows[column]) for column in columns}
        best = [c for c in columns if share[c] and share[c] == max(share.values())]
        if len(best) > 1 and columns is numbers:
            raise UndecidedError(
                f"{path}: the values of several columns are names of files.",
                field="file",
                choices={column: f"as {rows[column].iloc[0]!r}" for column in best},
            )
        if best:
            return best[0]
    likely = [*called_so, *ids] or [
        column for column in others if any(map(files.is_folder, _sample(rows[column])))
    ]
    if not likely:
        first = ", ".join(f"{column} ({rows[column].iloc[0]!r})" for column in rows.columns)
        raise DatasetError(
            f"{path}: no column names files. Columns, with their first value: {first}. Name the "
            "right one with --file, and the folder of the images with --images."
        )
    sample = _sample(rows[likely[0]])
    why = missing_files(files, sample, files.find(sample)) if sample else "it is empty."
    raise DatasetError(
        f"{path}: no column names files that are there. Of column {likely[0]!r} were looked at "
        f"{len(sample)} rows: {why}"
    )


def _sample(values: pd.Series) -> list[str]:
    """Some values from all over a column that say something, each once."""
    different = values.unique()
    positions = np.unique(np.linspace(0, len(different) - 1, _ROWS_LOOKED_AT).astype(int))
    return [value for i in positions.tolist() if not is_missing(value := str(different[i]))]


def _share_found(files: NamedFiles, values: pd.Series) -> float:
    """For which share of some values of a column there is a file."""
    sample = _sample(values)
    return sum(path != "" for path in files.find(sample).paths) / max(len(sample), 1)


def _looks_like_files(values: pd.Series) -> bool:
    return any(value.lower().endswith(image_suffixes()) for value in _sample(values))


# --- labels -----------------------------------------------------------------------------------


def _label_columns(
    path: Path, rows: pd.DataFrame, taken: set[str], separator: str | None
) -> tuple[str, ...]:
    """The column of labels, or a column for each class.

    Raises:
        UndecidedError: Several may be it.
        DatasetError: None may be.
    """
    taken = taken | {*box_columns(rows)}
    usual = named(rows, LABEL_NAMES, taken)
    for column in usual:
        if _may_be_classes(rows[column], separator):
            return (column,)
    people = {*patient_columns(rows, taken)} - set(named(rows, ("group", "case")))
    other = taken | people | set(split_columns(rows, taken))
    runs = flag_columns(rows, other)
    exact = [run for run in runs if one_each(rows, run)]
    if len(found := exact or runs) == 1:
        return found[0]
    choices = {",".join(run): "a column for each class" for run in found} | {
        str(column): counted(Counter(rows[column].tolist()))
        for column in rows.columns
        if column not in other and _may_be_classes(rows[column], separator)
    }
    if choices:
        raise UndecidedError(
            f"{path}: which column is the label? (Or which ones, as A,B,C, if each is 1 for images "
            "of its class?)",
            field="label",
            choices=choices,
        )
    if usual:
        _refuse_too_many(path, rows, usual[0], separator)
    values = ", ".join(f"{column!r} {rows[column].nunique()}" for column in rows.columns)
    raise DatasetError(
        f"{path}: which column is the label? None has a few different values that repeat; so many "
        f"there are: {values}. Give --label with one of {', '.join(rows.columns)}."
    )


def _may_be_classes(values: pd.Series, separator: str | None) -> bool:
    """Whether a column has few enough different labels, and more than one."""
    if is_measured(values.unique(), len(values)):
        return False
    n, most = _count_labels(values, separator)
    return 2 <= n <= most


def _count_labels(values: pd.Series, separator: str | None) -> tuple[int, int]:
    """How many different labels a column has, and how many it may have."""
    said = [value for value in values.unique() if not is_missing(value)]
    if (mark := separator or joined_by(said)) is None:
        return len(said), min(_MOST_CLASSES, max(2, len(values) // 2))
    return len({part for value in said for part in split_labels(value, mark)}), _MOST_CLASSES


def _refuse_too_many(path: Path, rows: pd.DataFrame, column: str, separator: str | None) -> None:
    """Refuse a column that a person names, if it cannot be the label.

    Raises:
        DatasetError: It has too many different values, or measurements.
    """
    refuse_measured(rows[column].unique(), len(rows), column, str(path))
    n, most = _count_labels(rows[column], separator)
    if n > most:
        raise DatasetError(
            f"{path}: column {column!r} has {n} different values, too many for classes. "
            "Give another one with --label."
        )
