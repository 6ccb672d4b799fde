"""Internal against external: what the models of a run score on data sets they never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medbench.datasets.task import labels_in
from medbench.errors import ProtocolError
from medbench.evaluation.intervals import Interval, fold_auroc_interval, mean_auroc
from medbench.evaluation.resampling import FoldPredictions
from medbench.evaluation.scores import METRICS, fold_scores
from medbench.reports.assessment import DatasetAssessment
from medbench.reports.describe import auroc_words
from medbench.reports.rows import Row, positive_class, with_names
from medbench.reports.text import format_interval, format_score
from medbench.store import ExternalResult, RunResult

COMPARED = ("sensitivity", "specificity", "balanced_accuracy", "brier", "ece")
"""Scores beside the AUROC, of those that the type of task has."""


@dataclass(frozen=True, kw_only=True)
class External:
    """A model of a run on another data set, beside what it scored on its own."""

    result: ExternalResult
    """What was recorded, and the predictions."""
    internal: Row | None
    """Its row on the data set it was developed on; None where that is not complete."""
    auroc: Interval | None
    """AUROC of the mean of its fold models, with its 95% interval; None where the other set lacks a
    class."""
    single: float
    """Mean AUROC of its single fold models, from 0 to 1, as the internal one is; NaN as above."""
    scores: Mapping[str, float]
    """Of the mean of its fold models, at the frozen operating point, by the names of
    ``medbench.evaluation.scores``; NaN where undefined."""
    positive: str
    """The positive one of two classes; empty for other tasks."""
    classes: Sequence[str]
    """Names of the classes of the model."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What keeps the figure from meaning more."""
        record, said = self.result.record, []
        if self.positive:
            said.append(f"positive class {self.positive}")
        if record["same_collection"]:
            said.append("the same collection, so not an external test")
        if record["synthetic"]:
            said.append("synthetic images")
        if record["unlike"] is not None:
            said.append(f"{record['unlike']:.0%} of the images are unlike those of development")
        joined = [f"{there} as {here}" for there, here in record["class_map"].items()]
        if any(there != here for there, here in record["class_map"].items()):
            said.append(f"classes: {', '.join(joined)}")
        left = [f"{name} ({n})" for name, n in record["left_out"].items() if n]
        if left:
            said.append(f"left out: {', '.join(left)}")
        if self.auroc is not None and self.auroc.reason:
            said.append(with_names(self.auroc.reason, {"classes": self.classes}))
        return tuple(said)


def externals(run: RunResult, dataset: DatasetAssessment) -> list[External]:
    """Every external result of the models of a data set."""
    return [
        external(one, dataset) for one in run.externals if one.record["dataset"] == dataset.name
    ]


def external(result: ExternalResult, dataset: DatasetAssessment) -> External:
    """Score one external result."""
    table, task_type = result.predictions, dataset.record["task"]
    n_classes = len(dataset.record["classes"])
    labels, groups = labels_in(table), table["group"].to_numpy(np.int64)

    def of(prefix: str) -> FoldPredictions:
        columns = [f"{prefix}p{k}" for k in range(n_classes)]
        return FoldPredictions(
            labels=labels, probabilities=table[columns].to_numpy(np.float64), groups=groups
        )

    mean = of("")
    scores = fold_scores(
        labels, mean.probabilities, task_type=task_type, threshold=result.record["threshold"]
    )
    try:
        auroc = fold_auroc_interval([mean], n_classes)
        single = mean_auroc([of(f"f{i}") for i in range(result.record["n_folds"])], n_classes)
    except ProtocolError:  # a class of the model has no image there
        auroc, single = None, float("nan")
    internal = dataset.row(result.record["model"]) or dataset.row(result.record["model"], "sanity")
    return External(
        result=result,
        internal=internal,
        auroc=auroc,
        single=single,
        scores=scores,
        positive=positive_class(dataset.record),
        classes=dataset.record["classes"],
    )


def compared(one: External) -> list[tuple[str, str]]:
    """Scores as ``internal to external``, with their names, beside the AUROC."""
    found = []
    for name in COMPARED:
        if name not in one.scores:
            continue
        inside = one.internal.scores.get(name, float("nan")) if one.internal else float("nan")
        words = f"{format_score(inside)} to {format_score(one.scores[name])}"
        found.append((METRICS[name].name, words))
    return found


def external_auroc(one: External) -> tuple[str, str]:
    """The AUROC within and elsewhere, in words; the second with that of single fold models."""
    inside = "unknown" if one.internal is None else auroc_words(one.internal.fields)
    if one.auroc is None:
        return inside, "undefined"
    nan = float("nan")
    low, high = (nan if bound is None else bound for bound in (one.auroc.low, one.auroc.high))
    outside = format_interval(one.auroc.estimate, low, high)
    if one.result.record["n_folds"] > 1:
        outside += f" [{format_score(one.single)}]"
    return inside, outside


def external_words(one: External) -> str:
    """One sentence: what was, and what is elsewhere."""
    record = one.result.record
    inside, outside = external_auroc(one)
    notes = "".join(f"; {note}" for note in one.notes)
    return (
        f"{record['model']} on {record['other']} ({record['n_images']:,} images, "
        f"{record['n_groups']:,} groups): AUROC {outside}, where it was {inside} on "
        f"{record['dataset']}{notes}."
    )
