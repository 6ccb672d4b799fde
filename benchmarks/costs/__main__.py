"""``python benchmarks/costs``: make the table of reference costs anew, or check what is estimated.

Without options: cells of every built-in family on generated images, one at a time, in about five
minutes of a quiet machine of two cores; ``medbench/execution/reference_costs.json`` is replaced.

With ``--check``: a run on each of the given data sets, with a cache of its own, and of each what it
said before it started, what it took, and the factor between them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import check
import measure

from medbench.execution.costs import TABLE


def main() -> int:
    """Measure and write, or check and print; 1 if an estimate is off by more than is allowed."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="medbench-costs-") as scratch:
        if options.check:
            return check.check(options, Path(scratch))
        begun = time.monotonic()
        measure.write(options.table, Path(scratch), options.weights_dir, quick=options.quick)
        print(f"{options.table}: made in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/costs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="one small point, to see that everything works"
    )
    parser.add_argument("--table", type=Path, default=TABLE, metavar="FILE", help="what is written")
    parser.add_argument("--weights-dir", type=Path, metavar="FOLDER", help="pretrained weights")
    checking = parser.add_argument_group("check")
    checking.add_argument("--check", action="store_true", help="compare estimates with runs")
    checking.add_argument("--datasets", nargs="+", default=["phantoms-mr"], metavar="NAME")
    checking.add_argument("--data-dir", type=Path, metavar="FOLDER", help="where their images are")
    checking.add_argument(
        "--again", action="store_true", help="also a second run, which knows more"
    )
    checking.add_argument(
        "run", nargs="*", metavar="-- OPTION", help="further options of run, after --"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
