"""The leaderboard: one row per data set and model, in every format that MedBench writes."""

from __future__ import annotations

from pathlib import Path

from medbench.reports.assessment import Assessment
from medbench.reports.latex import write_latex
from medbench.reports.markdown import write_markdown
from medbench.reports.tables import write_csv, write_leaderboard_json


def write_leaderboard(assessment: Assessment, folder: Path) -> None:
    """Write ``leaderboard.csv``, ``.json``, ``.md`` and ``.tex``, ``scores.csv``, ``classes.csv``.

    Args:
        assessment: The run, assessed.
        folder: Where the files go.

    Raises:
        StoreError: The folder cannot be written.
    """
    for write in (write_csv, write_leaderboard_json, write_markdown, write_latex):
        write(assessment, folder)
