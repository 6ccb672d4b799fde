"""Print the leaderboard of a run, and write tables, figures, cards and page again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from medbench.reports.assessment import Assessment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``leaderboard``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Read, print and write; nothing is trained."""
    from medbench.cli.progress import make_console
    from medbench.reports.stored import assessed
    from medbench.reports.terminal import print_leaderboard
    from medbench.store import RunStore

    console = make_console()
    assessment = assessed(RunStore(options.run).read())
    print_leaderboard(assessment, console)  # first: what cannot be written can still be read
    write_everything(assessment, console)
    return 0


def write_everything(assessment: Assessment, console: Console) -> None:
    """Write tables, figures, cards and the page into the run folder, and say where they are.

    The page shows images if that was chosen for the run.

    Args:
        assessment: The run, assessed.
        console: Where to say it; the page comes last.
    """
    from medbench.reports.cards import write_cards
    from medbench.reports.figures import figures_of, write_figures
    from medbench.reports.leaderboard import write_leaderboard
    from medbench.reports.page import write_page

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
