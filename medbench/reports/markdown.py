"""The leaderboard as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from medbench.atomic_files import write_text
from medbench.evaluation.scores import METRICS
from medbench.reports.assessment import Assessment, DatasetAssessment
from medbench.reports.budgets import steps_words, trials_words
from medbench.reports.describe import (
    auroc_words,
    describe_dataset,
    describe_settings,
    how_to_read,
    row_title,
    standing_words,
)
from medbench.reports.external import external_words, externals
from medbench.reports.published import PUBLISHED
from medbench.reports.rows import PROBABILITY_SCORES
from medbench.reports.text import (
    format_megabytes,
    format_number,
    format_score,
    format_seconds,
    markdown_text,
)
from medbench.reports.verdicts import across_verdict, none_to_use, verdicts
from medbench.store import RunLayout

SHOWN_SCORES = {
    "binary": ("sensitivity", "specificity", "ppv", "npv", "average_precision", "mcc"),
    "multi-class": ("accuracy", "macro_f1", "mcc"),
    "ordinal": ("accuracy", "macro_f1", "quadratic_kappa", "mae"),
    "multi-label": ("average_precision", "macro_f1"),
}
"""Scores of each type of task in the second table of ``leaderboard.md``; ``scores.csv`` has all."""


def write_markdown(assessment: Assessment, folder: Path) -> Path:
    """Write ``leaderboard.md``.

    Args:
        assessment: The run, assessed.
        folder: Where the file goes.

    Returns:
        The file.

    Raises:
        StoreError: The folder cannot be written.
    """
    path = RunLayout(folder).table("leaderboard", "md")
    write_text(path, "\n".join(_lines(assessment)) + "\n")
    return path


def _lines(assessment: Assessment) -> Iterator[str]:
    yield "# Leaderboard"
    for words in filter(None, map(none_to_use, assessment.datasets)):
        yield f"\n**{markdown_text(words)}**"
    yield f"\n{markdown_text(describe_settings(assessment.run.configuration))}"
    yield from _warnings(assessment)
    for dataset in assessment.datasets:
        yield f"\n## {markdown_text(dataset.record['title'])}\n"
        yield f"{markdown_text(f'{dataset.name}: {describe_dataset(dataset.record)}')}\n"
        for one in verdicts(dataset):
            yield f"- {markdown_text(one.text)}"
        yield from _auroc_table(dataset)
        yield from _decisions_table(dataset)
        yield from _external_lines(assessment, dataset)
        yield from _audit_lines(dataset)
    if assessment.ranks:
        yield "\n## Across data sets\n"
        yield markdown_text(across_verdict(assessment.ranks))
    yield "\n## How to read this\n"
    for line in how_to_read(assessment):
        yield f"- {markdown_text(line)}"


def _warnings(assessment: Assessment) -> Iterator[str]:
    """What is not in the tables: what is still to come, and what could not be read."""
    run = assessment.run
    lines = [run.unfinished, *run.gaps] if run.unfinished else list(run.gaps)
    if lines:
        yield "\n**Not everything is here:**\n"
        yield from (f"- {markdown_text(line)}" for line in lines)


def _auroc_table(dataset: DatasetAssessment) -> Iterator[str]:
    yield (
        "\n| Model | AUROC (95% interval) | Behind the leader (95% CI) | Fold sd "
        "| Balanced accuracy | Inner | Above majority | Time | Model size | Trials | Steps | Folds "
        "| Note |"
    )
    yield "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"
    for row in dataset.rows:
        fields = row.fields
        cells = [
            markdown_text(row_title(row)),
            auroc_words(fields),
            standing_words(fields),
            format_score(fields.auroc_fold_sd),
            format_score(fields.balanced_accuracy),
            format_score(fields.inner_score),
            format_score(fields.above_majority),
            format_seconds(fields.seconds),
            format_megabytes(fields.size_mb),
            "-" if fields.status == PUBLISHED else trials_words(fields),
            markdown_text(steps_words(fields)),
            fields.folds,
            markdown_text(fields.note),
        ]
        yield f"| {' | '.join(cells)} |"


def _decisions_table(dataset: DatasetAssessment) -> Iterator[str]:
    """Decisions at the operating point, and probabilities before and after calibration."""
    rows = [row for row in dataset.rows if row.scores]
    if not rows:
        return
    shown = SHOWN_SCORES[dataset.record["task"]]
    named = [METRICS[name].name for name in (*shown, *PROBABILITY_SCORES)]
    titles = [name[0].upper() + name[1:] for name in named]
    yield f"\n| Model | {' | '.join(titles)} | Latency | Images a second |"
    yield f"|---|{'---:|' * (len(titles) + 2)}"
    for row in rows:
        cells = [
            markdown_text(row_title(row)),
            *(format_score(row.scores[name]) for name in shown),
            *(
                f"{format_score(row.uncalibrated[name])} to {format_score(row.scores[name])}"
                for name in PROBABILITY_SCORES
            ),
            format_number(row.costs["latency_ms"], " ms"),
            format_number(row.costs["images_per_second"]),
        ]
        yield f"| {' | '.join(cells)} |"


def _external_lines(assessment: Assessment, dataset: DatasetAssessment) -> Iterator[str]:
    """The models of a data set on others that they never saw."""
    found = externals(assessment.run, dataset)
    if found:
        yield "\n### On other data sets\n"
        yield from (f"- {markdown_text(external_words(one))}" for one in found)


def _audit_lines(dataset: DatasetAssessment) -> Iterator[str]:
    if not dataset.audit:
        return
    yield "\n### Audit of the images and labels\n"
    for finding in dataset.audit["findings"]:
        words = f"{finding['severity']}: {finding['text']} {finding['remedy']}"
        yield f"- {markdown_text(words)}"
    if not dataset.audit["findings"]:
        yield "Nothing was found."
