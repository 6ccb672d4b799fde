"""Reads a table of any format that is known: CSV, Excel, Parquet, a folder of Parquet files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from medbench.counts import MOST_CELLS
from medbench.datasets.csv_files import SPLIT_WORDS, TABLE_SUFFIXES, read_csv
from medbench.datasets.excel_files import EXCEL_SUFFIXES, read_excel
from medbench.datasets.parquet_files import PARQUET_SUFFIXES, ParquetTable, read_parquet_table
from medbench.datasets.sources.base import inside
from medbench.datasets.sources.table_cells import CellFiles, CellReader, ImageColumn
from medbench.errors import DatasetError
from medbench.opening import open_regular

SUFFIXES = (*TABLE_SUFFIXES, *PARQUET_SUFFIXES, *EXCEL_SUFFIXES)
"""How tables are called that are read here, in lower case."""
SPLIT = "split"
"""The column that says in which part of a split a row is, where the names of files say it."""
_MAGIC = b"PAR1"
_OF = re.compile(r"(?P<table>.*?)-\d{3,}-of-(?P<all>\d{3,})(?:-[0-9a-f]+)?")
"""What a file is called that is one of several of a table."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table, and the images in it."""

    rows: pd.DataFrame
    """All columns as text. In those of ``images`` stand the names of the files in them."""
    images: Mapping[str, CellFiles] = field(default_factory=dict)
    """The columns that hold image files."""
    folder: Path
    """Where the files lie that it names."""
    notes: tuple[str, ...] = ()
    """What a person must know of it."""


def read_table(path: Path, sheet: str | None = None) -> Table:
    """A table, by its content and its name; of a folder all Parquet files in it.

    Args:
        path: The table.
        sheet: Name of the sheet of a workbook; see ``read_excel``.

    Raises:
        UndecidedError: Several sheets of a workbook may be meant.
        DatasetError: It cannot be read, or is none.
        ConfigurationError: The package that reads it is not installed.
    """
    if path.suffix.lower() in EXCEL_SUFFIXES:
        return Table(rows=read_excel(path, sheet), folder=path.parent)
    if sheet is not None:
        raise DatasetError(
            f"{path}: the field sheet (--sheet of datasets add) is for Excel workbooks "
            f"({', '.join(EXCEL_SUFFIXES)}). Leave it away."
        )
    if path.is_dir():
        return _of_folder(path)
    if path.suffix.lower() in PARQUET_SUFFIXES or _is_parquet(path):
        return _of_files(path.parent, [path.name])
    return Table(rows=read_csv(path), folder=path.parent)


def parquet_files(folder: Path) -> list[str]:
    """Names of the Parquet files below a folder relative to it, in their order."""
    names = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in PARQUET_SUFFIXES
    ]
    return sorted(name for name in names if not re.search(r"(?:^|/)\.", name))


def _is_parquet(path: Path) -> bool:
    """Whether a file begins as Parquet files do; what cannot be opened is told when it is read."""
    try:
        with open_regular(path, None) as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except (OSError, ValueError):
        return False


def _of_folder(folder: Path) -> Table:
    """The rows of all Parquet files below a folder, with the split that their names say.

    Raises:
        DatasetError: There are none, or they have different columns.
    """
    names = parquet_files(folder)
    if not names:
        raise DatasetError(
            f"{folder}: has no Parquet files (.parquet). Name a table in it in the field path; of "
            "class folders the source is folder."
        )
    table = _of_files(folder, names)
    parts = [_part_of_split(name) for name in names]
    if SPLIT in table.rows or not {"train", "test"} <= set(parts) or not all(parts):
        return table
    sizes = [len(rows) for _, rows in table.rows.groupby(level=0, sort=True)]
    return replace(
        table,
        rows=table.rows.assign(**{SPLIT: np.repeat(parts, sizes)}),
        notes=(*table.notes, "official split by the names of the files"),
    )


def _part_of_split(name: str) -> str:
    """Which part of a split the name of a file (or of its folder) says; "" where none or several.

    Source: https://huggingface.co/docs/hub/datasets-file-names-and-splits
    """
    words = re.split(r"[\W\d_]+", name.lower())
    said = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    return said.pop() if len(said) == 1 else ""


def _of_files(folder: Path, names: Sequence[str]) -> Table:
    """The rows of files, one behind the other; the first level of their index is the file.

    Raises:
        DatasetError: One leads out of the folder or cannot be read, or their columns differ.
    """
    paths = [inside(folder, name, named_in=str(folder)) for name in names]
    tables = [read_parquet_table(path) for path in paths]
    first = tables[0]
    for table, path in zip(tables, paths, strict=True):
        if set(table.rows) != set(first.rows) or table.images.keys() != first.images.keys():
            raise DatasetError(
                f"{path}: its columns ({_listed(table)}) are not those of {paths[0].name} "
                f"({_listed(first)}). Name one of these files in the field path, or keep files of "
                "other tables elsewhere."
            )
    if sum(table.rows.size for table in tables) > MOST_CELLS:
        raise DatasetError(
            f"{folder}: its files have over {MOST_CELLS:,} cells, which is the limit. Leave out "
            "columns that are not needed."
        )
    rows = pd.concat([table.rows for table in tables], keys=range(len(tables)))
    images = {}
    for column in first.images:
        files = CellFiles(
            CellReader(
                [
                    ImageColumn(path=path, name=name, at=one.images[column], n_rows=len(one.rows))
                    for path, name, one in zip(paths, names, tables, strict=True)
                ]
            )
        )
        images[column] = files
        rows[column] = files.names
    return Table(rows=rows, images=images, folder=folder, notes=_incomplete(names))


def _listed(table: ParquetTable) -> str:
    return ", ".join([*table.rows, *table.images])


def _incomplete(names: Sequence[str]) -> tuple[str, ...]:
    """Notes on tables of which some files are not here, as the names of the others say."""
    notes = []
    found: dict[tuple[str, int], int] = Counter()
    for name in names:
        if match := _OF.fullmatch(name.rpartition(".")[0]):
            found[match["table"], int(match["all"])] += 1
    for (table, n_all), n in found.items():
        if n < n_all:
            notes.append(f"of the {n_all} files {table}-* that make a table {n} are read")
    return tuple(notes)
