"""Tune models on data sets under one equal budget and write a leaderboard."""

from __future__ import annotations

import argparse
from pathlib import Path

from medbench.cli.audit import add_fail_on_audit
from medbench.cli.options import (
    add_catalog,
    add_images,
    add_jobs,
    add_limits,
    add_operating_point,
    add_plugin,
    add_skip_unreadable,
    given,
    taken_by,
)
from medbench.running.options import ALL, CORE, RETRIED, SANITY, RunOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``run``."""
    what = parser.add_argument_group("what to run")
    what.add_argument(
        "--suite", metavar="NAME", help="a suite by name or YAML file (default: demo)"
    )
    what.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="a folder with one sub-folder per class, a BIDS tree, or a zip or tar archive of one",
    )
    what.add_argument("--datasets", nargs="+", metavar="NAME", help="registered data sets")
    what.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help=f"model families, or {ALL}; onnx:PATH is a backbone of your own (default: those of "
        f"the suite, else {' '.join(CORE)}; and those of --plugin files)",
    )
    what.add_argument(
        "--no-sanity",
        action="store_true",
        help=f"leave out the sanity rows ({' '.join(SANITY)}) that are not named",
    )
    what.add_argument(
        "--inflation",
        nargs="+",
        metavar="NAME",
        default=[],
        help="models that also run with images split one by one, to show what copies and patients "
        "on both sides of a split would add",
    )
    budget = parser.add_argument_group("budget of each cell (data set x model x split)")
    budget.add_argument(
        "--budget", metavar="NAME", help="smoke, quick (default), standard or thorough"
    )
    budget.add_argument(
        "--trials",
        type=taken_by(RunOptions, "trials"),
        metavar="N",
        help="most configurations to try",
    )
    budget.add_argument(
        "--time",
        type=taken_by(RunOptions, "time"),
        metavar="T",
        help="most seconds, as 90s, 2m, 1h",
    )
    budget.add_argument(
        "--total-time",
        type=taken_by(RunOptions, "total_time"),
        metavar="T",
        help="for the whole run, divided over its cells",
    )
    protocol = parser.add_argument_group("protocol")
    protocol.add_argument(
        "--folds",
        type=taken_by(RunOptions, "folds"),
        metavar="K",
        help="outer folds where there is no official split",
    )
    protocol.add_argument(
        "--seeds",
        type=taken_by(RunOptions, "seeds"),
        metavar="N",
        help="draw the folds N times, or run an official split with N seeds (default: 1)",
    )
    protocol.add_argument(
        "--seed", type=taken_by(RunOptions, "seed"), metavar="N", help="base seed (default: 0)"
    )
    protocol.add_argument(
        "--strict-split",
        action="store_true",
        help="leave training images out whose patient is also in the official test part",
    )
    add_operating_point(protocol)
    protocol.add_argument(
        "--tuner", metavar="NAME", help="optuna, keras-tuner or hyperband, for every family"
    )
    _add_how_to_run(parser)


def _add_how_to_run(parser: argparse.ArgumentParser) -> None:
    """Options that change no result, but where and how it is computed."""
    how = parser.add_argument_group("how to run")
    add_jobs(how, "all cores / jobs")
    how.add_argument(
        "--executor",
        metavar="NAME",
        help="local (default: a process for each cell), or inline (in this process, without a "
        "firewall, for debugging)",
    )
    add_limits(how)
    how.add_argument("--retry", choices=RETRIED, help="run cells that failed again")
    how.add_argument(
        "--dry-run", action="store_true", help="print the plan and an estimate; train nothing"
    )
    group = parser.add_argument_group("folders")
    group.add_argument("--out", type=Path, metavar="RUN", help="run folder (default: results/...)")
    add_catalog(group)  # type: ignore[arg-type]
    group.add_argument(
        "--download",
        action="store_true",
        help="fetch data sets that are not here (into the cache, or below --data-dir)",
    )
    group.add_argument(
        "--weights-dir",
        type=Path,
        metavar="FOLDER",
        help="where pretrained weights are (or set MEDBENCH_WEIGHTS)",
    )
    add_plugin(parser)
    add_images(parser)
    add_skip_unreadable(parser)
    add_fail_on_audit(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """0 if every cell is finished well, 1 if one failed or is unfinished."""
    from medbench.running.run import run

    return int(bool(run(**given(options)).failed))
