"""Writes and reads one cell of a run folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from medbench.errors import StoreError
from medbench.files import (
    append_line,
    read_json,
    read_lines,
    read_npy,
    replacing_folder,
    write_json,
    write_npy,
    write_parquet,
    writing,
)
from medbench.store import schemas
from medbench.store.layout import CellLayout, RunLayout
from medbench.store.reading import FORMAT, Reading
from medbench.store.results import CellResult

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


class RecordedKey(NamedTuple):
    """From what a cell was made."""

    key: str
    """Hash of the parts."""
    parts: Mapping[str, Any]
    """Every input, by name."""


class CellStore:
    """The folder of one cell, which a run fills step by step and may leave at any of them.

    Whatever writes raises ``StoreError`` where the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        """``folder``: the cell's, ``RUN/cells/DATASET/MODEL/SPLIT``; it need not exist."""
        self._layout = CellLayout(folder)

    @property
    def folder(self) -> Path:
        """The cell's folder."""
        return self._layout.folder

    # --- what it is made from ----------------------------------------------------------------

    def key(self) -> RecordedKey | None:
        """What the cell was begun from; None where it was not begun.

        Raises:
            StoreError: The record is damaged.
        """
        path = self._layout.key
        if not path.exists():
            return None
        found = read_json(path)
        if not isinstance(found, dict) or schemas.damaged(found, schemas.Key):
            raise StoreError(f"{path}: damaged. Remove its folder.")
        return RecordedKey(found["key"], found["parts"])

    def begin(self, key: str, parts: Mapping[str, Any]) -> None:
        """Record what the cell is made from, before anything else is written."""
        write_json(self._layout.key, {"key": key, "parts": dict(parts)})

    # --- the search --------------------------------------------------------------------------

    def append_trial(self, record: Mapping[str, Any], oof: NDArray[np.float64] | None) -> None:
        """Add a finished trial; ``record["number"]`` names it.

        Args:
            record: JSON-ready description.
            oof: Inner out-of-fold probabilities, float64, shape (n_development, n_classes), NaN
                where an image was in no validation fold that was reached; None for none at all.
        """
        if oof is not None:
            write_npy(self._layout.oof(record["number"]), oof)
        append_line(self._layout.trials, record)

    def trials(self) -> list[dict[str, Any]]:
        """All finished trials, in order.

        Raises:
            StoreError: Their file is damaged.
        """
        records = read_lines(self._layout.trials)
        if not schemas.are_trials(records):
            raise StoreError(f"{self._layout.trials}: damaged. Remove its folder.")
        return records

    def oof(self, number: int) -> NDArray[np.float64]:
        """Inner out-of-fold probabilities of a trial; see ``append_trial``.

        Raises:
            StoreError: They are missing or damaged.
        """
        import numpy as np

        return read_npy(self._layout.oof(number)).astype(np.float64, copy=False)

    @property
    def checkpoints(self) -> Path:
        """The folder of what unfinished trials have reached, one by its number each."""
        return self._layout.checkpoints

    def keep_checkpoint(self, number: int, folder: Path) -> None:
        """Copy a folder with what an unfinished trial has reached."""
        _copy(folder, self._layout.checkpoint(number))

    def drop_checkpoints(self) -> None:
        """Remove what unfinished trials have reached."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    # --- the outcome -------------------------------------------------------------------------

    @property
    def model(self) -> Path:
        """The folder of the fitted classifier; it need not be there."""
        return self._layout.model

    def keep_model(self, folder: Path) -> None:
        """Copy the folder of the fitted classifier."""
        _copy(folder, self.model)

    @property
    def log(self) -> Path:
        """What the cell's process printed."""
        return self._layout.log

    def append_log(self, content: bytes) -> None:
        """Add to what the cell's process printed."""
        with writing(self.log):
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as file:
                file.write(content)

    def write_predictions(self, predictions: pd.DataFrame) -> None:
        """Write the held-out predictions; see ``CellResult.predictions``."""
        write_parquet(self._layout.predictions, predictions)

    def drop_outcome(self) -> None:
        """Remove what an earlier start came to; what is left is a cell that is not finished."""
        files = self._layout
        with writing(self.folder):
            for path in (files.record, files.unfinished, files.predictions):
                path.unlink(missing_ok=True)

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write ``cell.json``; from now on the cell is finished.

        Args:
            record: At least ``status``, and ``repeat``, ``fold`` and ``by_image`` of its split.
        """
        write_json(self._layout.record, {"format": FORMAT, **record})

    def leave_unfinished(self, record: Mapping[str, Any]) -> None:
        """Write ``unfinished.json``: the machine ended the cell, and it will be gone on with.

        Args:
            record: ``reason``, ``ended`` (when), ``times`` (how often by now), and ``repeat``,
                ``fold`` and ``by_image`` of its split.
        """
        write_json(self._layout.unfinished, record)

    def unfinished(self) -> dict[str, Any] | None:
        """What ``leave_unfinished`` wrote; None where there is nothing that can be read."""
        try:
            record = read_json(self._layout.unfinished)
        except StoreError:
            return None
        sound = isinstance(record, dict) and not schemas.damaged(record, schemas.Unfinished)
        return record if sound else None

    def result(self) -> CellResult | None:
        """The cell as it is stored; None where it is not finished.

        Raises:
            StoreError: A piece of it is damaged.
        """
        if not self._layout.record.exists():
            return None
        run = RunLayout(self._layout.run)
        reading = Reading(run)
        found = reading.cell(self._layout, None)
        if reading.gaps:
            raise StoreError(f"{run.folder}: {' '.join(reading.gaps)} Run the same command again.")
        return found

    def remove(self) -> None:
        """Remove everything of the cell."""
        if self.folder.exists():
            with writing(self.folder):
                shutil.rmtree(self.folder)


def _copy(folder: Path, target: Path) -> None:
    """A copy that is whole or not there."""
    with writing(target), replacing_folder(target) as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
