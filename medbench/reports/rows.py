"""The rows of a leaderboard: one model on one data set, scored from its stored predictions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.findings import quoted
from medbench.errors import ProtocolError
from medbench.evaluation.intervals import Interval, auroc_interval
from medbench.evaluation.resampling import FoldPredictions, Resampled
from medbench.evaluation.scores import class_scores, fold_scores, probability_scores
from medbench.reports.budgets import Cut, cut_of, progress
from medbench.reports.fields import CUT, SCORELESS, Fields, RowType, Status
from medbench.reports.predictions import fold_predictions
from medbench.reports.text import brief, format_seconds, one_line
from medbench.store import CellResult

_TOLERATED_OVERRUN = 0.1
"""Share of its seconds by which a search may go over them without a word: they are looked at
between the steps and the folds of a trial."""
PROBABILITY_SCORES = ("brier", "log_loss", "ece")
"""Scores that calibration is meant to improve, so they are given before and after."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model on one data set."""

    fields: Fields
    """What the leaderboard says of it."""
    folds: tuple[FoldPredictions, ...] = ()
    """Calibrated held-out predictions of the finished cells."""
    interval: Interval | None = None
    """The AUROC with its 95% interval; None where nothing could be scored."""
    scores: Mapping[str, float]
    """Every score of ``medbench.evaluation.scores``, averaged over the folds; NaN where it is
    undefined in one of them."""
    uncalibrated: Mapping[str, float]
    """``PROBABILITY_SCORES`` of the probabilities as the model gave them."""
    costs: Mapping[str, float]
    """``cpu_seconds``, ``latency_ms`` (milliseconds of one image alone), ``images_per_second`` (of
    many images together) and ``peak_memory_mb`` (10**6 bytes), each the mean of the finished folds;
    NaN where it was not recorded."""
    class_scores: Mapping[str, NDArray[np.float64]]
    """Scores of each class by the name of the score, averaged over the folds, float64, shape
    (n_classes,) each."""
    groups_warning: str = ""
    """Why intervals of these groups, whatever the model, may not keep their level; else empty."""
    not_calibrated: tuple[str, ...] = ()
    """Why probabilities are as the model gave them, each reason once."""
    cut: Cut | None = None
    """What the budget left of it; None where every chosen trial ended by itself."""

    @property
    def name(self) -> str:
        """The model's name."""
        return self.fields.model

    @property
    def complete(self) -> bool:
        """Whether every fold is finished, uncut and scored, so that it may be compared."""
        scored = not math.isnan(self.fields.auroc)
        return self.fields.status == "ok" and scored and self.cut is None


def positive_class(record: Mapping[str, Any]) -> str:
    """The positive one of the two classes that ``dataset.json`` names; empty for other tasks."""
    return str(record["classes"][-1]) if record["task"] == "binary" else ""


def with_names(words: str, record: Mapping[str, Any]) -> str:
    """What scoring says of classes, which knows their numbers only, with their names."""

    def name(match: re.Match[str]) -> str:
        number, classes = int(match[1]), record["classes"]
        return f"class {quoted(str(classes[number]))}" if number < len(classes) else match[0]

    return re.sub(r"\bclass (\d{1,6})\b", name, words)


def make_row(
    cells: Sequence[CellResult],
    record: Mapping[str, Any],
    expected: int,
    kind: RowType,
    folds: Sequence[FoldPredictions],
    resampled: Resampled | ProtocolError | None,
) -> Row:
    """A row but for what needs other rows.

    Args:
        cells: The cells of one model, in the order of their splits.
        record: ``dataset.json``.
        expected: How many cells there will be.
        kind: What kind of row it is.
        folds: Calibrated held-out predictions of the finished cells.
        resampled: What ``resample`` made of them, or why it could not; None without any.
    """
    finished = [cell for cell in cells if cell.status == "ok"]
    status: Status
    if finished:
        status = "ok" if len(finished) == expected else "partial"
    else:
        ended = {cell.status for cell in cells}
        status = next(one for one in SCORELESS if one in ended)
    seconds = [(cell.record.get("seconds") or {}).get("total") for cell in cells]
    sizes = [cell.record.get("size_bytes") for cell in finished]
    cut = cut_of(finished)
    notes = [cut.words] if cut else []
    notes += _notes(cells, status, expected)
    scored: dict[str, Any] = {"scores": {}, "uncalibrated": {}, "class_scores": {}}
    try:
        if isinstance(resampled, ProtocolError):
            raise resampled
        if resampled is not None:
            scored = _scored(finished, folds, record, resampled)
    except ProtocolError as error:
        notes.append(f"not scored: {with_names(str(error), record)}")
    known: dict[str, float] = {}
    if interval := scored.get("interval"):
        each = scored.pop("each")
        known = {
            "auroc": interval.estimate,
            "auroc_low": math.nan if interval.low is None else interval.low,
            "auroc_high": math.nan if interval.high is None else interval.high,
            "auroc_fold_sd": float(np.std(each, ddof=1)) if len(each) > 1 else math.nan,
            "balanced_accuracy": scored["scores"]["balanced_accuracy"],
        }
        of_groups = scored["groups_warning"]  # the same for every row, so not said of each
        said = (with_names(text, record) for text in (interval.reason, interval.warning))
        notes += [text for text in said if text and text != of_groups]
    fields = Fields(
        dataset=cells[0].id.dataset,
        model=cells[0].id.model,
        status=status,
        kind=kind,
        standing=CUT if cut else "",
        positive=positive_class(record),
        inner_score=_mean([cell.record.get("inner_score") for cell in finished]),
        seconds=_mean(seconds) * sum(value is not None for value in seconds),
        size_mb=_mean(sizes) / 1e6,
        n_trials=sum(cell.record.get("n_trials") or 0 for cell in cells),
        folds=f"{len(finished)}/{expected}",
        note="; ".join(one_line(note) for note in notes),
        **progress(finished),
        **known,
    )
    return Row(fields=fields, folds=tuple(folds), costs=_costs(finished), cut=cut, **scored)


