"""The leaderboard: one row per data set and model, as files and on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from medbench.evaluation.scores import METRICS
from medbench.reports.assessment import Assessment, DatasetAssessment
from medbench.reports.published import HOW_TO_READ_PUBLISHED, PUBLISHED, origin
from medbench.reports.rows import PROBABILITY_SCORES, Row
from medbench.reports.text import (
    csv_text,
    format_interval,
    format_megabytes,
    format_score,
    format_seconds,
    markdown_text,
    plain,
)
from medbench.reports.verdicts import across_verdict, verdicts
from medbench.store import write_json, write_text

if TYPE_CHECKING:
    from rich.console import Console

HOW_TO_READ = (
    "AUROC is computed within each held-out fold and averaged over the folds; for more than two "
    "classes it is the unweighted mean of one class against the rest, for several labels an image "
    "the mean over the labels.",
    "The bracket is a 95% bootstrap interval over groups (patients) within folds: the sampling "
    "noise given the fitted models. The spread over folds (fold sd) stands apart from it.",
    "Models are told apart by the paired bootstrap of their difference to the leader on the same "
    "patients, corrected for the number of models (Holm); overlapping intervals decide nothing. "
    "Tied is what cannot be told from the leader; among those there is no order.",
    "Sanity rows see the file, the brightness, the border or a thumbnail only. Where one of them "
    "scores, labels can be had without looking at what the images show.",
    "Every model had the same tuning budget. Inner is the validation AUROC that chose the "
    "configuration; where it lies well above the AUROC, the choice was optimistic.",
    "Decisions are taken at the operating point that was frozen before the held-out part was "
    "opened. Probabilities are calibrated by one temperature, fitted like it on inner predictions; "
    "scores of probabilities are given before and after.",
    "Above majority is the AUROC minus that of the constant majority model.",
)
_SHOWN_SCORES = {
    "binary": ("sensitivity", "specificity", "ppv", "npv", "average_precision", "mcc"),
    "multi-class": ("accuracy", "macro_f1", "mcc"),
    "ordinal": ("accuracy", "macro_f1", "quadratic_kappa", "mae"),
    "multi-label": ("average_precision", "macro_f1"),
}
"""Scores of each kind of task in the second table of ``leaderboard.md``; ``scores.csv`` has all."""

_NAMED_CLASSES = 12
"""Above this many classes their names do not fit into a line."""
_FULL_WIDTH = 78
"""Terminals narrower than this (columns) get the models and their AUROC only."""
_KINDS = {
    "binary": "classes",
    "multi-class": "classes",
    "ordinal": "classes in rising order",
    "multi-label": "labels, any number of them an image",
}
_MARKS = {"leader": "*", "tied": "="}


# --- files -------------------------------------------------------------------------------------


def describe_settings(configuration: Mapping[str, Any]) -> str:
    """One line on what every model was given: budget, inner folds, seed."""
    tuner = configuration.get("tuner")
    tuned = f"tuned by {tuner}" if tuner else "each tuned by its family's default tuner"
    return (
        f"Budget of each model on each split: {configuration.get('budget', 'not recorded')}, "
        f"{tuned}, on {configuration.get('inner_folds', '?')} inner folds (or the official "
        f"validation part); seed {configuration.get('seed', '?')}."
    )


def describe_dataset(record: Mapping[str, Any]) -> str:
    """One line on a data set: size, classes, split, origin, notes and licence; not escaped."""
    kinds = zip(record["classes"], record["class_counts"], strict=True)
    named = f" ({', '.join(f'{k} {n:,}' for k, n in kinds)})"
    parts = [
        f"{record['n_images']:,} images of {record['n_groups']:,} groups",
        f"{len(record['classes'])} {_KINDS[record['task']]}"
        + named * (len(record["classes"]) <= _NAMED_CLASSES),
        f"split: {record['split']}",
        "synthetic images" if record["synthetic"] else "real images",
        *record["notes"],
        f"licence: {record['licence'] or 'not stated'}",
    ]
    return "; ".join(parts) + "."


def write_leaderboard(assessment: Assessment, folder: Path) -> None:
    """Write ``leaderboard.csv``, ``.json`` and ``.md``, ``scores.csv`` and ``classes.csv``.

    In the CSV files a name or note that a spreadsheet would take for a formula begins with ``'``.

    Args:
        assessment: The run, assessed.
        folder: Where the files go.

    Raises:
        StoreError: The folder cannot be written.
    """
    for name, table in (
        ("leaderboard", assessment.table),
        ("scores", _scores_table(assessment)),
        ("classes", _classes_table(assessment)),
    ):
        texts = [column for column in _TEXTS if column in table]
        safe = table.assign(**{column: table[column].map(csv_text) for column in texts})
        write_text(folder / f"{name}.csv", safe.to_csv(index=False, lineterminator="\n"))
    write_json(folder / "leaderboard.json", _json(assessment))
    write_text(folder / "leaderboard.md", "\n".join(_markdown(assessment)) + "\n")


_TEXTS = ("dataset", "model", "note", "class")
"""Columns with names and words from outside."""


def _json(assessment: Assessment) -> dict[str, Any]:
    """Everything in the tables, with comparisons and verdicts; what is not known is null."""
    described = {}
    for dataset in assessment.datasets:
        comparison = dataset.comparison
        described[dataset.name] = {
            **dataset.record,
            "verdicts": verdicts(dataset),
            "leader": comparison.leader if comparison else None,
            "tie_group": list(comparison.tie_group) if comparison else [],
            "smallest_visible": comparison.smallest_visible if comparison else None,
            "shortcut_risk": any(probe.alarming for probe in dataset.probes),
            "audit": dict(dataset.audit) if dataset.audit else None,
        }
    rows = [
        {
            **row.fields,
            "scores": dict(row.scores),
            "uncalibrated": dict(row.uncalibrated),
            "costs": dict(row.costs),
        }
        for dataset in assessment.datasets
        for row in dataset.rows
    ]
    content: dict[str, Any] = _nulls(
        {
            "settings": dict(assessment.run.configuration),
            "datasets": described,
            "rows": rows,
            "across": across_verdict(assessment.ranks) if assessment.ranks else None,
        }
    )
    return content


def _nulls(value: Any) -> Any:
    """The same with None for NaN, which JSON has no word for."""
    if isinstance(value, dict):
        return {key: _nulls(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_nulls(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _scores_table(assessment: Assessment) -> pd.DataFrame:
    """One row per data set and model with every score and cost."""
    rows = [
        {
            **{name: row.fields[name] for name in ("dataset", "model", "kind", "status")},
            **row.scores,
            **{f"{name}_uncalibrated": value for name, value in row.uncalibrated.items()},
            **row.costs,
        }
        for row in _scored(assessment)
    ]
    names = [name for name in METRICS if any(name in row for row in rows)]
    before = [f"{name}_uncalibrated" for name in PROBABILITY_SCORES if rows]
    costs = [name for name in (rows[0] if rows else {}) if name in _COSTS]
    return pd.DataFrame(
        rows, columns=["dataset", "model", "kind", "status", *names, *before, *costs]
    )


_COSTS = ("cpu_seconds", "latency_ms", "images_per_second", "peak_memory_mb")


def _classes_table(assessment: Assessment) -> pd.DataFrame:
    """One row per data set, model and class."""
    rows = [
        {
            **{name: row.fields[name] for name in ("dataset", "model", "kind")},
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


def _markdown(assessment: Assessment) -> Iterator[str]:
    yield "# Leaderboard"
    yield f"\n{markdown_text(describe_settings(assessment.run.configuration))}"
    for dataset in assessment.datasets:
        yield f"\n## {markdown_text(dataset.record['title'])}\n"
        yield f"{markdown_text(f'{dataset.name}: {describe_dataset(dataset.record)}')}\n"
        for sentence in verdicts(dataset):
            yield f"- {markdown_text(sentence)}"
        yield from _auroc_table(dataset)
        yield from _decisions_table(dataset)
        yield from _audit_lines(dataset)
    if assessment.ranks:
        yield "\n## Across data sets\n"
        yield markdown_text(across_verdict(assessment.ranks))
    yield "\n## How to read this\n"
    for line in HOW_TO_READ:
        yield f"- {line}"
    if (assessment.table["status"] == PUBLISHED).any():
        yield f"- {HOW_TO_READ_PUBLISHED}"


def _auroc_table(dataset: DatasetAssessment) -> Iterator[str]:
    yield (
        "\n| Model | AUROC (95% interval) | Behind the leader (95% CI) | Fold sd "
        "| Balanced accuracy | Inner | Above majority | Time | Model size | Trials | Folds | Note |"
    )
    yield "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"
    for row in dataset.rows:
        fields = row.fields
        scores = ("auroc_fold_sd", "balanced_accuracy", "inner_score", "above_majority")
        cells = [
            markdown_text(_named(row)),
            _auroc_text(fields),
            _standing_text(fields),
            *(format_score(fields[column]) for column in scores),
            format_seconds(fields["seconds"]),
            format_megabytes(fields["size_mb"]),
            "-" if fields["status"] == PUBLISHED else str(fields["n_trials"]),
            fields["folds"],
            markdown_text(fields["note"]),
        ]
        yield f"| {' | '.join(cells)} |"


def _decisions_table(dataset: DatasetAssessment) -> Iterator[str]:
    """Decisions at the operating point, and probabilities before and after calibration."""
    rows = [row for row in dataset.rows if row.scores]
    if not rows:
        return
    shown = _SHOWN_SCORES[dataset.record["task"]]
    named = [METRICS[name].name for name in (*shown, *PROBABILITY_SCORES)]
    titles = [name[0].upper() + name[1:] for name in named]
    yield f"\n| Model | {' | '.join(titles)} | Latency | Images a second |"
    yield f"|---|{'---:|' * (len(titles) + 2)}"
    for row in rows:
        cells = [
            markdown_text(_named(row)),
            *(format_score(row.scores[name]) for name in shown),
            *(
                f"{format_score(row.uncalibrated[name])} to {format_score(row.scores[name])}"
                for name in PROBABILITY_SCORES
            ),
            _number(row.costs["latency_ms"], " ms"),
            _number(row.costs["images_per_second"], ""),
        ]
        yield f"| {' | '.join(cells)} |"


def _number(value: float, unit: str) -> str:
    return "-" if math.isnan(value) else f"{value:,.3g}{unit}"


def _audit_lines(dataset: DatasetAssessment) -> Iterator[str]:
    if not dataset.audit:
        return
    yield "\n### Audit of the images and labels\n"
    for finding in dataset.audit["findings"]:
        words = f"{finding['severity']}: {finding['text']} {finding['remedy']}"
        yield f"- {markdown_text(words)}"
    if not dataset.audit["findings"]:
        yield "Nothing was found."


def _named(row: Row) -> str:
    """A row's name: its model, and what kind of row it is where that is not plain."""
    kind = row.fields["kind"]
    return f"{row.name} ({kind})" if kind in ("sanity", "split by image") else row.name


