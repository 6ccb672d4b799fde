"""Who is told what happens in a run, as it happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from medbench.execution.plan_state import PlanState
from medbench.store import CellId


class RunListener(Protocol):
    """Who is told what happens; see ``medbench.running.progress``."""

    def planned(self, state: PlanState, jobs: int) -> None:
        """What is there already and what will be run, so many cells at a time."""

    def started(self, cell: CellId) -> None:
        """The work on a cell begins."""

    def tried(self, cell: CellId, trials: int, best: float | None, seconds: float) -> None:
        """So many trials have ended: the best inner score, and the seconds of the budget spent."""

    def refits(self, cell: CellId) -> None:
        """The search of a cell is over; its model is fitted, unless it is a trial's, and saved."""

    def finished(self, cell: CellId, record: Mapping[str, Any]) -> None:
        """A cell is finished, well or not."""

    def unfinished(self, cell: CellId, reason: str) -> None:
        """The machine ended the work on a cell, which will be gone on with."""

    def say(self, text: str) -> None:
        """A line for the user."""
