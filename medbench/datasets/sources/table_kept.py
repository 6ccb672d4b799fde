"""Columns of a table that are kept beside the labels, for results of sites, devices, age or sex.

They are never seen by a model, and never say who somebody is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from medbench.datasets.sources.table_columns import patient_columns, plain
from medbench.datasets.spellings import is_missing, spelling
from medbench.errors import DatasetError

_NAMES = frozenset({"name", "firstname", "lastname", "surname", "familyname", "fullname", "email"})
_WHO = re.compile("birth|^dob|address|phone|accession|uid$")
"""Columns that are called so say who somebody is."""
_DATE = re.compile(r"(?:\d{4}[-/.]?[01]\d[-/.]?[0-3]\d|[0-3]?\d[-/.][0-3]?\d[-/.]\d{2,4})(?:\D.*)?")
_MOST_TEXTS = 50
"""Different texts of a column that tells groups of people apart, and not people."""
_LARGEST = 10_000
"""Numbers below it are measurements, and others may be the numbers of people."""
_OF_PEOPLE = 0.9
"""Whole numbers of which this share occurs once only are the numbers of people."""
_LEAST_ROWS = 20
"""Of so few rows numbers may all be different by chance."""


def kept_columns(rows: pd.DataFrame, columns: Sequence[str], table: str) -> pd.DataFrame:
    """The columns that are kept, as text, "" where a cell says nothing.

    Args:
        rows: The table.
        columns: The columns that a person names.
        table: The table, for messages.

    Raises:
        DatasetError: One may say who somebody is.
    """
    people = patient_columns(rows, ())
    kept = pd.DataFrame(index=rows.index)
    for column in columns:
        kept[column] = ["" if is_missing(value) else value for value in rows[column]]
        if why := _who(column, people, kept[column]):
            raise DatasetError(
                f"{table}: column {column!r} cannot be kept (field keep): {why}, and what may say "
                "who somebody is is never written. Keep another column, or add one of groups, "
                "such as ranges, and keep that."
            )
    return kept


def _who(column: str, people: Sequence[str], values: pd.Series) -> str:
    """Why a column may say who somebody is; "" where it does not."""
    name = plain(column)
    if column in people or name in _NAMES or _WHO.search(name):
        return "it is called as what tells people apart"
    counts = values[values != ""].value_counts()
    if any(map(_DATE.fullmatch, counts.index)):
        return "it holds dates"
    few = len(counts) <= _MOST_TEXTS and 2 * len(counts) <= len(values)
    numbers = [spelling(value) for value in counts.index]
    if few or len(counts) < 2:
        return ""
    if not all(isinstance(number, float) and abs(number) < _LARGEST for number in numbers):
        return f"it holds {len(counts)} different values in {len(values)} rows"
    whole = all(isinstance(number, float) and number.is_integer() for number in numbers)
    if whole and len(values) > _LEAST_ROWS and len(counts) > _OF_PEOPLE * len(values):
        return "it holds another number in nearly every row"
    return ""
