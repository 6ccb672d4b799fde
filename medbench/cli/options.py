"""Options that several verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.errors import ConfigurationError
from medbench.running.options import Options, RunOptions
from medbench.running.values import Check

if TYPE_CHECKING:
    from medbench.inference.model import Model

_RULES = ("sensitivity", "specificity")
_NO_OPTION = ("verb", "command", "execute", "run")
"""What a parsed command line holds beside the options of its verb."""


def add_plugin(parser: argparse.ArgumentParser) -> None:
    """``--plugin``."""
    parser.add_argument(
        "--plugin",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a Python file that registers models, sources, readers or tuners (may be repeated)",
    )


def add_catalog(parser: argparse.ArgumentParser) -> None:
    """``--data-dir`` and ``--datasets-file``."""
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="FOLDER",
        help="where the images of registered data sets are (or set MEDBENCH_DATA)",
    )
    parser.add_argument(
        "--datasets-file", type=Path, metavar="YAML", help="more data sets to register"
    )


def add_skip_unreadable(parser: argparse._ActionsContainer) -> None:
    """``--skip-unreadable``."""
    parser.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="leave unreadable images out and say how many (default: list them and stop)",
    )


def add_images(parser: argparse._ActionsContainer) -> None:
    """``--images`` and ``--no-images``: True, False, or None for what the licences allow."""
    parser.add_argument(
        "--images",
        action=argparse.BooleanOptionalAction,
        help="show images of patients on the page and keep their pictures in the run (default: as "
        "before in this run, else of data sets whose licence lets them be passed on)",
    )


def add_jobs(parser: argparse._ActionsContainer, threads: str) -> None:
    """``--jobs`` and ``--threads``; ``threads`` says how many each cell has by default."""
    most = taken_by(RunOptions, "jobs")
    parser.add_argument("--jobs", type=most, default=1, metavar="N", help="cells at a time")
    parser.add_argument(
        "--threads", type=most, metavar="N", help=f"of each cell (default: {threads})"
    )


def add_limits(parser: argparse._ActionsContainer) -> None:
    """``--cell-time`` and ``--cell-memory``."""
    parser.add_argument(
        "--cell-time",
        type=taken_by(RunOptions, "cell_time"),
        metavar="T",
        help="end a cell that takes longer in all, as 30m (default: 10 times the seconds of the "
        "budget, an hour, and a second for each image; a week for a budget of trials only)",
    )
    parser.add_argument(
        "--cell-memory",
        type=taken_by(RunOptions, "cell_memory"),
        metavar="SIZE",
        help="end a cell that takes more memory, as 4GB (default: 80%% of what the machine or its "
        "container has, divided by --jobs; Linux only)",
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """``--run``, ``--dataset`` and ``--models``: which fitted model is meant."""
    parser.add_argument(
        "--run",
        type=Path,
        required=True,
        metavar="RUN",
        help="a run folder, or the folder of an exported model",
    )
    add_dataset_and_model(parser)


def add_dataset_and_model(parser: argparse.ArgumentParser) -> None:
    """``--dataset`` and ``--models``."""
    parser.add_argument(
        "--dataset",
        "--datasets",
        metavar="NAME",
        help="the data set that the model is of, where the run has several",
    )
    parser.add_argument(
        "--models",
        default="best",
        metavar="best|NAME",
        help="the model (default: best, by its inner scores)",
    )


def add_operating_point(parser: argparse._ActionsContainer) -> None:
    """``--sensitivity`` or ``--specificity``, and ``--positive``, the class that they are about."""
    group = parser.add_mutually_exclusive_group()
    for rule in _RULES:
        group.add_argument(
            f"--{rule}",
            type=float,
            metavar="X",
            help=f"operating point with at least this {rule} on development data (default: the "
            "highest sum of sensitivity and specificity, or that of the run)",
        )
    parser.add_argument(
        "--positive",
        metavar="CLASS",
        help="the positive of two classes, the one to be found, which these are about (default: "
        "as the entry or the run has it, else the one that is a disease by its name)",
    )


def chosen_model(options: argparse.Namespace) -> Model:
    """The model that ``add_model`` and ``add_operating_point`` tell."""
    from medbench.inference.load import load_model_at

    return load_model_at(
        options.run,
        dataset=options.dataset,
        model=options.models,
        plugins=options.plugin,
        sensitivity=options.sensitivity,
        specificity=options.specificity,
        positive=options.positive,
    )


def taken_by(options: type[Options], name: str) -> Callable[[str], Any]:
    """What makes of the text of an option what Python may be given, for argparse."""
    return as_type(options.check(name))


def as_type(check: Check) -> Callable[[str], Any]:
    """A type for argparse, whose message is that of the check."""

    def convert(text: str) -> Any:
        try:
            return check(text)
        except ConfigurationError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def given(options: argparse.Namespace) -> dict[str, Any]:
    """The options of a verb, for the Python function of its name."""
    return {name: value for name, value in vars(options).items() if name not in _NO_OPTION}
