"""The local executor: one fresh process a cell, one at a time."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from medbench.datasets.batch import PROPERTIES, LabelledBatch
from medbench.datasets.prepared import PreparedDataset, describe
from medbench.datasets.splits import Indices
from medbench.errors import MedBenchError, StoreError
from medbench.execution.cell import CellSpec, write_development
from medbench.execution.environment import child_environment, keras_backend
from medbench.execution.plan import Place, PlannedCell, PlannedDataset
from medbench.store import CellId, RunStore, TrialLog, read_json, write_json

_GRACE_SECONDS = 5.0
"""How long an abandoned process may take to end by itself."""


class Watcher(Protocol):
    """Who is told what happens; see ``medbench.cli.progress``."""

    def planned(self, total: int, reused: int) -> None:
        """So many cells are wanted, of which so many are there already."""

    def started(self, cell: CellId) -> None:
        """A cell's process starts."""

    def event(self, cell: CellId, message: Mapping[str, Any]) -> None:
        """Something happened in a cell (a trial ended, the refit began)."""

    def finished(self, cell: CellId, record: Mapping[str, Any]) -> None:
        """A cell is finished, well or not."""

    def say(self, text: str) -> None:
        """A line for the user."""


def run_cells(
    cells: Sequence[PlannedCell], store: RunStore, place: Place, watcher: Watcher
) -> None:
    """Finish every cell that is not finished under the same key.

    Args:
        cells: The plan.
        store: The run folder, locked by the caller.
        place: Folders and threads.
        watcher: Who is told.

    Raises:
        StoreError: The run folder cannot be written, or holds the same data set with other data.
    """
    for dataset in {id(cell.dataset): cell.dataset for cell in cells}.values():
        _record_dataset(dataset, store)
    scratch = store.folder / ".scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    waiting = [cell for cell in cells if not _reusable(cell, store)]
    watcher.planned(len(cells), len(cells) - len(waiting))
    try:
        made: Path | None = None
        for cell in waiting:
            folder = scratch / f"{cell.id.dataset}-{cell.id.split}"
            if cell.model.skip is None and folder != made:
                shutil.rmtree(scratch, ignore_errors=True)
                _write_development(cell, folder)
                made = folder
            _clear_stale(cell, store, watcher)
            watcher.started(cell.id)
            record = _run_cell(cell, store, place, folder, watcher)
            store.finish_cell(cell.id, record)
            watcher.finished(cell.id, record)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _record_dataset(dataset: PlannedDataset, store: RunStore) -> None:
    data = dataset.data
    before = store.dataset_record(data.name)
    if before is not None and before["fingerprint"] != data.fingerprint:
        raise StoreError(
            f"{store.folder}: data set {data.name!r} was run there with other images, labels or "
            "groups. Name another folder with --out."
        )
    record = describe(data)
    record["split"] = dataset.plan.description
    record["n_folds"] = len(dataset.plan.splits)
    record["notes"] = [*record["notes"], *dataset.plan.notes]  # type: ignore[misc]
    images = pd.DataFrame({"label": data.table["label"], "group": data.table["group"]})
    for split in dataset.plan.splits:
        part = np.full(len(images), "left out", dtype=object)
        part[split.development] = "development"
        if split.validation is not None:
            part[split.validation] = "validation"
        part[split.held_out] = "held-out"
        images[split.name] = part
    if before is not None and not store.dataset_images(data.name).equals(images):
        raise StoreError(
            f"{store.folder}: data set {data.name!r} was split differently there (by another "
            "version of MedBench or scikit-learn?). Name another folder with --out."
        )
    store.write_dataset(data.name, record, images)


def _reusable(cell: PlannedCell, store: RunStore) -> bool:
    """Whether a cell is finished, and well, under the same key."""
    try:
        cells = store.read_cell(cell.id)
    except StoreError:  # a damaged one is run again
        return False
    return cells is not None and cells.status == "ok" and cells.record.get("key") == cell.key


