"""Print the leaderboard of a run, and write tables, figures, cards and page again."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``leaderboard``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Read, print and write; nothing is trained."""
    from medbench.reports.stored import assessed
    from medbench.reports.terminal import print_leaderboard
    from medbench.running.progress import make_console
    from medbench.running.writing import write_everything
    from medbench.store import RunStore

    console = make_console()
    assessment = assessed(RunStore(options.run).read())
    print_leaderboard(assessment, console)  # first: what cannot be written can still be read
    write_everything(assessment, console)
    return 0
