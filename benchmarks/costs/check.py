"""First estimates of runs against what the runs took."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from medbench.cache import VARIABLE

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from estimates import ALLOWED, watched


def check(options: argparse.Namespace, scratch: Path) -> int:
    """Run each data set, and print a table; 1 if an estimate is off by more than ``ALLOWED``."""
    worst = 1.0
    print("| data set | run | estimate s | took s | of which cells and reports s | factor |")
    print("|---|---|---|---|---|---|")
    for name in options.datasets:
        for again in range(1 + options.again):
            arguments = [
                "--datasets",
                name,
                *options.run,
                "--out",
                str(scratch / f"{name}-{again}"),
            ]
            for option, folder in (
                ("--data-dir", options.data_dir),
                ("--weights-dir", options.weights_dir),
            ):
                arguments += [option, str(folder)] if folder is not None else []
            run = watched(arguments, {VARIABLE: str(scratch / f"cache-{name}")})
            if run.factor is None:
                raise SystemExit(f"{name}: the run gave no estimate (exit {run.status})")
            worst = max(worst, run.factor)
            which = "again" if again else "first"
            print(
                f"| {name} | {which} | {run.estimate:.0f} | {run.took:.0f} | {run.after:.0f} "
                f"| {run.factor:.2f} |",
                flush=True,
            )
    print(f"\nWorst factor {worst:.2f}; allowed {ALLOWED:g}.")
    return int(worst > ALLOWED)
