"""The leaderboard on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medbench.reports.assessment import Assessment, DatasetAssessment
from medbench.reports.describe import (
    MARKS,
    UNEQUAL,
    auroc_words,
    describe_dataset,
    describe_settings,
)
from medbench.reports.published import PUBLISHED, origin
from medbench.reports.text import (
    format_megabytes,
    format_score,
    format_seconds,
    one_line,
)
from medbench.reports.verdicts import STRONG, across_verdict, verdicts
from medbench.store import RunResult

if TYPE_CHECKING:
    from rich.console import Console

_FULL_WIDTH = 78
"""Terminals narrower than this (columns) get the models and their AUROC only."""


def print_leaderboard(assessment: Assessment, console: Console) -> None:
    """Print a table a data set, within 80 columns, with verdicts and notes below.

    Above them stands what could not be read of the run, and what is still to come.

    Args:
        assessment: The run, assessed.
        console: Where to print; it decides on colour.
    """
    from rich.text import Text

    print_gaps(assessment.run, console)
    if assessment.run.configuration.get(UNEQUAL):
        console.print(
            Text(one_line(describe_settings(assessment.run.configuration)), style="yellow")
        )
    for dataset in assessment.datasets:
        _print_dataset(dataset, console)
    if assessment.ranks:
        console.print(Text(one_line(across_verdict(assessment.ranks))))
        console.print()


def print_gaps(run: RunResult, console: Console) -> None:
    """Print, in yellow, what could not be read of a run, and what is still to come."""
    from rich.text import Text

    for line in [*run.gaps, *([run.unfinished] if run.unfinished else [])]:
        console.print(Text(one_line(line), style="yellow"))


def _print_dataset(dataset: DatasetAssessment, console: Console) -> None:
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    record = dataset.record
    # Text, unlike str, is printed without looking for markup in the names
    console.print(Text(one_line(f"{record['title']} ({dataset.name})"), style="bold"))
    console.print(Text(one_line(describe_dataset(record)), style="dim"))
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
            Text(f"{MARKS.get(fields['standing'], ' ')} {one_line(name)}"),
            Text(auroc_words(fields), style="yellow" if style is None else style),
            *numbers[: len(more)],
        )
    console.print(grid)
    standings = {row.fields["standing"] for row in dataset.rows}
    if standings & {"tied", "behind"}:
        console.print(Text("* highest   = cannot be told from it", style="dim"))
    sentences = Table.grid(padding=(0, 1))
    for one in verdicts(dataset):
        style = "bold yellow" if one.kind in STRONG else ""
        sentences.add_row("-", Text(one_line(one.text), style=style))
    console.print(sentences)
    notes = [
        f"{row.name}: {row.fields['note']}"
        for row in dataset.rows
        if row.fields["note"] and row.fields["status"] != PUBLISHED
    ]
    if any(row.fields["status"] == PUBLISHED for row in dataset.rows):
        notes.append(f"published: {origin(record)}")  # the same for all of them, so said once
    for note in notes:
        console.print(Padding(Text(one_line(note)), (0, 0, 0, 2)))
    console.print()
