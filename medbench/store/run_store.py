"""Writes and reads one run folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.errors import StoreError
from medbench.files import read_json, read_parquet, write_json, write_parquet, writing
from medbench.store import schemas
from medbench.store.cell_store import CellStore
from medbench.store.layout import RunLayout
from medbench.store.reading import FORMAT, READABLE, Reading
from medbench.store.results import CellId, RunResult

if TYPE_CHECKING:
    import pandas as pd

_WAIT_FOR_LOCK = 1.0
"""Seconds. Who reads a run takes its lock for a moment to see whether somebody works there, and
a run that starts at that moment must not be refused."""
_NEEDED_OF_A_DATASET = frozenset({"fingerprint", "classes", "n_folds"})
"""Without these nobody can tell whether a run that goes on is of the same data set."""


class RunStore:
    """Reads and writes one run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = RunLayout(folder)
        """Where everything lies in it."""
        self._held = False

    # --- the run -----------------------------------------------------------------------------

    def check(self, configuration: Mapping[str, Any]) -> None:
        """Make sure that a run with these settings may begin or go on here.

        Raises:
            StoreError: The folder holds something else, comes from another format, or was begun
                with other settings (all of them are named).
        """
        if self.layout.run.exists():
            run = self._read_run()
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
        before = None
        if self.layout.run.exists():
            before = Reading(self.layout).images(self._read_run())
        images = before if images is None else images
        if images is False:
            for path in self.layout.pictures():
                self._remove(path)
            if before is not False:  # it is made again at the end of the run
                self._remove(self.layout.page)
        write_json(
            self.layout.run,
            {"format": FORMAT, "configuration": dict(configuration), "images": images},
        )
        return images

    def _read_run(self) -> dict[str, Any]:
        path = self.layout.run
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
        found, wrong = run.get("format"), schemas.damaged(run, schemas.Run)
        if "format" not in wrong and run["format"] > FORMAT:
            raise StoreError(
                f"{path}: written by a newer MedBench (format {found}, this one reads "
                f"{_readable()}): update MedBench."
            )
        if "format" in wrong or found not in READABLE:
            raise StoreError(
                f"{path}: written in format {found!r}, this MedBench reads format {_readable()}. "
                "Use the version that wrote it.",
                options={"--out": "names another folder"},
            )
        if "configuration" in wrong:
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
            raise StoreError(f"{self.folder}: is a file, not a folder.")
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.layout.lock, timeout=_WAIT_FOR_LOCK)
            try:
                lock.acquire()
            except Timeout:
                raise StoreError(
                    f"another run is at work in {self.folder}. Wait for it.",
                    options={"--out": "names another folder"},
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

        if self._held or not self.layout.lock.exists():
            return False
        try:
            with FileLock(self.layout.lock, timeout=0):
                return False
        except Timeout:
            return True
        except (OSError, NotImplementedError):  # of a folder that cannot be written, such as a CD
            return False

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        """Record versions, machine and commit of the latest start."""
        write_json(self.layout.environment, environment)

    # --- data sets ---------------------------------------------------------------------------

    def write_dataset(self, name: str, record: Mapping[str, Any], images: pd.DataFrame) -> None:
        """Record a data set and which image is held out in which split."""
        files = self.layout.dataset(name)
        write_parquet(files.images, images)
        write_json(files.record, record)

    def write_audit(self, name: str, record: Mapping[str, Any]) -> None:
        """Record what the audit of a data set found."""
        write_json(self.layout.dataset(name).audit, record)

    def dataset_images(self, name: str) -> pd.DataFrame:
        """``images.parquet`` of a data set: label, group and part in each split."""
        return read_parquet(self.layout.dataset(name).images)

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
            raise StoreError(
                f"{path}: damaged, it lacks entries. Take it from a copy.",
                options={"--out": "begins a new folder"},
            )
        return record

    def out_of_distribution(self, name: str) -> Path:
        """The file by which images unlike those of a data set are told; it need not be there."""
        return self.layout.dataset(name).out_of_distribution

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

    def write_external(self, record: Mapping[str, Any], predictions: pd.DataFrame) -> None:
        """Keep an external validation; see ``ExternalResult``."""
        files = self.layout.external(record["dataset"], record["model"], record["other"])
        write_parquet(files.predictions, predictions)
        write_json(files.record, record)

    # --- reading -----------------------------------------------------------------------------

    def read(self) -> RunResult:
        """The run without models and images, as far as it can be read; ``gaps`` names the rest.

        Raises:
            StoreError: There is no run, ``run.json`` is damaged, or another version wrote it.
        """
        run = self._read_run()
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
            at_work=self._held_by_another(),
        )


def _readable() -> str:
    return " or ".join(map(str, READABLE))
