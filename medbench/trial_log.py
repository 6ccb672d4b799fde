"""The finished trials of a cell, a line each, with their inner out-of-fold probabilities."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.errors import StoreError
from medbench.files import write_npy, writing


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
        with writing(self._lines):
            if oof is not None:
                write_npy(self._oof / f"{record['number']:04d}.npy", oof)
            self._lines.parent.mkdir(parents=True, exist_ok=True)
            with self._lines.open("a+b") as file:
                file.seek(0, os.SEEK_END)
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":  # a killed process left half a line
                        self._drop_torn_line()
                file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())

    def records(self) -> list[dict[str, Any]]:
        """All finished trials, in order."""
        if not self._lines.exists():
            return []
        try:
            lines = self._lines.read_bytes().split(b"\n")[:-1]
            return [json.loads(line) for line in lines]
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(f"{self._lines}: damaged ({error}). Remove its folder.") from error

    def oof(self, number: int) -> NDArray[np.float64]:
        """Inner out-of-fold probabilities of a trial, shape (n_development, n_classes)."""
        path = self._oof / f"{number:04d}.npy"
        try:
            array: NDArray[np.float64] = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read ({error}). Remove its folder.") from error
        return array

    def _drop_torn_line(self) -> None:
        content = self._lines.read_bytes()
        os.truncate(self._lines, content.rfind(b"\n") + 1)
