"""The leaderboard: one row per data set and model, as a table, as files and on the terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medbench.datasets.task import label_columns, labels_in
from medbench.errors import ProtocolError, StoreError
from medbench.evaluation.intervals import FoldPredictions, fold_auroc_interval
from medbench.evaluation.metrics import auroc, balanced_accuracy
from medbench.reports.published import (
    HOW_TO_READ_PUBLISHED,
    PUBLISHED,
    origin,
    published_rows,
)
from medbench.reports.text import (
    csv_text,
    format_interval,
    format_megabytes,
    format_score,
    format_seconds,
    markdown_text,
    plain,
)
from medbench.store import CellResult, RunResult, write_json, write_text

if TYPE_CHECKING:
    from rich.console import Console

COLUMNS = (
    "dataset",
    "model",
    "status",
    "auroc",
    "auroc_low",
    "auroc_high",
    "auroc_fold_sd",
    "balanced_accuracy",
    "inner_score",
    "above_majority",
    "seconds",
    "size_mb",
    "n_trials",
    "folds",
    "note",
)
"""Columns of the leaderboard; there is no rank, which only paired comparisons could justify."""

MAJORITY = "majority"
"""The model that always predicts the class frequencies; skill is measured from it."""

HOW_TO_READ = (
    "AUROC is computed within each held-out fold and averaged over the folds; for more than two "
    "classes it is the unweighted mean of one class against the rest, for several labels an image "
    "the mean over the labels.",
    "The bracket is a 95% bootstrap interval over groups (patients) within folds: the sampling "
    "noise given the fitted models. The spread over folds (fold sd) stands apart from it.",
    "Overlapping intervals do not show that models are equal, and there are no ranks: models are "
    "told apart only by paired comparisons.",
    "Every model had the same tuning budget. Inner is the validation AUROC that chose the "
    "configuration; where it lies well above the AUROC, the choice was optimistic.",
    "Balanced accuracy is taken at the operating point that was frozen before the held-out part "
    "was opened. Above majority is the AUROC minus that of the constant majority model.",
)

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
_STATUS_ORDER = {"ok": 0, "partial": 1, "failed": 2, "skipped": 3}
_REPEAT = re.compile(r"(?:official-)?r(\d+)(?:f\d+)?")


# --- the table ---------------------------------------------------------------------------------


def leaderboard(run: RunResult) -> pd.DataFrame:
    """One row per data set and model, with the columns ``COLUMNS``.

    Finished rows come first, by falling AUROC; then those of which only some folds are finished
    (``partial``: their scores are over the finished folds and are compared with nothing), then
    failed and skipped ones; last, where the run used the official split, what others have
    published of it (see ``medbench.reports.published``), with no interval and in no comparison.
    Scores run from 0 to 1, ``seconds`` is the sum over folds, ``size_mb``
    the mean size of a fitted model in 10**6 bytes; what is not known is NaN. Names are as stored:
    escape them before showing them.

    Raises:
        StoreError: The run does not describe a data set that it has cells of.
    """
    rows = []
    for dataset, models in _cells(run).items():
        record = _dataset(run, dataset)
        splits = {cell.id.split for cells in models.values() for cell in cells}
        expected = max(int(record["n_folds"]), len(splits))
        found = [_row(cells, len(record["classes"]), expected) for cells in models.values()]
        complete = {row["model"]: row["auroc"] for row in found if row["status"] == "ok"}
        floor = complete.get(MAJORITY, math.nan)
        for row in found:
            row["above_majority"] = row["auroc"] - floor if row["status"] == "ok" else math.nan
        found.sort(key=lambda r: (_STATUS_ORDER[r["status"]], -_or_zero(r["auroc"]), r["model"]))
        rows += [*found, *published_rows(dataset, record)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({name: "float64" for name in COLUMNS[3:12]} | {"n_trials": "int64"})


def fold_predictions(cell: CellResult, n_classes: int) -> FoldPredictions:
    """The held-out predictions of a finished cell.

    Raises:
        StoreError: The cell has no predictions, or not the columns of ``n_classes`` classes.
    """
    needed = ["group", *(f"p{k}" for k in range(n_classes))]
    frame = cell.predictions
    labels = [] if frame is None else label_columns(frame.columns)
    if frame is None or not set(needed) <= set(frame.columns) or len(labels) not in (1, n_classes):
        raise StoreError(
            f"cell {cell.id}: predictions.parquet must have the columns label (or label0, label1, "
            f"... of a multi-label task), {', '.join(needed)}."
        )
    repeat = _REPEAT.fullmatch(cell.id.split)
    return FoldPredictions(
        labels=labels_in(frame),
        probabilities=frame[needed[1:]].to_numpy(np.float64),
        groups=frame["group"].to_numpy(),
        repeat=int(repeat[1]) if repeat else 0,
    )


def _cells(run: RunResult) -> dict[str, dict[str, list[CellResult]]]:
    """Cells by data set and model."""
    found: dict[str, dict[str, list[CellResult]]] = {}
    for cell in run.cells:
        found.setdefault(cell.id.dataset, {}).setdefault(cell.id.model, []).append(cell)
    return {dataset: found[dataset] for dataset in sorted(found)}


def _dataset(run: RunResult, name: str) -> Mapping[str, Any]:
    if name not in run.datasets:
        raise StoreError(f"{run.folder}: has cells of data set {name!r} but no dataset.json of it.")
    return run.datasets[name]


def _by_dataset(table: pd.DataFrame) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The rows of the leaderboard of each data set."""
    for name in table["dataset"].unique():
        rows = table[table["dataset"] == name].to_dict("records")
        yield str(name), [{str(column): value for column, value in row.items()} for row in rows]


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _mean(values: Sequence[float | None]) -> float:
    known = [float(value) for value in values if value is not None]
    return fmean(known) if known else math.nan


