"""Reading what people write into CSV files: text as it stands, without stray blanks."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medbench.counts import MOST_CELLS, MOST_COLUMNS
from medbench.datasets.readers import image_suffixes
from medbench.datasets.spellings import is_missing
from medbench.errors import DatasetError
from medbench.opening import TABLE, read_regular

TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
"""How files of tables are called, in lower case."""
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "test": "test",
    "testing": "test",
}
"""What people call the parts of a split, in lower case."""
_UNKNOWN = frozenset({"none", "unknown"})
"""What says so of a patient, besides ``spellings.MISSING``."""
_DELIMITERS = (",", ";", "\t", "|")
_FLAGS = frozenset({"0", "1", "0.0", "1.0", ""})
"""Values of a column that says whether an image is of a class."""
_LONGEST_LINE = 10_000_000
"""Characters of a line; a longer one is no row of a table that people keep."""
_SNIFFED = 50
"""Lines that are looked at for what stands between the columns."""
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w\s"]|[\t ])"?[^\S\n]*', re.IGNORECASE)
"""With what Excel says which character stands between the columns."""
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"\xef\xbb\xbf", "utf-8-sig"),
)
_NO_TEXT = {
    b"PK\x03\x04": "a zip archive or an Excel workbook. Unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook. Save the sheet as CSV",
    b"\x1f\x8b": "packed by gzip. Unpack it",
}


def read_csv(path: Path) -> pd.DataFrame:
    """All columns as text without blanks around it; nothing is guessed but how it is written.

    UTF-8, and UTF-16 with or without a mark at its beginning; commas, semicolons, tabs or bars
    between the columns, as most lines have it or a first line ``sep=;`` says; lines of comment
    (``#``), empty lines and cells behind the last column are passed over.

    Raises:
        DatasetError: It is no such table, has no header or no rows, names a column twice, or a
            line does not fit the header.
    """
    lines = _lines(path)
    try:
        header, rows = _table(path, lines)
    except csv.Error as error:
        raise DatasetError(
            f"{path}: cannot be read as a CSV ({error}). Close every quotation mark in it."
        ) from None
    return frame_of(path, header, rows)


def frame_of(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """A header and rows as a table of text; columns without a name or a value are left out.

    Raises:
        DatasetError: There are no rows, the header is a row, or names a column twice.
    """
    if not rows:
        raise DatasetError(f"{path}: has no rows.")
    columns = [[cell.strip() for cell in column] for column in zip(*rows, strict=True)]
    used = [i for i, name in enumerate(header) if name or any(columns[i])]
    names = [header[i] or f"Unnamed: {i}" for i in used]
    columns = [columns[i] for i in used]
    _check_header(path, names, columns)
    return pd.DataFrame(dict(zip(names, columns, strict=True)), dtype=str)


def group_name(text: str) -> str:
    """A patient's name in one spelling of its blanks; "" where the cell says it is not known."""
    name = " ".join(text.split())
    return "" if is_missing(name) or name.lower() in _UNKNOWN else name


def _lines(path: Path) -> list[str]:
    """The lines of a text file with their ends.

    Raises:
        DatasetError: It cannot be read, or is no text in a known encoding.
    """
    try:
        content = read_regular(path, TABLE)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error}).") from error
    for start, what in _NO_TEXT.items():
        if content.startswith(start):
            raise DatasetError(f"{path}: is {what}.")
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content[:2]:
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DatasetError(
            f"{path}, line {line}: is not {encoding.upper()} (byte {error.object[error.start]:#x})."
            " Save it as UTF-8."
        ) from None
    lines = [f"{line}\n" for line in re.sub("\r\n?", "\n", text).split("\n")]
    for number, text in enumerate(lines, start=1):
        if len(text) > _LONGEST_LINE:
            raise DatasetError(
                f"{path}, line {number}: has {len(text):,} characters, above the limit of "
                f"{_LONGEST_LINE:,}. Give every image a line of its own."
            )
    return lines


