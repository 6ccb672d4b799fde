"""What ``run --dry-run`` prints: what a run would do, and how long it may take."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

from medbench.execution.ensemble import FEWEST, takes_part
from medbench.registry import ENSEMBLE
from medbench.reports.text import plain
from medbench.running.forecast import forecast
from medbench.running.progress import failed_are_kept, unfinished_go_on

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from medbench.execution.plan import PlannedCell
    from medbench.execution.plan_state import PlanState
    from medbench.store import CellId

_COUNTS = ("cells", "finished", "to run")


def print_plan(cells: Sequence[PlannedCell], state: PlanState, jobs: int, console: Console) -> None:
    """Print a table a data set, a row a model, and the estimate in words."""
    from rich.padding import Padding
    from rich.text import Text

    finished = {cell.id for cell in (*state.finished, *state.failed)}
    for data in {cell.dataset.data.name: cell.dataset for cell in cells}.values():
        title = (
            f"{data.data.name}: {len(data.data.images):,} images, split: {data.plan.description}"
        )
        console.print(Text(title, style="bold"))
        of_models: dict[str, list[PlannedCell]] = {}
        for cell in cells:
            if cell.dataset is data:
                of_models.setdefault(cell.id.model, []).append(cell)
        console.print(_table(of_models, finished))
        for name, planned in of_models.items():
            if note := _note(planned[0]):
                console.print(Padding(Text(f"{name}: {note}"), (0, 0, 0, 2)))
        members = [name for name, planned in of_models.items() if any(map(takes_part, planned))]
        if len(members) >= FEWEST:
            said = f"{ENSEMBLE}: made of {', '.join(members)} at the end, without training"
            console.print(Padding(Text(said), (0, 0, 0, 2)))
        console.print()
    if state.failed:
        console.print(Text(failed_are_kept(len(state.failed))))
    if state.unfinished:
        console.print(Text(unfinished_go_on(state.unfinished)))
    to_run = sum(cell.model.fits for cell in state.waiting)
    if to_run:
        said = f"{to_run} cell{'s' * (to_run > 1)} to run, {jobs} at a time:"
        console.print(Text("\n".join([said, *forecast(state, jobs)])))
    else:
        console.print(Text("Nothing is left to run."))
    console.print(Text("Nothing was trained, and nothing was written into a run folder."))


def _table(of_models: Mapping[str, Sequence[PlannedCell]], finished: Container[CellId]) -> Table:
    """A row a model: its cells by what is to be done with them, tuner and budget."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("model", "cells", "finished", "to run", "tuner", "budget"):
        table.add_column(title, justify="right" if title in _COUNTS else "left")
    for name, planned in of_models.items():
        first = planned[0]
        done = sum(cell.id in finished for cell in planned)
        to_run = len(planned) - done if first.model.fits else 0
        how = (first.model.tuner, str(first.settings.budget)) if first.tuned else ("-", "-")
        row = (name, str(len(planned)), str(done), str(to_run), *how)
        table.add_row(*(Text(entry) for entry in row))
    return table


def _note(cell: PlannedCell) -> str:
    """Why a model is left out, or which weights it begins with."""
    if cell.model.skip is not None:
        return plain(f"skipped: {cell.model.skip}")
    if cell.model.error is not None:
        return plain(f"{'unfinished' if cell.model.fault else 'failed'}: {cell.model.error}")
    return plain(cell.model.weights.note) if cell.model.weights else ""
