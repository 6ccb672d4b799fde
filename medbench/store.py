"""The run folder: what is written, how, and how it is read back.

    RUN/
      run.json                       format, configuration
      environment.json               versions, machine, commit
      datasets/NAME/dataset.json     classes, counts, fingerprint, licence, citation
      datasets/NAME/images.parquet   label, group and split of every image (no file names)
      datasets/NAME/out-of-distribution.npz  by what images unlike its own are told
      datasets/NAME/audit.json       what is wrong with it, in words and numbers
      datasets/NAME/pictures/        thumbnails for the page, where images may be shown
      external/DATASET/MODEL/OTHER/  a model on another data set: external.json, predictions
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
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from medbench.errors import StoreError
from medbench.files import read_json, read_parquet, write_json, write_parquet, writing
from medbench.pieces import (
    AUDIT,
    CELL,
    DATASET,
    ENVIRONMENT,
    EXTERNAL,
    KEY,
    TRIAL,
    Entries,
    external_fits,
    lacking,
    predictions_fit,
    record_fits,
    unusable,
)
from medbench.trial_log import TrialLog

FORMAT = 3
"""Raised whenever what is written changes so that another version could misread it."""

Status = Literal["ok", "failed", "skipped"]
_WAIT_FOR_LOCK = 1.0
"""Seconds. Who reads a run takes its lock for a moment to see whether somebody works there, and
a run that starts at that moment must not be refused."""
BY_IMAGE = "by-image-"
"""Begins the name of a split that divides single images."""


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
class ExternalResult:
    """What a model of the run said of a data set that it was not developed on."""

    record: Mapping[str, Any]
    """``external.json``: ``dataset`` and ``model``, ``other`` (the data set), ``class_map``
    (its classes in the model's words), ``threshold`` (the frozen operating point), counts."""
    predictions: pd.DataFrame
    """As ``CellResult.predictions``: of the mean of the fold models calibrated ``p0`` ... ``pK``,
    of each of them ``f0p0`` ..."""


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
    externals: tuple[ExternalResult, ...] = ()
    """External validations, by data set, model and other data set."""
    gaps: tuple[str, ...] = ()
    """A sentence for each piece that is damaged or missing: its path within the run folder, and
    what is left out of this result therefore."""
    unread: tuple[CellId, ...] = ()
    """Finished cells that are left out, because they or their data set could not be read."""
    at_work: bool = False
    """Whether another process held the folder while it was read."""

    @property
    def unfinished(self) -> str:
        """A sentence on what is still to come; empty where every fold of every model is there.

        Failed and skipped cells are there. Models of which no cell has begun are unknown.
        """
        wanted = 0
        for dataset, _, by_image in {
            (cell.id.dataset, cell.id.model, cell.id.split.startswith(BY_IMAGE))
            for cell in self.cells
        }:
            record = self.datasets.get(dataset, {})
            name = "n_folds_by_image" if by_image else "n_folds"
            wanted += record.get(name) or 0
        begun = {cell.dataset for cell in (*self.unread, *(one.id for one in self.cells))}
        waiting = sorted(set(self.datasets) - begun)
        found = []
        if not self.cells and self.unread:
            found.append("none of its finished cells could be read")
        elif not self.cells:
            found.append("no cell of it is finished yet")
        else:
            if len(self.cells) < wanted:
                found.append(f"{len(self.cells)} of {wanted} cells are finished")
            if waiting:
                found.append(f"no cell of {', '.join(waiting)} is finished yet")
        if self.at_work:
            found.append("another process is at work in its folder")
        return f"This run is not finished: {'; '.join(found)}." if found else ""

    @property
    def partial(self) -> bool:
        """Whether anything is still to come; ``unfinished`` says what."""
        return bool(self.unfinished)


class RunStore:
    """Reads and writes one run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held = False

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
        restore = (
            "Only this file is damaged, the cells are untouched: restore it from a copy, or begin "
            "a new run in another folder with --out."
        )
        try:
            run = read_json(path)
        except StoreError as error:
            raise StoreError(f"{path}: cannot be read ({error.__cause__}). {restore}") from error
        if not isinstance(run, dict):
            raise StoreError(f"{path}: damaged, it is no JSON object. {restore}")
        found = run.get("format")
        if isinstance(found, int) and found > FORMAT:
            raise StoreError(
                f"{path}: written by a newer MedBench (format {found}, this one reads {FORMAT}): "
                "update MedBench."
            )
        if found != FORMAT:
            raise StoreError(
                f"{path}: written in format {found!r}, this MedBench reads format {FORMAT}. "
                "Use the version that wrote it, or another folder with --out."
            )
        if not isinstance(run.get("configuration"), dict):
            raise StoreError(f"{path}: damaged, it names no configuration. {restore}")
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
            lock = FileLock(self.folder / ".lock", timeout=_WAIT_FOR_LOCK)
            try:
                lock.acquire()
            except Timeout:
                raise StoreError(
                    f"another run is at work in {self.folder}. "
                    "Wait for it, or name another folder with --out."
                ) from None
        self._held = True
        try:
            yield
        finally:
            self._held = False
            lock.release()

    def _held_by_another(self) -> bool:
        """Whether another process holds the folder right now; nothing is written to find out."""
        from filelock import FileLock, Timeout

        path = self.folder / ".lock"
        if self._held or not path.exists():
            return False
        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            return True
        except (OSError, NotImplementedError):  # of a folder that cannot be written, such as a CD
            return False

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

    def out_of_distribution(self, name: str) -> Path:
        """The file by which images unlike those of a data set are told; it need not be there."""
        return self.folder / "datasets" / name / "out-of-distribution.npz"

    def dataset_record(self, name: str) -> dict[str, Any] | None:
        """``dataset.json``, or None where the run does not have that data set yet."""
        path = self.folder / "datasets" / name / "dataset.json"
        record: dict[str, Any] | None = read_json(path) if path.exists() else None
        if record is not None and not {"fingerprint", "classes", "n_folds"} <= set(record):
            raise StoreError(f"{path}: damaged, it lacks entries. Begin a new folder with --out.")
        return record

    # --- cells -------------------------------------------------------------------------------

    def cell(self, cell: CellId) -> CellStore:
        return CellStore(self, cell)

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

    def write_external(self, record: Mapping[str, Any], predictions: pd.DataFrame) -> None:
        """Keep an external validation; see ``ExternalResult``."""
        folder = self.folder / "external" / record["dataset"] / record["model"] / record["other"]
        write_parquet(folder / "predictions.parquet", predictions)
        write_json(folder / "external.json", record)

    # --- reading -----------------------------------------------------------------------------

    def read(self) -> RunResult:
        """The run without models and images, as far as it can be read; ``gaps`` names the rest.

        Raises:
            StoreError: There is no run, ``run.json`` is damaged, or another version wrote it.
        """
        run = self._read_run()
        reading = _Reading(self.folder)
        environment = reading.record(
            self.folder / "environment.json", ENVIRONMENT, "versions and machine are not stated"
        )
        datasets, cells, unread = reading.datasets(), [], []
        for path in sorted(self.folder.glob("cells/*/*/*/cell.json")):
            dataset = datasets.get(path.parts[-4])
            cell = None if dataset is None else reading.cell(path, dataset)
            if cell is None:
                unread.append(_cell_id(path.parent))
            else:
                cells.append(cell)
        return RunResult(
            folder=self.folder,
            configuration=reading.configuration(run["configuration"]),
            environment=environment or {},
            datasets=datasets,
            audits=reading.audits(datasets),
            cells=tuple(cells),
            externals=tuple(reading.externals(datasets, cells)),
            gaps=tuple(reading.gaps),
            unread=tuple(unread),
            at_work=self._held_by_another(),
        )

    def read_cell(self, cell: CellId) -> CellResult | None:
        """A finished cell, or None.

        Raises:
            StoreError: A piece of it is damaged.
        """
        path = self.cell_folder(cell) / "cell.json"
        if not path.exists():
            return None
        reading = _Reading(self.folder)
        result = reading.cell(path, None)
        if reading.gaps:
            raise StoreError(f"{self.folder}: {' '.join(reading.gaps)} Run the same command again.")
        return result


class CellStore:
    def __init__(self, store: RunStore, cell: CellId) -> None:
        self._store, self._cell = store, cell
        self.folder = store.cell_folder(cell)
        self.model = self.folder / "model"
        self.checkpoints = self.folder / "checkpoints"
        self._log = TrialLog(self.folder)

    def key(self) -> tuple[str, Mapping[str, Any]] | None:
        path = self.folder / "key.json"
        if not path.exists():
            return None
        before = read_json(path)
        try:
            return before["key"], before["parts"]
        except (KeyError, TypeError) as error:
            raise StoreError(str(error)) from error

    def begin(self, key: str, parts: Mapping[str, Any]) -> None:
        write_json(self.folder / "key.json", {"key": key, "parts": parts})

    def append_trial(self, record: Mapping[str, Any], oof: Any) -> None:
        self._log.append(record, oof)

    def trials(self) -> list[dict[str, Any]]:
        return self._log.records()

    def oof(self, number: int) -> Any:
        return self._log.oof(number)

    def keep_checkpoint(self, number: int, folder: Path) -> None:
        import shutil

        from medbench.files import replacing_folder

        with replacing_folder(self.checkpoints / f"{number:04d}") as new:
            shutil.copytree(folder, new, dirs_exist_ok=True)

    def drop_checkpoints(self) -> None:
        import shutil

        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def keep_model(self, folder: Path) -> None:
        import shutil

        from medbench.files import replacing_folder

        with replacing_folder(self.model) as new:
            shutil.copytree(folder, new, dirs_exist_ok=True)

    def append_log(self, content: bytes) -> None:
        with (self.folder / "cell.log").open("ab") as file:
            file.write(content)

    def write_predictions(self, frame: pd.DataFrame) -> None:
        self._store.write_predictions(self._cell, frame)

    def drop_predictions(self) -> None:
        (self.folder / "predictions.parquet").unlink(missing_ok=True)

    def finish(self, record: Mapping[str, Any]) -> None:
        self._store.finish_cell(self._cell, record)

    def result(self) -> CellResult | None:
        return self._store.read_cell(self._cell)

    def remove(self) -> None:
        import shutil

        shutil.rmtree(self.folder)


class _Reading:
    """Reads what can be read of a run folder, and names what cannot."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.gaps: list[str] = []

    def record(self, path: Path, entries: Entries, therefore: str) -> dict[str, Any] | None:
        """A JSON object with entries that can be used, or None and a gap.

        Args:
            path: Its file.
            entries: What it must hold.
            therefore: What is not known without it.
        """
        try:
            found = read_json(path)
        except StoreError:
            found = None
        if not isinstance(found, dict):
            self._gap(path, _state(path), therefore)
            return None
        if lack := lacking(found, entries):
            self._gap(path, f"damaged (see {', '.join(lack)})", therefore)
            return None
        return found

    def configuration(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of ``run.json`` that can be used; a gap names the others."""
        lost = unusable(found)
        if lost:
            what = f"damaged (see {', '.join(lost)})"
            self._gap(self._folder / "run.json", what, "these settings are not stated")
        return {name: value for name, value in found.items() if name not in lost}

    def datasets(self) -> dict[str, dict[str, Any]]:
        """``dataset.json`` of every data set that has one or has cells."""
        paths = {path.parent.name: path for path in self._folder.glob("datasets/*/dataset.json")}
        n_cells = Counter(path.parts[-4] for path in self._folder.glob("cells/*/*/*/cell.json"))
        found = {}
        for name in sorted({*paths, *n_cells}):
            path = self._folder / "datasets" / name / "dataset.json"
            n = n_cells[name]
            lost = f" with its {n} cell{'s' * (n > 1)}" if n else ""
            record = self.record(path, DATASET, f"data set {name} is left out{lost}")
            if record is not None:
                found[name] = record
        return found

    def audits(self, datasets: Iterable[str]) -> dict[str, dict[str, Any]]:
        """``audit.json`` of the data sets."""
        found = {}
        for name in datasets:
            path = self._folder / "datasets" / name / "audit.json"
            record = self.record(path, AUDIT, f"what the audit of {name} found is not shown")
            if record is not None:
                found[name] = record
        return found

    def cell(self, path: Path, dataset: Mapping[str, Any] | None) -> CellResult | None:
        """A finished cell, or None and a gap.

        Args:
            path: Its ``cell.json``.
            dataset: ``dataset.json``; None leaves out whether the predictions are of its classes.
        """
        folder = path.parent
        cell = _cell_id(folder)
        left_out = f"cell {cell} is left out"
        record = self.record(path, CELL, left_out)
        if record is None:
            return None
        predictions = None
        if record["status"] == "ok":
            predictions = self._predictions(folder / "predictions.parquet", left_out)
            if predictions is None:
                return None
            other = None
            if dataset is not None and not predictions_fit(predictions, dataset):
                other = folder / "predictions.parquet"
            elif dataset is not None and not record_fits(record, dataset):
                other = path
            if other is not None:
                self._gap(other, f"not of the classes of {cell.dataset}", left_out)
                return None
        key = self.record(
            folder / "key.json", KEY, f"it is not known from what inputs cell {cell} was made"
        )
        return CellResult(
            id=cell,
            status=record["status"],
            reason=record.get("reason") or "",
            record=record,
            predictions=predictions,
            trials=self._trials(
                folder, record.get("n_trials") or 0, f"the search of cell {cell} is not shown"
            ),
            key_parts={} if key is None else key["parts"],
        )

    def externals(
        self, datasets: Mapping[str, Mapping[str, Any]], cells: Iterable[CellResult]
    ) -> Iterator[ExternalResult]:
        """External validations, as far as they can be read and their models are still here."""
        models = {(c.id.dataset, c.id.model, c.record.get("model_sha256")) for c in cells}
        for path in sorted(self._folder.glob("external/*/*/*/external.json")):
            dataset, model, other = path.parts[-4:-1]
            left_out = f"the validation of {model} on {other} is left out"
            record = self.record(path, EXTERNAL, left_out)
            if record is None or dataset not in datasets:
                continue
            predictions = self._predictions(path.parent / "predictions.parquet", left_out)
            if predictions is None:
                continue
            if not {(dataset, model, sha256) for sha256 in record["models_sha256"]} <= models:
                self._gap(path, "of models that are no longer here", left_out)
                continue
            if external_fits(record, predictions, datasets[dataset]):
                named = {"dataset": dataset, "model": model, "other": other}
                yield ExternalResult(record={**record, **named}, predictions=predictions)
            else:
                self._gap(path, f"not of the classes of {dataset}", left_out)

    def _predictions(self, path: Path, therefore: str) -> pd.DataFrame | None:
        try:
            return read_parquet(path)
        except StoreError:
            self._gap(path, _state(path), therefore)
            return None

    def _trials(self, folder: Path, wanted: int, therefore: str) -> tuple[dict[str, Any], ...]:
        """The trials of a cell; none and a gap where one of ``wanted`` is damaged or gone."""
        what = "damaged"
        try:
            trials = TrialLog(folder).records()
            if all(isinstance(one, dict) and not lacking(one, TRIAL) for one in trials):
                if len(trials) >= wanted:
                    return tuple(trials)
                what = f"{len(trials)} of {wanted} trials are there"
        except StoreError:
            pass
        self._gap(folder / "trials.jsonl", what, therefore)
        return ()

    def _gap(self, path: Path, what: str, therefore: str) -> None:
        where = path.relative_to(self._folder).as_posix()
        self.gaps.append(f"{where}: {what}, so {therefore}.")


def _cell_id(folder: Path) -> CellId:
    dataset, model, split = folder.parts[-3:]
    return CellId(dataset=dataset, model=model, split=split)


def _state(path: Path) -> str:
    return "damaged" if path.exists() else "missing"
