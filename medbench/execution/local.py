"""The local executor: one fresh process a cell, as many at a time as there are jobs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from medbench.datasets.task import label_frame
from medbench.errors import ProtocolError, StoreError
from medbench.execution.cell import CellSpec
from medbench.execution.environment import child_environment, keras_backend
from medbench.execution.firewall import closed_places
from medbench.execution.plan import Place, PlannedCell, PlannedDataset
from medbench.execution.process import CellFailedError, Processes
from medbench.execution.scratch import Scratch
from medbench.execution.stock import Stock, dataset_tables, take_stock
from medbench.features.out_of_distribution import fit_out_of_distribution
from medbench.store import CellId, CellStore, RunStore

_POLL_SECONDS = 1.0
"""How often the waiting main thread wakes; on Windows, Ctrl-C is noticed only then."""


class Watcher(Protocol):
    """Who is told what happens, from several threads; see ``medbench.cli.progress``."""

    def planned(self, stock: Stock, jobs: int) -> None:
        """What is there already and what will be run, so many cells at a time."""

    def started(self, cell: CellId) -> None:
        """A cell's process starts."""

    def event(self, cell: CellId, message: Mapping[str, Any]) -> None:
        """Something happened in a cell (a trial ended, the refit began)."""

    def finished(self, cell: CellId, record: Mapping[str, Any]) -> None:
        """A cell is finished, well or not."""

    def say(self, text: str) -> None:
        """A line for the user."""


def run_cells(
    cells: Sequence[PlannedCell],
    store: RunStore,
    place: Place,
    watcher: Watcher,
    *,
    retry_failed: bool = False,
) -> None:
    """Finish every cell that is not finished under the same key.

    Args:
        cells: The plan.
        store: The run folder, locked by the caller.
        place: Folders, threads and the number of cells that run at a time.
        watcher: Who is told.
        retry_failed: Whether cells that failed under the same key are run again.

    Raises:
        StoreError: The run folder cannot be written, or holds the same data set with other data.
    """
    stock = take_stock(cells, store, retry_failed=retry_failed)
    for dataset in {id(cell.dataset): cell.dataset for cell in cells}.values():
        store.write_dataset(dataset.data.name, *dataset_tables(dataset, store))
        _learn_what_is_usual(dataset, store, watcher)
    watcher.planned(stock, place.jobs)
    shown = [cell for cell in stock.waiting if cell.model.skip is None]
    scratch, processes = Scratch(store.layout.scratch, shown), Processes()
    runner = _Runner(
        store=store, place=place, watcher=watcher, scratch=scratch, processes=processes
    )
    pool = ThreadPoolExecutor(place.jobs, thread_name_prefix="cell")
    try:
        pending = {pool.submit(runner.finish, cell) for cell in stock.waiting}
        while pending:
            done, pending = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                future.result()
    finally:  # also Ctrl-C, or what one cell's thread could not write, ends all of them
        processes.end_all()
        pool.shutdown(cancel_futures=True)
        scratch.clear()


@dataclass(frozen=True, kw_only=True)
class _Runner:
    """Runs one cell in the calling thread, beside others."""

    store: RunStore
    place: Place
    watcher: Watcher
    scratch: Scratch
    processes: Processes

    def finish(self, cell: PlannedCell) -> None:
        """Run a cell to its row."""
        _clear_stale(cell, self.store, self.watcher)
        self.watcher.started(cell.id)
        record = self._record(cell)
        self.store.cell(cell.id).finish(record)
        self.watcher.finished(cell.id, record)

    def _record(self, cell: PlannedCell) -> dict[str, Any]:
        """Run a cell to its record; a failure is a record too."""
        model, began = cell.model, time.perf_counter()
        stored = self.store.cell(cell.id)
        stored.begin(cell.key, cell.key_parts)
        record: dict[str, Any] = {
            **asdict(cell.id),
            "repeat": cell.split.repeat,
            "fold": cell.split.fold,
            "by_image": cell.split.by_image,
            "key": cell.key,
            "status": "skipped",
            "reason": model.skip or "",
            "note": model.weights.note if model.weights else "",
            "weights_sha256": model.weights.sha256 if model.weights else None,
            "sanity": model.family.sanity,
            "tuner": model.tuner,
            "backend": keras_backend() if "keras" in model.family.requires else None,
            "threads": self.place.threads,
        }
        if model.skip is not None:
            return record
        # of a start that was killed at its very end; the cell's folder is open to the family
        stored.drop_predictions()
        try:
            with self.scratch.development(cell) as development:
                fitted, predicted, probabilities = self._talk(cell, development)
        except CellFailedError as failure:
            return {**record, "status": "failed", "reason": str(failure)}
        stored.write_predictions(_predictions(cell, probabilities))
        wanted = cell.settings.inner_folds
        if cell.split.validation is None and fitted["inner_folds"] < wanted:
            few = (
                f"{fitted['inner_folds']} inner folds instead of {wanted}: "
                "too few groups of a class"
            )
            record["note"] = "; ".join(note for note in (record["note"], few) if note)
        seconds = {**fitted.pop("seconds"), "prediction": predicted.pop("seconds")}
        seconds["total"] = seconds["tuning"] + seconds["refit"] + seconds["prediction"]
        seconds["wall_of_last_start"] = time.perf_counter() - began
        return {**record, **fitted, **predicted, "status": "ok", "reason": "", "seconds": seconds}

    def _talk(
        self, cell: PlannedCell, development: Path
    ) -> tuple[dict[str, Any], dict[str, Any], Any]:
        """Have a fresh process fit, then show it the held-out images.

        Returns:
            The records of the fit and of the prediction, and the probabilities, float64, shape
            (n_held_out, n_classes).
        """
        stored = self.store.cell(cell.id)
        if (so_far := _so_far(stored)) is not None:
            self.watcher.event(cell.id, so_far)

        def other(message: Mapping[str, Any]) -> None:
            self.watcher.event(cell.id, message)

        environment = child_environment(self.place.threads)
        with self.processes.start(stored.log, environment) as process:
            spec = _spec(cell, self.place, self.store.folder, development, stored.folder)
            process.send(asdict(spec))
            fitted = process.wait_for("fitted", other)
            with self.scratch.held_out(cell) as held_out:
                fitted["held_out_opened"] = datetime.now(UTC).isoformat(timespec="seconds")
                process.send({"held_out": str(held_out)})
                predicted = process.wait_for("predicted", other)
                probabilities = np.load(held_out / "probabilities.npy", allow_pickle=False)
        return fitted, predicted, probabilities


