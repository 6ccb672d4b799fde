"""``python benchmarks/coverage``: how often the intervals of MedBench hold the truth, simulated."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import page
import simulate

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from markers import write_between_markers

SIMULATIONS, QUICK_SIMULATIONS = 1000, 30
REPLICATES, QUICK_REPLICATES = 400, 100
"""Fewer than the 2,000 of a leaderboard: an interval rests on their standard deviation only."""


def main() -> int:
    """Simulate, print, write; 1 if an interval misses its level and says nothing."""
    options = _options()
    simulations = options.simulations or (QUICK_SIMULATIONS if options.quick else SIMULATIONS)
    replicates = QUICK_REPLICATES if options.quick else REPLICATES
    begun = time.monotonic()
    covered, alarms = [], []
    for setting in simulate.settings(options.quick):
        covered.append(simulate.coverage(setting, simulations, replicates))
        print(f"{time.monotonic() - begun:5.0f} s {setting}", file=sys.stderr, flush=True)
    for setting, n_models, leader in simulate.comparisons(options.quick):
        alarms.append(simulate.false_alarms(setting, n_models, leader, simulations, replicates))
        print(f"{time.monotonic() - begun:5.0f} s comparing", file=sys.stderr, flush=True)
    content = page.as_markdown(covered, alarms, simulations, replicates)
    print(content)
    if options.json is not None:
        figures = {
            "simulations": simulations,
            "replicates": replicates,
            "coverage": [simulate.as_json(each) for each in covered],
            "false_alarms": [simulate.as_json(each) for each in alarms],
        }
        options.json.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n")
    if options.docs is not None:
        write_between_markers(options.docs, "coverage", content)
    return int(any(each.verdict == "MISSES" for each in covered))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python benchmarks/coverage", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="tiny numbers, to see that everything works"
    )
    parser.add_argument("--simulations", type=int, metavar="N", help="test sets a setting")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    parser.add_argument(
        "--docs", type=Path, metavar="FILE", help="write between the markers of this page"
    )
    options = parser.parse_args()
    if options.docs is not None and options.quick:
        parser.error("--docs wants full numbers: leave --quick away.")
    if options.simulations is not None and options.simulations < 1:
        parser.error(f"--simulations is {options.simulations}; at least 1 is needed.")
    return options


if __name__ == "__main__":
    sys.exit(main())
