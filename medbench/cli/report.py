"""Tables and figures of a run, written beside it and printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from medbench.store import RunResult, RunStore


def report(store: RunStore, console: Console) -> RunResult:
    """Write the leaderboard and figures of a run, print the leaderboard, and say where it is.

    It is printed first: what cannot be written can still be read.
    """
    from medbench.reports.assessment import assess
    from medbench.reports.figures import write_figures
    from medbench.reports.leaderboard import print_leaderboard, write_leaderboard

    run = store.read()
    assessment = assess(run)
    print_leaderboard(assessment, console)
    write_leaderboard(assessment, store.folder)
    write_figures(assessment, store.folder)
    console.print(
        f"Tables and figures: {store.folder}/leaderboard.md, .csv, .json and figures/",
        soft_wrap=True,
        markup=False,
    )
    return run
