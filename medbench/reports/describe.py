"""What every format says of a run, a data set and a row, in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medbench.datasets.positive import UNKNOWN, in_words
from medbench.reports.assessment import Assessment
from medbench.reports.fields import CUT, SCORELESS, Fields
from medbench.reports.published import HOW_TO_READ_PUBLISHED, PUBLISHED
from medbench.reports.rows import Row, positive_class
from medbench.reports.text import format_interval, format_score

_SAME_BUDGET = "Every model had the same tuning budget. "
_OTHER_BUDGETS = (
    "The models of these runs did not have the same tuning budget, so a difference between models "
    "of different runs may be one of budget. "
)
HOW_TO_READ = (
    "AUROC is computed within each held-out fold and averaged over the folds; for more than two "
    "classes it is the unweighted mean of one class against the rest, for several labels an image "
    "the mean over the labels.",
    "The bracket is a 95% bootstrap interval over groups (patients where the data set names them, "
    "and copies) within folds: the sampling noise given the fitted models. The spread over folds "
    "(fold sd) stands apart from it.",
    "Models are told apart by the paired bootstrap of their difference to the leader on the same "
    "patients, corrected for the number of models (Holm); overlapping intervals decide nothing. "
    "Tied is what cannot be told from the leader; among those there is no order.",
    "Sanity rows see the file, the brightness, the border or a thumbnail only. Where one of them "
    "scores, labels can be had without looking at what the images show.",
    _SAME_BUDGET + "Inner is the validation AUROC that chose the configuration; where it lies well "
    "above the AUROC, the choice was optimistic.",
    "Decisions are taken at the operating point that was frozen before the held-out part was "
    "opened. Probabilities are calibrated by one temperature, fitted like it on inner predictions; "
    "scores of probabilities are given before and after.",
    "Trials are configurations that were tried, over all folds; where some of them did not end, "
    "complete ones stand first. Steps are epochs or boosting rounds of the chosen configuration, "
    "of those that it may have, median of the folds.",
    "Above majority is the AUROC minus that of the constant majority model.",
)
"""Of a run by itself; see ``how_to_read``."""

HOW_TO_READ_CUT = (
    "A row that is marked cut had its fit ended by the budget: its score says how far it came, not "
    "what its family can do. It is compared with nothing, and takes no part in what is said of the "
    "models."
)

HOW_TO_READ_ENSEMBLE = (
    "The row ensemble is made of the other models: the weighted mean of their logits, by weights "
    "chosen on the inner predictions on which they were tuned. Its inner AUROC is that of weights "
    "which were chosen on other images than they are scored on, and its cost is the sum of theirs."
)

_NAMED_CLASSES = 12
"""Above this many classes their names do not fit into a line."""
_TASK_WORDS = {
    "binary": "classes",
    "multi-class": "classes",
    "ordinal": "classes in rising order",
    "multi-label": "labels, any number of them an image",
}
MARKS = {"leader": "*", "tied": "=", CUT: "!"}
"""By the standing of a row."""
UNEQUAL = "unequal"
"""Entry of a joined run's configuration: the settings in which its runs differ."""


def how_to_read(assessment: Assessment) -> tuple[str, ...]:
    """What the columns mean, a paragraph each; not escaped."""
    unequal = "budget" in assessment.run.configuration.get(UNEQUAL, ())
    lines = [
        line.replace(_SAME_BUDGET, _OTHER_BUDGETS) if unequal else line for line in HOW_TO_READ
    ]
    if any(cell.record.get("members") for cell in assessment.run.cells):
        lines.append(HOW_TO_READ_ENSEMBLE)
    if any(row.cut for row in _rows(assessment)):
        lines.append(HOW_TO_READ_CUT)
    if any(row.fields.status == PUBLISHED for row in _rows(assessment)):
        lines.append(HOW_TO_READ_PUBLISHED)
    return tuple(lines)


def describe_settings(configuration: Mapping[str, Any]) -> str:
    """What every model was given: budget, inner folds, seed; and whether it was not the same."""
    tuner = configuration.get("tuner")
    tuned = f"tuned by {tuner}" if tuner else "each tuned by its family's default tuner"
    words = (
        f"Budget of each model on each split: {configuration.get('budget', 'not recorded')}, "
        f"{tuned}, on {configuration.get('inner_folds', '?')} inner folds (or the official "
        f"validation part); seed {configuration.get('seed', '?')}."
    )
    unequal = [str(name).replace("_", " ") for name in configuration.get(UNEQUAL, ())]
    if unequal:
        words += (
            f" These runs were made with different settings ({', '.join(unequal)}), so their "
            "models were not given the same."
        )
    return words


def positive_words(record: Mapping[str, Any]) -> str:
    """The positive one of two classes, and how it was decided; empty for other tasks."""
    return in_words(positive_class(record), record.get("positive_decided") or UNKNOWN)


def describe_dataset(record: Mapping[str, Any]) -> str:
    """One line on a data set: size, classes, split, origin, notes and licence; not escaped."""
    kinds = zip(record["classes"], record["class_counts"], strict=True)
    named = f" ({', '.join(f'{k} {n:,}' for k, n in kinds)})"
    parts = [
        f"{record['n_images']:,} images of {record['n_groups']:,} groups",
        f"{len(record['classes'])} {_TASK_WORDS[record['task']]}"
        + named * (len(record["classes"]) <= _NAMED_CLASSES),
        *filter(None, [positive_words(record)]),
        f"split: {record['split']}",
        "synthetic images" if record["synthetic"] else "real images",
        *record["notes"],
        f"licence: {record['licence'] or 'not stated'}",
    ]
    return "; ".join(parts) + "."


def row_title(row: Row) -> str:
    """A row's name: its model, what kind of row it is where that is not plain, and if it is cut."""
    kind = row.fields.kind
    said: list[str] = [kind] if kind in ("sanity", "split by image") else []
    said += [CUT] if row.cut else []
    return f"{row.name} ({', '.join(said)})" if said else row.name


def auroc_words(fields: Fields) -> str:
    """The AUROC of a row with its interval, or why there is none."""
    if fields.status in SCORELESS:
        return fields.status
    if fields.status == "partial":
        return f"{format_score(fields.auroc)} ({fields.folds} folds)"
    if fields.status == PUBLISHED:
        return f"{format_score(fields.auroc)} (published)"
    return format_interval(fields.auroc, fields.auroc_low, fields.auroc_high)


def behind_words(fields: Fields) -> str:
    """How far a row lies behind the leader, with the corrected interval; a dash for none."""
    if fields.standing not in ("tied", "behind"):
        return "-"
    return format_interval(
        fields.behind_leader, fields.behind_leader_low, fields.behind_leader_high
    )


def standing_words(fields: Fields) -> str:
    """How a row stands to the leader, and by how much."""
    if fields.standing in ("tied", "behind"):
        return f"{fields.standing}: {behind_words(fields)}"
    return fields.standing or "-"


def _rows(assessment: Assessment) -> list[Row]:
    return [row for dataset in assessment.datasets for row in dataset.rows]
