"""Files that are whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.errors import StoreError

_CHUNK_BYTES = 1 << 20


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into an error that names the place and the remedy."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be written ({error.strerror or error}). "
            "Free space or permissions there, or name another folder with --out."
        ) from error


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON; NaN is refused, since it is not JSON."""
    with _replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        StoreError: It is damaged.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(
            f"{path}: cannot be read ({error}). If it is damaged, remove its folder and give the "
            "run's command again."
        ) from error


def folder_sha256(folder: Path) -> str:
    """SHA-256 of every file below a folder with its name, in hexadecimal digits.

    Raises:
        StoreError: The folder or a file in it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name}\n{path.stat().st_size}\n".encode())
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be read ({error.strerror or error}).") from error
    return digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with _replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file."""
    with _replacing(path) as temporary:
        temporary.write_bytes(content)


def write_npy(path: Path, array: NDArray[Any]) -> None:
    """Write an array."""
    with _replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a table."""
    with _replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a table.

    Raises:
        StoreError: It is missing or damaged.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        # half the time of pandas' own reader, which looks for folders of files first
        with ParquetFile(path) as file:
            frame: pd.DataFrame = file.read(use_threads=False).to_pandas()
        return frame
    except (OSError, ValueError, ArrowException) as error:
        raise StoreError(f"{path}: cannot be read ({error}).") from error
