"""Writes and reads one cell of a run folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from medbench.atomic_files import (
    copy_files,
    read_json,
    read_lines,
    read_npy,
    replacing_folder,
    write_npy,
    write_parquet,
    writing,
)
from medbench.errors import MachineError, ModelError, StoreError
from medbench.hashes import sha256_of_folder
from medbench.opening import RefusedFileError, open_regular
from medbench.store import schemas, seals, signature
from medbench.store.chunks import ChunkStore
from medbench.store.layout import CellLayout, RunLayout
from medbench.store.reading import FORMAT, Reading
from medbench.store.results import CellResult

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


_CHECKPOINT = "checkpoint_sha256"
"""In the record of a trial: the hash of the folder of what it has reached."""


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

    def check_readable(self) -> None:
        """Make sure that every file of the cell can be opened, so that what is wrong is damage.

        Raises:
            MachineError: One cannot: what is there must not be made again in its place.
        """
        for path in self.folder.rglob("*"):
            try:
                if not path.is_dir():
                    open_regular(path, None).close()
            except (FileNotFoundError, RefusedFileError):
                continue
            except OSError as error:
                raise MachineError(
                    f"{path}: cannot be read ({error.strerror}), so nobody can say whether this "
                    "cell is finished. Mend its permissions or its disk, and give the same command "
                    "again; or remove the folder of the cell, which makes it anew."
                ) from error

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
        damaged = not isinstance(found, dict) or schemas.damaged(found, schemas.Key)
        if damaged or not seals.holds(found):
            raise StoreError(f"{path}: damaged. Remove its folder.")
        return RecordedKey(found["key"], found["parts"])

    def begin(self, key: str, parts: Mapping[str, Any]) -> None:
        """Record what the cell is made from, before anything else is written.

        Args:
            key: Hash of the parts.
            parts: Every input, by name, JSON-ready.
        """
        seals.write_record(self._layout.key, {"key": key, "parts": dict(parts)})

    # --- the search --------------------------------------------------------------------------

    def append_trial(self, record: Mapping[str, Any], oof: NDArray[np.float64] | None) -> None:
        """Add a finished trial; ``record["number"]`` names it.

        Args:
            record: JSON-ready description.
            oof: Inner out-of-fold probabilities, float64, shape (n_development, n_classes), NaN
                where an image was in no validation fold that was reached; None for none at all.
        """
        files = {}
        if oof is not None:
            path = self._layout.oof(record["number"])
            write_npy(path, oof)
            files[path.name] = path
        checkpoint = self._layout.checkpoint(record["number"])
        if checkpoint.is_dir():
            record = {**record, _CHECKPOINT: sha256_of_folder(checkpoint)}
        seals.append_record(self._layout.trials, record, files)

    def trials(self) -> list[dict[str, Any]]:
        """All finished trials, in order.

        Raises:
            StoreError: Their file is damaged.
        """
        records = read_lines(self._layout.trials)
        if not schemas.are_trials(records) or not all(map(seals.holds, records)):
            raise StoreError(f"{self._layout.trials}: damaged. Remove its folder.")
        return [seals.unsealed(record) for record in records]

    def oof(self, trial: Mapping[str, Any]) -> NDArray[np.float64]:
        """Inner out-of-fold probabilities of a trial, float64, shape (n_development, n_classes).

        NaN where an image was in no validation fold that was reached.

        Args:
            trial: Its record, as ``trials`` gives it.

        Raises:
            StoreError: They are missing or damaged.
        """
        import numpy as np

        path = self._layout.oof(trial["number"])
        if path.exists() and not seals.is_same(trial, path.name, path):
            raise StoreError(f"{path}: damaged. Remove its folder.")
        return read_npy(path).astype(np.float64, copy=False)

    @property
    def checkpoints(self) -> Path:
        """The folder of what unfinished trials have reached, one by its number each."""
        return self._layout.checkpoints

    def keep_checkpoint(self, number: int, folder: Path) -> None:
        """Copy a folder with what an unfinished trial has reached, before the trial is added.

        Args:
            number: The trial's.
            folder: What is copied.
        """
        with writing(self.checkpoints):
            target = self._layout.checkpoint(number)
            with replacing_folder(target) as temporary:
                copy_files(folder, temporary)

    def check_checkpoints(self, trials: Iterable[Mapping[str, Any]]) -> None:
        """Make sure that what trials have reached is as it was kept, as far as it is still there.

        Raises:
            StoreError: It is damaged.
        """
        for trial in trials:
            folder = self._layout.checkpoint(trial["number"])
            if folder.is_dir() and sha256_of_folder(folder) != trial.get(_CHECKPOINT):
                raise StoreError(f"{folder}: damaged. Remove its folder.")

    def drop_checkpoints(self) -> None:
        """Remove what unfinished trials have reached."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    # --- the outcome -------------------------------------------------------------------------

    @property
    def model(self) -> Path:
        """The folder of the fitted classifier; it need not be there."""
        return self._layout.model

    def keep_model(self, folder: Path) -> None:
        """Copy the folder of the fitted classifier; what large files share is stored once a run."""
        self._chunks.keep(folder, self.model)

    def whole_model(self, sha256: str | None) -> Path:
        """The folder of the fitted classifier as its family saved it, for as long as this process.

        A hash protects against accidents: a damaged disk, half a copy, a file of another run. It
        does not protect against whoever made the folder, since he wrote the hash as well as the
        model; see ``medbench.store.signature`` for how one's own cells are known.

        Args:
            sha256: Its hash, as the record of the finished cell has it.

        Raises:
            ModelError: It is gone, was changed, or there is no hash to tell.
            StoreError: There is no place to put it together.
        """
        if not self.model.is_dir():
            raise ModelError(
                f"{self.model}: the fitted model is not here. Models are left out of the reference "
                "results and of copies without them; run again, or take the whole run folder."
            )
        if not sha256:
            raise ModelError(
                f"{self.model}: was written by a version that recorded no hash of its models, so "
                "nobody can say whether it is the model of these scores. Run again into a new "
                "folder."
            )
        with writing(self.model):
            folder = self._chunks.assembled(self.model)
        if sha256_of_folder(folder) != sha256:
            raise ModelError(
                f"{self.model}: its content is not what was saved there (the hash does not match), "
                "so the scores of this run say nothing of it. Take it from a copy, or give the "
                "run's command again, which makes it anew; do not load model files of unknown "
                "origin."
            )
        return folder

    def has_damaged_model(self) -> bool:
        """Whether the classifier is there, but not as the finished cell says it was."""
        if not self.model.is_dir():  # never saved, or left out of a copy
            return False
        try:
            return bool(
                self._chunks.sha256_of(self.model)
                != read_json(self._layout.record).get("model_sha256")
            )
        except (StoreError, AttributeError):
            return True

    @property
    def _chunks(self) -> ChunkStore:
        return ChunkStore(RunLayout(self._layout.run).chunks)

    @property
    def log(self) -> Path:
        """What the cell's process printed."""
        return self._layout.log

    def append_log(self, content: bytes) -> None:
        """Add to what the cell's process printed.

        Args:
            content: As it was printed.
        """
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
        path = self._layout.predictions
        files = {path.name: path} if path.exists() else {}
        whole = seals.as_read({"format": FORMAT, **record}, files)
        seals.write_record(self._layout.record, signature.signed(whole))

    def leave_unfinished(self, record: Mapping[str, Any]) -> None:
        """Write ``unfinished.json``: the machine ended the cell, and it will be gone on with.

        Args:
            record: ``reason``, ``ended`` (when), ``times`` (how often by now), and ``repeat``,
                ``fold`` and ``by_image`` of its split.
        """
        seals.write_record(self._layout.unfinished, record)

    def unfinished(self) -> dict[str, Any] | None:
        """What ``leave_unfinished`` wrote; None where there is nothing that can be read."""
        try:
            record = read_json(self._layout.unfinished)
        except StoreError:
            return None
        if not isinstance(record, dict) or schemas.damaged(record, schemas.Unfinished):
            return None
        return seals.unsealed(record) if seals.holds(record) else None

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
