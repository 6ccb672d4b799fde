"""How fast this machine is: three short workloads, each as cells have much of."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from medbench.cache import cache_folder, keep_note, read_note
from medbench.execution.environment import processor
from medbench.hashes import sha256_of_json

COSTS = "costs"
"""Folder of the cache for what work cost on this machine."""
_REPEATS = 15
"""The fastest of so many counts: whatever else runs only makes one slower."""
_SIDE, _VALUES, _STEPS = 384, 200_000, 60_000
"""Of the matrices, of the array that is sorted, of the loop: a few ms each, so that the whole takes
a fifth of a second."""


@cache
def machine_seconds() -> float:
    """CPU seconds of one workload here: the geometric mean of all three, kept for later."""
    note = note_of("speed")
    kept = read_note(note)
    if isinstance(kept, float) and math.isfinite(kept) and kept > 0:
        return kept
    random = np.random.default_rng(0)
    matrix = random.random((_SIDE, _SIDE), dtype=np.float32)
    values = random.random(_VALUES)
    workloads: tuple[Callable[[], object], ...] = (
        lambda: matrix @ matrix @ matrix,
        lambda: np.sort(values),
        lambda: sum(number * number for number in range(_STEPS)),
    )
    with threadpool_limits(1):
        turns = [[_timed(workload) for workload in workloads] for _ in range(_REPEATS)]
    fastest = [min(times) for times in zip(*turns, strict=True)]
    seconds = math.exp(sum(map(math.log, fastest)) / len(fastest))
    keep_note(note, seconds)
    return seconds


def note_of(*what: object) -> Path:
    """Where in the cache a note is that belongs to this processor and to what is named."""
    return cache_folder() / COSTS / f"{sha256_of_json([processor(), *what])[:32]}.json"


def _timed(workload: Callable[[], object]) -> float:
    began = time.thread_time()  # of a busy machine too, what it can do
    workload()
    return time.thread_time() - began
