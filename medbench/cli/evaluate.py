"""Apply the model of a run, as it is, to other data sets: internal against external."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medbench.cli.options import add_catalog, add_plugin, add_skip_unreadable

if TYPE_CHECKING:
    from rich.console import Console

    from medbench.datasets.prepared import PreparedDataset
    from medbench.inference.class_map import ClassMap
    from medbench.inference.model import Model

_LEAVE_OUT = "-"
"""What a person answers to leave a class out."""


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
        "--data", type=Path, metavar="FOLDER", help="a folder with one sub-folder per class"
    )
    add_catalog(parser)
    add_plugin(parser)
    add_skip_unreadable(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Predict, keep, and say what became of the score."""
    from medbench.cli.apart import apart

    return apart(options.run, options, _execute)


def _execute(options: argparse.Namespace) -> int:
    """As ``execute``, in the process in which the models work."""
    from medbench.datasets.catalog import load_catalog, safe_name
    from medbench.errors import ConfigurationError
    from medbench.inference.external import evaluate, prepare_like
    from medbench.inference.load import load_model
    from medbench.reports.external import external_words, externals
    from medbench.reports.stored import assessed
    from medbench.reports.text import plain
    from medbench.running.ask import asking
    from medbench.running.progress import make_console
    from medbench.running.writing import write_everything
    from medbench.store import RunStore

    console, store = make_console(), RunStore(options.run)
    store.read()  # an exported model has no run to keep it in, and says so here
    catalog = load_catalog(
        data_dir=options.data_dir, datasets_file=options.datasets_file, folder=options.data
    )
    others = dict.fromkeys(options.datasets)
    if options.data is not None:
        others[safe_name(options.data.resolve().name)] = None
    if not others:
        raise ConfigurationError("no data set is named. Give --datasets NAME, or --data FOLDER.")
    evaluated = []
    for name in dict.fromkeys(options.models):
        model = load_model(
            options.run, dataset=options.trained_on, model=name, plugins=options.plugin
        )
        for other in others:
            read = functools.partial(
                prepare_like,
                model,
                other,
                catalog,
                skip_unreadable=options.skip_unreadable,
                say=functools.partial(console.print, soft_wrap=True, markup=False),
            )
            data = asking(catalog, read)
            for note in data.notes:
                console.print(f"{data.name}: {plain(note)}", soft_wrap=True, markup=False)
            class_map = _class_map(options.class_map, model, data, console)
            with store.lock():
                evaluated.append(evaluate(model, data, class_map, store))
    assessment = assessed(store.read())
    for dataset in assessment.datasets:
        for one in externals(assessment.run, dataset):
            if one.result.record in evaluated:
                console.print(external_words(one), soft_wrap=True, markup=False)
    with store.lock():
        write_everything(assessment, console)
    return 0


def _class_map(
    given: Sequence[str] | None, model: Model, data: PreparedDataset, console: Console
) -> ClassMap:
    """What is given, what is plain, or what a person answers."""
    from medbench.errors import ConfigurationError
    from medbench.inference.class_map import read_map, same_names

    if given is not None:
        return read_map(given, ours=model.task.classes, theirs=data.task.classes)
    plain = same_names(model.task.classes, data.task.classes)
    if plain is not None:
        return plain
    if not sys.stdin.isatty():
        return {name: name for name in data.task.classes if name in model.task.classes}
    ours = model.task.classes
    console.print(
        f"The model tells {', '.join(ours)}; {data.name} has {', '.join(data.task.classes)}. "
        f"Which is which? ({_LEAVE_OUT} leaves a class out)",
        markup=False,
    )
    from rich.prompt import Prompt
    from rich.text import Text

    try:
        answers = {
            name: Prompt.ask(
                Text(name),
                console=console,
                choices=[*ours, _LEAVE_OUT],
                show_choices=False,
                default=name if name in ours else _LEAVE_OUT,
            )
            for name in data.task.classes
        }
    except EOFError as error:
        raise ConfigurationError("not answered: give --class-map THEIRS=OURS.") from error
    return {name: answer for name, answer in answers.items() if answer != _LEAVE_OUT}
