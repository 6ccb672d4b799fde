"""Reading Parquet tables, however much a file says that it holds; those of a run as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.opening import PARQUET, FileLimit, RefusedFileError, open_regular

if TYPE_CHECKING:
    import pandas as pd

_MOST_ROWS = 20_000_000
_MOST_COLUMNS = 10_000
_BYTES_A_VALUE = 8
"""Of a number; texts are counted by themselves."""


def read_whole_table(path: Path) -> pd.DataFrame:
    """All rows of a Parquet file.

    A column of one value, repeated, takes a few bytes in the file and as much memory as its rows
    want, so rows are counted before any is read; texts are read as a list of different ones, and
    what they take together is known before they are written out.

    Raises:
        RefusedFileError: It is no regular file, or too large, packed or unpacked.
        OSError, ValueError, ArrowException: It cannot be read.
    """
    from pyarrow.parquet import ParquetFile

    with open_regular(path, PARQUET) as stream:
        with ParquetFile(stream) as file:
            schema = file.schema_arrow
            check_size(file.metadata, PARQUET)
            texts = [field.name for field in schema if _is_text(field)]
            options = {"metadata": file.metadata, "read_dictionary": texts}
            # half the time of pandas' own reader, which looks for folders of files first
            table = ParquetFile(stream, **options).read(use_threads=False)
        check_texts(table, PARQUET)
        frame: pd.DataFrame = table.cast(schema).to_pandas()
        return frame


def _is_text(field: Any) -> bool:
    """Whether a column is text, and not numbers.

    Raises:
        RefusedFileError: It is neither.
    """
    from pyarrow import types

    if types.is_string(field.type) or types.is_large_string(field.type):
        return True
    if not (types.is_primitive(field.type) or types.is_null(field.type)):
        raise RefusedFileError(f"it has a column of {field.type}, which no run has")
    return False


def check_size(metadata: Any, limit: FileLimit) -> None:
    """Refuse a file by what its footer says.

    Args:
        metadata: The footer, as pyarrow gives it.
        limit: What the numbers in it may take; texts and bytes are counted by themselves.

    Raises:
        RefusedFileError: It says too much.
    """
    n_values = max(metadata.num_rows, 0)
    if metadata.num_columns > _MOST_COLUMNS:
        raise RefusedFileError(f"it has {metadata.num_columns:,} columns, above {_MOST_COLUMNS:,}")
    n_bytes = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = [group.column(k) for k in range(group.num_columns)]
        n_bytes += sum(column.num_values * _BYTES_A_VALUE for column in columns)
        n_values = max(n_values, *(column.num_values for column in columns), 0)
    if n_values > _MOST_ROWS:
        raise RefusedFileError(f"it has {n_values:,} rows, above {_MOST_ROWS:,}")
    limit.refuse_above(n_bytes, unpacked=True)


def check_texts(table: Any, limit: FileLimit) -> None:
    """Refuse texts that take too much memory written out, one for each row.

    Args:
        table: As pyarrow gives it, with texts as dictionaries.
        limit: What they may take together.

    Raises:
        RefusedFileError: They do.
    """
    import pyarrow.compute as pc
    from pyarrow import types

    n_bytes = 0
    for column in table.columns:
        for chunk in column.chunks if types.is_dictionary(column.type) else ():
            lengths = pc.cast(pc.binary_length(chunk.dictionary), "int64")
            n_bytes += pc.sum(pc.take(lengths, chunk.indices)).as_py() or 0
    limit.refuse_above(n_bytes, unpacked=True)