def _standing_text(fields: Mapping[str, Any]) -> str:
    if fields["standing"] in ("tied", "behind"):
        bounds = (fields[f"behind_leader{end}"] for end in ("", "_low", "_high"))
        return f"{fields['standing']}: {format_interval(*bounds)}"
    return str(fields["standing"]) or "-"


def _auroc_text(fields: Mapping[str, Any]) -> str:
    if fields["status"] in ("failed", "skipped"):
        return str(fields["status"])
    if fields["status"] == "partial":
        return f"{format_score(fields['auroc'])} ({fields['folds']} folds)"
    if fields["status"] == PUBLISHED:
        return f"{format_score(fields['auroc'])} (published)"
    return format_interval(fields["auroc"], fields["auroc_low"], fields["auroc_high"])


# --- terminal ----------------------------------------------------------------------------------


def print_leaderboard(assessment: Assessment, console: Console) -> None:
    """Print a table a data set, within 80 columns, with verdicts and notes below.

    Args:
        assessment: The run, assessed.
        console: Where to print; it decides on colour.
    """
    from rich.text import Text

    if not assessment.datasets:
        console.print("No cell of this run is finished yet.")
    for dataset in assessment.datasets:
        _print_dataset(dataset, console)
    if assessment.ranks:
        console.print(Text(plain(across_verdict(assessment.ranks))))
        console.print()


