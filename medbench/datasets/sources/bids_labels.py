"""Which column of a BIDS tree's tables is the label, and what it says of each image."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from medbench.datasets.image_names import words_in
from medbench.datasets.sources.bids_tables import (
    BidsTable,
    Key,
    read_participants,
    read_scans,
    read_sessions,
)
from medbench.datasets.sources.bids_tree import PARTICIPANTS, BidsTree
from medbench.datasets.sources.table_columns import LABEL_NAMES, named, plain
from medbench.datasets.spellings import counted, is_missing
from medbench.errors import DatasetError, UndecidedError

_USUAL = (
    "group", "groups", "diagnosis", "dx", "diag", "patientgroup", "diagnosisgroup",
    "diagnosticgroup", "clinicalgroup", "disease", "condition", *LABEL_NAMES,
)  # fmt: skip
"""What a column of labels is called in a BIDS tree, as ``plain`` has it."""
_NO_LABELS = ("acqtime", "hed")
"""Columns of the specification that are no classes."""
_NUMBER = re.compile(r"([+-]?\d+(?:[.,]\d+)?(?:e[+-]?\d+)?)\+?", re.IGNORECASE)
_MOST_CODES, _FEW_CODES, _HIGHEST = 10, 4, 20
"""So many different numbers may be codes of classes, where each is there twice on average and none
is above the last; and so many where not."""
_MOST_CLASSES = 100
_SAID_IN = "the field label (--label of datasets add)"


@dataclass(frozen=True, kw_only=True)
class LabelColumn:
    """The column that is the label."""

    table: BidsTable
    column: str
    notes: tuple[str, ...]
    """Why it is this one, where that is not plain; and what is wrong with its table."""

    @property
    def cells(self) -> list[str]:
        """What it says in each row that says something."""
        return [cell for cell in self.table.rows[self.column] if not is_missing(cell)]

    def values(self) -> dict[Key, str]:
        """See ``BidsTable.values``."""
        return self.table.values(self.column)


def label_column(tree: BidsTree, wanted: str | None) -> LabelColumn:
    """The column of labels, of the narrowest table that has it.

    Args:
        tree: The tree.
        wanted: What a person calls it; None where nobody said.

    Raises:
        UndecidedError: Nobody said, and several may be it, or one that is not called so.
        DatasetError: There is none, or a table cannot be read.
    """
    tables = [one for one in (read_sessions(tree), read_participants(tree)) if one is not None]
    notes = []
    if wanted is None:
        wanted = _guessed(tree, tables)
        notes.append(f"the label is column {wanted!r}, the only one that is called as labels are")
    having = [one for one in tables if one.column(wanted)]
    if not having and (scans := read_scans(tree)) is not None:
        tables.append(scans)
        having = [scans] if scans.column(wanted) else []
    if not having:
        raise DatasetError(
            f"{tree.root}: no table has a column {wanted!r}. {_columns(tables)} Name the right one "
            f"in {_SAID_IN}."
        )
    table = having[0]
    notes += table.notes
    if len(having) > 1:
        notes.append(
            f"column {wanted!r} is in {' and in '.join(one.name for one in having)}: that of "
            f"{table.name} is taken"
        )
    return LabelColumn(table=table, column=table.column(wanted), notes=tuple(notes))


def refuse_measurement(found: LabelColumn) -> None:
    """Refuse numbers that measure something, as ages do.

    Raises:
        DatasetError: They do.
    """
    if _measures(found.column, found.cells):
        raise DatasetError(
            f"{found.table.name}: column {found.column!r} holds {len(set(found.cells))} different "
            "numbers that measure something; MedBench tells classes apart and does not predict "
            f"numbers. Name a column of classes in {_SAID_IN}, or put ranges of numbers into a "
            "column of their own and name that."
        )


def _guessed(tree: BidsTree, tables: Sequence[BidsTable]) -> str:
    """The only column that is called as labels are.

    Raises:
        UndecidedError: There are several, or others that may be it.
        DatasetError: No column has classes.
    """
    usual: list[str] = []
    choices: dict[str, str] = {}
    for table in tables:
        called = named(table.rows, _USUAL)
        for column, values in _candidates(table).items():
            if column not in choices and (column in called or table.name == PARTICIPANTS):
                choices[column] = values
                usual += [column] * (column in called)
    if len(usual) == 1:
        return usual[0]
    if not choices:
        scans = read_scans(tree)
        tables = [*tables, *([] if scans is None else [scans])]
        choices = {column: said for one in tables for column, said in _candidates(one).items()}
    if choices:
        raise UndecidedError(
            f"{tree.root}: which column of its tables is the label?",
            field="label",
            choices=choices,
        )
    raise DatasetError(
        f"{tree.root}: which column is the label? None has a few different values that repeat, as "
        f"classes do. {_columns(tables)} Add one to participants.tsv, or name one in {_SAID_IN}."
    )


def _candidates(table: BidsTable) -> dict[str, str]:
    """The columns that may be classes, each with its values in words."""
    return {
        column: counted(Counter(cells))
        for column in map(str, table.rows.columns)
        if plain(column) not in _NO_LABELS
        and _may_be_classes(column, cells := table.rows[column].tolist())
    }


def _columns(tables: Sequence[BidsTable]) -> str:
    """A sentence on the columns that there are."""
    if not tables:
        return "It has no participants.tsv, sessions.tsv or scans.tsv."
    each = (f"{one.name} has {', '.join(map(str, one.rows.columns)) or 'none'}" for one in tables)
    return f"Columns: {'; '.join(each)}."


def _may_be_classes(column: str, cells: Sequence[str]) -> bool:
    """Whether a column has few enough different labels, and more than one."""
    said = [cell for cell in cells if not is_missing(cell)]
    different = len(set(said))
    few = 2 <= different <= min(_MOST_CLASSES, max(2, len(said) // 2))
    return few and not _measures(column, said)


def _measures(column: str, said: Sequence[str]) -> bool:
    """Whether what a column says is numbers that are no codes of classes.

    Ages are none, however few; nor are more than ten numbers, or more than four that hardly repeat
    or are large.
    """
    numbers = [_number(cell) for cell in set(said)]
    known = [abs(number) for number in numbers if number is not None]
    if 10 * len(known) < 9 * len(numbers) or not known:
        return False
    codes = _MOST_CODES if 2 * len(numbers) <= len(said) and max(known) <= _HIGHEST else _FEW_CODES
    return len(numbers) > codes or "age" in words_in(column)


def _number(cell: str) -> float | None:
    """The number in a cell; that of 89+, as ages above 89 are written, too."""
    match = _NUMBER.fullmatch(cell)
    return None if match is None else float(match[1].replace(",", "."))
