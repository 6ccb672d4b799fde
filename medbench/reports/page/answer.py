"""What the page says first: which model to use, how sure that is, what it costs, what to doubt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from medbench.store import RunResult

Trust = Literal["ok", "caution", "doubt"]
TRUST = {
    "ok": "nothing found",
    "caution": "with caution",
    "doubt": "not as it stands",
}
"""Whether the data can be trusted, in a few words."""
_GRAVE = ("serious", "shortcut")
_CAREFUL = ("warning", "caution", "trust")
"""Topics of verdicts that keep a reader from trusting the data, or make for caution."""
SANITY_ROWS = ("file-properties", "intensity", "border", "thumbnail")
"""Sanity rows that a default run has beside the majority class."""
_NAMED = 4
"""Models of a tie that are named; more are counted."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The first lines on one data set."""

    model: str | None
    """Which model to use; None where none is finished, or the budget cut every one."""
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
    unknown: tuple[str, ...]
    """Those of them that say what was not looked at."""


def answer(dataset: DatasetAssessment, run: RunResult) -> Answer:
    """What to use on a data set, in plain sentences; names are as stored.

    The model is chosen by inner scores (see ``medbench.reports.winner``), as choosing by the
    held-out part would flatter it.
    """
    said = verdicts(dataset)
    grave = tuple(one.text for one in said if one.topic in _GRAVE)
    careful = tuple(one.text for one in said if one.topic in _CAREFUL)
    trust: Trust = "doubt" if grave else "caution" if careful else "ok"
    unknown = tuple(_unknown(dataset))
    careful += unknown
    trust = "caution" if trust == "ok" and unknown else trust
    best = winner(dataset, run)
    if best is None:
        return Answer(
            model=None,
            headline=_no_model(dataset),
            sure="",
            standing="",
            cost="",
            trust=trust,
            doubts=grave + careful,
            unknown=unknown,
        )
    fields = best.fields
    return Answer(
        model=best.name,
        headline=f"AUROC {format_score(fields.auroc)}",
        sure=_sure(dataset, best),
        standing=_standing(dataset, best),
        cost=_cost(best),
        trust=trust,
        doubts=grave + careful,
        unknown=unknown,
    )


def _no_model(dataset: DatasetAssessment) -> str:
    """Why no model is named."""
    if dataset.all_cut:
        return "None: every model was cut by its budget."
    return "No model is finished on every fold."


def _unknown(dataset: DatasetAssessment) -> Iterator[str]:
    """What was not looked at, so that its silence says nothing."""
    if dataset.audit is None:
        yield "There is no audit of this data set in the run folder, so nothing is known of copies."
    finished = {sanity.row.name for sanity in dataset.sanity_comparisons}
    if missing := [name for name in SANITY_ROWS if name not in finished]:
        yield (
            f"Sanity rows that are not finished here: {', '.join(missing)}; shortcuts that they "
            "would show were not looked for."
        )


def _sure(dataset: DatasetAssessment, best: Row) -> str:
    fields = best.fields
    interval = format_interval(fields.auroc, fields.auroc_low, fields.auroc_high)
    words = f"On held-out images its AUROC is {interval}."
    if "(" not in interval:
        words = f"On held-out images its AUROC is {interval}; an interval cannot be given."
    words += " It was chosen by its inner score"
    words += "." if len(best.folds) == 1 else ", and among equally good ones by its seconds."
    comparison, leader = dataset.comparison, dataset.leader
    if comparison is None or leader is None or comparison.reason:
        return words
    if not comparison.differences:
        cut = " The budget cut every other one." if dataset.cut_rows else ""
        return f"{words} There is no other model to compare it with.{cut}"
    if best.name not in comparison.tie_group:
        return f"{words} On the held-out part, which must not choose, {leader.name} is ahead of it."
    others = [name for name in comparison.tie_group if name not in (best.name, leader.name)]
    named = _listed(others)
    if best.name == leader.name:
        if not others:
            cut = _listed([row.name for row in dataset.cut_rows])
            but = f" but {cut}, which the budget cut" if cut else ""
            return f"{words} It is ahead of every other model{but}."
        return f"{words} It cannot be told from {named}: a tie of {len(others) + 1}."
    both = f"Neither it nor {named} can" if others else "It cannot"
    return f"{words} {both} be told from the highest, {leader.name}: a tie of {len(others) + 2}."


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _standing(dataset: DatasetAssessment, best: Row) -> str:
    comparison = dataset.comparison
    if comparison is None or not comparison.differences:
        return "not compared"
    if best.name not in comparison.tie_group:
        return "behind the highest"
    tied = len(comparison.tie_group)
    return f"tie of {tied}" if tied > 1 else "ahead of all that were compared"


def _cost(best: Row) -> str:
    fields, costs = best.fields, best.costs
    over = f" over {len(best.folds)} folds" if len(best.folds) > 1 else ""
    parts = [
        f"{format_seconds(fields.seconds)} to tune, fit and test{over}",
        f"a model of {format_megabytes(fields.size_mb)}",
    ]
    latency = costs.get("latency_ms", float("nan"))
    if latency == latency:  # NaN where it was not measured
        parts.append(f"{latency:.3g} ms an image")
    return f"{', '.join(parts)}."