def _learn_what_is_usual(dataset: PlannedDataset, store: RunStore, watcher: Watcher) -> None:
    """Keep by what images unlike the development part are told, for those who predict later.

    Without an official split every image is in the development part of some fold.
    """
    path = store.out_of_distribution(dataset.data.name)
    if path.exists():
        return
    parts = [split.development for split in dataset.plan.splits]
    known = np.unique(np.concatenate(parts))
    groups = dataset.data.table["group"].to_numpy(np.int64)[known]
    try:
        fit_out_of_distribution(dataset.data.images[known], groups).save(path)
    except ProtocolError as error:
        watcher.say(f"{dataset.data.name}: unlike images cannot be told later: {error}")


def _clear_stale(cell: PlannedCell, store: RunStore, watcher: Watcher) -> None:
    """Remove what a cell left that its next start cannot go on from."""
    stored = store.cell(cell.id)
    try:
        before, result = stored.key(), stored.result()
    except StoreError:
        watcher.say(f"{cell.id}: run again, because its record is damaged")
        stored.remove()
        return
    if before is None:
        return
    if before.key != cell.key:
        then = before.parts
        changed = [name for name, value in cell.key_parts.items() if then.get(name) != value]
        watcher.say(f"{cell.id}: run again, because of other {', '.join(changed)}")
        stored.remove()
        return
    failed = result is not None and result.status == "failed"
    if failed and not any(trial["state"] == "complete" for trial in stored.trials()):
        stored.remove()  # nothing worth keeping: try afresh


def _so_far(stored: CellStore) -> dict[str, Any] | None:
    """The last trial before an interruption, told as its process told it; None for none."""
    trials = stored.trials()
    if not trials:
        return None
    scores = [trial["score"] for trial in trials if trial["state"] == "complete"]
    return {
        "event": "trial",
        "number": trials[-1]["number"],
        "state": trials[-1]["state"],
        "score": trials[-1]["score"],
        "best": max(scores, default=None),
        "seconds": trials[-1]["at_seconds"],
    }


def _predictions(cell: PlannedCell, probabilities: Any) -> pd.DataFrame:
    """Join the labels to what was predicted without them; see ``CellResult.predictions``."""
    data, indices = cell.dataset.data, cell.split.held_out
    return pd.DataFrame(
        {
            "image": indices,
            "group": cell.dataset.groups(cell.split)[indices],
            **label_frame(data.labels[indices]),
            **{f"p{i}": probabilities[:, i] for i in range(probabilities.shape[1])},
        }
    )


def _spec(cell: PlannedCell, place: Place, run: Path, development: Path, folder: Path) -> CellSpec:
    weights, settings, data = cell.model.weights, cell.settings, cell.dataset.data
    return CellSpec(
        model=cell.model.name,
        tuner=cell.model.tuner,
        plugins=tuple(str(plugin) for plugin in place.plugins),
        classes=data.task.classes,
        image_shape=data.task.image_shape,
        kind=data.task.kind,
        trials=settings.budget.trials,
        seconds=settings.budget.seconds,
        inner_folds=settings.inner_folds,
        operating_point=str(settings.operating_point),
        split_seed=cell.split_seed,
        cell_seed=cell.seed,
        threads=place.threads,
        development=str(development),
        folder=str(folder.resolve()),
        features=str(place.cache / "features"),
        weights_path=str(weights.path) if weights and weights.path else None,
        weights_sha256=weights.sha256 if weights else None,
        weights_note=weights.note if weights else None,
        closed=tuple(closed_places(run, place.cache, data.source.reads(), data.table["origin"])),
    )
