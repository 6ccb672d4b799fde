"""How far the searches behind a row came, and which of them were cut by their budget."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any, TypedDict

from medbench.reports.fields import Fields
from medbench.reports.text import time_option
from medbench.store import CellResult

_HEADROOM = 1.25
"""What an estimate of the seconds that are enough is multiplied by: steps do not all cost the same,
and a machine is not always as fast."""
_AT = re.compile(r"\b(\d{1,9}) of (\d{1,9})\b")
"""The steps in the words of a cut, ``epoch 3 of 24 when ...`` or ``1 of 200 rounds: ...``."""
_REST = re.compile(r" when |: ")
"""Where those words go on from how far it came to why."""
_FEWEST_STEPS = 3
"""Fewer steps tell what it costs to begin, not what a step costs."""
_MOST_SECONDS = 10**9
"""Thirty years: beyond it a stored number is damage."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What the budget left of a row: the chosen trial of at least one of its folds was cut."""

    reached: str
    """How far it came, in words; of several folds, the one that came the least far."""
    where: str
    """In how many of the folds, as in ``in 2 of 5 folds``; empty of a single fold."""
    enough: float | None
    """Seconds that the chosen trials would have needed to end, as far as the steps that were made
    tell; None where they do not."""

    @property
    def words(self) -> str:
        """As a note has it: ``cut: epoch 3 of 24 when 20 s were over``."""
        return f"cut{f' {self.where}' * bool(self.where)}: {self.reached}"


def cut_of(cells: Sequence[CellResult]) -> Cut | None:
    """What the budget cut of a row; None where it cut nothing, or nothing is known of it.

    Args:
        cells: The finished cells of the row.
    """
    shortened = [cell for cell in cells if cell.record.get("cut")]
    if not shortened:
        return None
    earliest = min(shortened, key=_share)
    where = ""
    if len(cells) > 1:
        where = f"in {len(shortened)} of {len(cells)} folds"
        if len({str(cell.record["cut"]) for cell in shortened}) > 1:
            where += f", the earliest in {earliest.id.split}"
    needed = [_enough(cell) for cell in shortened]
    known = [seconds for seconds in needed if seconds is not None]
    return Cut(
        reached=str(earliest.record["cut"]),
        where=where,
        enough=max(known) if len(known) == len(needed) else None,
    )


class Progress(TypedDict):
    """The fields of a row on its trials and steps; see ``medbench.reports.fields``."""

    complete_trials: float
    steps: float
    max_steps: float
    step_name: str


def progress(cells: Sequence[CellResult]) -> Progress:
    """How far the searches and the chosen trials of a row came; NaN where it was not recorded.

    Args:
        cells: The finished cells of the row.

    Returns:
        Of an even number of folds the median is the lower one, so that it is a whole number of
        steps.
    """
    each = [cell.record.get("complete_trials") for cell in cells]
    complete = [int(n) for n in each if n is not None]
    stepped = [cell.record for cell in cells if _steps(cell.record) is not None]
    return {
        "complete_trials": sum(complete) if each and len(complete) == len(each) else math.nan,
        "steps": median_low(one["step"] for one in stepped) if stepped else math.nan,
        "max_steps": median_low(one["max_steps"] for one in stepped) if stepped else math.nan,
        "step_name": str(stepped[0].get("step_name") or "step") if stepped else "",
    }


def trials_words(fields: Fields) -> str:
    """The trials of a row: ``4/6`` where four of six were complete, else their number."""
    tried = int(fields.n_trials)
    complete = fields.complete_trials
    if math.isnan(complete) or complete == tried:
        return str(tried)
    return f"{int(complete)}/{tried}"


def steps_words(fields: Fields) -> str:
    """The steps of a row in full, ``12 of 24 epochs``; a dash without any."""
    if math.isnan(fields.steps):
        return "-"
    return f"{int(fields.steps)} of {int(fields.max_steps)} {fields.step_name}s"


def steps_numbers(fields: Fields) -> str:
    """The steps of a row for a narrow table, ``12/24``; a dash without any."""
    if math.isnan(fields.steps):
        return "-"
    return f"{int(fields.steps)}/{int(fields.max_steps)}"


def cut_briefly(record: Mapping[str, Any]) -> str:
    """How far the chosen trial of a cell came, ``epoch 3 of 24``; empty where it was not cut."""
    return _REST.split(str(record.get("cut") or ""))[0]


def remedy(cuts: Sequence[Cut]) -> str:
    """What lets cut models end, for a sentence: the smallest ``--time`` that may be enough."""
    known = [cut.enough for cut in cuts if cut.enough is not None]
    if not known or len(known) < len(cuts):
        return "give more by run --time"
    return f"give run --time {time_option(max(known))} or more"


def _cut_at(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """The step at which a cell was cut, and its most steps.

    Its words are of the inner fold that came the least far; ``step`` is the median of all of them.
    """
    found = _AT.search(cut_briefly(record))
    return (int(found[1]), int(found[2])) if found else _steps(record)


def _steps(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """Steps that were made, and those that the configuration allows; None without any."""
    step, most = record.get("step"), record.get("max_steps")
    return None if step is None or most is None else (step, most)


def _share(cell: CellResult) -> float:
    """Share of its steps that a cell has made; 0 where it has none."""
    steps = _cut_at(cell.record)
    return steps[0] / steps[1] if steps and steps[1] else 0.0


def _enough(cell: CellResult) -> float | None:
    """Seconds of search after which the chosen trial would have ended by itself.

    Reading features costs the same however many steps follow; only the rest grows with them.
    """
    steps = _cut_at(cell.record)
    if steps is None or not _FEWEST_STEPS <= steps[0] < steps[1]:
        return None
    features = 0.0
    for trial in cell.trials:
        before, features = features, _number(trial.get("features_seconds")) or 0.0
        if trial.get("number") == cell.record.get("trial"):
            took, at = _number(trial.get("seconds")), _number(trial.get("at_seconds"))
            if took is None or at is None:
                return None
            fitting = max(0.0, took - (features - before))
            more = fitting * (steps[1] / steps[0] - 1)
            return _HEADROOM * (at + more) if more else None
    return None


def _number(value: object) -> float | None:
    """What a stored trial has under a name, if it is a number of seconds that can be."""
    if not isinstance(value, int | float) or not 0 <= value <= _MOST_SECONDS:
        return None
    return float(value)
