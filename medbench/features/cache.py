"""Features are computed once per image and configuration, and shared by trials, folds and runs."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.batch import Batch

_PROBE_IMAGES = 16
_PARALLEL_FROM_SECONDS = 4.0
"""Below this, starting worker processes costs more than it saves."""


class Extractor(Protocol):
    """Turns images into vectors; equal ``key`` and equal pixels give equal vectors."""

    key: str
    """Names the extractor, its settings and its version; part of the cache's file names."""
    parallel: bool
    """True where images may be handed to several processes (a backbone threads by itself)."""

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
            threads: Number of processes that may extract.
            paid: Names of features that were charged before an interruption.
        """
        self._paid = frozenset(paid)
        self._folder = folder
        self._threads = threads
        self._memory: dict[str, tuple[dict[bytes, int], NDArray[np.float32], float]] = {}
        self._charged: dict[str, set[bytes]] = {}
        self.cold_seconds = 0.0
        """Seconds that the rows handed out so far cost to compute, each row counted once."""
        self.spent_seconds = 0.0
        """The part of them that was computed now, not found."""

    def get(self, extractor: Extractor, batch: Batch) -> NDArray[np.float32]:
        """Features of every image of a batch, float32, shape (n_images, n_features)."""
        shape = "x".join(str(side) for side in batch.images.shape[1:])
        name = f"{extractor.key}-{shape}"
        index, rows, seconds = self._load(name)
        keys = [bytes(key) for key in batch.keys]
        missing = sorted({key for key in keys if key not in index})
        if missing:
            first = {key: position for position, key in reversed(list(enumerate(keys)))}
            positions = np.array([first[key] for key in missing])
            began = time.perf_counter()
            new = self._compute(extractor, batch.images[positions])
            spent = time.perf_counter() - began
            self.spent_seconds += spent
            self._write(name, missing, new, spent)
            rows = np.concatenate([rows, new]) if len(index) else new
            index = {**index, **{key: len(index) + i for i, key in enumerate(missing)}}
            seconds += spent
            self._memory[name] = (index, rows, seconds)
        charged = self._charged.setdefault(name, set())
        fresh = set(keys) - charged
        charged |= fresh
        if name not in self._paid:
            self.cold_seconds += seconds / max(len(index), 1) * len(fresh)
        return rows[[index[key] for key in keys]]

    @property
    def names(self) -> set[str]:
        """Names of the features that were handed out or paid for before."""
        return {*self._charged, *self._paid}

    def _compute(self, extractor: Extractor, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the extractor, over several processes where that pays."""
        if self._threads < 2 or not extractor.parallel or len(images) < 4 * _PROBE_IMAGES:
            return extractor(images)
        began = time.perf_counter()
        head = extractor(images[:_PROBE_IMAGES])
        rest = images[_PROBE_IMAGES:]
        expected = (time.perf_counter() - began) / _PROBE_IMAGES * len(rest)
        if expected < _PARALLEL_FROM_SECONDS:
            return np.concatenate([head, extractor(rest)])
        from joblib import Parallel, delayed

        chunks = np.array_split(rest, 4 * self._threads)
        parts = Parallel(n_jobs=self._threads)(delayed(extractor)(chunk) for chunk in chunks)
        return np.concatenate([head, *parts])

    def _load(self, name: str) -> tuple[dict[bytes, int], NDArray[np.float32], float]:
        if name in self._memory:
            return self._memory[name]
        index: dict[bytes, int] = {}
        parts: list[NDArray[np.float32]] = []
        seconds = 0.0
        for chunk in sorted(self._chunks(name)):
            keys = np.load(chunk / "keys.npy", allow_pickle=False)
            rows = np.load(chunk / "rows.npy", allow_pickle=False)
            new = [i for i, key in enumerate(keys) if bytes(key) not in index]
            index.update({bytes(keys[i]): len(index) + n for n, i in enumerate(new)})
            parts.append(rows[new])
            cost = json.loads((chunk / "cost.json").read_text())
            seconds += cost["seconds"] / len(keys) * len(new)
        if parts:
            self._memory[name] = (index, np.concatenate(parts), seconds)
            return self._memory[name]
        return index, np.empty((0, 0), np.float32), 0.0

    def _chunks(self, name: str) -> list[Path]:
        if self._folder is None:
            return []
        folder = self._folder / _safe(name)
        return [p for p in folder.glob("*") if not p.name.startswith(".")]

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


def _safe(name: str) -> str:
    """A folder name for a feature name: readable, distinct even where characters are dropped."""
    readable = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[:80]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
