"""The finished trials of a cell, a line each, with their inner out-of-fold probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.files import append_line, read_lines, read_npy, write_npy


class TrialLog:
    """The finished trials of one cell, with their inner out-of-fold probabilities."""

    def __init__(self, folder: Path) -> None:
        """``folder``: the cell's."""
        self._lines = folder / "trials.jsonl"
        self._oof = folder / "oof"

    def append(self, record: Mapping[str, Any], oof: NDArray[np.float64] | None) -> None:
        """Add a finished trial; ``record["number"]`` names it.

        Args:
            record: JSON-ready description.
            oof: Probabilities, float64, shape (n_development, n_classes), NaN where an image was
                in no validation fold that was reached; None where there are none.
        """
        if oof is not None:
            write_npy(self._oof / f"{record['number']:04d}.npy", oof)
        append_line(self._lines, record)

    def records(self) -> list[dict[str, Any]]:
        """All finished trials, in order."""
        return read_lines(self._lines)

    def oof(self, number: int) -> NDArray[np.float64]:
        """Inner out-of-fold probabilities of a trial, shape (n_development, n_classes)."""
        return read_npy(self._oof / f"{number:04d}.npy").astype(np.float64, copy=False)
