"""Large files of models, in chunks that are stored once a run, whatever cells they are of.

The models of a run have most of their bytes in common: the backbone that none of them changes. A
large file is cut where its own content says so (where a hash of the last eight bytes begins with
zeros), so that equal stretches give equal chunks wherever in a file they lie; each chunk lies in
the run folder under its SHA-256. No family need know of it.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from medbench.atomic_files import copy_files, read_json, replacing_folder, write_bytes, writing
from medbench.cache import working_folder
from medbench.errors import ModelError, StoreError
from medbench.hashes import hash_of_file, sha256_of_folder, sha256_of_named
from medbench.store import schemas, seals

_LARGE = 1_000_000
"""Bytes from which on a file is cut."""
_SHORTEST, _LONGEST = 1 << 16, 1 << 20
"""Bytes of a chunk."""
LARGEST_MODEL = 16 << 30
"""Bytes of the large files of one model; a list of chunks that names more is not followed."""
_BITS = 17
"""Bits that are zero where a chunk may end: once in 128 KiB, on average."""
_FACTOR, _SUMMAND = 0x9E3779B97F4A7C15, 0x1F83D9ABFB41BD6B
"""Mix the bytes; any odd number does, and a summand that lets zeros not be zero."""
_LIST = "chunks.json"
"""In the folder of a model: of which chunks its large files are made."""


class ChunkStore:
    """The chunks of a run."""

    def __init__(self, folder: Path) -> None:
        """``folder``: where they lie; it need not exist."""
        self._folder = folder

    def keep(self, model: Path, target: Path) -> None:
        """Copy the folder of a model to ``target``, its large files as chunks.

        Raises:
            StoreError: It cannot be written.
        """
        with writing(target), replacing_folder(target) as temporary:
            large = {path for path in model.rglob("*") if _is_large(path)}
            made = {
                path.relative_to(model).as_posix(): [
                    self._keep(chunk) for chunk in split_into_chunks(path.read_bytes())
                ]
                for path in sorted(large)
            }
            copy_files(model, temporary, but=large)
            if made:
                seals.write_record(temporary / _LIST, {"files": made})

    def assembled(self, model: Path) -> Path:
        """The folder of a model as its family saved it: put together again where it is in chunks.

        That folder goes with this process. It is checked by nobody here: see ``model_sha256`` of
        the cell.

        Raises:
            ModelError: A chunk of it is gone, or cannot be read.
            OSError: It cannot be written.
        """
        if not (model / _LIST).exists():
            return model
        target = working_folder() / f"model-{secrets.token_hex(8)}"
        try:
            listed = _listed(model)
            sizes = [self._size(one) for hashes in listed.values() for one in hashes]
            if sum(sizes) > LARGEST_MODEL:
                raise StoreError(f"{model / _LIST}: names {sum(sizes)} bytes, too many")
            for path in sorted(path for path in model.rglob("*") if path.is_file()):
                if path.name != _LIST:
                    shutil.copyfile(path, _path(target, path.relative_to(model).as_posix()))
            for name, hashes in listed.items():
                with _path(target, name).open("wb") as file:
                    for one in hashes:
                        file.write(self._path(one).read_bytes())
        except (StoreError, FileNotFoundError) as error:
            shutil.rmtree(target, ignore_errors=True)
            raise ModelError(
                f"{model}: a chunk of this model is gone or damaged ({error}). Take the whole run "
                "folder from a copy, or give the run's command again, which makes it anew."
            ) from error
        return target

    def sha256_of(self, model: Path) -> str:
        """The hash of the folder of a model as its family saved it; nothing is written.

        Raises:
            StoreError: A chunk of it is gone, or something cannot be read.
        """
        if not (model / _LIST).exists():
            return sha256_of_folder(model)
        listed = _listed(model)
        names = {path.relative_to(model) for path in model.rglob("*") if path.is_file()}
        try:
            return sha256_of_named(
                self._described(model, path.as_posix(), listed)
                for path in sorted({*names, *map(Path, listed)} - {Path(_LIST)})
            )
        except OSError as error:
            raise StoreError(f"{model}: cannot be read ({error.strerror or error}).") from error

    def _described(
        self, model: Path, name: str, listed: Mapping[str, list[str]]
    ) -> tuple[str, int, Iterator[bytes]]:
        """Name, size and content of a file, for its hash."""
        paths = [self._path(one) for one in listed[name]] if name in listed else [model / name]
        size = sum(path.stat().st_size for path in paths)
        return name, size, (path.read_bytes() for path in paths)

    def remove_unused(self, models: Iterator[Path]) -> None:
        """Remove the chunks that belong to none of the models; nothing where one is unreadable."""
        used: set[str] = set()
        try:
            for model in models:
                if (model / _LIST).exists():
                    used.update(*_listed(model).values())
        except StoreError:
            return
        for path in self._folder.glob("*/*"):
            if path.name not in used:
                with writing(path):
                    path.unlink()

    def _keep(self, chunk: bytes) -> str:
        """Store a chunk unless it is there, undamaged."""
        sha256 = hashlib.sha256(chunk).hexdigest()
        path = self._path(sha256)
        if not (path.is_file() and hash_of_file(path) == sha256):
            write_bytes(path, chunk)
        return sha256

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def _size(self, sha256: str) -> int:
        """Bytes of a chunk.

        Raises:
            StoreError: It is gone, or what is there can be none.
        """
        path = self._path(sha256)
        if not path.is_file() or path.stat().st_size > _LONGEST:
            raise StoreError(f"{path}: {'too large' if path.is_file() else 'not there'}")
        return path.stat().st_size


def _path(folder: Path, name: str) -> Path:
    """Where a file of a model goes, with the folders above it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _is_large(path: Path) -> bool:
    return path.is_file() and path.stat().st_size >= _LARGE


def split_into_chunks(content: bytes) -> Iterator[bytes]:
    """Cut bytes into chunks, of which most are the same where most of the bytes are the same."""
    begin = 0
    for end in _ends(content):
        while end - begin > _LONGEST:
            yield content[begin : begin + _LONGEST]
            begin += _LONGEST
        if end - begin >= _SHORTEST or end == len(content):
            yield content[begin:end]
            begin = end


def _ends(content: bytes) -> list[int]:
    """Where a chunk may end, in rising order; the last is the end of the content."""
    found = [np.array([len(content)])]
    for shift in range(8):  # the windows of eight bytes that begin there, and after every eight
        count = max(0, len(content) - shift) // 8
        windows = np.frombuffer(content, dtype="<u8", count=count, offset=shift if count else 0)
        mixed = (windows + np.uint64(_SUMMAND)) * np.uint64(_FACTOR)
        found.append(np.flatnonzero(mixed >> np.uint64(64 - _BITS) == 0) * 8 + shift + 8)
    return [int(end) for end in np.unique(np.concatenate(found))]


def _listed(model: Path) -> dict[str, list[str]]:
    """The hashes of the chunks of each large file of a model.

    Raises:
        StoreError: The list is damaged, or names what can be no chunk of this model.
    """
    path = model / _LIST
    record = read_json(path)
    damaged = not isinstance(record, dict) or schemas.damaged(record, schemas.ChunkList)
    if damaged or not seals.holds(record):
        raise StoreError(f"{path}: damaged.")
    files: dict[str, list[str]] = record["files"]
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in files):
        raise StoreError(f"{path}: damaged.")
    return files
