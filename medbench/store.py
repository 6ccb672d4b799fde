"""The run folder: what is written, how, and how it is read back.

    RUN/
      run.json                       format, configuration
      environment.json               versions, machine, commit
      datasets/NAME/dataset.json     classes, counts, fingerprint, licence, citation
      datasets/NAME/images.parquet   label, group and split of every image (no file names)
      datasets/NAME/audit.json       what is wrong with it, in words and numbers
      cells/DATASET/MODEL/SPLIT/
        trials.jsonl                 one line a finished trial
        oof/0007.npy                 its inner out-of-fold probabilities
        model/                       the fitted classifier
        predictions.parquet          held-out probabilities, labels, groups
        cell.json                    written last: a cell that has one is finished
        cell.log                     what the process printed

Everything is written under a temporary name and then renamed, so a killed run never leaves half
a file under a final name. The one exception is ``trials.jsonl``, which only grows by whole lines;
a torn last line is dropped when it is read. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.errors import StoreError

FORMAT = 3
"""Raised whenever what is written changes so that another version could misread it."""

Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True, order=True)
class CellId:
    """One data set x one model x one outer split."""

    dataset: str
    model: str
    split: str
    """``"official"``, or ``"r0f3"`` for repeat 0, fold 3."""

    def __str__(self) -> str:
        return f"{self.dataset} x {self.model} x {self.split}"


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What is known of a finished cell."""

    id: CellId
    status: Status
    reason: str
    """Why it failed or was skipped; empty where it is ok."""
    record: Mapping[str, Any]
    """``cell.json`` as written by the executor."""
    predictions: pd.DataFrame | None
    """One row a held-out image: ``image`` (index in the data set), ``group``, ``label`` (int64)
    and the float64 probabilities ``p0`` ... ``pK`` of the classes; None where it is not ok."""
    trials: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """Every finished trial, in order: number, params, state, score, fold_scores, seconds, ..."""
    key_parts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What its key covers, by name."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Everything that reports read: a run folder in memory, without models and images."""

    folder: Path
    configuration: Mapping[str, Any]
    environment: Mapping[str, Any]
    datasets: Mapping[str, Mapping[str, Any]]
    """``dataset.json`` by name: title, classes, n_images, n_groups, class_counts, split, ..."""
    audits: Mapping[str, Mapping[str, Any]]
    """``audit.json`` by name; see ``medbench.datasets.audit.Audit.as_record``."""
    cells: tuple[CellResult, ...]
    """Finished cells (also failed and skipped ones), by data set, model and split."""


