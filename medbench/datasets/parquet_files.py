"""Reading what people keep in Parquet: columns as text, and which of them hold image files.

Data hubs ship images so: a column of bytes, or of ``{bytes, path}``, beside numbers of classes
whose names stand in the metadata of the file.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medbench.counts import MOST_CELLS, MOST_COLUMNS
from medbench.errors import DatasetError
from medbench.opening import ARCHIVE, TABLE, RefusedFileError, open_regular
from medbench.parquet import check_size, check_texts

PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")
"""How Parquet files are called, in lower case."""
_NAMES = b"huggingface"
"""Key of the metadata in which the library ``datasets`` writes the names of classes."""
_UNLABELLED = -1
"""What that library writes for a class that is not known."""
_INDEX = re.compile(r"__index_level_\d+__")
"""Columns that pandas adds for its own use."""
_ROWS_AT_A_TIME = 16
"""Of lists, whose length no footer tells."""
_WHOLE = 2.0**53
"""Below it floating-point numbers hold every whole number."""


@dataclass(frozen=True, kw_only=True)
class ParquetTable:
    """What is in a file but the bytes of images."""

    rows: pd.DataFrame
    """Its columns as text, "" where a cell is empty; of a list the parts with bars between them."""
    images: Mapping[str, str]
    """The columns that hold image files, with the path at which their bytes lie."""


@contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on a damaged file into an error that names it.

    Raises:
        DatasetError: It is damaged, or something else, or too large.
    """
    from pyarrow import ArrowException

    try:
        yield
    except RefusedFileError as error:
        raise DatasetError(f"{path}: cannot be read ({error}).") from error
    except (ArrowException, OSError, ValueError, ArithmeticError, LookupError) as error:
        why = getattr(error, "strerror", None) or str(error).split("\n")[0]
        raise DatasetError(
            f"{path}: cannot be read as a Parquet table ({why}): it is damaged, or something else. "
            "Get it again."
        ) from error


def read_parquet_table(path: Path) -> ParquetTable:
    """The columns of a Parquet file as text; the bytes of images are left where they are.

    Numbers are written as they are, whole ones of a floating-point column without a fraction, and
    numbers of classes by their names, where the metadata say these. Structures that are no images
    are passed over.

    Raises:
        DatasetError: It is damaged or too large, has no rows, names a column twice, or a class has
            no name.
    """
    from pyarrow.parquet import ParquetFile

    with reading_parquet(path), open_regular(path, ARCHIVE) as stream:
        with ParquetFile(stream) as file:
            metadata, schema = file.metadata, file.schema_arrow
        _check(path, metadata, schema)
        images = {field.name: at for field in schema if (at := _bytes_of(field, metadata))}
        kept = [f for f in schema if _is_flat(f.type) and not _INDEX.fullmatch(f.name)]
        flat = [field.name for field in kept if not _is_list(field.type)]
        options = {
            "metadata": metadata,
            "read_dictionary": [field.name for field in kept if _is_text(field.type)],
        }
        table = ParquetFile(stream, **options).read(columns=flat, use_threads=False)
        check_texts(table, TABLE)
        values = {name: table.column(name).to_pylist() for name in flat}
        with ParquetFile(stream, metadata=metadata, pre_buffer=False) as file:
            for field in schema:
                if _is_picture(field.type) and field.name not in images:
                    values[field.name] = _nested(file, f"{field.name}.path")
                elif field in kept and _is_list(field.type):
                    values[field.name] = _nested(file, field.name)
        named = _class_names(path, schema.metadata)
        columns = {
            name: _as_text(path, name, values[name], named.get(name, ()))
            for name in schema.names
            if name in values
        }
    rows = pd.DataFrame(columns, index=range(metadata.num_rows), dtype=str)
    return ParquetTable(rows=rows, images=images)


