"""The leaderboard for programs and spreadsheets: CSV and JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from medbench.atomic_files import write_json, write_text
from medbench.evaluation.scores import METRICS
from medbench.reports.assessment import Assessment
from medbench.reports.rows import PROBABILITY_SCORES, Row, positive_class
from medbench.reports.text import csv_text, without_paths
from medbench.reports.verdicts import across_verdict, verdicts
from medbench.store import RunLayout

_TEXTS = ("dataset", "model", "note", "class", "positive", "step_name")
"""Columns with names and words from outside."""
_NAMES = ("dataset", "model", "kind", "status", "positive")
_COSTS = ("cpu_seconds", "latency_ms", "images_per_second", "peak_memory_mb")


def write_csv(assessment: Assessment, folder: Path) -> Path:
    """Write ``leaderboard.csv``, ``scores.csv`` and ``classes.csv``.

    A name or note that a spreadsheet would take for a formula begins with ``'``.

    Args:
        assessment: The run, assessed.
        folder: Where the files go.

    Returns:
        ``leaderboard.csv``.

    Raises:
        StoreError: The folder cannot be written.
    """
    files = RunLayout(folder)
    for name, table in (
        ("leaderboard", assessment.table),
        ("scores", _scores_table(assessment)),
        ("classes", _classes_table(assessment)),
    ):
        texts = [column for column in _TEXTS if column in table]
        safe = table.assign(**{column: table[column].map(csv_text) for column in texts})
        write_text(files.table(name, "csv"), safe.to_csv(index=False, lineterminator="\n"))
    return files.table("leaderboard", "csv")


def write_leaderboard_json(assessment: Assessment, folder: Path) -> Path:
    """Write ``leaderboard.json``: the tables, comparisons and verdicts; null is not known.

    Args and errors: as ``write_csv`` has them.

    Returns:
        The file.
    """
    path = RunLayout(folder).table("leaderboard", "json")
    write_json(path, _json(assessment))
    return path


def _json(assessment: Assessment) -> dict[str, Any]:
    """Everything in the tables, with comparisons and verdicts."""
    described = {}
    for dataset in assessment.datasets:
        comparison = dataset.comparison
        described[dataset.name] = {
            **dataset.record,
            "positive": positive_class(dataset.record) or None,
            "verdicts": [one.text for one in verdicts(dataset)],
            "leader": comparison.leader if comparison else None,
            "tie_group": list(comparison.tie_group) if comparison else [],
            "smallest_visible": comparison.smallest_visible if comparison else None,
            "shortcut_risk": any(sanity.alarming for sanity in dataset.sanity_comparisons),
            "audit": dict(dataset.audit) if dataset.audit else None,
        }
    rows = [
        {
            **asdict(row.fields),
            "scores": dict(row.scores),
            "uncalibrated": dict(row.uncalibrated),
            "costs": dict(row.costs),
        }
        for dataset in assessment.datasets
        for row in dataset.rows
    ]
    content: dict[str, Any] = _presentable(
        {
            "settings": dict(assessment.run.configuration),
            "datasets": described,
            "rows": rows,
            "across": across_verdict(assessment.ranks) if assessment.ranks else None,
            "unfinished": assessment.run.unfinished,
            "gaps": list(assessment.run.gaps),
        }
    )
    return content


def _presentable(value: Any) -> Any:
    """The same without absolute paths, and with None for NaN and infinity, unknown to JSON."""
    if isinstance(value, dict):
        return {without_paths(key): _presentable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_presentable(one) for one in value]
    if isinstance(value, str):
        return without_paths(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _scores_table(assessment: Assessment) -> pd.DataFrame:
    """One row per data set and model with every score and cost."""
    rows = [
        {
            **{name: getattr(row.fields, name) for name in _NAMES},
            **row.scores,
            **{f"{name}_uncalibrated": value for name, value in row.uncalibrated.items()},
            **row.costs,
        }
        for row in _scored(assessment)
    ]
    names = [name for name in METRICS if any(name in row for row in rows)]
    before = [f"{name}_uncalibrated" for name in PROBABILITY_SCORES if rows]
    costs = [name for name in (rows[0] if rows else {}) if name in _COSTS]
    return pd.DataFrame(rows, columns=[*_NAMES, *names, *before, *costs])


def _classes_table(assessment: Assessment) -> pd.DataFrame:
    """One row per data set, model and class."""
    rows = [
        {
            **{name: getattr(row.fields, name) for name in ("dataset", "model", "kind")},
            "class": name,
            **{score: values[k] for score, values in row.class_scores.items()},
        }
        for dataset in assessment.datasets
        for row in dataset.rows
        if row.class_scores
        for k, name in enumerate(dataset.record["classes"])
    ]
    columns = ["dataset", "model", "kind", "class"]
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else columns)


def _scored(assessment: Assessment) -> list[Row]:
    return [row for dataset in assessment.datasets for row in dataset.rows if row.scores]
