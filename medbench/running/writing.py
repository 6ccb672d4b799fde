"""What reports a run folder holds: tables, figures, cards and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from medbench.reports.assessment import Assessment
from medbench.reports.cards import write_cards
from medbench.reports.figures import figures_of, write_figures
from medbench.reports.latex import write_latex
from medbench.reports.leaderboard import write_leaderboard
from medbench.reports.markdown import write_markdown
from medbench.reports.page import write_page
from medbench.reports.tables import write_csv, write_leaderboard_json


def write_everything(assessment: Assessment, console: Console) -> None:
    """Write tables, figures, cards and the page into the run folder, and say where they are.

    The page shows images if that was chosen for the run.

    Args:
        assessment: The run, assessed.
        console: Where to say it; the page comes last.
    """
    folder = assessment.run.folder
    write_leaderboard(assessment, folder)
    write_cards(assessment, folder)
    figures = figures_of(assessment)
    write_figures(figures, folder)
    page = write_page(assessment, folder, figures=figures)
    for line in (
        f"Tables, figures and cards: {folder}/leaderboard.md, .csv, .json, .tex, figures/, cards/",
        f"Page: {page}",
    ):
        console.print(line, soft_wrap=True, markup=False)


def write_formats(
    assessment: Assessment,
    folder: Path,
    formats: Sequence[str],
    images: bool | None,
    pictures_in: list[Path],
) -> list[Path]:
    """Write a run in some formats.

    Returns:
        The files a reader opens, in the order of the formats.
    """
    writers = {
        "html": lambda: write_page(assessment, folder, images=images, pictures_in=pictures_in),
        "md": lambda: write_markdown(assessment, folder),
        "latex": lambda: write_latex(assessment, folder),
        "csv": lambda: write_csv(assessment, folder),
        "json": lambda: write_leaderboard_json(assessment, folder),
    }
    return [writers[name]() for name in dict.fromkeys(formats)]
