"""Columns of 0 and 1, each of which says whether an image is of one class."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby

import numpy as np
import pandas as pd

from medbench.datasets.spellings import is_missing, spelling

_YES = frozenset({1.0, "true", "yes"})
_NO = frozenset({0.0, "false", "no"})
_MOST_VALUES = 8
"""Ways to write yes and no in one column."""
_UNSURE = -1.0
"""What stands where nobody could tell, as in CheXpert; it says as little as an empty cell."""
_SEX = frozenset({"male", "female", "man", "woman", "sex", "gender"})
_NO_CLASSES = _SEX | {"m", "f", "left", "right"}
"""Columns of 0 and 1 that say something else than the label."""


def flag(value: str) -> bool | None:
    """What a cell of such a column says; None where that is neither yes nor no."""
    said = spelling(value)
    return True if said in _YES else False if said in _NO else None


def says_nothing(value: str) -> bool:
    """Whether a cell of such a column is empty, or says that nobody could tell."""
    return is_missing(value) or spelling(value) == _UNSURE


def is_flag_column(rows: pd.DataFrame, column: str) -> bool:
    """Whether a column says nothing but yes and no, or that nobody could tell."""
    values = rows[column].unique()
    if len(values) > _MOST_VALUES:
        return False
    said = [flag(value) for value in values if not says_nothing(value)]
    return bool(said) and None not in said


def flag_columns(rows: pd.DataFrame, taken: Collection[str] = ()) -> list[tuple[str, ...]]:
    """Neighbouring columns, two or more, that may stand for a class each.

    Args:
        rows: The table.
        taken: Columns that are something else.
    """

    def may_be_class(column: str) -> bool:
        return not (column in taken or column.lower() in _SEX) and is_flag_column(rows, column)

    runs = [tuple(run) for may, run in groupby(map(str, rows.columns), may_be_class) if may]
    return [run for run in runs if len(run) > 1 and not {c.lower() for c in run} <= _NO_CLASSES]


def one_each(rows: pd.DataFrame, columns: Sequence[str]) -> bool:
    """Whether each row is 1 in exactly one of the columns."""
    shown = [rows[c].isin([v for v in rows[c].unique() if flag(v)]).to_numpy() for c in columns]
    return bool((np.sum(shown, axis=0) == 1).all())


def told_flags(rows: pd.DataFrame, label: Sequence[str]) -> tuple[str, ...]:
    """A note where one column of several that stand for a class each is the only label."""
    if len(label) > 1 or not is_flag_column(rows, label[0]):
        return ()
    runs = [run for run in flag_columns(rows) if label[0] in run and one_each(rows, run)]
    return tuple(
        f"the classes are the values of column {label[0]!r} alone; each row has one 1 in the "
        f"columns {', '.join(run)}, which as label: [{', '.join(run)}] are a class each"
        for run in runs
    )
