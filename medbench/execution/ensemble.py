"""The cells that are made of others: an ensemble of the families that a split has a winner of.

Nothing is trained and no image is read. Weights are chosen on the inner out-of-fold predictions by
which each family was tuned; the held-out probabilities are the weighted mean of those that the
families gave. Such a cell is stored like any other, and names its members.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.splits import group_folds
from medbench.errors import ProtocolError, StoreError
from medbench.evaluation.calibration import Calibration, fit_calibration
from medbench.evaluation.ensemble import Selection, select, weighted_mean
from medbench.evaluation.metrics import auroc
from medbench.execution.committer import predictions
from medbench.execution.plan import PlannedCell
from medbench.execution.run_listener import RunListener
from medbench.hashes import sha256_of_json
from medbench.registry import ENSEMBLE
from medbench.seeds import derive_seed
from medbench.store import CellId, CellResult, RunStore
from medbench.versions import code_version

FEWEST = 2
"""Members of an ensemble."""
_SUMMED = ("tuning", "features", "features_computed", "refit", "prediction", "total")
"""Seconds of a cell that its ensemble took too."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Member:
    """A family that may be part of an ensemble."""

    cell: CellResult
    """Its finished cell."""
    oof: NDArray[np.float64]
    """Its inner out-of-fold probabilities, calibrated, shape (n_development, n_classes)."""
    held_out: NDArray[np.float64]
    """Those of the held-out images, calibrated, shape (n_held_out, n_classes)."""


def drop_outdated(cells: Iterable[PlannedCell], store: RunStore) -> None:
    """Remove the ensembles of splits of which a cell is worked on, before it is.

    Args:
        cells: Those that will be worked on.
        store: The run folder, locked by the caller.

    Raises:
        StoreError: The run folder cannot be written.
    """
    for cell in cells:
        if takes_part(cell):
            store.cell(_id(cell)).remove()


def make_ensembles(cells: Sequence[PlannedCell], store: RunStore, listener: RunListener) -> None:
    """Make the ensemble of every split of which all cells are finished, if it is not there yet.

    Its members are all families but the sanity rows that the run folder has finished cells of, in
    this plan or not. In a split where there are less than two it is skipped; where no split of a
    data set has two, there is none.

    Args:
        cells: The plan.
        store: The run folder, locked by the caller.
        listener: Who is told.

    Raises:
        StoreError: The run folder cannot be written.
    """
    of_split: dict[tuple[str, str], list[PlannedCell]] = {}
    for cell in cells:
        if takes_part(cell):
            of_split.setdefault((cell.id.dataset, cell.split.name), []).append(cell)
    of_dataset: dict[str, list[_Split]] = {}
    for (dataset, _), planned in of_split.items():
        of_dataset.setdefault(dataset, []).append(_Split(planned, store))
    for dataset, splits in of_dataset.items():
        if any(len(split.finished) >= FEWEST for split in splits):
            made = [split.make() for split in splits]
            if any(made):
                families = sorted({name for one in made if one for name in one})
                listener.say(f"{dataset}: ensemble of {', '.join(families)}")
        else:
            for split in splits:
                split.stored.remove()


def takes_part(cell: PlannedCell) -> bool:
    """Whether a cell may be a member of the ensemble of its split."""
    return cell.model.fits and not cell.model.family.sanity and not cell.split.by_image


def _id(cell: PlannedCell) -> CellId:
    return CellId(dataset=cell.id.dataset, model=ENSEMBLE, split=cell.id.split)


