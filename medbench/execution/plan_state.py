"""What a run folder has of a plan already, and what is left to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medbench.errors import StoreError
from medbench.execution.cell_times import CellTimes
from medbench.execution.costs import Costs
from medbench.execution.dataset_tables import dataset_tables
from medbench.execution.plan import PlannedCell
from medbench.store import CellResult, RunStore


@dataclass(frozen=True, kw_only=True)
class PlanState:
    """The cells of a plan by what is to be done with them, each kind in the plan's order."""

    finished: tuple[PlannedCell, ...]
    """Finished well under the same key: kept."""
    failed: tuple[PlannedCell, ...]
    """Failed under the same key: kept as rows, unless failed ones are to be run again."""
    waiting: tuple[PlannedCell, ...]
    """All others; of skipped ones no more than a row is made."""
    cell_times: CellTimes
    """What the finished cells of this run folder took."""
    unfinished: tuple[str, ...] = ()
    """Of those that wait because the machine ended them, why, one a cell."""


def plan_state(
    cells: Sequence[PlannedCell],
    store: RunStore,
    *,
    retry_failed: bool,
    costs: Costs | None = None,
) -> PlanState:
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
    finished, failed, waiting, cell_times = [], [], [], CellTimes(costs)
    unfinished: list[str] = []
    for cell in cells:
        result = _result(cell, store)
        if result is not None and result.status == "ok":
            finished.append(cell)
            seconds = result.record["seconds"]
            cell_times.learn(cell.id, max(seconds["total"], seconds["wall_of_last_start"]))
        elif result is not None and result.status == "failed" and not retry_failed:
            failed.append(cell)
        else:
            waiting.append(cell)
            if result is None and (left := store.cell(cell.id).unfinished()) is not None:
                unfinished.append(left["reason"])
    return PlanState(
        finished=tuple(finished),
        failed=tuple(failed),
        waiting=tuple(waiting),
        unfinished=tuple(unfinished),
        cell_times=cell_times,
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
