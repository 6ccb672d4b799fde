"""Hashes of what numbers depend on: texts, JSON values, arrays, files and folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.errors import StoreError
from medbench.opening import open_regular

_CHUNK_BYTES = 1 << 20


def sha256_of_text(*parts: object) -> str:
    """SHA-256 of the parts as text, 64 hexadecimal digits; ("a", "bc") is not ("ab", "c").

    Args:
        parts: Anything of which ``str`` says all that counts.
    """
    digest = hashlib.sha256()
    for part in parts:
        content = str(part).encode(errors="surrogatepass")  # names of files need not be text
        digest.update(f"{len(content)}\n".encode() + content)
    return digest.hexdigest()


def sha256_of_chunks(chunks: Iterable[bytes]) -> str:
    """SHA-256 of bytes that come chunk by chunk, in hexadecimal digits."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def sha256_of_json(value: Any) -> str:
    """SHA-256 of a JSON-ready value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def sha256_of_arrays(*arrays: NDArray[Any] | None) -> str:
    """SHA-256 of types, shapes and values of arrays; None stands for one that is not there."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is None:
            digest.update(b"none\n")
            continue
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def hash_of_file(path: Path, algorithm: str = "sha256") -> str:
    """Hash of a file's content, in hexadecimal digits.

    Args:
        path: The file.
        algorithm: As ``hashlib.new`` has it; "md5" is for comparing with published sums.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    with open_regular(path, None) as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def sha256_of_folder(folder: Path) -> str:
    """SHA-256 of every file below a folder with its name, in hexadecimal digits.

    Raises:
        StoreError: The folder or a file in it cannot be read.
    """
    try:
        return sha256_of_named(
            (path.relative_to(folder).as_posix(), path.stat().st_size, _chunks(path))
            for path in sorted(path for path in folder.rglob("*") if path.is_file())
        )
    except OSError as error:
        raise StoreError(f"{folder}: cannot be read ({error.strerror or error}).") from error


def sha256_of_named(files: Iterable[tuple[str, int, Iterable[bytes]]]) -> str:
    """What ``sha256_of_folder`` gives for files of these names, sizes and contents.

    Args:
        files: In the order of their paths.
    """
    digest = hashlib.sha256()
    for name, size, chunks in files:
        digest.update(f"{name}\n{size}\n".encode())
        for chunk in chunks:
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def sha256_of_files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below a folder, by its name relative to it, with '/'.

    Raises:
        OSError: The folder or a file in it cannot be read.
    """
    return {
        path.relative_to(folder).as_posix(): hash_of_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