class _Split:
    """What a run folder has of one outer split of a data set."""

    def __init__(self, planned: Sequence[PlannedCell], store: RunStore) -> None:
        self._cell = planned[0]
        self._store = store
        self.stored = store.cell(_id(self._cell))
        cells = [
            cell
            for cell in store.cells_of_split(self._cell.id.dataset, self._cell.id.split)
            if not cell.record.get("sanity") and cell.id.model != ENSEMBLE
        ]
        there = {cell.id.model for cell in cells}
        self._whole = all(cell.id.model in there for cell in planned)
        self.finished = [c for c in cells if c.status == "ok" and not c.record.get("cut")]
        self._left_out = {c.id.model: "failed" for c in cells if c.status == "failed"}
        self._left_out |= {c.id.model: "cut by its budget" for c in cells if c.record.get("cut")}

    def make(self) -> Mapping[str, float] | None:
        """Make the ensemble; its weights by family, or None where nothing was made."""
        parts = {
            "source": code_version(__name__),
            "members": {cell.id.model: sha256_of_json(cell.record) for cell in self.finished},
            "left_out": self._left_out,
        }
        key = sha256_of_json(parts)[:32]
        if not self._whole or self._is_there(key):
            return None
        self.stored.remove()
        self.stored.begin(key, parts)
        left_out = dict(self._left_out)
        members = list(self._members(left_out))
        whose = {**asdict(_id(self._cell)), "key": key, "sanity": False, "by_image": False}
        whose |= {"repeat": self._cell.split.repeat, "fold": self._cell.split.fold}
        without = "; ".join(f"without {name}: {why}" for name, why in left_out.items())
        if len(members) < FEWEST:
            reason = f"an ensemble needs two families ({without or 'no other one is finished'})"
            self.stored.finish({**whose, "status": "skipped", "reason": reason})
            return None
        try:
            record = self._made_of(members)
        except ProtocolError as error:
            self.stored.finish({**whose, "status": "failed", "reason": str(error)})
            return None
        note = "; ".join(filter(None, [f"mean of {', '.join(record['params'])}", without]))
        self.stored.finish({**whose, "status": "ok", "reason": "", "note": note, **record})
        weights: Mapping[str, float] = record["params"]
        return weights

    def _is_there(self, key: str) -> bool:
        try:
            result = self.stored.result()
        except StoreError:
            return False
        return result is not None and result.record.get("key") == key

    def _members(self, left_out: dict[str, str]) -> Iterable[_Member]:
        """The families of which all is here; why others are left out is put into ``left_out``."""
        split, task = self._cell.split, self._cell.dataset.data.task
        wanted = (len(split.development), len(task.classes))
        several = task.task_type == "multi-label"
        columns = [f"p{k}" for k in range(len(task.classes))]
        for cell in self.finished:
            calibration = Calibration.from_record(cell.record.get("calibration"))
            chosen = [one for one in cell.trials if one["number"] == cell.record.get("trial")]
            try:
                oof = self._store.cell(cell.id).oof(chosen[0]) if chosen else np.empty(0)
            except StoreError:
                oof = np.empty(0)
            table = cell.predictions
            if oof.shape != wanted or not np.isfinite(oof[self._predicted]).all():
                left_out[cell.id.model] = "its inner predictions are not here"
            elif table is None or not np.array_equal(table["image"], split.held_out):
                left_out[cell.id.model] = "its predictions are of other images"
            else:
                held_out = table[columns].to_numpy(np.float64)
                yield _Member(
                    cell=cell,
                    oof=calibration.apply(oof, multi_label=several),
                    held_out=calibration.apply(held_out, multi_label=several),
                )

    @property
    def _predicted(self) -> NDArray[np.int64]:
        """The development images that have inner predictions."""
        return np.concatenate(self._cell.inner_folds)

    def _made_of(self, members: Sequence[_Member]) -> dict[str, Any]:
        """Choose the weights, write the trial and the predictions; the record of what was made.

        Raises:
            ProtocolError: The inner folds cannot be divided.
        """
        cell = self._cell
        task = cell.dataset.data.task
        several = task.task_type == "multi-label"
        labels = cell.dataset.data.labels[cell.split.development]
        groups = cell.dataset.groups(cell.split)[cell.split.development]
        folds = cell.inner_folds
        chosen = select(
            labels, np.stack([one.oof for one in members]), self._parts(labels, groups, folds)
        )
        known = self._predicted
        scores = [auroc(labels[one], chosen.oof[one], len(task.classes)) for one in folds]
        calibration = fit_calibration(labels[known], chosen.oof[known], groups[known])
        calibrated = calibration.apply(chosen.oof[known], multi_label=several)
        point = cell.settings.operating_point
        held_out = weighted_mean(
            np.stack([one.held_out for one in members]), chosen.weights, multi_label=several
        )
        used = {
            one.cell.id.model: one.cell.record
            for one, weight in zip(members, chosen.weights, strict=True)
            if weight > 0
        }
        record = {
            "params": _weights(members, chosen),
            "members": {name: one.get("model_sha256") or "" for name, one in used.items()},
            "trial": 0,
            "n_trials": 1,
            "complete_trials": 1,
            "inner_score": float(np.mean(scores)),
            "inner_folds": len(folds),
            "calibration": calibration.as_record(),
            "threshold": point.thresholds(labels[known], calibrated, task.task_type),
            **_costs([one.cell.record for one in members], list(used.values())),
        }
        record["model_sha256"] = sha256_of_json([record["params"], record["members"]])
        self.stored.append_trial(_trial(record, scores), chosen.oof)
        self.stored.write_predictions(predictions(cell, held_out))
        return record

    def _parts(
        self,
        labels: NDArray[np.int64],
        groups: NDArray[np.int64],
        folds: Sequence[NDArray[np.int64]],
    ) -> Sequence[NDArray[np.int64]]:
        """What weights are chosen and estimated on: inner folds, or parts of the only one.

        Raises:
            ProtocolError: It cannot be divided.
        """
        if len(folds) > 1:
            return folds
        cell, (only,) = self._cell, folds
        pairs = group_folds(
            labels[only],
            groups[only],
            folds=cell.settings.inner_folds,
            seed=derive_seed(cell.split_seed, ENSEMBLE),
        )
        return [only[part] for _, part in pairs]


