"""What a run says before it starts: how far its budget reaches, and how long it will take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medbench.execution.cell_times import expected_seconds, makespan
from medbench.execution.plan_state import PlanState
from medbench.reports.text import format_seconds, time_option

if TYPE_CHECKING:
    from medbench.execution.costs import Expected
    from medbench.execution.plan import PlannedCell

_GOAL = 10
"""Trials for which a budget is named to who has fewer: a search that deserves the name."""
_MARGIN = 1.2
"""How much more than expected such a budget gives."""


def forecast(state: PlanState, jobs: int) -> list[str]:
    """Lines: families that have all their trials in one, one a family that has fewer, the whole.

    Args:
        state: What is left to run, with what is known of costs.
        jobs: Cells at a time.
    """
    cells = [cell for cell in state.waiting if cell.model.fits]
    if not cells or state.cell_times.costs is None:
        return []
    lines, all_of_them, unknown = [], [], []
    for name, family in _by_family(cells).items():
        reaches = [_Reach.of(cell, state) for cell in family]
        known = [reach for reach in reaches if reach is not None]
        if not known:
            unknown.append(name)
        elif all(reach.is_whole for reach in known):
            all_of_them.append((name, max(reach.expected.seconds for reach in known), family[0]))
        else:
            lines.append(f"{name}: {_in_words(known)}")
    if all_of_them:
        lines.insert(0, _together(all_of_them))
    if unknown:
        lines.append(f"no measurement yet of {', '.join(unknown)}: counted by the budget")
    return [*lines, whole_run(state, jobs)]


def whole_run(state: PlanState, jobs: int) -> str:
    """How long the cells that are left and all that comes on top may take."""
    seconds = seconds_left(state, jobs)
    if seconds is None:
        return "no estimate of the whole run: nothing bounds the seconds of these families"
    return f"about {format_seconds(seconds)} for the whole run"


def seconds_left(state: PlanState, jobs: int) -> float | None:
    """Until the run is over; None while a cell is not even bounded."""
    cells = [cell for cell in state.waiting if cell.model.fits]
    lengths = [expected_seconds(cell, state.cell_times) for cell in cells]
    known = [length for length in lengths if length is not None]
    if len(known) < len(lengths):
        return None
    costs = state.cell_times.costs
    return makespan(known, jobs) + (costs.outside(cells) if costs is not None and cells else 0.0)


@dataclass(frozen=True, kw_only=True)
class _Reach:
    """How far the budget of a cell reaches."""

    cell: PlannedCell
    expected: Expected

    @classmethod
    def of(cls, cell: PlannedCell, state: PlanState) -> _Reach | None:
        costs = state.cell_times.costs
        expected = costs.expected(cell) if costs is not None else None
        return None if expected is None else cls(cell=cell, expected=expected)

    @property
    def wanted(self) -> int | None:
        """Trials that the budget names; None where it names seconds alone."""
        return self.cell.settings.budget.trials if self.cell.tuned else 1

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing for want of time."""
        if self.cell.settings.budget.seconds is None or not self.cell.tuned:
            return True
        enough = self.wanted is not None and self.expected.trials >= self.wanted
        return self.expected.ends_first and (enough or self.expected.exhausted)


def _by_family(cells: Iterable[PlannedCell]) -> dict[str, list[PlannedCell]]:
    """A cell of each data set and family, by family."""
    first: dict[tuple[str, str], PlannedCell] = {}
    for cell in cells:
        first.setdefault((cell.id.model, cell.id.dataset), cell)
    by_family: dict[str, list[PlannedCell]] = {}
    for (name, _), cell in first.items():
        by_family.setdefault(name, []).append(cell)
    return by_family


def _together(families: Sequence[tuple[str, float, PlannedCell]]) -> str:
    """Those that have all their trials, the sanity rows as one, with the longest of their cells."""
    sanity = [seconds for _, seconds, cell in families if cell.model.family.sanity]
    named = [(name, seconds) for name, seconds, cell in families if not cell.model.family.sanity]
    parts = [f"{name} (about {format_seconds(seconds)} a cell)" for name, seconds in named]
    if sanity:
        rows = f"{len(sanity)} sanity row{'s' * (len(sanity) > 1)}"
        parts.append(f"{rows} (about {format_seconds(max(sanity))} a cell)")
    return f"all trials: {', '.join(parts)}"


def _in_words(reaches: Sequence[_Reach]) -> str:
    """What of a family's trials the budget lets be done, and what would be needed for more."""
    cut = [reach for reach in reaches if not reach.expected.ends_first]
    given = reaches[0].cell.settings.budget.seconds
    assert given is not None, "only seconds keep trials from being done"
    if cut:
        first = max(reach.expected.first for reach in cut)
        which = (
            f" on {', '.join(r.cell.id.dataset for r in cut)}" if len(cut) < len(reaches) else ""
        )
        in_steps = cut[0].cell.model.family.max_steps is not None
        what = "will cut it" if in_steps else "ends before it does"
        return (
            f"its first trial{which} takes about {format_seconds(first)}, and run --time "
            f"{time_option(given, exact=True)} {what}; the smallest that completes one is "
            f"run --time {time_option(first * _MARGIN)}"
        )
    least, most = (f(reach.expected.trials for reach in reaches) for f in (min, max))
    trials = f"{least}" if least == most else f"{least} to {most}"
    wanted = reaches[0].wanted
    of = f" of {wanted}" if wanted is not None else ""
    said = f"about {trials}{of} trial{'s' * (most > 1 or wanted is not None)}"
    if wanted is None and least >= _GOAL:
        return said
    goal = _GOAL if least < _GOAL and (wanted is None or wanted > _GOAL) else wanted
    assert goal is not None
    needed = _MARGIN * max(reach.expected.seconds_for(goal) for reach in reaches)
    which = "all" if goal == wanted else f"{goal} trials"
    return f"{said}; for {which} run --time {time_option(needed)}"
