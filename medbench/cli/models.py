"""List the model families, or show one with its search space."""

from __future__ import annotations

import argparse

from medbench.cli.options import add_plugin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``models``."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="all model families")
    add_plugin(listing)
    listing.set_defaults(execute=list_models)
    info = verbs.add_parser("info", help="one family with its search space")
    info.add_argument("name", metavar="NAME")
    add_plugin(info)
    info.set_defaults(execute=show_model)


def list_models(options: argparse.Namespace) -> int:
    """Name, first line and provider of every family; what is missing or broken is said."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from medbench import registry
    from medbench.execution.requirements import why_unusable
    from medbench.running.progress import make_console

    for plugin in options.plugin:
        registry.load_plugin(plugin)
    table = Table("model", "what it is", "from", "", box=box.SIMPLE)
    for name in registry.models.usable():
        provider = escape(registry.models.provider(name))
        what = escape(summary(registry.models.get(name)))
        table.add_row(name, what, provider, escape(why_unusable(name)))
    make_console().print(table)
    return 0


def show_model(options: argparse.Namespace) -> int:
    """A family's description, reference, tuner and search space."""
    import inspect

    from rich import box
    from rich.table import Table

    from medbench import registry
    from medbench.datasets.task import Task
    from medbench.execution.requirements import missing_of, search_space_of
    from medbench.running.progress import make_console

    for plugin in options.plugin:
        registry.load_plugin(plugin)
    family = registry.models.get(options.name)
    console = make_console()
    console.print(f"{options.name}: {inspect.getdoc(family) or ''}", markup=False)
    if family.reference:
        console.print(f"Reference: {family.reference}", markup=False)
    console.print(f"From: {registry.models.provider(options.name)}", markup=False)
    console.print(f"Tuner: {family.default_tuner}", markup=False)
    if missing := missing_of(options.name):
        console.print(missing, markup=False)
    task = Task(classes=("negative", "positive"), image_shape=(128, 128, 1))
    space = search_space_of(options.name, task)
    table = Table("parameter", "values", "default", "only when", box=box.SIMPLE)
    for parameter in space:
        when = " and ".join(
            f"{name} is {' or '.join(map(str, values))}" for name, values in parameter.when.items()
        )
        table.add_row(parameter.name, _values(parameter), f"{parameter.default}", when)
    if len(space):
        console.print("Search space, for a binary task of 128 x 128 grey images:")
        console.print(table)
    else:
        console.print("It has no parameters.")
    return 0


def summary(family: type) -> str:
    """The first line of a family's docstring."""
    return (family.__doc__ or "").strip().split("\n")[0]


def _values(parameter: object) -> str:
    from medbench.models.space import Choice, Integer, Real

    match parameter:
        case Choice(options=options):
            return ", ".join(map(str, options))
        case Integer(low=low, high=high, log=log) | Real(low=low, high=high, log=log):
            return f"{low:g} to {high:g}{' (log)' if log else ''}"
    raise TypeError(f"{type(parameter).__name__} is not a kind of parameter.")
