"""Reading a sheet of an Excel workbook: text as it is shown where that can be known.

By openpyxl, since it tells a formula without a stored value, and an error, from an empty cell.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import pandas as pd

from medbench.counts import MOST_CELLS, MOST_COLUMNS
from medbench.datasets.csv_files import frame_of
from medbench.datasets.readers.quiet import Quiet
from medbench.datasets.spellings import is_missing
from medbench.errors import ConfigurationError, DatasetError, UndecidedError
from medbench.opening import FileLimit, RefusedFileError
from medbench.packed import BROKEN_CONTENT, open_zip
from medbench.versions import install_command

EXCEL_SUFFIXES = (".xlsx", ".xlsm")
"""How workbooks are called that are read, in lower case."""
WORKBOOK = FileLimit(name="an Excel workbook", n_bytes=50 * 10**6)
"""Unpacked; a million cells, which take ten times as much memory."""
_QUIET = Quiet("openpyxl", logs=False)
_ZEROS = re.compile("0{2,}")
"""A format that shows leading zeros, as ``00000`` shows 00123."""


def read_excel(path: Path, sheet: str | None = None) -> pd.DataFrame:
    """The columns of a sheet as text; its first row that is not empty names them.

    Dates are written as 2020-01-31 (with the time where they have one), numbers without needless
    fractions and with the leading zeros of their format. A cell that is merged downwards counts for
    all its rows.

    Args:
        path: The workbook.
        sheet: Name of the sheet; None for the only one that holds a table.

    Raises:
        UndecidedError: Several sheets hold tables, and none is named.
        DatasetError: It is damaged, too large or no workbook, has no such sheet or no table, or a
            cell cannot be understood; the cell is named.
        ConfigurationError: The package that reads it is not installed.
    """
    try:
        import openpyxl
    except ImportError:
        raise ConfigurationError(
            f"{path}: to read Excel workbooks: {install_command('excel')}. Or save the sheet as "
            "CSV."
        ) from None
    with _reading(path):
        with open_zip(path, WORKBOOK) as packed:
            values = openpyxl.load_workbook(packed.fp, data_only=True, keep_links=False)
            formulas = openpyxl.load_workbook(packed.fp, keep_links=False)
        tables = {one.title: one for one in values.worksheets if _holds_table(one)}
        chosen = _chosen(path, tables, sheet)
        header, rows = _rows(path, tables[chosen], formulas[chosen])
    return frame_of(path, header, rows)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a damaged workbook raises into an error that names it."""
    try:
        with _QUIET:
            yield
    except RefusedFileError as error:
        raise DatasetError(f"{path}: cannot be read ({error}).") from error
    except (*BROKEN_CONTENT, ParseError) as error:
        raise DatasetError(
            f"{path}: cannot be read as an Excel workbook ({type(error).__name__}): it is damaged, "
            "protected by a password, or something else. Save the sheet as CSV."
        ) from error


def _holds_table(sheet: Any) -> bool:
    """Whether a sheet is shown and holds a header, a row and two columns."""
    if sheet.sheet_state != "visible":
        return False
    filled = [sum(value is not None for value in row) for row in sheet.iter_rows(values_only=True)]
    return sum(n > 0 for n in filled) > 1 and max(filled) > 1


def _chosen(path: Path, tables: dict[str, Any], sheet: str | None) -> str:
    """The sheet that is read.

    Raises:
        UndecidedError: Several may be it.
        DatasetError: None may be, or the one that is named is not there.
    """
    names = ", ".join(map(repr, tables))
    if not tables:
        raise DatasetError(
            f"{path}: no sheet that is shown holds a table, which is a row of names of columns and "
            "rows below it."
        )
    if sheet is not None and sheet not in tables:
        raise DatasetError(
            f"{path}: no sheet {sheet!r} with a table. Sheets with one: {names}. Name one of them "
            "in the field sheet (--sheet of datasets add)."
        )
    if sheet is None and len(tables) > 1:
        first = {
            name: next(row for row in one.iter_rows(values_only=True) if any(row))
            for name, one in tables.items()
        }
        raise UndecidedError(
            f"{path}: several sheets hold tables.",
            field="sheet",
            choices={
                name: ", ".join(str(cell) for cell in row if cell is not None)
                for name, row in first.items()
            },
        )
    return sheet or next(iter(tables))


def _rows(path: Path, sheet: Any, formulas: Any) -> tuple[list[str], list[list[str]]]:
    """The header and the rows, each as wide as the header.

    Raises:
        DatasetError: It is too large, or a cell cannot be understood.
    """
    if sheet.max_column > MOST_COLUMNS or sheet.max_column * sheet.max_row > MOST_CELLS:
        raise DatasetError(
            f"{path}, sheet {sheet.title!r}: reaches to cell {sheet.dimensions.split(':')[-1]}, "
            f"and the limits are {MOST_COLUMNS:,} columns and {MOST_CELLS:,} cells. Delete rows "
            "and columns that are empty or not needed."
        )
    texts = [[_text(path, cell, formulas) for cell in row] for row in sheet.iter_rows()]
    first = next(number for number, row in enumerate(texts) if any(row))
    _fill_merged(path, sheet, texts, first)
    header = texts[first]
    width = max(k for k, name in enumerate(header, start=1) if name)
    rows = [row for row in texts[first + 1 :] if any(row)]
    for number, row in enumerate(texts[first + 1 :], start=first + 2):
        if any(row[width:]):
            raise DatasetError(
                f"{path}, sheet {sheet.title!r}, row {number}: has cells beyond the columns that "
                f"its first row names ({', '.join(header[:width])}). Name every column there, and "
                "delete what stands above or beside the table."
            )
    return header[:width], [row[:width] for row in rows]


def _fill_merged(path: Path, sheet: Any, texts: Sequence[list[str]], first: int) -> None:
    """Give each row the value of a cell that is merged downwards.

    Raises:
        DatasetError: Cells are merged otherwise.
    """
    for merged in sheet.merged_cells.ranges:
        top, left = merged.min_row - 1, merged.min_col - 1
        if merged.max_col > merged.min_col or top <= first:
            raise DatasetError(
                f"{path}, sheet {sheet.title!r}: the cells {merged.coord} are merged, and it is "
                "not clear to which column their value belongs. Unmerge them, or delete what "
                "stands above or beside the table."
            )
        for row in texts[top : merged.max_row]:
            row[left] = texts[top][left]


def _text(path: Path, cell: Any, formulas: Any) -> str:
    """What a cell says.

    Raises:
        DatasetError: It is an error, or a formula of which no value is stored.
    """
    value = cell.value
    if value is None:
        if getattr(formulas.cell(cell.row, cell.column), "data_type", "") == "f":
            raise _refused(path, cell, "holds a formula without a stored value. Open the workbook "
                           "in Excel and save it, or paste values in its place.")  # fmt: skip
        return ""
    if cell.data_type == "e" and not is_missing(str(value)):
        raise _refused(path, cell, f"holds the error {value}. Mend or empty it.")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.datetime):
        midnight = value.time() == datetime.time()
        return str(value.date()) if midnight else value.isoformat(" ")
    if isinstance(value, int | float):
        text = str(int(value)) if float(value).is_integer() else repr(value)
        zeros = _ZEROS.fullmatch(cell.number_format or "")
        return text.zfill(len(cell.number_format)) if zeros else text
    return str(value).strip()


def _refused(path: Path, cell: Any, why: str) -> DatasetError:
    return DatasetError(f"{path}, sheet {cell.parent.title!r}, cell {cell.coordinate}: {why}")
