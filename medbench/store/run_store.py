"""Writes and reads one run folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.atomic_files import read_json, read_parquet, write_parquet, writing
from medbench.errors import StoreError
from medbench.store import schemas, seals
from medbench.store.cell_store import CellStore
from medbench.store.holder import held, is_held
from medbench.store.layout import RunLayout
from medbench.store.leftovers import remove_leftovers
from medbench.store.reading import FORMAT, Reading
from medbench.store.results import CellId, CellResult, RunResult
from medbench.store.run_record import is_whole, read_any_run, read_run

if TYPE_CHECKING:
    import pandas as pd

_MAKE_DATASET_AGAIN = (
    "Remove {} and give the run's command again, which makes it anew; cells that fit are kept."
)
_NEEDED_OF_A_DATASET = frozenset({"fingerprint", "classes", "n_folds"})
"""Without these nobody can tell whether a run that goes on is of the same data set."""


class RunStore:
    """Reads and writes one run folder.

    ``name`` is that of a data set everywhere. Whatever writes raises ``StoreError`` where the
    folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        """``folder``: the run's; it need not exist."""
        self.folder = folder
        """The run folder."""
        self.layout = RunLayout(folder)
        """Where everything lies in it."""
        self._held = False

    # --- the run -----------------------------------------------------------------------------

    def check(self, configuration: Mapping[str, Any]) -> None:
        """Make sure that a run with these settings may begin or go on here.

        Args:
            configuration: The settings by name, JSON-ready.

        Raises:
            StoreError: The folder holds something else, comes from another format, or was begun
                with other settings (all of them are named).
        """
        if self.layout.run.exists():
            run = read_run(self.layout.run)
            if run["format"] != FORMAT:
                raise StoreError(
                    f"{self.folder} was written by an earlier MedBench (format {run['format']}). "
                    "It can be read and compared, but not gone on with: name another folder with "
                    "--out."
                )
            before = run["configuration"]
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
        self._require_own()

    def _require_own(self) -> None:
        """Raise where the folder holds something, but no run."""
        if self.layout.run.exists():
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError(f"--out {self.folder}: is a file, not a folder.")
        # Dot files are the lock and what a killed start may have left.
        if self.folder.exists() and any(p.name[0] != "." for p in self.folder.iterdir()):
            raise StoreError(
                f"--out {self.folder}: is not empty and holds no run.json. "
                "Name a new or empty folder."
            )

    def begin(self, configuration: Mapping[str, Any], *, images: bool | None = None) -> bool | None:
        """Record the settings of a run, which then hold for all that is added to it.

        Args:
            configuration: Settings that decide results and must not change afterwards.
            images: Whether images of patients are shown, which may change: False removes
                pictures that are there; None keeps what was said before, and leaves it to the
                licences where nothing was.

        Returns:
            Whether images are shown; None where their licence decides.

        Raises:
            StoreError: See ``check``; or the folder cannot be written.
        """
        self.check(configuration)
        remove_leftovers(self.layout)
        before = None
        if self.layout.run.exists():
            before = Reading(self.layout).images(read_run(self.layout.run))
        images = before if images is None else images
        if images is False:
            for path in self.layout.pictures():
                self._remove(path)
            if before is not False:  # it is made again at the end of the run
                self._remove(self.layout.page)
        seals.write_record(
            self.layout.run,
            {"format": FORMAT, "configuration": dict(configuration), "images": images},
        )
        return images

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for writing; the lock ends with the process, however it ends.

        Raises:
            StoreError: Another run works in the folder, it holds something else, or it cannot be
                written.
        """
        self._require_own()
        with held(self.layout):
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def is_held_by_another(self) -> bool:
        """Whether another process holds the folder right now; nothing is written to find out."""
        return not self._held and is_held(self.layout)

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Record versions, machine and commit of the latest start.

        Args:
            environment: These by name, JSON-ready.
        """
        seals.write_record(self.layout.environment, environment)

    # --- data sets ---------------------------------------------------------------------------

    def write_dataset(self, name: str, record: Mapping[str, Any], images: pd.DataFrame) -> None:
        """Record a data set and which image is held out in which split.

        The record stands for the file by which unlike images are told, too, if that is there.
        """
        files = self.layout.dataset(name)
        write_parquet(files.images, images)
        with writing(files.record):
            there = [one for one in (files.images, files.out_of_distribution) if one.exists()]
            seals.write_record(files.record, record, {one.name: one for one in there})

    def write_audit(self, name: str, record: Mapping[str, Any]) -> None:
        """Record what the audit of a data set found: ``audit.json``."""
        seals.write_record(self.layout.dataset(name).audit, record)

    def dataset_images(self, name: str) -> pd.DataFrame:
        """``images.parquet`` of a data set: label, group and part in each split.

        Raises:
            StoreError: It is missing or damaged.
        """
        path = self.layout.dataset(name).images
        if not self._is_recorded(name, path):
            raise StoreError(f"{path}: damaged. {_MAKE_DATASET_AGAIN.format(path.parent)}")
        return read_parquet(path)

    def drop_damaged_dataset(self, name: str) -> bool:
        """Remove the description of a data set if it is damaged; whether it was.

        A run makes it anew. What cells were made from stands in their keys, so that those of other
        images or splits are not taken for its own.
        """
        files = self.layout.dataset(name)
        try:
            if self.dataset_record(name) is None:
                return False
            self.dataset_images(name)
        except StoreError:
            self._remove(files.record)
            self._remove(files.images)
            return True
        return False

    def _is_recorded(self, name: str, path: Path) -> bool:
        """Whether a file of a data set is the one of its description, if there is any."""
        record = self.dataset_record(name)
        return record is None or seals.is_same(record, path.name, path)

    def dataset_record(self, name: str) -> dict[str, Any] | None:
        """``dataset.json``, or None where the run does not have that data set yet.

        Raises:
            StoreError: It is damaged.
        """
        path = self.layout.dataset(name).record
        if not path.exists():
            return None
        record = read_json(path)
        if not isinstance(record, dict) or not set(record) >= _NEEDED_OF_A_DATASET:
            what = "it lacks entries"
        elif not seals.holds(record, required=False):
            what = "its hash does not match"
        else:
            return seals.unsealed(record)
        raise StoreError(
            f"{path}: damaged, {what}. {_MAKE_DATASET_AGAIN.format(path.parent)}",
            options={"--out": "begins a new folder"},
        )

    def out_of_distribution(self, name: str) -> Path:
        """The file by which images unlike those of a data set are told; it need not be there."""
        return self.layout.dataset(name).out_of_distribution

    def sound_out_of_distribution(self, name: str) -> Path:
        """That file, as it was recorded; it need not be there.

        Raises:
            StoreError: It is damaged.
        """
        path = self.out_of_distribution(name)
        if path.exists() and not self._is_recorded(name, path):
            raise StoreError(
                f"{path}: damaged, its hash does not match. Remove it and give the run's command "
                "again, which makes it anew."
            )
        return path

    def drop_damaged_out_of_distribution(self, name: str) -> None:
        """Remove that file where it is not the one that was recorded, so that it is made again."""
        path = self.out_of_distribution(name)
        if path.exists() and not self._is_recorded(name, path):
            self._remove(path)

    def remove_pictures(self, name: str) -> None:
        """Remove what shows images of a data set, but not the page, which is made again."""
        self._remove(self.layout.dataset(name).pictures)
        self._remove(self.layout.copies(name))

    def _remove(self, path: Path) -> None:
        with writing(path):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    # --- cells and external validations ------------------------------------------------------

    def cell(self, cell: CellId) -> CellStore:
        """One cell; it need not be there."""
        return CellStore(self.layout.cell(cell).folder)

    def begun_models(self) -> set[str]:
        """The models of which a cell was begun here; nothing of it is read."""
        return {cell.id.model for cell in self.layout.begun_cells()}

    def cells_of_split(self, dataset: str, split: str) -> list[CellResult]:
        """The finished cells of all models on one split, by model; without those damaged."""
        reading = Reading(self.layout)
        found = [reading.cell(one, None) for one in self.layout.finished_cells(dataset, split)]
        return [cell for cell in found if cell is not None]

    def write_external(self, record: Mapping[str, Any], predictions: pd.DataFrame) -> None:
        """Keep an external validation.

        Args:
            record: See ``ExternalResult.record``.
            predictions: See ``ExternalResult.predictions``.
        """
        files = self.layout.external(record["dataset"], record["model"], record["other"])
        write_parquet(files.predictions, predictions)
        with writing(files.record):
            path = files.predictions
            seals.write_record(files.record, record, {path.name: path})

    # --- reading -----------------------------------------------------------------------------

    def read(self) -> RunResult:
        """The run without models and images, as far as it can be read; ``gaps`` names the rest.

        Raises:
            StoreError: There is no run, ``run.json`` is damaged, or another version wrote it.
        """
        run = read_any_run(self.layout.run)
        if not is_whole(run):
            run = {"format": FORMAT, "configuration": {}, "images": False}
            reading = Reading(self.layout)
            reading.nothing_of_the_run()
        else:
            reading = Reading(self.layout, run["format"])
        environment = reading.record(
            self.layout.environment, schemas.Environment, "versions and machine are not stated"
        )
        datasets, cells, unread = reading.datasets(), [], []
        for files in self.layout.finished_cells():
            dataset = datasets.get(files.id.dataset)
            cell = None if dataset is None else reading.cell(files, dataset)
            if cell is None:
                unread.append(files.id)
            else:
                cells.append(cell)
        whole = list(reading.without_orphans(cells))
        unread += sorted({cell.id for cell in cells} - {cell.id for cell in whole})
        cells = whole
        ended = (reading.unfinished(files) for files in self.layout.unfinished_cells())
        cells += [cell for cell in ended if cell is not None and cell.id.dataset in datasets]
        return RunResult(
            folder=self.folder,
            configuration=reading.configuration(run["configuration"]),
            environment=environment or {},
            datasets=datasets,
            audits=reading.audits(datasets),
            cells=tuple(sorted(cells, key=lambda cell: cell.id)),
            externals=tuple(reading.externals(datasets, cells)),
            images=reading.images(run),
            gaps=tuple(reading.gaps),
            unread=tuple(unread),
            at_work=self.is_held_by_another(),
            hashed=reading.hashed,
        )
