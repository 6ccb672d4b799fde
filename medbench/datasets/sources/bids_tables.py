"""The tables of a BIDS tree: what participants.tsv, sessions.tsv and scans.tsv say of each image.

Source: Brain Imaging Data Structure 1.11.1, "Data summary files" and "Common principles" (Tabular
files).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medbench.datasets.csv_files import read_csv
from medbench.datasets.findings import how_many
from medbench.datasets.sources.bids_names import (
    BidsFile,
    image_stem,
    known_label,
    session_label,
    subject_label,
)
from medbench.datasets.sources.bids_tree import PARTICIPANTS, BidsTree, content_of
from medbench.datasets.sources.table_columns import plain
from medbench.datasets.spellings import is_missing, spelling
from medbench.errors import DatasetError
from medbench.opening import RECORD, TABLE, read_regular

Key = tuple[str, ...]
"""What a row is about: a subject, one of its sessions, or one of its files; () of nothing here."""
_STEM = "file"
"""In place of an entity: the name of a file without its extension."""


@dataclass(frozen=True, kw_only=True)
class BidsTable:
    """participants.tsv; or all sessions.tsv, or all scans.tsv, as one table."""

    name: str
    """What it is called, for messages that name nobody."""
    rows: pd.DataFrame
    """All text, n/a where a table lacks a column; without the columns that say what a row is
    about."""
    about: list[Key]
    """What each row is about."""
    per: Key
    """The entities that a key has, or ``_STEM``."""
    places: list[str]
    """File and row, for messages that end the command."""
    notes: tuple[str, ...] = ()
    """What is not as it should be; nobody is named."""

    def key_of(self, file: BidsFile) -> Key:
        """What the row of an image is about."""
        stem = image_stem(file.name.rpartition("/")[2])
        return tuple(stem if one == _STEM else file.entities.get(one, "") for one in self.per)

    def column(self, name: str) -> str:
        """The column that a person means, perhaps with other blanks or case; "" without any."""
        if name in self.rows.columns:
            return name
        close = [one for one in map(str, self.rows.columns) if plain(one) == plain(name)]
        return close[0] if len(close) == 1 else ""

    def values(self, column: str) -> dict[Key, str]:
        """What a column says of whom.

        Raises:
            DatasetError: Two rows about the same differ, or no row is about anything that is here.
        """
        first: dict[Key, int] = {}
        cells = self.rows[column].tolist()
        for row, key in enumerate(self.about):
            known = first.setdefault(key, row)
            if key and cells[known] != cells[row]:
                raise DatasetError(
                    f"{self.places[known]} and {self.places[row]} are about the same {self.per[-1]}"
                    f", and say {cells[known]!r} and {cells[row]!r} in column {column!r}. Keep one "
                    "of them; what changes between sessions belongs into the subject's "
                    "sessions.tsv."
                )
        first.pop((), None)
        if not first:
            raise DatasetError(
                f"{self.places[0]}: neither this row nor any other names a {self.per[-1]} that is "
                "here. Write the names of folders (sub-LABEL, ses-LABEL) or files into its first "
                "column."
            )
        return {key: cells[row] for key, row in first.items()}


def read_participants(tree: BidsTree) -> BidsTable | None:
    """participants.tsv; None where there is none.

    Rows may be about sessions, where a column says which; subjects may lack ``sub-`` and zeros.

    Raises:
        DatasetError: It cannot be read, or no column names the subjects.
    """
    path = tree.root / PARTICIPANTS
    if not os.path.lexists(path):
        return None
    rows = _read(path, tree)
    find = known_label(tree.subjects)
    notes = []
    if len(rows.columns) > 1 and b"\t" not in read_regular(path, TABLE):
        notes.append(f"the columns of {PARTICIPANTS} have no tabs between them; read all the same")
    column = _named(rows, "participant_id")
    if not column:
        column = _of_subjects(path, rows, find)
        notes.append(f"{PARTICIPANTS} has no column participant_id: {column!r} is taken for it")
    labels = [subject_label(text) for text in rows[column]]
    found = [find(label) for label in labels]
    if other := sum(one not in ("", label) for one, label in zip(found, labels, strict=True)):
        notes.append(
            f"{PARTICIPANTS} writes the subject in another way than its folder (zeros, case) in "
            f"{how_many(other, 'row')}, which are taken for it"
        )
    about: list[Key] = [(one,) if one else () for one in found]
    per: Key = ("subject",)
    session = _named(rows, "session_id")
    if session and any(file.session for file in tree.files):
        per = ("subject", "session")
        finds = _sessions_of(tree)
        about = [
            (one, of_one) if one and (of_one := finds[one](session_label(text))) else ()
            for one, text in zip(found, rows[session], strict=True)
        ]
    doubled = len(known := [key for key in about if key]) - len(set(known))
    if doubled:
        rows_more = how_many(doubled, "row")
        notes.append(f"{PARTICIPANTS} has {rows_more} about a {per[-1]} that has one already")
    return BidsTable(
        name=PARTICIPANTS,
        rows=rows.drop(columns=[column, *([session] if session else [])]),
        about=about,
        per=per,
        places=[f"{path}, row {n} below the header" for n in range(1, len(rows) + 1)],
        notes=tuple(notes),
    )


def read_sessions(tree: BidsTree) -> BidsTable | None:
    """All sessions.tsv as one table; None without any that can be read."""
    finds = _sessions_of(tree)

    def key(subject: str, text: str) -> Key:
        session = finds[subject](session_label(text))
        return (subject, session) if session else ()

    return _joined(tree, "sessions.tsv", tree.sessions, "session_id", key, ("subject", "session"))


def read_scans(tree: BidsTree) -> BidsTable | None:
    """All scans.tsv as one table; None without any that can be read."""

    def key(subject: str, text: str) -> Key:
        stem = image_stem(text.replace("\\", "/").rpartition("/")[2])
        return (subject, stem) if stem else ()

    return _joined(tree, "scans.tsv", tree.scans, "filename", key, ("subject", _STEM))


def names_of_codes(tree: BidsTree, table: BidsTable, column: str) -> tuple[dict[str, str], str]:
    """What the numbers in a column stand for, by the ``Levels`` of the table's JSON beside it.

    Words stay as they are: their levels describe them in sentences.

    Args:
        tree: The tree; its own folder holds the JSON.
        table: The table.
        column: The column.

    Returns:
        A name for each number that the column holds; empty where not each has a name of its own.
        And a note, "" where there is nothing to say.

    Raises:
        DatasetError: The JSON is a link that leads out of the tree.
    """
    path = (tree.root / table.name).with_suffix(".json")
    if not os.path.lexists(path):
        return {}, ""
    try:
        said: Any = json.loads(read_regular(content_of(str(path), tree.root), RECORD))
    except (OSError, ValueError, RecursionError):
        return {}, f"{path.name} cannot be read, so it gives no names to numbers"
    described = said.get(column) if isinstance(said, dict) else None
    levels = described.get("Levels") if isinstance(described, dict) else None
    if not isinstance(levels, dict):
        return {}, ""
    names = {spelling(str(code)): _name_of_level(level) for code, level in levels.items()}
    codes = {cell for cell in table.rows[column] if not is_missing(cell)}
    if not all(isinstance(spelling(code), float) for code in codes):
        return {}, ""
    named = {code: names.get(spelling(code), "") for code in sorted(codes)}
    if not all(named.values()) or len(set(named.values())) != len({*map(spelling, codes)}):
        return {}, f"{path.name} has no name of its own for each number in column {column!r}"
    listed = ", ".join(f"{code} {name!r}" for code, name in named.items())
    return named, f"numbers are called as {path.name} has it: {listed}"


def _name_of_level(level: Any) -> str:
    text = level.get("Description") if isinstance(level, dict) else level
    return " ".join(text.split()) if isinstance(text, str) else ""


def _joined(
    tree: BidsTree,
    name: str,
    files: Sequence[tuple[str, Path]],
    column: str,
    key: Callable[[str, str], Key],
    per: Key,
) -> BidsTable | None:
    """The tables of a kind as one."""
    tables: list[pd.DataFrame] = []
    about: list[Key] = []
    places: list[str] = []
    n_unread = 0
    for subject, path in files:
        try:
            rows = _read(path, tree)
        except DatasetError:
            n_unread += 1
            continue
        named = _named(rows, column)
        if not named:
            n_unread += 1
            continue
        about += [key(subject, text) for text in rows[named]]
        places += [f"{path}, row {n} below the header" for n in range(1, len(rows) + 1)]
        tables.append(rows.drop(columns=named))
    if not tables:
        return None
    notes = []
    if n_unread:
        notes.append(
            f"{how_many(n_unread, 'file')} called {name} cannot be read or lack the column "
            f"{column}: what they say is missing"
        )
    whole = pd.concat(tables, ignore_index=True).fillna("n/a")
    return BidsTable(name=name, rows=whole, about=about, per=per, places=places, notes=tuple(notes))


def _read(path: Path, tree: BidsTree) -> pd.DataFrame:
    """A table of the tree.

    Raises:
        DatasetError: Its content was not fetched, or it cannot be read.
    """
    if not content_of(str(path), tree.root):
        raise DatasetError(
            f"{path}: only its name is here. Get the content with: datalad get {path.name} (or "
            "git annex get), in the folder of the tree."
        )
    return read_csv(path)


def _named(rows: pd.DataFrame, name: str) -> str:
    """The column of that name, with whatever case and dashes; "" without any."""
    return next((str(one) for one in rows.columns if plain(str(one)) == plain(name)), "")


def _of_subjects(path: Path, rows: pd.DataFrame, find: Callable[[str], str]) -> str:
    """The only column whose values are the subjects' names, each once.

    Raises:
        DatasetError: There is none, or several.
    """
    likely = [
        str(column)
        for column, cells in rows.items()
        if cells.is_unique
        and 2 * sum(find(subject_label(text)) != "" for text in cells) > len(rows)
    ]
    if len(likely) != 1:
        raise DatasetError(
            f"{path}: has no column participant_id (columns: {', '.join(map(str, rows.columns))}). "
            "Call the one so that names the subjects, as their folders do."
        )
    return likely[0]


def _sessions_of(tree: BidsTree) -> dict[str, Callable[[str], str]]:
    """Finds the session of a subject, by the subject's label."""
    labels: dict[str, set[str]] = {subject: set() for subject in tree.subjects}
    for file in tree.files:
        labels[file.subject].add(file.session)
    return {subject: known_label(known - {""}) for subject, known in labels.items()}
