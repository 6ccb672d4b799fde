"""What the page says first: which model to use, how sure that is, what it costs, what to doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medbench.reports.assessment import DatasetAssessment
from medbench.reports.rows import Row
from medbench.reports.text import (
    format_interval,
    format_megabytes,
    format_score,
    format_seconds,
)
from medbench.reports.verdicts import verdicts
from medbench.reports.winner import winner
from medbench.store import CellResult

Trust = Literal["ok", "caution", "doubt"]
TRUST = {
    "ok": "nothing found",
    "caution": "with caution",
    "doubt": "not as it stands",
}
"""Whether the data can be trusted, in a few words."""
_GRAVE = ("Shortcut risk", "Serious")
_CAREFUL = ("Caution", "Warning", "How far")
_NAMED = 4
"""Models of a tie that are named; more are counted."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The first lines on one data set."""

    model: str | None
    """Which model to use; None where none is finished."""
    headline: str
    """The same with its score, in a line."""
    sure: str
    """How sure that is: the interval, and who cannot be told from it."""
    standing: str
    """The same in a few words."""
    cost: str
    """What it takes: seconds, size, latency."""
    trust: Trust
    doubts: tuple[str, ...]
    """Sentences that a reader must know before using it, the gravest first."""


def answer(dataset: DatasetAssessment, cells: Sequence[CellResult]) -> Answer:
    """What to use on a data set, in plain sentences; names are as stored.

    The model is chosen by inner scores (see ``medbench.reports.winner``), as choosing by the
    held-out part would flatter it.
    """
    said = verdicts(dataset)
    grave = tuple(one for one in said if one.startswith(_GRAVE))
    careful = tuple(one for one in said if one.startswith(_CAREFUL))
    trust: Trust = "doubt" if grave else "caution" if careful else "ok"
    if not any(probe.row.complete for probe in dataset.probes):
        careful += ("No sanity row is finished, so shortcuts were not looked for.",)
        trust = "caution" if trust == "ok" else trust
    best = winner(dataset, cells)
    if best is None:
        return Answer(
            model=None,
            headline="No model is finished yet.",
            sure="",
            standing="",
            cost="",
            trust=trust,
            doubts=grave + careful,
        )
    fields = best.fields
    return Answer(
        model=best.name,
        headline=f"AUROC {format_score(fields['auroc'])}",
        sure=_sure(dataset, best),
        standing=_standing(dataset, best),
        cost=_cost(best),
        trust=trust,
        doubts=grave + careful,
    )


def _sure(dataset: DatasetAssessment, best: Row) -> str:
    fields = best.fields
    interval = format_interval(fields["auroc"], fields["auroc_low"], fields["auroc_high"])
    words = f"On held-out patients its AUROC is {interval}."
    if "(" not in interval:
        words = f"On held-out patients its AUROC is {interval}; an interval cannot be given."
    comparison, leader = dataset.comparison, dataset.leader
    if comparison is None or leader is None or comparison.reason:
        return f"{words} It was chosen by its inner score."
    others = [name for name in comparison.tie_group if name != best.name]
    if best.name not in comparison.tie_group:
        return (
            f"{words} It was chosen by its inner score; on the held-out part {leader.name} is "
            "ahead of it, which must not choose."
        )
    if not comparison.differences:
        return f"{words} There is no other model to compare it with."
    if not others:
        return f"{words} It is ahead of every other model."
    named = ", ".join(others[:_NAMED])
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    n = len(comparison.tie_group)
    return (
        f"{words} It cannot be told from {named}{more}: a tie of {n}, of which it was chosen by "
        "its inner score and cost."
    )


def _standing(dataset: DatasetAssessment, best: Row) -> str:
    comparison = dataset.comparison
    if comparison is None or not comparison.differences:
        return "not compared"
    if best.name not in comparison.tie_group:
        return "behind the highest"
    tied = len(comparison.tie_group)
    return f"tie of {tied}" if tied > 1 else "ahead of all others"


def _cost(best: Row) -> str:
    fields, costs = best.fields, best.costs
    parts = [
        f"{format_seconds(fields['seconds'])} to tune, fit and test over {fields['folds']} folds",
        f"a model of {format_megabytes(fields['size_mb'])}",
    ]
    latency = costs.get("latency_ms", float("nan"))
    if latency == latency:  # NaN where it was not measured
        parts.append(f"{latency:.3g} ms an image")
    return f"{', '.join(parts)}."