def _table(path: Path, lines: list[str]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows, each row as wide as the header.

    Raises:
        DatasetError: A line does not fit the header.
        csv.Error: Quotation marks do not fit.
    """
    first, delimiter = _beginning(lines)
    reader = csv.reader(lines[first:], delimiter=delimiter, strict=True)
    header = [cell.strip() for cell in next(reader, [])]
    header[:1] = [cell.removeprefix("#").strip() for cell in header[:1]]
    if len(header) == 1:
        _refuse_blanks(path, header[0], lines[first:])
    width = len(header)
    if width > MOST_COLUMNS:
        raise DatasetError(
            f"{path}: its header names {width:,} columns, above the limit of {MOST_COLUMNS:,}. "
            "Leave out those that are not needed."
        )
    rows: list[list[str]] = []
    for row in reader:
        if any(map(str.strip, row[width:])):
            raise DatasetError(
                f"{path}, line {first + reader.line_num}: has {len(row)} cells, but the header "
                f"(line {first + 1}) names {width} columns: {', '.join(header)}. Name every column "
                "there, take away what stands above the header, or put text with "
                f"{delimiter!r} in quotation marks."
            )
        is_comment = len(row) == 1 < width and row[0].startswith("#")
        if any(row) and row != header and not is_comment:
            if (len(rows) + 1) * width > MOST_CELLS:
                raise DatasetError(
                    f"{path}: has over {MOST_CELLS:,} cells, which is the limit. Leave out columns "
                    "that are not needed."
                )
            rows.append(row[:width] + [""] * (width - len(row)))
    return header, rows


def _beginning(lines: list[str]) -> tuple[int, str]:
    """Which line is the header, and what stands between the columns."""
    first, delimiter = _next_line(lines, 0), ""
    if first < len(lines) and (said := _SEPARATOR_LINE.fullmatch(lines[first].rstrip("\n"))):
        first, delimiter = first + 1, said[1]
    while (first := _next_line(lines, first)) < len(lines) and lines[first].startswith("#"):
        first += 1
    delimiter = delimiter or _delimiter(lines[first : first + _SNIFFED])
    return _header_behind_hash(lines, first, delimiter), delimiter


def _next_line(lines: list[str], first: int) -> int:
    """The first line from there on that is not empty."""
    return next((i for i in range(first, len(lines)) if lines[i].strip()), len(lines))


def _refuse_blanks(path: Path, header: str, lines: Sequence[str]) -> None:
    """Refuse a table whose columns are separated by blanks alone.

    Raises:
        DatasetError: They are.
    """
    widths = {len(line.split()) for line in lines[:_SNIFFED] if line.strip()}
    if len(widths) == 1 and len(header.split()) > 1:
        raise DatasetError(
            f"{path}: its columns are separated by blanks. Save it with commas between them."
        )


def _delimiter(lines: Sequence[str]) -> str:
    """What stands between the columns: what divides most lines into as many cells as the first."""
    best, most = ",", (0.0, 0, 0)
    for delimiter in _DELIMITERS:
        widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        if not widths or widths[0] < 2:
            continue
        fitting = sum(width >= widths[0] for width in widths) / len(widths)
        exact = sum(width == widths[0] for width in widths)
        if (fitting, exact, widths[0]) > most:
            best, most = delimiter, (fitting, exact, widths[0])
    return best


def _header_behind_hash(lines: list[str], first: int, delimiter: str) -> int:
    """Where the header is: a ``#`` may stand before it, as before a comment."""
    above = first - 1
    if above < 0 or first >= len(lines) or not lines[above].startswith("#"):
        return first
    hashed, *rest = csv.reader(lines[above : first + 1], delimiter=delimiter)
    return above if rest and len(hashed) == len(rest[0]) > 1 and _is_data(rest[0]) else first


def _is_data(cells: Sequence[str]) -> bool:
    """Whether the cells of a line are no names of columns: one is a file, or a number."""
    return any(
        cell.strip().lower().endswith(image_suffixes()) or re.fullmatch(r"[\d.]+", cell.strip())
        for cell in cells
    )


def _check_header(path: Path, names: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    """Refuse a first line that is a row (it names a file, or a value of its own column).

    Raises:
        DatasetError: It is, or it calls two columns by one name.
    """
    one_hot = [
        name.isdigit() and set(values) <= _FLAGS
        for name, values in zip(names, columns, strict=True)
    ]
    for name, values, flags in zip(names, columns, one_hot, strict=True):
        is_value = name in values and not (flags and sum(one_hot) > 1)
        if is_value or name.lower().endswith(image_suffixes()):
            raise DatasetError(
                f"{path}: has no header: its first line holds {name!r}, which is a value and not "
                "the name of a column. Write one above it, for example file,label"
                f"{',...' if len(names) > 2 else ''}."
            )
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise DatasetError(
            f"{path}: two columns are called {twice[0]!r}. Give one of them another name."
        )