def _row(cells: Sequence[CellResult], n_classes: int, expected: int) -> dict[str, Any]:
    """Everything but ``above_majority``, which needs the other rows."""
    finished = [cell for cell in cells if cell.status == "ok"]
    if finished:
        status = "ok" if len(finished) == expected else "partial"
    else:
        status = "failed" if any(cell.status == "failed" for cell in cells) else "skipped"
    seconds = [(cell.record.get("seconds") or {}).get("total") for cell in cells]
    sizes = [cell.record.get("size_bytes") for cell in finished]
    row: dict[str, Any] = {
        "dataset": cells[0].id.dataset,
        "model": cells[0].id.model,
        "status": status,
        "auroc": math.nan,
        "auroc_low": math.nan,
        "auroc_high": math.nan,
        "auroc_fold_sd": math.nan,
        "balanced_accuracy": math.nan,
        "inner_score": _mean([cell.record.get("inner_score") for cell in finished]),
        "seconds": _mean(seconds) * sum(value is not None for value in seconds),
        "size_mb": _mean(sizes) / 1e6,
        "n_trials": sum(cell.record.get("n_trials") or 0 for cell in cells),
        "folds": f"{len(finished)}/{expected}",
    }
    notes = _notes(cells, status, expected)
    if finished:
        try:
            scores, reason = _scores(finished, n_classes)
        except ProtocolError as error:
            reason = f"not scored: {error}"
        else:
            row |= scores
        notes += [reason] if reason else []
    return row | {"note": "; ".join(plain(note) for note in notes)}


def _scores(cells: Sequence[CellResult], n_classes: int) -> tuple[dict[str, float], str]:
    """Scores of the finished cells of one row, and why there is no interval ("" where there is).

    Raises:
        ProtocolError: A fold cannot be scored.
    """
    folds = [fold_predictions(cell, n_classes) for cell in cells]
    each = [auroc(fold.labels, fold.probabilities, n_classes) for fold in folds]
    interval = fold_auroc_interval(folds, n_classes)
    decided = [
        balanced_accuracy(fold.labels, fold.probabilities, cell.record.get("threshold"))
        for fold, cell in zip(folds, cells, strict=True)
    ]
    scores = {
        "auroc": interval.estimate,
        "auroc_low": math.nan if interval.low is None else interval.low,
        "auroc_high": math.nan if interval.high is None else interval.high,
        "auroc_fold_sd": float(np.std(each, ddof=1)) if len(each) > 1 else math.nan,
        "balanced_accuracy": _mean(decided),
    }
    return scores, interval.reason


def _notes(cells: Sequence[CellResult], status: str, expected: int) -> list[str]:
    """What a reader must know of a row: notes of its cells, missing folds, reasons of failure."""
    notes = list(dict.fromkeys(str(cell.record.get("note") or "") for cell in cells))
    if status == "partial":
        finished = sum(cell.status == "ok" for cell in cells)
        notes.append(
            f"scores are over {finished} of {expected} folds and compare with no other row"
        )
    reasons: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.status != "ok":
            because = (cell.status, cell.reason or "no reason was recorded")
            reasons.setdefault(because, []).append(cell.id.split)
    for (what, why), splits in reasons.items():
        notes.append(why if len(splits) == expected else f"{', '.join(splits)} {what}: {why}")
    if len(cells) < expected:
        notes.append(f"{expected - len(cells)} of {expected} folds have not run")
    return [note for note in notes if note]


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


