"""``run --jobs 2 --threads 1`` against ``--jobs 1 --threads 1``: do two cells fight each other?

The same plan of equal cells each time, in a new run folder; a cell takes a quarter of a minute, as
the shortest of a real run do, so that it is not all imports. A first, untimed run leaves the images
decoded and the features extracted, so that the cells do what differs between them; otherwise the
two cells that begin together would both extract what the second one finds. Timed is from the
start of the first cell to the end of the last, as the files that each leaves say: what comes before
and after (imports, tables, figures) is done once a run, by one process, however many cells it has.
"""

from __future__ import annotations

import itertools

from harness import Record, Settings, in_turns, run_medbench
from overhead import seconds_of_cells


def measure(settings: Settings) -> list[Record]:
    """Wall seconds of all cells."""
    folder = settings.folder("workers")
    patients, folds, trials = (12, 2, 1) if settings.quick else (100, 4, 5)
    entry = f"films:\n  source: phantoms\n  patients: {patients}\n"
    (folder / "datasets.yaml").write_text(entry)
    number = itertools.count()

    def seconds(jobs: int) -> float:
        run = folder / f"run-{next(number)}"
        what = ("--datasets", "films", "--datasets-file", folder / "datasets.yaml")
        plan = (*what, "--models", "xgboost", "--no-sanity", "--folds", folds)
        how = ("--trials", trials, "--jobs", jobs, "--threads", 1, "--out", run)
        cost = run_medbench("run", *plan, *how, cache=folder / "cache")
        spent[jobs].append(cost.cpu)
        return seconds_of_cells(run)

    spent: dict[int, list[float]] = {1: [], 2: []}
    seconds(2)
    costs = in_turns(lambda: seconds(2), lambda: seconds(1), settings.repeats)
    return [
        Record(
            name="workers",
            ours_is="two single-thread workers",
            other_is="one",
            unit="s",
            wanted=1.8,
            sense="at least",
            details={
                "cells": folds,
                "trials a cell": trials,
                "CPU s of whole runs, two workers": spent[2][1:],
                "CPU s of whole runs, one": spent[1],
            },
            **costs,
        )
    ]
