"""Apply the model of a run, as it is, to other data sets: internal against external."""

from __future__ import annotations

import argparse
from pathlib import Path

from medbench.cli.options import add_catalog, add_plugin, add_skip_unreadable, given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``evaluate``."""
    parser.add_argument("--run", type=Path, required=True, metavar="RUN", help="a run folder")
    parser.add_argument(
        "--datasets",
        nargs="+",
        default=[],
        metavar="NAME",
        help="the data sets to apply it to; with --data, that folder too",
    )
    parser.add_argument(
        "--class-map",
        nargs="+",
        action="extend",
        metavar="THEIRS=OURS",
        help="their classes in the model's words; a class that is not named is left out; an = "
        r"within a name, and a - at its beginning, is written \= and \- (default: asked where the "
        "names differ)",
    )
    parser.add_argument(
        "--trained-on",
        metavar="NAME",
        help="the data set of the run whose model is meant, where it has several",
    )
    parser.add_argument(
        "--models",
        nargs="+",
        default=["best"],
        metavar="best|NAME",
        help="the models (default: best, by its inner scores)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="a folder with one sub-folder per class, a BIDS tree, or a zip or tar archive of one",
    )
    add_catalog(parser)
    add_plugin(parser)
    add_skip_unreadable(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Predict, keep, and say what became of the score."""
    from medbench.inference.apart import apart

    return apart(options.run, options.command, lambda: _execute(options))


def _execute(options: argparse.Namespace) -> int:
    """As ``execute``, in the process in which the models work."""
    from medbench.running.evaluate import evaluate
    from medbench.running.options import EvaluateOptions

    evaluate(options.run, EvaluateOptions.of(given(options)))
    return 0
