"""Print the leaderboard of a run, and write its tables and figures again from what is stored."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``leaderboard``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Read, write and print; nothing is trained."""
    from medbench.cli.progress import make_console
    from medbench.cli.report import report
    from medbench.store import RunStore

    report(RunStore(options.run), make_console())
    return 0