def _print_dataset(dataset: DatasetAssessment, console: Console) -> None:
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    record = dataset.record
    # Text, unlike str, is printed without looking for markup in the names
    console.print(Text(plain(f"{record['title']} ({dataset.name})"), style="bold"))
    console.print(Text(plain(describe_dataset(record)), style="dim"))
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    grid.add_column("model", overflow="fold", min_width=8)
    grid.add_column(Text("AUROC [95% CI]"), no_wrap=True)
    more = ("bal. acc.", "inner", "time", "size") if console.width >= _FULL_WIDTH else ()
    for title in more:
        grid.add_column(title, justify="right", no_wrap=True)
    styles = {"ok": "", PUBLISHED: "dim"}
    kind = dataset.rows[0].fields["kind"]
    for row in dataset.rows:
        fields = row.fields
        if fields["kind"] != kind:  # sanity rows stand apart, and so do the others
            grid.add_section()
            kind = fields["kind"]
        numbers = (
            format_score(fields["balanced_accuracy"]),
            format_score(fields["inner_score"]),
            format_seconds(fields["seconds"]),
            format_megabytes(fields["size_mb"]),
        )
        style = "dim" if kind in ("sanity", "split by image") else styles.get(fields["status"])
        name = f"{row.name}, by image" if kind == "split by image" else row.name
        grid.add_row(
            Text(f"{_MARKS.get(fields['standing'], ' ')} {plain(name)}"),
            Text(_auroc_text(fields), style="yellow" if style is None else style),
            *numbers[: len(more)],
        )
    console.print(grid)
    standings = {row.fields["standing"] for row in dataset.rows}
    if standings & {"tied", "behind"}:
        console.print(Text("* highest   = cannot be told from it", style="dim"))
    sentences = Table.grid(padding=(0, 1))
    for sentence in verdicts(dataset):
        strong = sentence.startswith(("Shortcut risk", "Serious", "Caution"))
        sentences.add_row("-", Text(plain(sentence), style="bold yellow" if strong else ""))
    console.print(sentences)
    notes = [
        f"{plain(row.name)}: {row.fields['note']}"
        for row in dataset.rows
        if row.fields["note"] and row.fields["status"] != PUBLISHED
    ]
    if any(row.fields["status"] == PUBLISHED for row in dataset.rows):
        notes.append(f"published: {origin(record)}")  # the same for all of them, so said once
    for note in notes:
        console.print(Padding(Text(note), (0, 0, 0, 2)))
    console.print()
