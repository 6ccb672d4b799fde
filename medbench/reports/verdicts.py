"""What the numbers of a data set amount to, in sentences that a reader cannot overlook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from medbench.evaluation.comparisons import Difference
from medbench.evaluation.ranks import RanksAcross
from medbench.reports.assessment import SHORTCUT_BOUND, DatasetAssessment, SanityComparison
from medbench.reports.budgets import remedy
from medbench.reports.rows import Row
from medbench.reports.text import format_interval, format_score

_SEEN = {
    "file-properties": "file-properties (width, height, mode and file size, not one pixel)",
    "intensity": "intensity (how bright, not where)",
    "border": "border (the outer tenth: markers, collimation, padding)",
    "thumbnail": "thumbnail (8 x 8 pixels)",
}
"""What each built-in sanity family looks at."""
_LISTED = 3
"""Models or findings named in a sentence; more are counted."""


Topic = Literal[
    "serious",
    "warning",
    "shortcut",
    "caution",
    "cut",
    "ranking",
    "trust",
    "inflation",
    "calibration",
]
"""What a verdict is about: findings of the audit by severity, then what the scores say."""
STRONG: tuple[Topic, ...] = ("serious", "shortcut", "caution")
"""Topics that nobody should overlook: they speak against trusting any model of the data set."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A sentence on a data set."""

    topic: Topic
    text: str
    """Names in it are as stored."""


def verdicts(dataset: DatasetAssessment) -> list[Verdict]:
    """What there is to say of a data set, the gravest first.

    It is what the audit found, whether the labels can be had without looking, which models their
    budget cut, which of the others can be told apart and by how much, and what keeps the figures
    from meaning more.
    """
    said: dict[Topic, Iterator[str]] = {
        "serious": _serious(dataset),
        "warning": _warning(dataset),
        "shortcut": _shortcut(dataset),
        "caution": _caution(dataset),
        "cut": _cut(dataset),
        "ranking": _ranking(dataset),
        "trust": _trust(dataset),
        "inflation": _inflation(dataset),
        "calibration": _calibration(dataset),
    }
    return [Verdict(topic=topic, text=text) for topic, texts in said.items() for text in texts]


def none_to_use(dataset: DatasetAssessment) -> str:
    """What comes before anything else where the budget cut every model; else empty."""
    if not dataset.all_cut:
        return ""
    cuts = [row.cut for row in dataset.cut_rows if row.cut is not None]
    return (
        f"{dataset.name}: no model can be named to use, as every one was cut by its budget: "
        f"{remedy(cuts)}."
    )


def cut_words(rows: Sequence[Row]) -> str:
    """Which models their budget cut, how far they came, and what lets them end.

    Args:
        rows: Cut rows, at least one.
    """
    cuts = [(row.name, row.cut) for row in rows if row.cut is not None]
    if len(cuts) == 1:
        ((name, cut),) = cuts
        where = f" {cut.where}" * bool(cut.where)
        return (
            f"{name} was cut by its budget{where}: {cut.reached}. It says nothing of what the "
            f"family can do: {remedy([cut])}."
        )
    named = "; ".join(f"{name} ({cut.reached})" for name, cut in cuts[:_LISTED])
    more = f"; and {len(cuts) - _LISTED} more" if len(cuts) > _LISTED else ""
    return (
        f"Cut by their budget: {named}{more}. They say nothing of what the families can do: "
        f"{remedy([cut for _, cut in cuts])}."
    )


def across_verdict(ranks: RanksAcross) -> str:
    """What can be said of models across data sets, in a sentence or two."""
    order = ", ".join(
        f"{rank.model} {rank.mean_rank:.1f}"
        + (f" ({rank.low:.1f} to {rank.high:.1f})" if rank.low is not None else "")
        for rank in ranks.ranks
    )
    words = (
        f"Mean rank over {ranks.n_datasets} data sets of {ranks.n_sources} "
        f"collection{'s' * (ranks.n_sources != 1)}, with 95% interval: {order}."
    )
    if ranks.left_out:
        words += f" Not complete on every data set, so not ranked: {', '.join(ranks.left_out)}."
    if ranks.test is None:
        return f"{words} No model is called better across data sets: {ranks.reason}."
    if ranks.test.p >= 0.05:
        return f"{words} Friedman's test finds no difference (p = {ranks.test.p:.2g})."
    return (
        f"{words} Friedman's test: p = {ranks.test.p:.2g}; mean ranks that differ by less than "
        f"{ranks.test.critical_difference:.2f} (Nemenyi) cannot be told apart."
    )


def _serious(dataset: DatasetAssessment) -> Iterator[str]:
    for finding in dataset.audit["findings"] if dataset.audit else []:
        if finding["severity"] == "serious":
            yield f"Serious finding of the audit: {finding['text']}"


def _warning(dataset: DatasetAssessment) -> Iterator[str]:
    findings = dataset.audit["findings"] if dataset.audit else []
    if any(finding["severity"] == "warning" for finding in findings):
        yield f"Warning of the audit: {_texts(findings, 'warning')}"


def _texts(findings: Sequence[dict[str, str]], severity: str) -> str:
    texts = [finding["text"] for finding in findings if finding["severity"] == severity]
    more = f" And {len(texts) - _LISTED} more." if len(texts) > _LISTED else ""
    return " ".join(texts[:_LISTED]) + more