class RunStore:
    """Reads and writes one run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # --- the run -----------------------------------------------------------------------------

    def check(self, configuration: Mapping[str, Any]) -> None:
        """Make sure that a run with these settings may begin or go on here.

        Raises:
            StoreError: The folder holds something else, comes from another format, or was begun
                with other settings (all of them are named).
        """
        if (self.folder / "run.json").exists():
            before = self._read_run()["configuration"]
            differing = [
                f"{name}: {before.get(name)!r} there, {configuration.get(name)!r} now"
                for name in sorted({*before, *configuration})
                if before.get(name) != configuration.get(name)
            ]
            if differing:
                raise StoreError(
                    f"{self.folder} was begun with another configuration ({'; '.join(differing)}). "
                    "Give the same options to go on with it, or another folder with --out."
                )
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError(f"--out {self.folder}: is a file, not a folder.")
        # Dot files are the lock and what a killed start may have left.
        if self.folder.exists() and any(p.name[0] != "." for p in self.folder.iterdir()):
            raise StoreError(
                f"--out {self.folder}: is not empty and holds no run.json. "
                "Name a new or empty folder."
            )

    def begin(self, configuration: Mapping[str, Any]) -> None:
        """Record the settings of a run, which then hold for all that is added to it.

        Raises:
            StoreError: See ``check``; or the folder cannot be written.
        """
        self.check(configuration)
        write_json(
            self.folder / "run.json", {"format": FORMAT, "configuration": dict(configuration)}
        )

    def _read_run(self) -> dict[str, Any]:
        path = self.folder / "run.json"
        if not path.is_file():
            raise StoreError(f"{self.folder}: there is no run here (no run.json).")
        run: dict[str, Any] = read_json(path)
        found = run.get("format") if isinstance(run, dict) else None
        if found != FORMAT:
            raise StoreError(
                f"{path}: written in format {found}, this MedBench reads format {FORMAT}. "
                "Use the version that wrote it, or another folder with --out."
            )
        if not isinstance(run.get("configuration"), dict):
            raise StoreError(f"{path}: damaged, it names no configuration.")
        return run

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for writing; the lock ends with the process, however it ends.

        Raises:
            StoreError: Another run works in the folder, or it cannot be written.
        """
        from filelock import FileLock, Timeout

        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError(f"--out {self.folder}: is a file, not a folder.")
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock", timeout=0)
            try:
                lock.acquire()
            except Timeout:
                raise StoreError(
                    f"another run is at work in {self.folder}. "
                    "Wait for it, or name another folder with --out."
                ) from None
        try:
            yield
        finally:
            lock.release()

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Record versions, machine and commit of the latest start."""
        write_json(self.folder / "environment.json", environment)

    def write_dataset(self, name: str, record: Mapping[str, Any], images: pd.DataFrame) -> None:
        """Record a data set and which image is held out in which split."""
        folder = self.folder / "datasets" / name
        write_parquet(folder / "images.parquet", images)
        write_json(folder / "dataset.json", record)

    def write_audit(self, name: str, record: Mapping[str, Any]) -> None:
        """Record what the audit of a data set found."""
        write_json(self.folder / "datasets" / name / "audit.json", record)

    def dataset_images(self, name: str) -> pd.DataFrame:
        """``images.parquet`` of a data set: label, group and part in each split."""
        return read_parquet(self.folder / "datasets" / name / "images.parquet")

    def dataset_record(self, name: str) -> dict[str, Any] | None:
        """``dataset.json``, or None where the run does not have that data set yet."""
        path = self.folder / "datasets" / name / "dataset.json"
        record: dict[str, Any] | None = read_json(path) if path.exists() else None
        if record is not None and not {"fingerprint", "classes", "n_folds"} <= set(record):
            raise StoreError(f"{path}: damaged, it lacks entries. Begin a new folder with --out.")
        return record

    # --- cells -------------------------------------------------------------------------------

    def cell_folder(self, cell: CellId) -> Path:
        """Where a cell's files live."""
        return self.folder / "cells" / cell.dataset / cell.model / cell.split

    def cell_record(self, cell: CellId) -> dict[str, Any] | None:
        """``cell.json`` of a finished cell, or None."""
        path = self.cell_folder(cell) / "cell.json"
        return read_json(path) if path.exists() else None

    def write_predictions(self, cell: CellId, predictions: pd.DataFrame) -> None:
        """Write the held-out predictions; see ``CellResult.predictions``."""
        write_parquet(self.cell_folder(cell) / "predictions.parquet", predictions)

    def finish_cell(self, cell: CellId, record: Mapping[str, Any]) -> None:
        """Write ``cell.json``; from now on the cell is finished."""
        write_json(self.cell_folder(cell) / "cell.json", {"format": FORMAT, **record})

    # --- reading -----------------------------------------------------------------------------

    def read(self) -> RunResult:
        """The whole run, without models and images.

        Raises:
            StoreError: There is no run, or a piece of it is damaged (which one is named).
        """
        run = self._read_run()
        environment = self.folder / "environment.json"
        records = {
            path.parent.name: read_json(path)
            for path in sorted(self.folder.glob("datasets/*/dataset.json"))
        }
        audits = {
            path.parent.name: read_json(path)
            for path in sorted(self.folder.glob("datasets/*/audit.json"))
        }
        cells = [
            self._read_cell(path) for path in sorted(self.folder.glob("cells/*/*/*/cell.json"))
        ]
        return RunResult(
            folder=self.folder,
            configuration=run["configuration"],
            environment=read_json(environment) if environment.exists() else {},
            datasets=records,
            audits=audits,
            cells=tuple(cells),
        )

    def read_cell(self, cell: CellId) -> CellResult | None:
        """A finished cell, or None.

        Raises:
            StoreError: A piece of it is damaged.
        """
        path = self.cell_folder(cell) / "cell.json"
        return self._read_cell(path) if path.exists() else None

    def _read_cell(self, path: Path) -> CellResult:
        record = read_json(path)
        if not isinstance(record, dict) or record.get("status") not in ("ok", "failed", "skipped"):
            raise StoreError(f"{path}: damaged, it has no status. Run the same command again.")
        folder = path.parent
        dataset, model, split = folder.parts[-3:]
        key = read_json(folder / "key.json")
        if not isinstance(key, dict) or not isinstance(key.get("parts"), dict):
            raise StoreError(f"{folder / 'key.json'}: damaged. Run the same command again.")
        predictions = None
        if record["status"] == "ok":
            predictions = read_parquet(folder / "predictions.parquet")
        return CellResult(
            id=CellId(dataset=dataset, model=model, split=split),
            status=record["status"],
            reason=record.get("reason", ""),
            record=record,
            predictions=predictions,
            trials=tuple(TrialLog(folder).records()),
            key_parts=key["parts"],
        )


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
        lines = self._lines.read_bytes().split(b"\n")[:-1]
        try:
            return [json.loads(line) for line in lines]
        except json.JSONDecodeError as error:
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


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into an error that names the place and the remedy."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be written ({error.strerror or error}). "
            "Free space or permissions there, or name another folder with --out."
        ) from error


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON; NaN is refused, since it is not JSON."""
    with _replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        StoreError: It is damaged.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path}: cannot be read ({error}). If it is damaged, remove its folder and give the "
            "run's command again."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with _replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_npy(path: Path, array: NDArray[Any]) -> None:
    """Write an array."""
    with _replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a table."""
    with _replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a table.

    Raises:
        StoreError: It is missing or damaged.
    """
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error}).") from error
