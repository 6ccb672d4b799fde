"""In what a cell differs from when it was run before: its inputs, and the predictions it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from medbench.execution.plan import PlannedCell
    from medbench.store import CellId, CellResult

SAME = 1e-6
"""Largest difference of probabilities that are the same but for their last bits."""


def differing_inputs(
    cells: Sequence[PlannedCell], before: Mapping[CellId, CellResult]
) -> dict[str, list[str]]:
    """Inputs that are not as they were.

    Args:
        cells: As they are planned now.
        before: What each of them was; all are in it.

    Returns:
        What was and what is, in words, each with the names of the cells that it is true of.
    """
    found: dict[str, list[str]] = {}
    for cell in cells:
        parts = before[cell.id].key_parts
        for name, now in cell.key_parts.items():
            then = parts.get(name)
            if then == now:
                continue
            if isinstance(then, dict) and isinstance(now, dict):
                for one in sorted({*then, *now}):
                    if then.get(one) != now.get(one):
                        text = f"{name}: {one} was {then.get(one)}, is {now.get(one)}"
                        found.setdefault(text, []).append(str(cell.id))
            else:
                found.setdefault(f"{name}: was {then}, is {now}", []).append(str(cell.id))
    return found


def largest_difference(before: pd.DataFrame, after: pd.DataFrame) -> float:
    """The largest difference of a probability in two tables of predictions of the same images."""
    columns = [name for name in before if str(name).startswith("p")]
    return float((before[columns] - after[columns]).abs().to_numpy().max())


def why_other_predictions(before: CellResult, after: CellResult) -> str:
    """The first input outside the key in which two equal cells differ, in words."""
    if len(before.trials) != len(after.trials):
        return (
            f"the search had {len(before.trials)} trials then and {len(after.trials)} now, as a "
            "budget of seconds holds what the machine can do in it (a run with --trials alone "
            "repeats)"
        )
    if before.record.get("cut"):
        return (
            f"its chosen trial was cut by the budget ({before.record['cut']}), and how far a fit "
            "comes in seconds is up to the machine"
        )
    for then, now in zip(before.trials, after.trials, strict=True):
        if then["params"] != now["params"] or then["state"] != now["state"]:
            return f"trial {then['number']} was another or ended otherwise, as seconds decide it"
    for name in ("device", "threads", "backend"):
        if before.record.get(name) != after.record.get(name):
            return f"{name} was {before.record.get(name)}, is {after.record.get(name)}"
    return "no recorded input differs, so the model does not repeat under one seed"