def _scored(
    cells: Sequence[CellResult],
    folds: Sequence[FoldPredictions],
    record: Mapping[str, Any],
    resampled: Resampled,
) -> dict[str, Any]:
    """What is computed from the predictions of finished cells.

    Raises:
        ProtocolError: A fold cannot be scored.
    """
    task_type = record["task"]
    prevalence = record.get("prevalence") if task_type == "binary" else None
    each, before, classes = [], [], []
    for cell, fold in zip(cells, folds, strict=True):
        threshold = cell.record.get("threshold")
        how: dict[str, Any] = {"task_type": task_type, "threshold": threshold}
        each.append(fold_scores(fold.labels, fold.probabilities, prevalence=prevalence, **how))
        classes.append(class_scores(fold.labels, fold.probabilities, **how))
        raw = fold_predictions(cell, record, calibrated=False)
        before.append(probability_scores(raw.labels, raw.probabilities, task_type=task_type))
    reasons = [(cell.record.get("calibration") or {}).get("reason", "") for cell in cells]
    return {
        "interval": auroc_interval(resampled),
        "groups_warning": with_names(resampled.plan.warning, record),
        "each": [scores["auroc"] for scores in each],
        "scores": {name: float(np.mean([scores[name] for scores in each])) for name in each[0]},
        "uncalibrated": {
            name: float(np.mean([scores[name] for scores in before])) for name in PROBABILITY_SCORES
        },
        "class_scores": {
            name: np.mean([scores[name] for scores in classes], axis=0) for name in classes[0]
        },
        "not_calibrated": tuple(dict.fromkeys(reason for reason in reasons if reason)),
    }


def _costs(cells: Sequence[CellResult]) -> dict[str, float]:
    """What the finished cells cost beyond the seconds of the leaderboard, averaged over them."""
    return {
        "cpu_seconds": _mean(
            [sum((cell.record.get("cpu_seconds") or {}).values()) or None for cell in cells]
        ),
        "latency_ms": 1e3 * _mean([cell.record.get("latency_seconds") for cell in cells]),
        "images_per_second": _mean([cell.record.get("images_per_second") for cell in cells]),
        "peak_memory_mb": _mean([cell.record.get("peak_memory_bytes") for cell in cells]) / 1e6,
    }


def _mean(values: Sequence[float | None]) -> float:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else math.nan


def _failed_trials(cells: Sequence[CellResult]) -> str:
    """How many trials a family's own errors ended; empty for none.

    Where all trials of a cell failed, that is why nothing came of it, and its reason says so.
    """
    told = [cell.record.get("failed_trials") for cell in cells]
    some = [one for one in told if one and one["n"] < one["of"]]
    if not some:
        return ""
    n = sum(one["n"] for one in some)
    of = sum(
        cell.record.get("n_trials") or (one or {}).get("of", 0)
        for cell, one in zip(cells, told, strict=True)
    )
    return f"{n} of {of} trials failed: {some[0]['reason']}"


def _over_budget(cells: Sequence[CellResult]) -> str:
    """By how much a search went over its seconds, as one that cannot be looked into does."""
    took = []
    for cell in cells:
        seconds = cell.record.get("seconds") or {}
        tuning, over = seconds.get("tuning") or 0.0, seconds.get("over_budget") or 0.0
        if over > _TOLERATED_OVERRUN * (tuning - over):
            took.append((tuning, tuning - over))
    if not took:
        return ""
    longest, allowed = max(took)
    of_folds = "" if len(cells) == 1 else f" of {len(took)} of {len(cells)} folds"
    return f"the search{of_folds} took up to {format_seconds(longest)} of {format_seconds(allowed)}"


def _notes(cells: Sequence[CellResult], status: str, expected: int) -> list[str]:
    """What a reader must know of a row: notes of its cells, missing folds, reasons of failure."""
    notes = list(dict.fromkeys(str(cell.record.get("note") or "") for cell in cells))
    if status == "partial":
        finished = sum(cell.status == "ok" for cell in cells)
        notes.append(
            f"scores are over {finished} of {expected} folds and compare with no other row"
        )
    if failed := _failed_trials(cells):
        notes.append(failed)
    reasons: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.status != "ok":
            because = (cell.status, brief(cell.reason) or "no reason was recorded")
            reasons.setdefault(because, []).append(cell.id.split)
    for (what, why), splits in reasons.items():
        notes.append(why if len(splits) == expected else f"{', '.join(splits)} {what}: {why}")
    if over := _over_budget(cells):
        notes.append(over)
    if len(cells) < expected:
        notes.append(f"{expected - len(cells)} of {expected} folds have not run")
    return [note for note in notes if note]