def _shortcut(dataset: DatasetAssessment) -> Iterator[str]:
    alarming = [sanity for sanity in dataset.sanity_comparisons if sanity.alarming]
    if not alarming:
        return
    high = [sanity for sanity in alarming if sanity.above_bound]
    words = "Shortcut risk: labels can be had without looking at what the images show."
    if high:
        words += (
            f" AUROC from {'; '.join(f'{_seen(sanity)} {_auroc(sanity)}' for sanity in high)}; "
            f"an interval above {format_score(SHORTCUT_BOUND)} is reason for doubt."
        )
    for standing, verb in (("behind", "is behind"), ("neither", "cannot be told from")):
        each = "; ".join(
            f"{sanity.row.name} ({difference_words(sanity.behind, corrected=False)})"
            for sanity in alarming
            if sanity.behind is not None and sanity.leader_is == standing
        )
        if each and dataset.comparison is not None:
            words += f" The leader ({dataset.comparison.leader}) {verb} {each}."
    yield words


def _seen(sanity: SanityComparison) -> str:
    return _SEEN.get(sanity.row.name, sanity.row.name)


def _auroc(sanity: SanityComparison) -> str:
    fields = sanity.row.fields
    return format_interval(fields.auroc, fields.auroc_low, fields.auroc_high)


def _caution(dataset: DatasetAssessment) -> Iterator[str]:
    bound = dataset.record.get("caution_above")
    if bound is None:
        return
    above = [
        row.name
        for row in dataset.rows
        if row.fields.kind == "model" and row.complete and row.fields.auroc > bound
    ]
    if above:
        yield (
            f"Caution: {_listed(above)} score{'s' * (len(above) == 1)} above "
            f"{format_score(bound)}. On a diagnosis so high an AUROC is more often a leak or a "
            "shortcut than a discovery: look at the sanity rows, the audit, and images of another "
            "hospital."
        )


def _cut(dataset: DatasetAssessment) -> Iterator[str]:
    if dataset.cut_rows:
        yield cut_words(dataset.cut_rows)


def _ranking(dataset: DatasetAssessment) -> Iterator[str]:
    comparison = dataset.comparison
    if comparison is None:
        return
    if comparison.reason:
        yield f"Models cannot be compared: {comparison.reason.removeprefix('no comparison: ')}."
        return
    leader = comparison.leader
    behind = [each for each in comparison.differences if each.standing == "ahead"]
    tied = [each for each in comparison.differences if each.standing == "neither"]
    if tied and not behind:
        limit = comparison.smallest_visible
        seen = "" if limit is None else f": the smallest difference it could show is {_size(limit)}"
        yield f"This test set cannot rank these models{seen}."
    yield from _each(f"The leader ({leader}) cannot be told from", tied)
    yield from _each(f"{leader} is ahead of", behind)


def _trust(dataset: DatasetAssessment) -> Iterator[str]:
    """Why intervals and comparisons may not keep their level, each reason once."""
    kept_whole = [row for row in dataset.rows if row.fields.kind != "split by image"]
    reasons = dict.fromkeys(row.groups_warning for row in kept_whole if row.groups_warning)
    if dataset.comparison is not None and dataset.comparison.differences:
        reasons |= dict.fromkeys(filter(None, dataset.comparison.warning.split("; ")))
    if reasons:
        yield f"How far intervals can be trusted: {'; '.join(reasons)}."


def _each(words: str, differences: Sequence[Difference]) -> Iterator[str]:
    """A sentence with the first few rivals and their differences."""
    if not differences:
        return
    named = "; ".join(f"{one.rival} ({difference_words(one)})" for one in differences[:_LISTED])
    more = f"; and {len(differences) - _LISTED} more" if len(differences) > _LISTED else ""
    yield f"{words} {named}{more}."


def difference_words(each: Difference, *, corrected: bool = True) -> str:
    """A difference with its interval, for a bracket."""
    low = each.corrected_low if corrected else each.low
    high = each.corrected_high if corrected else each.high
    return f"difference {_size(each.difference)}, 95% CI {_size(low)} to {_size(high)}"


def _size(value: float) -> str:
    return format_score(value)


def _inflation(dataset: DatasetAssessment) -> Iterator[str]:
    for row in dataset.rows:
        if row.fields.kind != "split by image" or not row.complete:
            continue
        honest = dataset.row(row.name) or dataset.row(row.name, "sanity")
        if honest is not None:
            gained = row.fields.auroc - honest.fields.auroc
            yield (
                f"{row.name} scores {format_score(row.fields.auroc)} where images are split one "
                f"by one, and {format_score(honest.fields.auroc)} where patients and copies are "
                f"kept together: {'leaks add' if gained > 0 else 'the difference is'} "
                f"{_size(gained)}."
            )


def _calibration(dataset: DatasetAssessment) -> Iterator[str]:
    reasons = dict.fromkeys(
        reason
        for row in dataset.rows
        if row.fields.kind == "model" and row.complete
        for reason in row.not_calibrated
    )
    if reasons:
        yield f"Probabilities are {next(iter(reasons))}."


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown
