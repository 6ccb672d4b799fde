"""Numbers that measure something, as an age does, are no classes."""

from __future__ import annotations

from collections.abc import Collection

from medbench.datasets.spellings import is_missing, spelling
from medbench.errors import DatasetError

_FEW = 10
"""So many different numbers may always be classes, as a score or a grade."""
_CODES = 30
"""So many whole numbers may be, where several images have each."""


def is_measured(values: Collection[str], n_rows: int) -> bool:
    """Whether the different values of a column are measurements: many numbers and nothing else.

    Args:
        values: The different values; those that say nothing do not count.
        n_rows: Rows of the table.
    """
    said = [spelling(value) for value in values if not is_missing(value)]
    numbers = {number for number in said if isinstance(number, float)}
    if len(numbers) <= _FEW or not all(isinstance(value, float) for value in said):
        return False
    rare = 2 * len(numbers) > n_rows
    return rare or len(numbers) > _CODES or not all(n.is_integer() for n in numbers)


def refuse_measured(values: Collection[str], n_rows: int, column: str, table: str) -> None:
    """Refuse a column of measurements as the label.

    Args:
        values: The different values of the column.
        n_rows: Rows of the table.
        column: Its name.
        table: The table, for the message.

    Raises:
        DatasetError: They are measurements.
    """
    if is_measured(values, n_rows):
        numbers = [float(n) for v in values if isinstance(n := spelling(v), float)]
        raise DatasetError(
            f"{table}: column {column!r} holds {len(set(numbers))} different numbers, from "
            f"{min(numbers):g} to {max(numbers):g}, as a measurement does; MedBench tells classes "
            "apart and predicts no numbers. Add a column of ranges to the table, such as 'below "
            "50' and '50 and above', and name that as the field label (--label of datasets add), "
            "or name another column. If each number is a class, list them in the field classes."
        )
