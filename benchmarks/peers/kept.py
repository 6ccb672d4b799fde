"""Results as they are kept: a small file of JSON for each system, data set, budget and seed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.atomic_files import write_json

_LOWEST = 1e-6
"""Probabilities are kept from here to 1 less this."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """Which result it is."""

    data: str
    system: str
    seed: int
    budget: int | None
    """Seconds of search over all folds; None of what searches as long as it takes."""

    def __str__(self) -> str:
        budget = "" if self.budget is None else f"-{self.budget}s"
        return f"{self.data}/{self.system}{budget}-seed{self.seed}"

    def file(self, results: Path) -> Path:
        """Where it is kept."""
        return results / f"{self}.json"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a system said of all held-out images, and what it took."""

    key: Key
    seconds: float
    """Wall time of the whole process, imports included."""
    predictions: dict[str, str] = field(default_factory=dict)
    """By row: the packed scores of the held-out images, fold after fold."""
    cell_seconds: dict[str, float] = field(default_factory=dict)
    """By row, of a run of MedBench: seconds of its cells alone."""
    embedding_seconds: float = 0.0
    """Wall time of the process that made the embeddings, on top of ``seconds``."""
    notes: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)
    failed: str = ""
    """Why there are no predictions; else empty."""

    def write(self, results: Path) -> None:
        """Keep it."""
        file = self.key.file(results)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, asdict(self))

    def scores(self, row: str) -> NDArray[np.float64]:
        """Scores of the held-out images, fold after fold; of probabilities their log-odds."""
        packed = base64.b64decode(self.predictions[row])
        return np.frombuffer(packed, dtype="<f2").astype(np.float64)

    def probabilities(self, row: str) -> NDArray[np.float64]:
        """Probabilities of class 1 of the held-out images, fold after fold."""
        found: NDArray[np.float64] = 1 / (1 + np.exp(-self.scores(row)))
        return found


def packed(folds: Sequence[Sequence[float]], *, probabilities: bool) -> str:
    """Scores as they are kept: half precision, probabilities as log-odds, which loses no rank.

    Raises:
        ValueError: Scores are not finite, or probabilities are not between 0 and 1.
    """
    scores = np.concatenate([np.asarray(fold, dtype=np.float64) for fold in folds])
    if not np.isfinite(scores).all():
        raise ValueError("it predicted scores that are not finite.")
    if probabilities:
        if scores.min() < 0 or scores.max() > 1:
            raise ValueError("it predicted probabilities that are not between 0 and 1.")
        within = scores.clip(_LOWEST, 1 - _LOWEST)
        scores = np.log(within) - np.log1p(-within)
    return base64.b64encode(scores.astype("<f2").tobytes()).decode("ascii")


def all_kept(results: Path) -> Iterator[Result]:
    """Every result of a folder, in the order of their names."""
    for file in sorted(results.glob("*/*-seed*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        if "key" in content:
            yield Result(**(content | {"key": Key(**content["key"])}))
