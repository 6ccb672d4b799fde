"""Files and folders that are whole or not there: written under another name, then renamed.

What is renamed has reached the disk before (fsync of file and folder), so that a machine that
loses power leaves no half-written file under a final name either.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from medbench.disk import check_space, take_space
from medbench.errors import StoreError
from medbench.faults import words_of
from medbench.hashes import sha256_of_text
from medbench.opening import ARRAY, RECORD, read_regular
from medbench.packed import read_npy_file
from medbench.parquet import read_whole_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


_LONGEST_NAME = 80
"""Characters of a name from outside that are kept in a file's."""
_MANY = 100
"""Files of which the whole system's buffers are written at once."""
_NPY_HEADER_BYTES = 128
"""Of nearly all arrays; what is not needed is given back."""


def folder_name(name: str) -> str:
    """A name from outside if it is a safe name of a file or folder, else a readable one like it."""
    readable = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip(".")[:_LONGEST_NAME]
    if name and readable == name:
        return name
    return f"{readable}-{sha256_of_text(name)[:8]}"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into an error that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be written ({error.strerror or words_of(error)}). "
            "Free space or permissions there.",
            options={"--out": "names another folder"},
        ) from error


@contextlib.contextmanager
def replacing_file(path: Path, *, through: Path | None = None) -> Iterator[Path]:
    """A temporary path that takes the place of ``path`` when the block ends well.

    Args:
        path: The file; folders above it are made.
        through: A folder on the same disk for the temporary file; default the file's own.

    Raises:
        OSError: It cannot be written; ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path, through)
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(
    path: Path,
    *,
    through: Path | None = None,
    there: Literal["replace", "keep", "refuse"] = "replace",
) -> Iterator[Path]:
    """A temporary folder that takes the place of ``path`` when the block ends well.

    Args:
        path: The folder; folders above it are made.
        through: A folder on the same disk for the temporary one; default the one above ``path``.
        there: What becomes of a folder that is there with files in it: it is replaced, or kept
            and the new one dropped, or the new one is refused.

    Raises:
        FileExistsError: There is one, and it is to be refused.
        OSError: It cannot be written; ``path`` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path, through)
    temporary.mkdir()
    try:
        yield temporary
        _sync_all(temporary)
        _move_folder(temporary, path, there)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def place_file(file: Path, path: Path) -> None:
    """Give a whole file its final name, in place of what is there; both are on one disk.

    Raises:
        OSError: It cannot be; the file is where it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sync(file)
    file.replace(path)
    _sync(path.parent)


def place_folder(folder: Path, path: Path) -> None:
    """Give a whole folder its final name, which nothing else bears; both are on one disk.

    Raises:
        OSError: It cannot be; the folder is where it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sync_all(folder)
    folder.rename(path)
    _sync(path.parent)


def _move_folder(temporary: Path, path: Path, there: str) -> None:
    """Give a folder its final name, of which another may be the bearer."""
    with contextlib.suppress(OSError):
        path.rmdir()  # an empty one is nobody's; only POSIX renames onto it
    try:
        temporary.rename(path)
        return
    except OSError as error:
        if not path.is_dir():
            raise
        if there == "refuse":
            raise FileExistsError(f"{path} is there already") from error
    if there == "keep":
        return
    aside = _temporary(path, temporary.parent)
    path.rename(aside)
    try:
        temporary.rename(path)
    except OSError:
        aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _temporary(path: Path, through: Path | None) -> Path:
    return (through or path.parent) / f".{path.name}.{secrets.token_hex(8)}.tmp"


def _sync_all(folder: Path) -> None:
    below = sorted(folder.rglob("*"), reverse=True)
    if len(below) > _MANY and hasattr(os, "sync"):
        os.sync()  # thousands of files one by one take minutes
        return
    for path in (*below, folder):
        _sync(path)


def _sync(path: Path) -> None:
    """Have a file's content, or the names in a folder, reach the disk.

    Windows opens no folders, and some network disks do not sync them.
    """
    folder = path.is_dir()
    with contextlib.suppress(OSError) if folder else contextlib.nullcontext():
        descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def copy_files(folder: Path, target: Path, *, but: Collection[Path] = ()) -> None:
    """Copy what lies in a folder into another one, on whose disk is room for it.

    Args:
        folder: The folder.
        target: One that is there.
        but: Files that are left out.

    Raises:
        OSError: It cannot be written; of a full disk says how much is needed.
    """
    files = [path for path in folder.rglob("*") if path.is_file() and path not in but]
    check_space(target, sum(path.stat().st_size for path in files))
    shutil.copytree(
        folder,
        target,
        dirs_exist_ok=True,
        ignore=lambda parent, names: [name for name in names if Path(parent, name) in but],
    )


# --- content of one kind ------------------------------------------------------------------


def write_text(path: Path, text: str) -> None:
    """Write a text file.

    Raises:
        StoreError: It cannot be written.
    """
    with writing(path), replacing_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; errors as ``write_text``."""
    with writing(path), replacing_file(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON; NaN is refused, since it is not JSON. Errors as ``write_text``."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def save_npy(path: Path, array: NDArray[Any]) -> None:
    """Write an array into a new file, whose space is taken before.

    Raises:
        OSError: It cannot be written; of a full disk says how much is needed.
    """
    import numpy as np

    array = np.asanyarray(array)
    with path.open("wb") as file:
        take_space(file, _NPY_HEADER_BYTES + array.nbytes)
        np.save(file, array, allow_pickle=False)
        file.truncate()


def write_npy(path: Path, array: NDArray[Any]) -> None:
    """Write an array; errors as ``write_text``."""
    with writing(path), replacing_file(path) as temporary:
        save_npy(temporary, array)


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a table; errors as ``write_text``."""
    with writing(path), replacing_file(path) as temporary:
        frame.to_parquet(temporary, index=False)


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add a line of JSON to a file that only grows; half a line of a killed process goes first.

    Raises:
        StoreError: It cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
            file.write(json.dumps(value, allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if not end:
            _sync(path.parent)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        StoreError: It is damaged.
    """
    try:
        return json.loads(read_regular(path, RECORD))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(
            f"{path}: cannot be read ({error}). If it is damaged, remove its folder and give the "
            "run's command again."
        ) from error


def read_lines(path: Path) -> list[Any]:
    """The whole lines of what ``append_line`` wrote; none where there is no such file.

    Raises:
        StoreError: It is damaged.
    """
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in read_regular(path, RECORD).split(b"\n")[:-1]]
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: damaged ({error}). Remove its folder.") from error


def read_npy(path: Path) -> NDArray[np.generic]:
    """Read an array.

    Raises:
        StoreError: It is missing or damaged.
    """
    try:
        array: NDArray[np.generic] = read_npy_file(path, ARRAY)
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"{path}: cannot be read ({error}). Remove its folder.") from error
    return array


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a table.

    Raises:
        StoreError: It is missing or damaged.
    """
    from pyarrow import ArrowException

    try:
        return read_whole_table(path)
    except (OSError, ValueError, ArrowException) as error:
        raise StoreError(f"{path}: cannot be read ({error}).") from error
