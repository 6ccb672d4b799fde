"""Run the cells of a finished run again and say whether they give the same predictions."""

from __future__ import annotations

import argparse
from pathlib import Path

from medbench.cli.options import add_catalog, add_jobs, add_limits, add_plugin, given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``reproduce``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--datasets", nargs="+", metavar="NAME", help="only these data sets")
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help="only these models; onnx:PATH where one learns on a backbone's file",
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="the folder, if the run was given one"
    )
    add_jobs(parser, "as in the run")
    add_limits(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="keep the new run here (default: nowhere)"
    )
    parser.add_argument(
        "--weights-dir", type=Path, metavar="FOLDER", help="where pretrained weights are"
    )
    add_catalog(parser)
    add_plugin(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """0 if every cell gave the same predictions; 1 if an input or a prediction differs."""
    from medbench.running.options import ReproduceOptions
    from medbench.running.reproduce import reproduce

    return 0 if reproduce(options.run, ReproduceOptions.of(given(options))).same else 1
