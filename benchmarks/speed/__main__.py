"""``python benchmarks/speed``: every speed benchmark, both sides in one run, one table."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path

import table
from harness import BenchmarkError, Record, Settings

from medbench.cores import available_threads
from medbench.execution.environment import describe_environment

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what benchmarks share
from markers import write_between_markers

BENCHMARKS = {
    "overhead": "overhead",
    "hog-svm": "hog_svm",
    "head-search": "head_search",
    "engines": "embedding_engines",
    "workers": "workers",
    "help": "help_start",
    "two-cores": "two_cores",
    "near-duplicates": "near_duplicates",
    "bootstrap": "bootstrap",
    "report": "report_page",
    "prediction": "prediction",
}
"""Names for ``--only``, and the file that measures each."""
EARLIER = {
    "cells": "earlier",
    "demo": "earlier",
    "memory": "earlier",
    "tests": "earlier",
    "names": "data_sets",
    "reading": "data_sets",
    "unreadable": "second_start",
    "survive": "survive",
    "drawing": "drawing",
}
"""Likewise, each a function of that name: MedBench against an earlier commit of itself."""


def main() -> int:
    """Measure, print, write; 1 if a benchmark could not be measured."""
    options = _options()
    measured = {
        **describe_environment(available_threads()),
        "load_at_start": list(os.getloadavg()),
        "size": "quick" if options.quick else "full",
    }
    records: dict[str, list[Record]] = {"speed": [], "earlier": []}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="medbench-speed-") as scratch:
        settings = Settings(
            quick=options.quick,
            scratch=Path(scratch),
            cores=available_threads(),
            data_dir=options.data_dir and options.data_dir.resolve(),
            weights_dir=options.weights_dir and options.weights_dir.resolve(),
            commit=options.commit,
        )
        for name in options.only or (*BENCHMARKS, *EARLIER):
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                if name in EARLIER:
                    measure = getattr(importlib.import_module(EARLIER[name]), name)
                    records["earlier"] += measure(settings)
                else:
                    records["speed"] += importlib.import_module(BENCHMARKS[name]).measure(settings)
            except BenchmarkError as error:
                failed[name] = str(error)
                print(f"{name}: {error}", file=sys.stderr)
    everything = [record for measured_ones in records.values() for record in measured_ones]
    table.show(everything, failed)
    if options.json is not None:
        content = {
            "machine": measured,
            "records": [record.as_json() for record in everything],
            "failed": failed,
        }
        options.json.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    if options.docs is not None:
        for marker, own in records.items():
            if own:
                text = table.as_markdown(own, failed, measured)
                write_between_markers(options.docs, marker, text)
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python benchmarks/speed", description=__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*BENCHMARKS, *EARLIER],
        metavar="NAME",
        help="%(choices)s; those of the table that is written with --docs, all of it",
    )
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that everything works"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    parser.add_argument(
        "--docs",
        type=Path,
        metavar="FILE",
        help="write the tables between the markers of this page",
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="FOLDER", help="real films, in its covid-cxr (else drawn)"
    )
    parser.add_argument(
        "--weights-dir", type=Path, metavar="FOLDER", help="pretrained weights (else random)"
    )
    parser.add_argument(
        "--commit",
        metavar="COMMIT",
        help="what survive and drawing are compared with (default: 22ac0f1, e553f4c)",
    )
    options = parser.parse_args()
    if options.docs is not None and options.quick:
        parser.error("--docs wants full sizes: leave --quick away.")
    return options


if __name__ == "__main__":
    sys.exit(main())