def _clear_stale(cell: PlannedCell, store: RunStore, watcher: Watcher) -> None:
    """Remove what a cell left that its next start cannot go on from."""
    folder = store.cell_folder(cell.id)
    if not (folder / "key.json").exists():
        return
    try:
        before = read_json(folder / "key.json")
        key, parts = before["key"], before["parts"]
        store.read_cell(cell.id)
    except (StoreError, KeyError, TypeError):
        watcher.say(f"{cell.id}: run again, because its record is damaged")
        shutil.rmtree(folder)
        return
    if key != cell.key:
        changed = [name for name, value in cell.key_parts.items() if parts.get(name) != value]
        watcher.say(f"{cell.id}: run again, because of other {', '.join(changed)}")
        shutil.rmtree(folder)
        return
    record = store.cell_record(cell.id)
    failed = record is not None and record["status"] == "failed"
    if failed and not any(t["state"] == "complete" for t in TrialLog(folder).records()):
        shutil.rmtree(folder)  # nothing worth keeping: try afresh


def _write_development(cell: PlannedCell, folder: Path) -> None:
    data, split = cell.dataset.data, cell.split
    validation = None
    if split.validation is not None:
        validation = np.isin(split.development, split.validation)
    batch = LabelledBatch(
        images=data.images[split.development],
        properties=_properties(data, split.development),
        labels=data.table["label"].to_numpy(np.int64)[split.development],
        groups=data.table["group"].to_numpy(np.int64)[split.development],
    )
    write_development(folder, batch, validation)


def _properties(data: PreparedDataset, indices: Indices) -> pd.DataFrame:
    return data.table.loc[indices, list(PROPERTIES)].reset_index(drop=True)


def _run_cell(
    cell: PlannedCell, store: RunStore, place: Place, development: Path, watcher: Watcher
) -> dict[str, Any]:
    """Run one cell to its record; a failure is a record too."""
    model, began = cell.model, time.perf_counter()
    folder = store.cell_folder(cell.id)
    write_json(folder / "key.json", {"key": cell.key, "parts": cell.key_parts})
    record: dict[str, Any] = {
        **asdict(cell.id),
        "key": cell.key,
        "status": "skipped",
        "reason": model.skip or "",
        "note": model.weights.note if model.weights else "",
        "weights_sha256": model.weights.sha256 if model.weights else None,
        "tuner": model.tuner,
        "backend": keras_backend() if "keras" in model.family.requires else None,
        "threads": place.threads,
    }
    if model.skip is not None:
        return record
    try:
        fitted, predicted, predictions = _talk(cell, store, place, development, watcher)
    except _CellFailedError as failure:
        return {**record, "status": "failed", "reason": str(failure)}
    store.write_predictions(cell.id, predictions)
    wanted = cell.settings.inner_folds
    if cell.split.validation is None and fitted["inner_folds"] < wanted:
        few = f"{fitted['inner_folds']} inner folds instead of {wanted}: too few groups of a class"
        record["note"] = "; ".join(note for note in (record["note"], few) if note)
    seconds = {**fitted.pop("seconds"), "prediction": predicted.pop("seconds")}
    seconds["total"] = seconds["tuning"] + seconds["refit"] + seconds["prediction"]
    seconds["wall_of_last_start"] = time.perf_counter() - began
    return {**record, **fitted, **predicted, "status": "ok", "reason": "", "seconds": seconds}


class _CellFailedError(Exception):
    """A cell's process said or showed that it failed."""