def _check(path: Path, metadata: Any, schema: Any) -> None:
    """Refuse what is too large, has no rows, or two columns of one name.

    Raises:
        DatasetError, RefusedFileError: It is so.
    """
    n_rows, n_columns = metadata.num_rows, len(schema.names)
    if n_columns > MOST_COLUMNS or n_rows * n_columns > MOST_CELLS:
        raise DatasetError(
            f"{path}: has {n_columns:,} columns and {n_rows:,} rows; the limits are "
            f"{MOST_COLUMNS:,} columns and {MOST_CELLS:,} cells. Leave out what is not needed."
        )
    if n_rows < 1:
        raise DatasetError(f"{path}: has no rows.")
    if twice := [name for name, n in Counter(schema.names).items() if n > 1]:
        raise DatasetError(
            f"{path}: two columns are called {twice[0]!r}. Give one of them another name."
        )
    check_size(metadata, TABLE)


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_picture(kind: Any) -> bool:
    """Whether a column is of the bytes and the path of files."""
    from pyarrow import types

    if not types.is_struct(kind):
        return False
    parts = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
    return set(parts) == {"bytes", "path"} and _is_bytes(parts["bytes"]) and _is_text(parts["path"])


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind))


def _is_flat(kind: Any) -> bool:
    """Whether the cells of a column are texts, numbers, dates, truth values, or lists of them."""
    from pyarrow import types

    if _is_list(kind):
        kind = kind.value_type
    if types.is_dictionary(kind):
        kind = kind.value_type
    return _is_text(kind) or bool(
        types.is_primitive(kind) or types.is_null(kind) or types.is_decimal(kind)
    )


def _nested(file: Any, at: str) -> list[Any]:
    """The cells of a column of lists, or a part of a structure; a few rows are read at a time.

    Raises:
        RefusedFileError: They take too much memory.
    """
    from pyarrow import types

    values: list[Any] = []
    n_bytes = 0
    for batch in file.iter_batches(_ROWS_AT_A_TIME, columns=[at], use_threads=False):
        (column,) = batch.columns
        n_bytes += column.nbytes
        TABLE.refuse_above(n_bytes, unpacked=True)
        values += (column.field(0) if types.is_struct(column.type) else column).to_pylist()
    return values


def _bytes_of(field: Any, metadata: Any) -> str:
    """The path at which a column holds the bytes of files; "" where it has none."""
    if not (_is_bytes(field.type) or _is_picture(field.type)):
        return ""
    at = f"{field.name}.bytes" if _is_picture(field.type) else str(field.name)
    n_empty = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = [group.column(k) for k in range(group.num_columns)]
        said = [c.statistics for c in columns if c.path_in_schema == at and c.statistics]
        n_empty += sum(one.null_count for one in said if one.has_null_count)
    return "" if n_empty == metadata.num_rows else at


def _class_names(path: Path, metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """The names of the classes of columns of numbers, as far as the metadata say them.

    Raises:
        DatasetError: The metadata are damaged.
    """
    if not metadata or _NAMES not in metadata:
        return {}
    try:
        features = json.loads(metadata[_NAMES])["info"]["features"]
        found = {}
        for column, feature in features.items():
            feature = feature.get("feature", feature) if isinstance(feature, dict) else feature
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
                found[column] = tuple(map(str, feature.get("names") or ()))
        return found
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DatasetError(
            f"{path}: what its metadata {_NAMES.decode()!r} say of the columns cannot be read "
            f"({type(error).__name__}), and the names of classes may stand there. Get it again."
        ) from None


def _as_text(path: Path, name: str, values: Sequence[Any], classes: tuple[str, ...]) -> list[str]:
    """The cells of a column.

    Raises:
        DatasetError: A number of a class that has no name.
    """
    floats = [v for value in values for v in (value if isinstance(value, list) else [value])]
    floats = [v for v in floats if isinstance(v, float) and math.isfinite(v)]
    whole = all(v.is_integer() and abs(v) < _WHOLE for v in floats)

    def text(value: Any) -> str:
        if classes and isinstance(value, int):
            return _class_name(path, name, value, classes)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        if isinstance(value, list):
            return "|".join(filter(None, map(text, value)))
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float) and whole and math.isfinite(value):
            return str(int(value))
        return str(value).strip()

    return [text(value) for value in values]


def _class_name(path: Path, column: str, number: int, classes: tuple[str, ...]) -> str:
    if number == _UNLABELLED:
        return ""
    if not 0 <= number < len(classes):
        raise DatasetError(
            f"{path}: column {column!r} holds {number}, and its metadata name the classes 0 to "
            f"{len(classes) - 1} ({', '.join(classes[:8])}). Mend the table, or get it again."
        )
    return classes[number]
