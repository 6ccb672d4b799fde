"""Reading what people write into CSV files: text as it stands, without stray blanks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from medbench.errors import DatasetError

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""What people call the parts of a split, in lower case."""
_UNKNOWN_GROUP = frozenset({"", "na", "n/a", "nan", "none", "null", "unknown", "?"})


def read_csv(path: Path) -> pd.DataFrame:
    """All columns as text without blanks around it; nothing is guessed.

    Raises:
        DatasetError: It is not a CSV or has no rows.
    """
    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:  # pandas' parser errors are ValueErrors
        raise DatasetError(
            f"{path}: cannot be read as a CSV ({error}). Save it as UTF-8, with a header line."
        ) from error
    if rows.empty:
        raise DatasetError(f"{path}: has no rows.")
    if len(rows.columns) == 1 and any(mark in str(rows.columns[0]) for mark in ";\t"):
        raise DatasetError(
            f"{path}: has the single column {rows.columns[0]!r}. Save it with commas between the "
            "columns."
        )
    rows.columns = rows.columns.str.strip()
    stripped: pd.DataFrame = rows.apply(lambda column: column.fillna("").str.strip())
    return stripped


def group_name(text: str) -> str:
    """A patient's name in one spelling of its blanks; "" where the cell says it is not known."""
    name = " ".join(text.split())
    return "" if name.lower() in _UNKNOWN_GROUP else name


def is_file(path: Path) -> bool:
    """Whether there is such a file; no for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
