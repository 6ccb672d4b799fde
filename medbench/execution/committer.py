"""The committer: alone in writing the cells of a run, from what an executor tells."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.atomic_files import read_npy
from medbench.datasets.task import label_frame
from medbench.errors import StoreError
from medbench.execution.environment import keras_backend
from medbench.execution.events import (
    Event,
    Fitted,
    Outcome,
    RefitBegan,
    Started,
    TrialEnded,
)
from medbench.execution.executor import Executor
from medbench.execution.plan import PlannedCell
from medbench.execution.planned_model import PlannedModel
from medbench.execution.run_listener import RunListener
from medbench.store import CellId, RunStore
from medbench.tuning.tuner import best_of

_LONGEST_REASON = 200
"""Characters of the reason of a failed trial that the row of its cell gives."""
_NOT_ISOLATED = "ran {executor}: without a process of its own and without a firewall"


@dataclass(frozen=True, kw_only=True, eq=False)
class EarlierWork:
    """What an earlier start has left of a cell; nothing, where there is nothing to go on from."""

    trials: tuple[Mapping[str, Any], ...] = ()
    """Records of the finished trials, in order."""
    oof: NDArray[np.float64] | None = None
    """Out-of-fold probabilities of the best one (see ``medbench.tuning.tuner.best_of``), float64,
    shape (n_development, n_classes); None where no trial has any."""
    checkpoints: Path | None = None
    """Folder of the fitted folds that they left; None where there is none."""


class Committer:
    """Writes what happens in cells into the run folder, and tells the listener."""

    def __init__(
        self,
        cells: Mapping[CellId, PlannedCell],
        store: RunStore,
        listener: RunListener,
        executor: Executor,
    ) -> None:
        """Begin.

        Args:
            cells: The cells of which events will come.
            store: The run folder, locked by the caller.
            listener: Who is told.
            executor: What works on them, for the record.
        """
        self._cells = cells
        self._store = store
        self._listener = listener
        self._executor = executor
        self._earlier: dict[CellId, EarlierWork] = {}
        self._why_anew: dict[CellId, str] = {}
        self._began: dict[CellId, float] = {}
        self._opened: dict[CellId, str] = {}
        self._tried: dict[CellId, list[Mapping[str, Any]]] = {}
        self._times: dict[CellId, int] = {}
        self.ended: dict[CellId, str] = {}
        """Why the machine ended cells, in the order in which it did."""
        self.ended_in_a_row = 0
        """How many of them there were since a cell was last finished."""

    def take(self, event: Event) -> None:
        """Write one event down.

        Args:
            event: Of one of the cells, as an executor told it.

        Raises:
            StoreError: The run folder cannot be written.
        """
        cell = self._cells[event.cell]
        if isinstance(event, Started):
            self._start(cell)
        elif isinstance(event, TrialEnded):
            self._add_trial(event)
        elif isinstance(event, RefitBegan):
            self._listener.refits(event.cell)
        elif isinstance(event, Fitted):
            now = datetime.now(UTC).isoformat(timespec="seconds")
            self._opened.setdefault(event.cell, now)  # not again where it was started again
        elif isinstance(event, Outcome):
            self._finish(cell, event)

    def skip(self, cell: PlannedCell) -> None:
        """Give a cell that nobody works on its row.

        Args:
            cell: A cell whose family does not apply to its data set.

        Raises:
            StoreError: The run folder cannot be written.
        """
        self.earlier_work(cell)
        self._listener.started(cell.id)
        self._begin(cell)
        self._commit(cell, {"status": "skipped", "reason": cell.model.skip or ""})

    def refuse(self, cell: PlannedCell, reason: str) -> None:
        """Give a cell its end, where the family's own code keeps it from being worked on.

        Args:
            cell: The cell.
            reason: What that code raised, in words.

        Raises:
            StoreError: The run folder cannot be written.
        """
        self.earlier_work(cell)
        self.take(Started(cell=cell.id))
        self.take(Outcome(cell=cell.id, reason=reason, fault=cell.model.fault))

    def earlier_work(self, cell: PlannedCell) -> EarlierWork:
        """What an earlier start has left of a cell, from which this one goes on.

        Looked at once, before any cell is worked on. What is stale or damaged is nothing to go on
        from; it is removed when the cell is started, and not before.

        Raises:
            MachineError: Something of it is there and cannot be read.
        """
        stored = self._store.cell(cell.id)
        stored.check_readable()
        found, why = EarlierWork(), ""
        try:
            before, result, trials = stored.key(), stored.result(), stored.trials()
            if before is not None and before.key != cell.key:
                other = [n for n, value in cell.key_parts.items() if before.parts.get(n) != value]
                why = f"because of other {', '.join(other)}"
            elif before is not None:
                best = best_of(trials)
                if best is not None:
                    oof = _checked(stored.oof(best), cell, stored.folder)
                    found = EarlierWork(trials=tuple(trials), oof=oof)
                elif result is None:  # one that failed without any is tried afresh
                    found = EarlierWork(trials=tuple(trials))
                stored.check_checkpoints(found.trials)
                if result is not None and result.status == "ok" and stored.has_damaged_model():
                    why = "because its model is damaged"
        except StoreError:
            found, why = EarlierWork(), "because its record is damaged"
        if found.trials and stored.checkpoints.is_dir():
            found = replace(found, checkpoints=stored.checkpoints)
        self._earlier[cell.id], self._why_anew[cell.id] = found, why
        return found

    def _start(self, cell: PlannedCell) -> None:
        self._begin(cell)
        self._began[cell.id] = time.perf_counter()
        self._listener.started(cell.id)
        self._tried[cell.id] = list(self._earlier[cell.id].trials)
        if self._tried[cell.id]:
            self._tell_trials(cell.id)

    def _begin(self, cell: PlannedCell) -> None:
        """Make the folder of a cell ready: nothing is in it but what is gone on from."""
        stored = self._store.cell(cell.id)
        before = stored.unfinished()
        self._times[cell.id] = 0 if before is None else before["times"]
        if why := self._why_anew[cell.id]:
            self._listener.say(f"{cell.id}: run again, {why}")
        if self._earlier[cell.id].trials:
            stored.drop_outcome()
        else:
            stored.remove()
        stored.begin(cell.key, cell.key_parts)

    def _add_trial(self, event: TrialEnded) -> None:
        stored = self._store.cell(event.cell)
        number = event.record["number"]
        if event.checkpoint is not None:  # before the trial that others may train on
            stored.keep_checkpoint(number, event.checkpoint)
        oof = None if event.oof is None else read_npy(event.oof).astype(np.float64, copy=False)
        stored.append_trial(event.record, oof)
        self._tried.setdefault(event.cell, []).append(event.record)
        self._tell_trials(event.cell)

    def _tell_trials(self, cell: CellId) -> None:
        trials = self._tried[cell]
        best = best_of(trials)
        n_tried = sum(trial.get("stage") != "finish" for trial in trials)
        score = None if best is None else best["score"]
        self._listener.tried(cell, n_tried, score, trials[-1]["at_seconds"])

    def _finish(self, cell: PlannedCell, outcome: Outcome) -> None:
        stored = self._store.cell(cell.id)
        self._tried.pop(cell.id, None)
        if outcome.fault:
            self._leave(cell, outcome)
            return
        if outcome.log:
            stored.append_log(outcome.log)
        if outcome.record is None or outcome.model is None or outcome.probabilities is None:
            overrun = None if outcome.overrun is None else asdict(outcome.overrun)
            result = {"status": "failed", "reason": outcome.reason, "overrun": overrun}
            self._commit(cell, result)
            return
        stored.keep_model(outcome.model)
        stored.drop_checkpoints()
        stored.write_predictions(predictions(cell, outcome.probabilities))
        record = dict(outcome.record)
        seconds = dict(record["seconds"])
        seconds["total"] = seconds["tuning"] + seconds["refit"] + seconds["prediction"]
        if (allowed := cell.settings.budget.seconds) is not None:
            seconds["over_budget"] = max(0.0, seconds["tuning"] - allowed)
        seconds["wall_of_last_start"] = time.perf_counter() - self._began[cell.id]
        self._commit(
            cell,
            {
                **record,
                "status": "ok",
                "reason": "",
                "seconds": seconds,
                "held_out_opened": self._opened[cell.id],
            },
        )

    def _leave(self, cell: PlannedCell, outcome: Outcome) -> None:
        """Note why a cell stays unfinished; it is said first, for the run folder may be full."""
        self.ended[cell.id] = outcome.reason
        self.ended_in_a_row += 1
        self._listener.unfinished(cell.id, outcome.reason)
        stored = self._store.cell(cell.id)
        stored.leave_unfinished(
            {
                "reason": outcome.reason,
                "ended": datetime.now(UTC).isoformat(timespec="seconds"),
                "times": self._times[cell.id] + 1,
                "repeat": cell.split.repeat,
                "fold": cell.split.fold,
                "by_image": cell.split.by_image,
                "sanity": bool(cell.model.family.sanity),
            }
        )
        if outcome.log:
            stored.append_log(outcome.log)

    def _commit(self, cell: PlannedCell, result: Mapping[str, Any]) -> None:
        """Write the record of a cell, by which it is finished."""
        model, split = cell.model, cell.split
        record = {
            **asdict(cell.id),
            "repeat": split.repeat,
            "fold": split.fold,
            "by_image": split.by_image,
            "key": cell.key,
            "note": "; ".join(self._notes(cell, result)),
            "weights_sha256": model.weights.sha256 if model.weights else None,
            "weights_settings": model.weights.settings if model.weights else None,
            "sanity": bool(model.family.sanity),
            "tuner": model.tuner,
            "backend": _backend(model),
            "threads": self._executor.resources.threads,
            "executor": self._executor.name,
            "failed_trials": _failed_trials(self._store.cell(cell.id).trials()),
            **result,
        }
        self._store.cell(cell.id).finish(record)
        self.ended_in_a_row = 0
        self._listener.finished(cell.id, record)

    def _notes(self, cell: PlannedCell, result: Mapping[str, Any]) -> list[str]:
        """What a reader of the row must know."""
        notes = [cell.model.weights.note] if cell.model.weights else []
        wanted, used = cell.settings.inner_folds, result.get("inner_folds")
        if cell.split.validation is None and used is not None and used < wanted:
            notes.append(f"{used} inner folds instead of {wanted}: too few groups of a class")
        if not self._executor.isolates and result["status"] != "skipped":
            notes.append(_NOT_ISOLATED.format(executor=self._executor.name))
        return [note for note in notes if note]


def _backend(model: PlannedModel) -> str | None:
    """What a deep family computes with; None where its own code could not be asked."""
    return keras_backend() if model.error is None and "keras" in model.family.requires else None


def _failed_trials(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """How many trials a family's own errors ended, and the first reason; None for none."""
    reasons = [str(trial.get("reason") or "") for trial in trials if trial["state"] == "failed"]
    if not reasons:
        return None
    return {"n": len(reasons), "of": len(trials), "reason": reasons[0][:_LONGEST_REASON]}


def _checked(oof: NDArray[np.float64], cell: PlannedCell, folder: Path) -> NDArray[np.float64]:
    """Out-of-fold probabilities, if they are of the development part of a cell.

    Raises:
        StoreError: They are not.
    """
    wanted = (len(cell.split.development), len(cell.dataset.data.task.classes))
    if oof.shape != wanted:
        raise StoreError(f"{folder}: out-of-fold probabilities of another development part.")
    return oof


def predictions(cell: PlannedCell, probabilities: NDArray[np.float64]) -> pd.DataFrame:
    """Join the labels to what was predicted without them; see ``CellResult.predictions``.

    Args:
        cell: The cell.
        probabilities: Of its held-out images, float64, shape (n_held_out, n_classes).
    """
    data, indices = cell.dataset.data, cell.split.held_out
    return pd.DataFrame(
        {
            "image": indices,
            "group": cell.dataset.groups(cell.split)[indices],
            **label_frame(data.labels[indices]),
            **{f"p{i}": probabilities[:, i] for i in range(probabilities.shape[1])},
        }
    )
