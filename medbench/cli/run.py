"""Tune models on data sets under one equal budget and write a leaderboard."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from medbench.cli.options import add_catalog, add_plugin, duration, whole

if TYPE_CHECKING:
    from medbench.execution.plan import Place, Settings
    from medbench.tuning.budget import Budget

HELP = "tune models on data sets and write a leaderboard"
_DEFAULT_SUITE = "demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``run``."""
    what = parser.add_argument_group("what to run")
    what.add_argument(
        "--suite", metavar="NAME", help="a suite by name or YAML file (default: demo)"
    )
    what.add_argument(
        "--data", type=Path, metavar="FOLDER", help="a folder with one sub-folder per class"
    )
    what.add_argument("--datasets", nargs="+", metavar="NAME", help="registered data sets")
    what.add_argument("--models", nargs="+", metavar="NAME", help="model families (default: all)")
    budget = parser.add_argument_group("budget of each cell (data set x model x split)")
    budget.add_argument(
        "--budget", metavar="NAME", help="smoke, quick (default), standard or thorough"
    )
    budget.add_argument("--trials", type=whole(1), metavar="N", help="most configurations to try")
    budget.add_argument("--time", type=duration, metavar="T", help="most seconds, as 90s, 2m, 1h")
    protocol = parser.add_argument_group("protocol")
    protocol.add_argument(
        "--folds", type=whole(2), metavar="K", help="outer folds where there is no official split"
    )
    protocol.add_argument(
        "--strict-split",
        action="store_true",
        help="leave training images out whose patient is also in the official test part",
    )
    protocol.add_argument("--seed", type=whole(0), metavar="N", help="default: 0")
    protocol.add_argument(
        "--tuner", metavar="NAME", help="optuna, keras-tuner or hyperband, for every family"
    )
    place = parser.add_argument_group("places")
    place.add_argument("--out", type=Path, metavar="RUN", help="run folder (default: results/...)")
    add_catalog(place)  # type: ignore[arg-type]
    place.add_argument(
        "--weights-dir",
        type=Path,
        metavar="FOLDER",
        help="where pretrained weights are (or set MEDBENCH_WEIGHTS)",
    )
    place.add_argument("--threads", type=whole(1), metavar="N", help="default: all cores")
    add_plugin(parser)
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave unreadable images out"
    )
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Plan, run what is missing, and report; 1 if a cell failed."""
    from medbench import registry
    from medbench.cli.progress import make_console, make_watcher
    from medbench.cli.report import report
    from medbench.datasets.catalog import load_catalog
    from medbench.execution.environment import describe_environment
    from medbench.execution.local import run_cells
    from medbench.execution.plan import plan_cells, plan_datasets
    from medbench.store import RunStore

    for plugin in options.plugin:
        registry.load_plugin(plugin)
    catalog = load_catalog(
        data_dir=options.data_dir, datasets_file=options.datasets_file, folder=options.data
    )
    name, datasets, models, settings = _selection(options)
    for model in models:
        registry.models.get(model)
    if settings.tuner is not None:
        registry.tuners.get(settings.tuner)
    for dataset in datasets:
        catalog.get(dataset)
    place = _place(options)
    console = make_console()
    store = RunStore(options.out or Path("results") / name)
    with store.lock():
        store.check(settings.as_record())
        with make_watcher(console) as watcher:
            prepared = plan_datasets(datasets, catalog, settings, place)
            store.begin(settings.as_record())
            store.write_environment(describe_environment(place.threads))
            cells = plan_cells(prepared, models, settings, place, watcher.say)
            watcher.say(
                f"{len(datasets)} data set{'s' * (len(datasets) > 1)} x {len(models)} models, "
                f"{len(cells)} cells, each {settings.budget}, on {place.threads} threads"
            )
            run_cells(cells, store, place, watcher)
        result = report(store, console)
    failed = {cell.id for cell in result.cells if cell.status == "failed"}
    return 1 if failed & {cell.id for cell in cells} else 0


def _selection(
    options: argparse.Namespace,
) -> tuple[str, list[str], list[str], Settings]:
    """Name of the run, data sets, models and settings, from a suite and the options over it."""
    from medbench import registry
    from medbench.datasets.catalog import safe_name
    from medbench.errors import ConfigurationError
    from medbench.execution.plan import Settings
    from medbench.execution.suite import Suite, load_suite

    chosen = list(options.datasets or [])
    if options.data is not None:
        folder = safe_name(options.data.resolve().name)
        if folder in chosen:
            raise ConfigurationError(
                f"--data {options.data} and --datasets {folder} would have the same name. "
                "Run them one after the other, or rename the folder."
            )
        chosen.append(folder)
    chosen = list(dict.fromkeys(chosen))
    if options.suite or not chosen:
        name, suite = load_suite(options.suite or _DEFAULT_SUITE)
    else:
        everything = tuple(registry.models.names())
        name, suite = "-".join(chosen), Suite(datasets=tuple(chosen), models=everything)
    models = options.models or [*suite.models, *registry.models.added()]
    settings = Settings(
        budget=_budget(options, suite.budget),
        folds=options.folds or suite.folds,
        repeats=suite.repeats,
        inner_folds=suite.inner_folds,
        seed=suite.seed if options.seed is None else options.seed,
        strict_split=options.strict_split,
        tuner=options.tuner,
    )
    return name, chosen or list(suite.datasets), list(dict.fromkeys(models)), settings


def _budget(options: argparse.Namespace, default: str) -> Budget:
    from medbench.errors import ConfigurationError
    from medbench.execution.suite import named_budget
    from medbench.tuning.budget import Budget

    if options.trials is None and options.time is None:
        return named_budget(options.budget or default)
    if options.budget is not None:
        raise ConfigurationError("give either --budget, or --trials and --time.")
    return Budget(trials=options.trials, seconds=options.time)


def _place(options: argparse.Namespace) -> Place:
    from medbench.cache import cache_folder
    from medbench.execution.environment import available_threads
    from medbench.execution.plan import Place

    return Place(
        cache=cache_folder(),
        threads=options.threads or available_threads(),
        plugins=tuple(plugin.expanduser().resolve() for plugin in options.plugin),
        weights_dir=options.weights_dir,
        skip_unreadable=options.skip_unreadable,
    )
