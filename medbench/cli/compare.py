"""Compare two runs on the same data, model by model and paired on the same patients."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``compare``."""
    parser.add_argument("first", type=Path, metavar="RUN_A", help="a run folder")
    parser.add_argument(
        "second", type=Path, metavar="RUN_B", help="another, of other code or budget"
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Read both and print; nothing is trained or written."""
    from medbench.reports.compare import compare_runs, print_comparison
    from medbench.running.progress import make_console
    from medbench.store import RunStore

    first, second = RunStore(options.first).read(), RunStore(options.second).read()
    print_comparison(compare_runs(first, second), make_console())
    return 0
