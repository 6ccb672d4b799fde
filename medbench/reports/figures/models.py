"""Whose results are drawn: the rows of a data set with a finished cell."""

from __future__ import annotations

from dataclasses import dataclass

from medbench.reports.assessment import DatasetAssessment
from medbench.reports.describe import row_title
from medbench.reports.drawing import shown
from medbench.reports.fields import CUT
from medbench.reports.rows import Row
from medbench.reports.text import without_paths
from medbench.store import CellResult, RunResult


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A row with its finished cells."""

    row: Row
    cells: tuple[CellResult, ...]
    number: int
    """Its colour in every figure of the data set."""

    @property
    def name(self) -> str:
        """As stored."""
        return self.row.name

    @property
    def title(self) -> str:
        """As it is shown: with a word on it where the budget cut it."""
        return row_title(self.row)

    @property
    def label(self) -> str:
        """As it is written in a figure: short, with what keeps it from being compared."""
        said = [f"{self.row.fields.folds} folds"] if self.row.fields.status == "partial" else []
        said += [CUT] if self.row.fields.standing == CUT else []
        name = shown(without_paths(self.name))
        return f"{name} ({', '.join(said)})" if said else name


def drawn_models(run: RunResult, dataset: DatasetAssessment) -> tuple[Drawn, ...]:
    """The real models with a finished cell, in the order of the leaderboard."""
    return _drawn(run, dataset, ("model",))


def drawn_rows(run: RunResult, dataset: DatasetAssessment) -> tuple[Drawn, ...]:
    """The same with the sanity rows after them."""
    return _drawn(run, dataset, ("model", "sanity"))


def _drawn(run: RunResult, dataset: DatasetAssessment, kinds: tuple[str, ...]) -> tuple[Drawn, ...]:
    rows = [row for row in dataset.rows if row.fields.kind in kinds and row.folds]
    return tuple(
        Drawn(row=row, cells=run.cells_of(dataset.name, row.name), number=number)
        for number, row in enumerate(rows)
    )
