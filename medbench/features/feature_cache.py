"""Features are computed once per image and configuration, and shared by trials, folds and runs."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.atomic_files import folder_name, save_npy
from medbench.awake import awake_seconds
from medbench.cache import entries_like, keep_entry, read_entry
from medbench.datasets.batch import Batch
from medbench.errors import FeaturesTooDearError
from medbench.features.extractor import Extractor
from medbench.versions import code_version

_CHUNK = 32
"""Images that a thread extracts at once."""
_READ_AT_ONCE = 256
"""Images in memory at once where one thread extracts them."""
_FIRST, _TRIED = 32, 128
"""Images by which it is told what the others will cost. The first few are not counted: libraries
and networks are loaded for them."""
_WHOLE = 10
"""Seconds from which on no tenths are shown."""
_MEMORY_BYTES = 512 * 1024**2
"""Rows kept in memory; beyond, those not used for longest are read again when they are wanted."""


class FeatureCache:
    """Rows of features on disk, found by the hash of an image's pixels.

    Rows are stored in entries of the cache (see ``medbench.cache``), so any number of processes
    may read and add at the same time, and damaged rows are computed again. No labels, splits or
    names are in here. Rows belong to the extractor's settings, its code and its libraries. Every
    row read is charged with the seconds it cost when it was computed, so that a cell
    that finds a warm cache pays what a cold one would have paid.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        threads: int = 1,
        paid: Collection[str] = (),
        bound: float | None = None,
    ) -> None:
        """Open a cache.

        Args:
            folder: Where rows are stored; None keeps them in memory only.
            threads: Number of threads that may extract, at least 1.
            paid: Names of features that were charged before an interruption.
            bound: Seconds that all features together may cost, computed now or found; None sets
                no bound.
        """
        self._folder = folder
        self._threads = threads
        self._paid = frozenset(paid)
        self.bound = bound
        """Most seconds of all features; None for no bound. A search lowers it as its seconds pass,
        and sets none for its first trial, so that there is one, nor for what follows it."""
        self._memory: dict[str, _Rows] = {}
        self._charged: dict[str, set[bytes]] = {}
        self.cold_seconds = 0.0
        """Seconds that the rows handed out so far cost to compute, each row counted once."""
        self.spent_seconds = 0.0
        """The part of them that was computed now, not found."""
        self.requests = 0
        """How often features were asked for."""

    def get(self, extractor: Extractor, batch: Batch) -> NDArray[np.float32]:
        """Features of every image of a batch, float32, shape (n_images, n_features).

        Args:
            extractor: What computes them.
            batch: The images.

        Raises:
            FeaturesTooDearError: They would cost more than what is left of the bound, by what such
                rows cost before, or by the first images of this batch. The rows of those are kept.
        """
        self.requests += 1
        version = code_version(type(extractor))
        name = f"{extractor.key} {version} {'x'.join(str(side) for side in batch.image_shape)}"
        keys = [bytes(key) for key in batch.keys]
        rows = self._memory.pop(name, None) or _Rows()
        if missing := rows.missing(keys):
            self._read(name, missing, rows)
        missing = rows.missing(keys)
        self._keep(name, rows)
        if self.bound is not None and name not in self._paid:
            missing = self._within_bound(name, extractor, batch, keys, missing)
        if missing:
            self._add(name, extractor, batch, keys, missing)
        self._charge(name, keys)
        return rows.values[[rows.index[key] for key in keys]]

    def _within_bound(
        self, name: str, extractor: Extractor, batch: Batch, keys: list[bytes], missing: list[bytes]
    ) -> list[bytes]:
        """The keys that are still missing after a few were tried, where all can be afforded.

        Raises:
            FeaturesTooDearError: They cannot.
        """
        rows = self._memory[name]
        costs = rows.seconds
        if not len(costs) and len(missing) > _FIRST + _TRIED:
            position_of = {key: position for position, key in enumerate(keys)}
            # Images that are stored side by side are read together.
            ordered = sorted(missing, key=lambda key: position_of[key])
            for tried in (ordered[:_FIRST], ordered[_FIRST : _FIRST + _TRIED]):
                costs = self._add(name, extractor, batch, keys, sorted(tried))
                self._charge(name, tried)
            missing = rows.missing(keys)
        fresh = set(keys) - self._charged.get(name, set()) - set(missing)
        cost = sum(rows.seconds[rows.index[key]] for key in fresh)
        cost += len(missing) * float(np.median(costs)) if len(costs) else 0.0
        assert self.bound is not None, "the caller asked"
        if self.cold_seconds + cost > self.bound:
            raise FeaturesTooDearError(
                f"{extractor.name} of {len(fresh) + len(missing):,} images takes "
                f"about {_shown(cost)}; features took {_shown(self.cold_seconds)} before, and may "
                f"take {_shown(self.bound)} in all."
            )
        return missing

    def _add(
        self, name: str, extractor: Extractor, batch: Batch, keys: list[bytes], missing: list[bytes]
    ) -> NDArray[np.float64]:
        """Compute rows and keep them; what each cost in seconds."""
        first = {key: position for position, key in reversed(list(enumerate(keys)))}
        began = awake_seconds()
        values = self._compute(extractor, batch, [first[key] for key in missing])
        spent = awake_seconds() - began
        self.spent_seconds += spent
        costs = np.full(len(missing), spent / len(missing))
        self._memory[name].add(missing, values, costs)
        self._keep(name, self._memory[name])
        self._write(name, missing, values, spent)
        return costs

    def _charge(self, name: str, keys: Collection[bytes]) -> None:
        """Count what rows cost that were not counted yet."""
        rows = self._memory[name]
        fresh = set(keys) - self._charged.setdefault(name, set())
        self._charged[name] |= fresh
        if name not in self._paid:
            self.cold_seconds += sum(rows.seconds[rows.index[key]] for key in fresh)

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

    def _compute(
        self, extractor: Extractor, batch: Batch, positions: list[int]
    ) -> NDArray[np.float32]:
        """Run the extractor, on several threads where that pays; a few images are read at a time.

        Images come in the order in which they are stored, whatever that of ``positions``.
        """
        order = np.argsort(positions, kind="stable")
        stored = np.asarray(positions)[order]
        several = self._threads > 1 and extractor.parallel and len(stored) > _CHUNK
        size = _CHUNK if several else _READ_AT_ONCE
        chunks = [stored[begin : begin + size] for begin in range(0, len(stored), size)]

        def of_chunk(chunk: NDArray[np.int64]) -> NDArray[np.float32]:
            return extractor(batch.pixels(chunk))

        if several:
            with ThreadPoolExecutor(self._threads) as pool:
                rows = np.concatenate(list(pool.map(of_chunk, chunks)))
        else:
            rows = np.concatenate([of_chunk(chunk) for chunk in chunks])
        found = np.empty_like(rows)
        found[order] = rows
        return found

    def _read(self, name: str, wanted: list[bytes], rows: _Rows) -> None:
        """Add those of the wanted rows that are on disk."""
        left = set(wanted)
        for entry in self._entries(name):
            if not left:
                return
            content = read_entry(entry)
            if content is None:
                continue
            keys = [bytes(key) for key in _array_in(content["keys.npy"])]
            positions = [i for i, key in enumerate(keys) if key in left]
            if not positions:
                continue
            values = _array_in(content["rows.npy"])
            seconds = json.loads(content["cost.json"])["seconds"] / len(keys)
            found = [keys[i] for i in positions]
            whole = len(positions) == len(keys)
            rows.add(found, values if whole else values[positions], np.full(len(found), seconds))
            left -= set(found)

    def _entries(self, name: str) -> Iterator[Path]:
        if self._folder is not None:
            yield from entries_like(self._folder / folder_name(name), "*")

    def _write(
        self, name: str, keys: list[bytes], rows: NDArray[np.float32], seconds: float
    ) -> None:
        if self._folder is None:
            return

        def write(entry: Path) -> None:
            save_npy(entry / "keys.npy", np.array(keys, dtype="S32"))
            save_npy(entry / "rows.npy", rows)
            (entry / "cost.json").write_text(json.dumps({"seconds": seconds}))

        keep_entry(self._folder / folder_name(name) / secrets.token_hex(16), write)


def _shown(seconds: float) -> str:
    return f"{seconds:,.{0 if seconds >= _WHOLE else 1}f} s"


def _array_in(content: bytes) -> NDArray[Any]:
    """The array of a ``.npy`` file."""
    array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array


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
