"""Features are computed once per image and configuration, and shared by trials, folds and runs."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.batch import Batch

_CHUNK = 32
"""Images that a thread extracts at once."""
_MEMORY_BYTES = 512 * 1024**2
"""Rows kept in memory; beyond, those not used for longest are read again when they are wanted."""


class Extractor(Protocol):
    """Turns images into vectors; equal ``key`` and equal pixels give equal vectors."""

    key: str
    """Names the extractor, its settings and its version; part of the cache's file names."""
    parallel: bool
    """True where several threads gain, as most of the work releases the interpreter's lock."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors, float32, shape (n_images, n_features), of uint8 (n, height, width, channels)."""
        ...


class FeatureCache:
    """Rows of features on disk, found by the hash of an image's pixels.

    Rows are stored in immutable chunks (temporary name, then rename), so any number of
    processes may read and add at the same time. No labels, splits or names are in here.
    Every row read is charged with the seconds it cost when it was computed, so that a cell
    that finds a warm cache pays what a cold one would have paid.
    """

    def __init__(
        self, folder: Path | None, *, threads: int = 1, paid: Collection[str] = ()
    ) -> None:
        """Open a cache.

        Args:
            folder: Where chunks live; None keeps them in memory only.
            threads: Number of threads that may extract.
            paid: Names of features that were charged before an interruption.
        """
        self._folder = folder
        self._threads = threads
        self._paid = frozenset(paid)
        self._memory: dict[str, _Rows] = {}
        self._charged: dict[str, set[bytes]] = {}
        self.cold_seconds = 0.0
        """Seconds that the rows handed out so far cost to compute, each row counted once."""
        self.spent_seconds = 0.0
        """The part of them that was computed now, not found."""

    def get(self, extractor: Extractor, batch: Batch) -> NDArray[np.float32]:
        """Features of every image of a batch, float32, shape (n_images, n_features)."""
        name = f"{extractor.key}-{'x'.join(str(side) for side in batch.images.shape[1:])}"
        keys = [bytes(key) for key in batch.keys]
        rows = self._memory.pop(name, None) or _Rows()
        if missing := rows.missing(keys):
            self._read(name, missing, rows)
        if missing := rows.missing(keys):
            first = {key: position for position, key in reversed(list(enumerate(keys)))}
            began = time.perf_counter()
            values = self._compute(extractor, batch.images[[first[key] for key in missing]])
            spent = time.perf_counter() - began
            self.spent_seconds += spent
            rows.add(missing, values, np.full(len(missing), spent / len(missing)))
            self._write(name, missing, values, spent)
        self._keep(name, rows)
        positions = [rows.index[key] for key in keys]
        fresh = set(keys) - self._charged.setdefault(name, set())
        self._charged[name] |= fresh
        if name not in self._paid:
            self.cold_seconds += sum(rows.seconds[rows.index[key]] for key in fresh)
        return rows.values[positions]

    def forget(self) -> None:
        """Free the memory, when what follows are other images."""
        self._memory.clear()
        self._charged.clear()

    @property
    def names(self) -> set[str]:
        """Names of the features that were handed out or paid for before."""
        return {*self._charged, *self._paid}

    def _keep(self, name: str, rows: _Rows) -> None:
        """Keep the rows in memory, and forget those not used for longest where it is too much."""
        self._memory[name] = rows
        while len(self._memory) > 1 and self._bytes() > _MEMORY_BYTES and self._folder is not None:
            del self._memory[next(iter(self._memory))]

    def _bytes(self) -> int:
        return sum(rows.values.nbytes for rows in self._memory.values())

    def _compute(self, extractor: Extractor, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the extractor, on several threads where that pays."""
        if self._threads < 2 or not extractor.parallel or len(images) <= _CHUNK:
            return extractor(images)
        chunks = [images[start : start + _CHUNK] for start in range(0, len(images), _CHUNK)]
        with ThreadPoolExecutor(self._threads) as pool:
            return np.concatenate(list(pool.map(extractor, chunks)))

    def _read(self, name: str, wanted: list[bytes], rows: _Rows) -> None:
        """Add those of the wanted rows that are on disk."""
        if self._folder is None:
            return
        left = set(wanted)
        for chunk in sorted((self._folder / _safe(name)).glob("[!.]*")):
            keys = [bytes(key) for key in np.load(chunk / "keys.npy", allow_pickle=False)]
            positions = [i for i, key in enumerate(keys) if key in left]
            if not positions:
                continue
            values = np.load(chunk / "rows.npy", mmap_mode="r", allow_pickle=False)[positions]
            seconds = json.loads((chunk / "cost.json").read_text())["seconds"] / len(keys)
            found = [keys[i] for i in positions]
            rows.add(found, values, np.full(len(found), seconds))
            left -= set(found)

    def _write(
        self, name: str, keys: list[bytes], rows: NDArray[np.float32], seconds: float
    ) -> None:
        if self._folder is None:
            return
        folder = self._folder / _safe(name)
        temporary = folder / f".{uuid.uuid4().hex}"
        temporary.mkdir(parents=True)
        np.save(temporary / "keys.npy", np.array(keys, dtype="S32"))
        np.save(temporary / "rows.npy", rows)
        (temporary / "cost.json").write_text(json.dumps({"seconds": seconds}))
        temporary.rename(folder / temporary.name[1:])


class _Rows:
    """Rows of one feature in memory."""

    def __init__(self) -> None:
        self.index: dict[bytes, int] = {}
        self.values: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self.seconds: NDArray[np.float64] = np.empty(0)
        """What each row cost to compute."""

    def missing(self, keys: list[bytes]) -> list[bytes]:
        """Those of the keys that have no row, each once, sorted."""
        return sorted({key for key in keys if key not in self.index})

    def add(
        self, keys: list[bytes], values: NDArray[np.float32], seconds: NDArray[np.float64]
    ) -> None:
        """Add rows whose keys are new."""
        begin = len(self.index)
        self.index.update({key: begin + i for i, key in enumerate(keys)})
        self.values = np.concatenate([self.values, values]) if len(self.values) else values
        self.seconds = np.concatenate([self.seconds, seconds])


def _safe(name: str) -> str:
    """A folder name for a feature name: readable, distinct even where characters are dropped."""
    readable = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:80]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
