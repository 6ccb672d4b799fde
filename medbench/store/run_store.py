"""Writes and reads one run folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.errors import StoreError
from medbench.files import read_json, read_parquet, write_parquet, writing
from medbench.store import schemas, seals
from medbench.store.cell_store import CellStore
from medbench.store.holder import Holder
from medbench.store.layout import RunLayout
from medbench.store.pieces import Pieces
from medbench.store.reading import FORMAT, READABLE, Reading, is_hashed
from medbench.store.results import CellId, RunResult

if TYPE_CHECKING:
    import pandas as pd

_WAIT_FOR_LOCK = 1.0
"""Seconds. Who reads a run takes its lock for a moment to see whether somebody works there, and
a run that starts at that moment must not be refused."""
_RESTORE = (
    "Only this file is damaged, the cells are untouched: restore it from a copy, or begin a new "
    "run in another folder with --out."
)
_MAKE_DATASET_AGAIN = (
    "Remove {} and give the run's command again, which makes it anew; cells that fit are kept."
)
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
        self._remove_leftovers()
        before = None
        if self.layout.run.exists():
            before = Reading(self.layout).images(self._read_run())
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

    def _remove_leftovers(self) -> None:
        """Remove what killed processes have not finished, and pieces of models that are gone."""
        for path in list(self.layout.half_written()):
            self._remove(path)
        Pieces(self.layout.pieces).remove_unused(self.layout.models())

    def _read_run(self) -> dict[str, Any]:
        """``run.json``, of which nothing is damaged."""
        run = self._read_any_run()
        if not _is_whole(run):
            raise StoreError(f"{self.layout.run}: damaged, its hash does not match. {_RESTORE}")
        return run

    def _read_any_run(self) -> dict[str, Any]:
        """``run.json``, of which it is known at least what it is."""
        path = self.layout.run
        if not path.is_file():
            raise StoreError(f"{self.folder}: there is no run here (no run.json).")
        try:
            run = read_json(path)
        except StoreError as error:
            raise StoreError(f"{path}: cannot be read ({error.__cause__}). {_RESTORE}") from error
        if not isinstance(run, dict):
            raise StoreError(f"{path}: damaged, it is no JSON object. {_RESTORE}")
        if not seals.holds(run, required=False):  # of what is damaged nothing else can be said
            return run
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
            raise StoreError(f"{path}: damaged, it names no configuration. {_RESTORE}")
        return run

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for writing; the lock ends with the process, however it ends.

        On a disk that several machines share a lock may reach no further than one of them. So the
        holder is named beside it, and where he is of another machine and has not taken his name
        away, nobody takes his place: a person who knows that he is gone removes the file.

        Raises:
            StoreError: Another run works in the folder, or it cannot be written.
        """
        from filelock import FileLock, Timeout

        if self.folder.exists() and not self.folder.is_dir():
            raise StoreError(f"{self.folder}: is a file, not a folder.")
        with contextlib.ExitStack() as stack:
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                try:
                    stack.enter_context(FileLock(self.layout.lock, timeout=_WAIT_FOR_LOCK))
                except Timeout:
                    raise self._in_use() from None
            before = Holder.read(self.layout.holder)
            if before is not None and before.is_elsewhere:
                raise StoreError(
                    f"a run on another machine has been at work in {self.folder} {before}, and "
                    "nobody can tell from here whether it still is. If it has ended, remove "
                    f"{self.layout.holder} and give the same command again.",
                    options={"--out": "names another folder"},
                )
            Holder.this_process().write(self.layout.holder)
            stack.callback(self.layout.holder.unlink, missing_ok=True)
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def _in_use(self) -> StoreError:
        """What is said where another process holds the folder."""
        holder = Holder.read(self.layout.holder)
        known = "" if holder is None or holder.is_gone else f" {holder}"
        return StoreError(
            f"another run is at work in {self.folder}{known}. Wait for it.",
            options={"--out": "names another folder"},
        )

    def is_held_by_another(self) -> bool:
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
        """Record what the audit of a data set found."""
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

    def write_external(self, record: Mapping[str, Any], predictions: pd.DataFrame) -> None:
        """Keep an external validation; see ``ExternalResult``."""
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
        run = self._read_any_run()
        if not _is_whole(run):
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


def _readable() -> str:
    return f"{', '.join(map(str, READABLE[:-1]))} or {READABLE[-1]}"


def _is_whole(run: Mapping[str, Any]) -> bool:
    """Whether ``run.json`` is as it was written."""
    format_ = run.get("format")
    return seals.holds(run, required=isinstance(format_, int) and is_hashed(format_))
