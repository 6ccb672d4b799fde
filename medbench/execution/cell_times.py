"""How long cells take: measured on those that are finished, expected of those that wait."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from statistics import fmean

from medbench.execution.costs import Costs
from medbench.execution.plan import PlannedCell
from medbench.store import CellId


class CellTimes:
    """How long cells take, by data set and model, learnt from those that are finished."""

    def __init__(self, costs: Costs | None = None) -> None:
        """Nothing is learnt yet; ``costs``: what is known of cells before any is finished."""
        self.costs = costs
        self._seconds: dict[tuple[str, str], list[float]] = {}

    def learn(self, cell: CellId, seconds: float) -> None:
        """Take in a finished cell and its wall seconds."""
        self._seconds.setdefault((cell.dataset, cell.model), []).append(seconds)

    def mean(self, cell: CellId) -> float | None:
        """Mean wall seconds of the finished cells of the same data set and model, or None."""
        known = self._seconds.get((cell.dataset, cell.model))
        return fmean(known) if known else None


def expected_seconds(cell: PlannedCell, cell_times: CellTimes) -> float | None:
    """How long a cell may take; None where nothing is known and its budget does not bound it.

    That is what other cells of its data set and model in this run took, else what it is expected to
    cost on this machine, else the seconds of its budget.
    """
    if not cell.model.fits:
        return 0.0
    measured = cell_times.mean(cell.id)
    if measured is not None:
        return measured
    expected = cell_times.costs.expected(cell) if cell_times.costs is not None else None
    if expected is not None:
        return expected.seconds
    return cell.settings.budget.seconds if cell.tuned else 0.0


def makespan(seconds: Iterable[float], jobs: int) -> float:
    """Seconds until tasks of the given lengths are done, started in order, ``jobs`` at a time."""
    free_at = [0.0] * jobs
    for length in seconds:
        heapq.heapreplace(free_at, free_at[0] + length)
    return max(free_at)
