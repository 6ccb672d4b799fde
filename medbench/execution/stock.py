"""What a run folder has of a plan already, what is left to do, and how long that may take."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from medbench.datasets.prepared import describe
from medbench.datasets.task import label_frame
from medbench.errors import StoreError
from medbench.execution.costs import Costs
from medbench.execution.plan import PlannedCell, PlannedDataset
from medbench.store import CellId, CellResult, RunStore


class Pace:
    """How long cells take, by data set and model, learnt from those that are finished."""

    def __init__(self, costs: Costs | None = None) -> None:
        """Nothing is learnt yet; ``costs``: what is known of cells before any is finished."""
        self.costs = costs
        self._seconds: dict[tuple[str, str], list[float]] = {}

    def learn(self, cell: CellId, seconds: float) -> None:
        """Take in a finished cell and its wall seconds."""
        self._seconds.setdefault((cell.dataset, cell.model), []).append(seconds)

    def of(self, cell: CellId) -> float | None:
        """Mean wall seconds of the finished cells of the same data set and model, or None."""
        known = self._seconds.get((cell.dataset, cell.model))
        return fmean(known) if known else None


@dataclass(frozen=True, kw_only=True)
class Stock:
    """The cells of a plan by what is to be done with them, each kind in the plan's order."""

    finished: tuple[PlannedCell, ...]
    """Finished well under the same key: kept."""
    failed: tuple[PlannedCell, ...]
    """Failed under the same key: kept as rows, unless failed ones are to be run again."""
    waiting: tuple[PlannedCell, ...]
    """All others; of skipped ones no more than a row is made."""
    pace: Pace
    """What the finished cells of this run folder took."""
    unfinished: tuple[str, ...] = ()
    """Of those that wait because the machine ended them, why, one a cell."""


def take_stock(
    cells: Sequence[PlannedCell],
    store: RunStore,
    *,
    retry_failed: bool,
    costs: Costs | None = None,
) -> Stock:
    """Compare a plan with a run folder, which is only read.

    Args:
        cells: The plan.
        store: The run folder; it need not exist.
        retry_failed: Whether cells that failed are to be run again.
        costs: What cells are expected to take that nothing in the folder tells of.

    Raises:
        StoreError: The folder holds one of the data sets with other data or splits.
    """
    for dataset in {id(cell.dataset): cell.dataset for cell in cells}.values():
        dataset_tables(dataset, store)
    finished, failed, waiting, pace = [], [], [], Pace(costs)
    unfinished: list[str] = []
    for cell in cells:
        result = _result(cell, store)
        if result is not None and result.status == "ok":
            finished.append(cell)
            seconds = result.record["seconds"]
            pace.learn(cell.id, max(seconds["total"], seconds["wall_of_last_start"]))
        elif result is not None and result.status == "failed" and not retry_failed:
            failed.append(cell)
        else:
            waiting.append(cell)
            if result is None and (left := store.cell(cell.id).unfinished()) is not None:
                unfinished.append(left["reason"])
    return Stock(
        finished=tuple(finished),
        failed=tuple(failed),
        waiting=tuple(waiting),
        unfinished=tuple(unfinished),
        pace=pace,
    )


def _result(cell: PlannedCell, store: RunStore) -> CellResult | None:
    """What is stored of a cell under the same key; None also where it or its model is damaged."""
    stored = store.cell(cell.id)
    try:
        result = stored.result()
    except StoreError:
        return None
    if result is None or result.record.get("key") != cell.key or stored.has_damaged_model():
        return None
    return result


def dataset_tables(dataset: PlannedDataset, store: RunStore) -> tuple[dict[str, Any], pd.DataFrame]:
    """What a run records of a data set: its description, and the part of every image.

    Raises:
        StoreError: The run folder holds it with other data or splits.
    """
    data = dataset.data
    before = store.dataset_record(data.name)
    if before is not None and before["fingerprint"] != data.fingerprint:
        raise StoreError(
            f"{store.folder}: data set {data.name!r} was run there with other images, labels or "
            "groups, or another positive class. Name another folder with --out."
        )
    record = describe(data)
    record["split"] = dataset.plan.description
    record["n_folds"] = len(dataset.plan.splits)
    earlier = 0 if before is None else before.get("n_folds_by_image", 0)
    record["n_folds_by_image"] = len(dataset.by_image) or earlier
    record["notes"] = [*record["notes"], *dataset.plan.notes]  # type: ignore[misc]
    images = label_frame(data.labels).assign(group=data.table["group"])
    for split in (*dataset.plan.splits, *dataset.by_image):
        part = np.full(len(images), "left out", dtype=object)
        part[split.development] = "development"
        if split.validation is not None:
            part[split.validation] = "validation"
        part[split.held_out] = "held-out"
        images[split.name] = part
    if before is not None:
        there = store.dataset_images(data.name)
        shared = [column for column in there if column in images]
        if not there[shared].equals(images[shared]):
            raise StoreError(
                f"{store.folder}: data set {data.name!r} was split differently there (by another "
                "version of MedBench or scikit-learn?). Name another folder with --out."
            )
        images = pd.concat([images, there.drop(columns=shared)], axis=1)
    return record, images


def expected_seconds(cell: PlannedCell, pace: Pace) -> float | None:
    """How long a cell may take; None where nothing is known and its budget does not bound it.

    That is what other cells of its data set and model in this run took, else what it is expected to
    cost on this machine, else the seconds of its budget.
    """
    if not cell.model.fits:
        return 0.0
    measured = pace.of(cell.id)
    if measured is not None:
        return measured
    expected = pace.costs.expected(cell) if pace.costs is not None else None
    if expected is not None:
        return expected.seconds
    return cell.settings.budget.seconds if cell.tuned else 0.0


def makespan(seconds: Iterable[float], jobs: int) -> float:
    """Seconds until tasks of the given lengths are done, started in order, ``jobs`` at a time."""
    free_at = [0.0] * jobs
    for length in seconds:
        heapq.heapreplace(free_at, free_at[0] + length)
    return max(free_at)