def _talk(
    cell: PlannedCell, store: RunStore, place: Place, development: Path, watcher: Watcher
) -> tuple[dict[str, Any], dict[str, Any], pd.DataFrame]:
    """Have a fresh process fit, then show it the held-out images, then join the labels here."""
    folder = store.cell_folder(cell.id)
    spec = _spec(cell, place, development, folder)
    held_out = development.with_name("held-out")
    data, indices = cell.dataset.data, cell.split.held_out
    try:
        with _process(folder / "cell.log", child_environment(place.threads)) as (process, messages):
            _send(process, asdict(spec))
            fitted = _await(messages, "fitted", lambda m: watcher.event(cell.id, m))
            held_out.mkdir()
            np.save(held_out / "images.npy", data.images[indices])
            _properties(data, indices).to_parquet(held_out / "properties.parquet", index=False)
            fitted["held_out_opened"] = datetime.now(UTC).isoformat(timespec="seconds")
            _send(process, {"held_out": str(held_out.resolve())})
            predicted = _await(messages, "predicted", lambda m: watcher.event(cell.id, m))
        probabilities = np.load(held_out / "probabilities.npy", allow_pickle=False)
    finally:
        shutil.rmtree(held_out, ignore_errors=True)  # before the next family's process starts
    table = data.table.loc[indices]
    predictions = pd.DataFrame(
        {
            "image": indices,
            "group": table["group"].to_numpy(np.int64),
            "label": table["label"].to_numpy(np.int64),
            **{f"p{i}": probabilities[:, i] for i in range(probabilities.shape[1])},
        }
    )
    return fitted, predicted, predictions


def _spec(cell: PlannedCell, place: Place, development: Path, folder: Path) -> CellSpec:
    weights, settings = cell.model.weights, cell.settings
    return CellSpec(
        model=cell.model.name,
        tuner=cell.model.tuner,
        plugins=tuple(str(plugin) for plugin in place.plugins),
        classes=cell.dataset.data.task.classes,
        image_shape=cell.dataset.data.task.image_shape,
        trials=settings.budget.trials,
        seconds=settings.budget.seconds,
        inner_folds=settings.inner_folds,
        split_seed=cell.split_seed,
        cell_seed=cell.seed,
        threads=place.threads,
        development=str(development.resolve()),
        folder=str(folder.resolve()),
        features=str(place.cache / "features"),
        weights_path=str(weights.path) if weights and weights.path else None,
        weights_sha256=weights.sha256 if weights else None,
        weights_note=weights.note if weights else None,
    )


@contextlib.contextmanager
def _process(
    log: Path, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], Iterator[dict[str, Any]]]]:
    """A cell's process and its messages; it never outlives the block nor this process."""
    with log.open("ab") as errors:
        logged_before = errors.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "medbench.execution.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=dict(environment),
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends it
        )
    try:
        yield process, _messages(process, log, logged_before)
    finally:
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()  # the worker ends when it sees this
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
        _kill_all(process)
        process.wait()
        process.stdout.close()


def _kill_all(process: subprocess.Popen[str]) -> None:
    """End a cell's process and whatever it started (it leads a session of its own)."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()


def _send(process: subprocess.Popen[str], message: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # a dead process is reported where its answer is awaited
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()


def _messages(
    process: subprocess.Popen[str], log: Path, logged_before: int
) -> Iterator[dict[str, Any]]:
    """What the process says, until it ends; then its end as an error."""
    assert process.stdout is not None
    for line in process.stdout:
        try:
            message = json.loads(line)
        except ValueError:
            raise _CellFailedError("something else wrote into its messages") from None
        yield message
    code = process.wait()
    logged = log.read_bytes()[logged_before:].decode(errors="replace")
    lines = [line for line in logged.splitlines() if line.strip()]
    last = f"; last line of its log: {lines[-1][:200]}" if lines else ""
    if code < 0:
        name = signal.strsignal(-code) or f"signal {-code}"
        name = next((s.name for s in signal.Signals if s == -code), name)
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        raise _CellFailedError(f"its process was ended by {name}{hint}{last}")
    raise _CellFailedError(f"its process ended with status {code}{last}")


def _await(
    messages: Iterator[dict[str, Any]], event: str, other: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    """The record of the awaited message; others are handed on."""
    for message in messages:
        if message["event"] == "failed":
            raise _CellFailedError(message["reason"])
        if message["event"] == event:
            record: dict[str, Any] = message["record"]
            return record
        other(message)
    raise MedBenchError("a cell's process ended without a word.")