def _weights(members: Sequence[_Member], chosen: Selection) -> dict[str, float]:
    """The weights above 0, by family."""
    names = [one.cell.id.model for one in members]
    return {n: w for n, w in zip(names, chosen.weights.tolist(), strict=True) if w > 0}


def _trial(record: Mapping[str, Any], scores: Sequence[float]) -> dict[str, Any]:
    """The weights as the one trial of the cell; see ``medbench.tuning.tuner.Trial``."""
    return {
        "number": record["trial"],
        "params": record["params"],
        "state": "complete",
        "score": record["inner_score"],
        "fold_scores": scores,
        "seconds": 0.0,
        "at_seconds": record["seconds"].get("tuning", 0.0),
    }


def _costs(all_: Sequence[Mapping[str, Any]], used: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What an ensemble costs: the search of every family, and predictions of those it uses."""
    latency, speeds = _sum_of(used, "latency_seconds"), [r.get("images_per_second") for r in used]
    peaks = [record.get("peak_memory_bytes") or 0 for record in used]
    return {
        "seconds": {
            name: sum((record.get("seconds") or {}).get(name) or 0.0 for record in all_)
            for name in _SUMMED
        },
        "cpu_seconds": {
            name: sum((record.get("cpu_seconds") or {}).get(name) or 0.0 for record in all_)
            for name in ("tuning", "refit")
        },
        "size_bytes": _sum_of(used, "size_bytes"),
        "latency_seconds": latency,
        "images_per_second": 1 / sum(1 / s for s in speeds if s) if all(speeds) else None,
        "peak_memory_bytes": max(peaks) if all(peaks) else None,
        "threads": used[0].get("threads"),
        "device": used[0].get("device"),
    }


def _sum_of(records: Sequence[Mapping[str, Any]], entry: str) -> float | None:
    """The sum of a cost; None where one of them is not known."""
    values = [record.get(entry) for record in records]
    return None if any(value is None for value in values) else sum(values)  # type: ignore[arg-type]
