"""The leaderboard on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING

from medbench.reports.assessment import Assessment, DatasetAssessment
from medbench.reports.budgets import steps_numbers, trials_words
from medbench.reports.describe import (
    MARKS,
    UNEQUAL,
    auroc_words,
    describe_dataset,
    describe_settings,
)
from medbench.reports.fields import CUT, Fields
from medbench.reports.published import PUBLISHED, origin
from medbench.reports.rows import Row
from medbench.reports.text import (
    format_megabytes,
    format_score,
    format_seconds,
    one_line,
)
from medbench.reports.verdicts import STRONG, across_verdict, none_to_use, verdicts
from medbench.store import RunResult

if TYPE_CHECKING:
    from rich.console import Console

_FULL_WIDTH = 78
"""Terminals narrower than this (columns) get the models and their AUROC only."""
_LEAST_NAME, _MOST_NAME = 8, 20
"""Columns of a model's name: it is folded where it is longer. The longest of those that run by
default, with its mark, is efficientnet-lite0."""
_BETWEEN, _EDGES = 2, 2
"""Blanks between two columns of the table, and at its edges together."""
_Shown = Callable[[Fields], str]
_COLUMNS: Mapping[str, tuple[int, _Shown]] = {
    "bal.\nacc.": (4, lambda fields: format_score(fields.balanced_accuracy)),
    "inner": (1, lambda fields: format_score(fields.inner_score)),
    "trials": (2, lambda fields: "-" if fields.status == PUBLISHED else trials_words(fields)),
    "steps": (3, steps_numbers),
    "time": (0, lambda fields: format_seconds(fields.seconds)),
    "size": (5, lambda fields: format_megabytes(fields.size_mb)),
}
"""Columns beside the AUROC: the higher the number, the sooner a column is left out, and what stands
in it."""
_WHERE_KNOWN = ("steps",)
"""Columns that are there only if a row has something in them."""


def print_leaderboard(assessment: Assessment, console: Console) -> None:
    """Print a table a data set, within 80 columns, with verdicts and notes below.

    Above them stands where every model was cut by its budget, what could not be read of the run,
    and what is still to come.

    Args:
        assessment: The run, assessed.
        console: Where to print; it decides on colour.
    """
    from rich.text import Text

    for words in filter(None, map(none_to_use, assessment.datasets)):
        console.print(Text(one_line(words), style="bold yellow"))
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


def _name(row: Row) -> str:
    """A row's name with its mark."""
    name = f"{row.name}, by image" if row.fields.kind == "split by image" else row.name
    return f"{MARKS.get(row.fields.standing, ' ')} {one_line(name)}"


def _columns(rows: Sequence[Row], width: int) -> dict[str, _Shown]:
    """What stands beside the AUROC: as many of ``_COLUMNS`` as fit, in their order."""
    if width < _FULL_WIDTH:
        return {}
    known = {
        title: shown
        for title, (_, shown) in _COLUMNS.items()
        if title not in _WHERE_KNOWN or any(shown(row.fields) != "-" for row in rows)
    }
    widths = {
        title: max(*map(len, title.splitlines()), *(len(shown(row.fields)) for row in rows))
        for title, shown in known.items()
    }
    names = max(_LEAST_NAME, min(_MOST_NAME, max(len(_name(row)) for row in rows)))
    scores = max(len(auroc_words(row.fields)) for row in rows)
    left = width - names - scores - _BETWEEN - _EDGES
    for title in sorted(known, key=lambda one: -_COLUMNS[one][0]):
        if sum(widths.values()) + _BETWEEN * len(widths) <= left:
            break
        del widths[title]
    return {title: known[title] for title in widths}


def _legend(rows: Sequence[Row], columns: Container[str]) -> str:
    """What the marks and the short columns mean, as far as there are any."""
    standings = {row.fields.standing for row in rows}
    said = []
    if standings & {"tied", "behind"}:
        said += ["* highest", "= cannot be told from it"]
    if CUT in standings:
        said.append("! cut by its budget: compared with nothing")
    if "trials" in columns and any("/" in trials_words(row.fields) for row in rows):
        said.append("trials: complete/tried")
    return "   ".join(said)


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
    grid.add_column("model", overflow="fold", min_width=_LEAST_NAME)
    grid.add_column(Text("AUROC [95% CI]"), no_wrap=True)
    columns = _columns(dataset.rows, console.width)
    for title in columns:
        grid.add_column(title, justify="right", no_wrap=True)
    styles = {"ok": "", PUBLISHED: "dim"}
    kind = dataset.rows[0].fields.kind
    for row in dataset.rows:
        fields = row.fields
        if fields.kind != kind:  # sanity rows stand apart, and so do the others
            grid.add_section()
            kind = fields.kind
        style = "dim" if kind in ("sanity", "split by image") else styles.get(fields.status)
        grid.add_row(
            Text(_name(row)),
            Text(auroc_words(fields), style="yellow" if style is None or row.cut else style),
            *(columns[title](fields) for title in columns),
        )
    console.print(grid)
    if legend := _legend(dataset.rows, columns):
        console.print(Text(legend, style="dim"))
    sentences = Table.grid(padding=(0, 1))
    for one in verdicts(dataset):
        style = "bold yellow" if one.topic in (*STRONG, CUT) else ""
        sentences.add_row("-", Text(one_line(one.text), style=style))
    console.print(sentences)
    notes = [
        f"{row.name}: {row.fields.note}"
        for row in dataset.rows
        if row.fields.note and row.fields.status != PUBLISHED
    ]
    if any(row.fields.status == PUBLISHED for row in dataset.rows):
        notes.append(f"published: {origin(record)}")  # the same for all of them, so said once
    for note in notes:
        console.print(Padding(Text(one_line(note)), (0, 0, 0, 2)))
    console.print()
