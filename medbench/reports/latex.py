r"""The leaderboard as LaTeX tables for a paper, one per data set, to be read by ``\input``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from medbench.atomic_files import folder_name, write_text
from medbench.reports.assessment import Assessment, DatasetAssessment
from medbench.reports.budgets import steps_numbers, trials_words
from medbench.reports.describe import (
    MARKS,
    auroc_words,
    behind_words,
    describe_settings,
    positive_words,
    row_title,
)
from medbench.reports.drawing import cut
from medbench.reports.fields import CUT, SCORELESS
from medbench.reports.published import PUBLISHED
from medbench.reports.rows import Row
from medbench.reports.text import format_score, format_seconds, latex_text
from medbench.reports.verdicts import verdicts
from medbench.store import RunLayout

_HEAD = r"""% The leaderboard of a MedBench run, one table per data set: \input{leaderboard.tex}
% Needs: \usepackage{booktabs} and, with pdfLaTeX, \usepackage[T1]{fontenc}; LaTeX of 2020 or later.
% Characters that pdfLaTeX has no glyph for are printed by LuaLaTeX and XeLaTeX only.
\providecommand{\medbenchchar}[2]{\ifdefined\Umathcode#1\else[#2]\fi}
"""
_COLUMNS = (
    "Model",
    r"AUROC (95\% interval)",
    r"Behind the leader (95\% CI)",
    "Balanced accuracy",
    "Trials",
    "Steps",
    "Time",
)
_LONGEST_REASON = 60
"""Characters of the reason of a failure that fit into a line of the table."""


def write_latex(assessment: Assessment, folder: Path) -> Path:
    """Write ``leaderboard.tex``.

    Args:
        assessment: The run, assessed.
        folder: Where the file goes.

    Returns:
        The file.

    Raises:
        StoreError: The folder cannot be written.
    """
    path = RunLayout(folder).table("leaderboard", "tex")
    write_text(path, "\n".join(_lines(assessment)) + "\n")
    return path


def _lines(assessment: Assessment) -> Iterator[str]:
    yield _HEAD
    run = assessment.run
    for line in [*run.gaps, *([run.unfinished] if run.unfinished else [])]:
        # a comment: what is printed must not end in a paper, but who pastes it must see it
        yield f"% {latex_text(line)}"
    settings = describe_settings(run.configuration)
    for dataset in assessment.datasets:
        yield from _table(dataset, settings)


def _table(dataset: DatasetAssessment, settings: str) -> Iterator[str]:
    yield r"\begin{table}"
    yield r"  \centering"
    yield r"  \small"
    yield rf"  \caption{{{_caption(dataset, settings)}}}"
    yield rf"  \label{{tab:medbench-{folder_name(dataset.name)}}}"
    yield r"  \begin{tabular}{lllrrrr}"
    yield r"    \toprule"
    yield f"    {' & '.join(_COLUMNS)} \\\\"
    # sanity rows stand apart, and so do rows split by image and published ones
    for _, rows in groupby(dataset.rows, key=lambda row: row.fields.kind):
        yield r"    \midrule"
        for row in rows:
            yield f"    {' & '.join(_row(row))} \\\\"
    yield r"    \bottomrule"
    yield r"  \end{tabular}"
    yield "\\end{table}\n"


def _caption(dataset: DatasetAssessment, settings: str) -> str:
    record, said = dataset.record, positive_words(dataset.record)
    standings = {row.fields.standing for row in dataset.rows}
    parts = [
        f"{record['title']} ({dataset.name}): {record['n_images']:,} images of "
        f"{record['n_groups']:,} groups; {f'{said}; ' if said else ''}split: {record['split']}; "
        f"licence: {record['licence'] or 'not stated'}.",
        "AUROC is the mean over the held-out folds with a 95% bootstrap interval over groups.",
        settings,
    ]
    if "leader" in standings:
        parts.append("Superscripts: * has the highest AUROC;")
        parts.append(
            "= cannot be told from it by the paired bootstrap of their difference (Holm-corrected)."
            if "tied" in standings
            else "no other model is tied with it (paired bootstrap, Holm-corrected)."
        )
    if CUT in standings:
        parts.append(
            "! was cut by its budget: it says nothing of what its family can do, and is compared "
            "with nothing."
        )
    parts += [verdict.text for verdict in verdicts(dataset) if verdict.topic == "shortcut"]
    return latex_text(" ".join(parts))


def _row(row: Row) -> list[str]:
    fields = row.fields
    mark = MARKS.get(fields.standing, "")
    name = latex_text(row_title(row)) + (f"$^{{{mark}}}$" if mark else "")
    if fields.status in SCORELESS:
        words = f"{fields.status}: {cut(fields.note, _LONGEST_REASON)}"
        return [name, rf"\multicolumn{{{len(_COLUMNS) - 1}}}{{l}}{{{latex_text(words)}}}"]
    return [
        name,
        _number(auroc_words(fields)),
        _number(behind_words(fields)),
        _number(format_score(fields.balanced_accuracy)),
        "--" if fields.status == PUBLISHED else trials_words(fields),
        _number(steps_numbers(fields)),
        format_seconds(fields.seconds).replace("-", "--"),
    ]


def _number(text: str) -> str:
    """A score with a true minus, and an en dash for what is not known."""
    return "--" if text == "-" else re.sub(r"-(?=[.\d])", "$-$", text)