def write_leaderboard(
    run: RunResult, folder: Path, table: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Write ``leaderboard.csv``, ``leaderboard.json`` and ``leaderboard.md`` into a folder.

    In the CSV a name or note that a spreadsheet would take for a formula begins with ``'``.

    Returns:
        The table that was written; see ``leaderboard``.

    Raises:
        StoreError: The folder cannot be written, or the run is incomplete.
    """
    table = leaderboard(run) if table is None else table
    rows = [
        {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        for _, rows in _by_dataset(table)
        for row in rows
    ]
    described = {name: dict(_dataset(run, name)) for name in table["dataset"].unique()}
    safe = table.assign(**{k: table[k].map(csv_text) for k in ("dataset", "model", "note")})
    write_text(folder / "leaderboard.csv", safe.to_csv(index=False, lineterminator="\n"))
    content = {"settings": dict(run.configuration), "datasets": described, "rows": rows}
    write_json(folder / "leaderboard.json", content)
    write_text(folder / "leaderboard.md", "\n".join(_markdown(run, table)) + "\n")
    return table


def _markdown(run: RunResult, table: pd.DataFrame) -> Iterator[str]:
    yield "# Leaderboard"
    yield f"\n{markdown_text(describe_settings(run.configuration))}"
    for name, rows in _by_dataset(table):
        record = _dataset(run, name)
        yield f"\n## {markdown_text(record['title'])}\n"
        yield f"{markdown_text(f'{name}: {describe_dataset(record)}')}\n"
        yield (
            "| Model | AUROC (95% interval) | Fold sd | Balanced accuracy | Inner "
            "| Above majority | Time | Model size | Trials | Folds | Note |"
        )
        yield "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|"
        for row in rows:
            scores = ("auroc_fold_sd", "balanced_accuracy", "inner_score", "above_majority")
            cells = [
                markdown_text(row["model"]),
                _auroc_text(row),
                *(format_score(row[column]) for column in scores),
                format_seconds(row["seconds"]),
                format_megabytes(row["size_mb"]),
                "-" if row["status"] == PUBLISHED else str(row["n_trials"]),
                row["folds"],
                markdown_text(row["note"]),
            ]
            yield f"| {' | '.join(cells)} |"
    yield "\n## How to read this\n"
    for line in HOW_TO_READ:
        yield f"- {line}"
    if (table["status"] == PUBLISHED).any():
        yield f"- {HOW_TO_READ_PUBLISHED}"


def _auroc_text(row: Mapping[str, Any]) -> str:
    if row["status"] in ("failed", "skipped"):
        return str(row["status"])
    if row["status"] == "partial":
        return f"{format_score(row['auroc'])} ({row['folds']} folds)"
    if row["status"] == PUBLISHED:
        return f"{format_score(row['auroc'])} (published)"
    return format_interval(row["auroc"], row["auroc_low"], row["auroc_high"])


# --- terminal ----------------------------------------------------------------------------------


def print_leaderboard(run: RunResult, console: Console, table: pd.DataFrame | None = None) -> None:
    """Print a table a data set, within 80 columns, with the notes below.

    Args:
        run: The run.
        console: Where to print; it decides on colour.
        table: The leaderboard of the run where it is at hand already.

    Raises:
        StoreError: The run does not describe a data set that it has cells of.
    """
    table = leaderboard(run) if table is None else table
    if table.empty:
        console.print("No cell of this run is finished yet.")
    for name, rows in _by_dataset(table):
        _print_dataset(name, _dataset(run, name), rows, console)


def _print_dataset(
    name: str, record: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], console: Console
) -> None:
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    # Text, unlike str, is printed without looking for markup in the names
    console.print(Text(plain(f"{record['title']} ({name})"), style="bold"))
    console.print(Text(plain(describe_dataset(record)), style="dim"))
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("model", overflow="fold", min_width=8)
    grid.add_column(Text("AUROC [95% CI]"), no_wrap=True)
    more = ("bal. acc.", "inner", "time", "size") if console.width >= _FULL_WIDTH else ()
    for title in more:
        grid.add_column(title, justify="right", no_wrap=True)
    styles = {"ok": "", PUBLISHED: "dim"}
    for row in rows:
        numbers = (
            format_score(row["balanced_accuracy"]),
            format_score(row["inner_score"]),
            format_seconds(row["seconds"]),
            format_megabytes(row["size_mb"]),
        )
        grid.add_row(
            Text(plain(row["model"])),
            Text(_auroc_text(row), style=styles.get(row["status"], "yellow")),
            *numbers[: len(more)],
        )
    console.print(grid)
    notes = [f"{plain(r['model'])}: {r['note']}" for r in rows if r["note"] and not _other(r)]
    if any(_other(row) for row in rows):  # what is the same for all of them is said once
        notes.append(f"published: {origin(record)}")
    for note in notes:
        console.print(Padding(Text(note), (0, 0, 0, 2)))
    console.print()


def _other(row: Mapping[str, Any]) -> bool:
    return bool(row["status"] == PUBLISHED)
