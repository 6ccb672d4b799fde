"""Tune models on data sets under one equal budget and write a leaderboard."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medbench.cli.audit import add_fail_on_audit
from medbench.cli.options import (
    add_catalog,
    add_images,
    add_jobs,
    add_limits,
    add_operating_point,
    add_plugin,
    add_skip_unreadable,
    duration,
    named_datasets,
    operating_point,
    whole,
)
from medbench.counts import LARGEST_SEED, MOST_FOLDS, MOST_SEEDS, MOST_TRIALS

if TYPE_CHECKING:
    from rich.console import Console

    from medbench.datasets.catalog import Catalog
    from medbench.execution.plan import PlannedCell, Settings, Setup
    from medbench.reports.assessment import Assessment
    from medbench.store import RunStore
    from medbench.tuning.budget import Budget

_DEFAULT_SUITE = "demo"
_CORE = ("hog-svm", "xgboost", "cnn", "inceptionv3")
"""Models that run where neither a suite nor the user names any."""
_SANITY = ("majority", "file-properties", "intensity", "border", "thumbnail")
"""Rows that run beside whatever is asked for."""
_ALL = "all"


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
    what.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help=f"model families, or {_ALL} (default: those of the suite, else {' '.join(_CORE)}; "
        "and those of --plugin files)",
    )
    what.add_argument(
        "--no-sanity",
        action="store_true",
        help=f"leave out the sanity rows ({' '.join(_SANITY)}) that are not named",
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
        "--trials", type=whole(1, MOST_TRIALS), metavar="N", help="most configurations to try"
    )
    budget.add_argument("--time", type=duration, metavar="T", help="most seconds, as 90s, 2m, 1h")
    budget.add_argument(
        "--total-time", type=duration, metavar="T", help="for the whole run, divided over its cells"
    )
    protocol = parser.add_argument_group("protocol")
    protocol.add_argument(
        "--folds",
        type=whole(2, MOST_FOLDS),
        metavar="K",
        help="outer folds where there is no official split",
    )
    protocol.add_argument(
        "--seeds",
        type=whole(1, MOST_SEEDS),
        metavar="N",
        help="draw the folds N times, or run an official split with N seeds (default: 1)",
    )
    protocol.add_argument(
        "--seed", type=whole(0, LARGEST_SEED), metavar="N", help="base seed (default: 0)"
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
    _add_places(parser)


def _add_places(parser: argparse.ArgumentParser) -> None:
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
    how.add_argument("--retry", choices=["failed"], help="run cells that failed again")
    how.add_argument(
        "--dry-run", action="store_true", help="print the plan and an estimate; train nothing"
    )
    place = parser.add_argument_group("places")
    place.add_argument("--out", type=Path, metavar="RUN", help="run folder (default: results/...)")
    add_catalog(place)  # type: ignore[arg-type]
    place.add_argument(
        "--download",
        action="store_true",
        help="fetch data sets that are not here (into the cache, or below --data-dir)",
    )
    place.add_argument(
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


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What the options ask for; every name in it is known."""

    name: str
    """Of the run folder, where none is given."""
    datasets: Sequence[str]
    models: Sequence[str]
    """Those that were asked for and the sanity rows."""
    inflated: Sequence[str]
    """Those of them that also run on images split one by one."""
    settings: Settings
    total_time: float | None
    """Seconds to divide over the plan; None for a budget that each cell has in full."""
    catalog: Catalog
    setup: Setup


def execute(options: argparse.Namespace) -> int:
    """Plan, run what is missing, and report; 1 if a cell failed or is unfinished."""
    from medbench.cli.ask import asking
    from medbench.errors import MachineError, MedBenchError
    from medbench.faults import is_fault, reason_of

    wanted = _wanted(options)
    try:
        # What is unclear of a data set is asked when nothing is shown any more, and all begins
        # again.
        return asking(wanted.catalog, lambda: _run(options, wanted))
    except Exception as error:
        if isinstance(error, MedBenchError | OSError) or not is_fault(error):
            raise  # told as it is, or a fault of ours
        raise MachineError(
            f"{reason_of(error)}. What is finished is kept: give the same command again when there "
            "is room for it.",
            options={"--jobs": "lets fewer cells run at a time"},
        ) from error


def _run(options: argparse.Namespace, wanted: _Wanted) -> int:
    """As ``execute``.

    Raises:
        UndecidedError: What a data set holds is unclear; nothing was trained or written yet.
    """
    from rich.text import Text

    from medbench.cli.before_training import audited, write_audits
    from medbench.cli.datasets import download_missing
    from medbench.cli.leaderboard import write_everything
    from medbench.cli.live import make_watcher
    from medbench.cli.progress import make_console, unfinished_in_words
    from medbench.execution.costs import Costs
    from medbench.execution.environment import describe_environment
    from medbench.execution.run import run_cells
    from medbench.reports.stored import assessed
    from medbench.reports.terminal import print_leaderboard
    from medbench.store import RunStore

    setup, retry_failed = wanted.setup, options.retry == "failed"
    console = make_console()
    store = RunStore(options.out or Path("results") / wanted.name)
    if options.dry_run:
        return _dry_run(wanted, store, console, retry_failed=retry_failed)
    if options.download:
        download_missing(wanted.datasets, wanted.catalog, options.data_dir, console)
    with store.lock():
        with make_watcher(console) as watcher:
            cells = _plan(wanted, store, watcher.say)
            audits = audited(cells, watcher.say)
            if any(found.reaches(options.fail_on_audit) for found in audits.values()):
                watcher.say("Stopped by --fail-on-audit: nothing was trained or written.")
                return 1
            images = store.begin(cells[0].settings.as_record(), images=options.images)
            write_audits(cells, audits, store, images)
            store.write_environment(describe_environment(setup.threads, setup.jobs))
            watcher.say(_in_words(wanted, cells))
            ended = run_cells(cells, store, setup, watcher, retry_failed=retry_failed)
        began = time.perf_counter()
        assessment = assessed(store.read())
        print_leaderboard(assessment, console)  # first: what cannot be written can still be read
        if ended:
            console.print(Text(unfinished_in_words(list(ended.values())), style="bold yellow"))
        _keep_pictures(cells, assessment)
        write_everything(assessment, console)
        Costs(setup.threads).learn_reports(cells, time.perf_counter() - began)
    failed = {cell.id for cell in assessment.run.cells if cell.status == "failed"}
    return 1 if ended or failed & {cell.id for cell in cells} else 0


def _dry_run(wanted: _Wanted, store: RunStore, console: Console, *, retry_failed: bool) -> int:
    """Print what a run would do; only the cache of decoded images may be written."""
    from medbench.cli.before_training import audited
    from medbench.cli.dry_run import print_plan
    from medbench.execution.cell_limits import limits_of
    from medbench.execution.costs import Costs
    from medbench.execution.stock import take_stock

    def say(text: str) -> None:
        console.print(text, markup=False)

    say("Reading the data sets: what was never decoded is, into the cache; nothing is downloaded.")
    cells = _plan(wanted, store, say, download=False)
    audited(cells, say)
    say(_in_words(wanted, cells))
    stock = take_stock(cells, store, retry_failed=retry_failed, costs=Costs(wanted.setup.threads))
    say(f"A cell is ended that {limits_of(cells, wanted.setup)}.")
    print_plan(cells, stock, wanted.setup.jobs, console)
    return 0


def _plan(
    wanted: _Wanted, store: RunStore, say: Callable[[str], None], *, download: bool = True
) -> list[PlannedCell]:
    """Every cell with its final budget; the run folder is only read."""
    from medbench.execution.cell_limits import limits_of
    from medbench.execution.plan import plan_cells, plan_datasets, share_time
    from medbench.reports.text import plain

    settings, setup = wanted.settings, wanted.setup
    if wanted.total_time is None:  # else the budget is known only when the cells are
        store.check(settings.as_record())
    inflated = wanted.inflated
    prepared = plan_datasets(
        wanted.datasets, wanted.catalog, settings, setup, by_image=bool(inflated), say=say
    )
    for dataset in prepared:
        for note in dataset.data.notes:
            say(f"{dataset.data.name}: {plain(note)}")
        if inflated and not dataset.by_image:
            say(f"{dataset.data.name}: has an official split, so --inflation has nothing to show")
    cells = plan_cells(
        prepared, wanted.models, settings, setup, say, inflated=inflated, download=download
    )
    if wanted.total_time is not None:
        cells = share_time(cells, wanted.total_time, setup.jobs)
        store.check(cells[0].settings.as_record())
    limits_of(cells, setup)
    return cells


def _keep_pictures(cells: Sequence[PlannedCell], assessment: Assessment) -> None:
    """Put the thumbnails that the page shows into the run folder, where images may be shown."""
    from medbench.reports.page.pictures import keep_pictures, may_be_shown

    prepared = {cell.dataset.data.name: cell.dataset.data for cell in cells}
    for dataset in assessment.datasets:
        data = prepared.get(dataset.name)
        if data is not None and may_be_shown(dataset.record, assessment.run.images):
            keep_pictures(assessment.run, dataset, data.images, data.labels)


def _in_words(wanted: _Wanted, cells: Sequence[PlannedCell]) -> str:
    """The plan in a line."""
    from medbench.execution.plan import KEPT_BACK
    from medbench.reports.text import format_seconds

    datasets, n_cells, setup = len(wanted.datasets), len(cells), wanted.setup
    sanity = len({cell.id.model for cell in cells if cell.model.family.sanity})
    models = len(wanted.models) - sanity
    beside = f" and {sanity} sanity row{'s' * (sanity > 1)}" if sanity else ""
    shared = ""
    if wanted.total_time is not None:
        shared = (
            f" (an equal share of {format_seconds(wanted.total_time)}, {KEPT_BACK:.0%} of it kept "
            "for imports, refits and predictions)"
        )
    at_a_time = f"{setup.jobs} at a time " if setup.jobs > 1 else ""
    return (
        f"{datasets} data set{'s' * (datasets > 1)} x {models} model{'s' * (models != 1)}{beside}, "
        f"{n_cells} cell{'s' * (n_cells > 1)}, each {cells[0].settings.budget}{shared}, "
        f"{at_a_time}on "
        f"{setup.threads} thread{'s' * (setup.threads > 1)}{' each' * (setup.jobs > 1)}"
    )


def _wanted(options: argparse.Namespace) -> _Wanted:
    """What is to be run, from a suite and the options over it.

    Raises:
        ConfigurationError: A name is unknown, or options contradict each other.
    """
    from medbench import registry
    from medbench.datasets.catalog import load_catalog
    from medbench.errors import ConfigurationError
    from medbench.evaluation.operating_point import YOUDEN
    from medbench.execution.plan import Settings
    from medbench.execution.suite import Suite, load_suite

    for plugin in options.plugin:
        registry.load_plugin(plugin)
    catalog = load_catalog(
        data_dir=options.data_dir, datasets_file=options.datasets_file, folder=options.data
    )
    chosen = named_datasets(options.datasets or [], options.data)
    if options.suite or not chosen:
        name, suite = load_suite(
            options.suite or _DEFAULT_SUITE,
            datasets=catalog.sources,
            models=[*registry.models.names(), _ALL],
        )
    else:
        name, suite = "-".join(chosen), Suite(datasets=tuple(chosen), models=_CORE)
    settings = Settings(
        budget=_budget(options, suite.budget),
        folds=options.folds or suite.folds,
        seeds=options.seeds or suite.seeds,
        inner_folds=suite.inner_folds,
        seed=suite.seed if options.seed is None else options.seed,
        strict_split=options.strict_split,
        tuner=options.tuner,
        operating_point=operating_point(options) or YOUDEN,
    )
    models = list(dict.fromkeys(options.models or [*suite.models, *registry.models.added()]))
    if _ALL in models:
        models = registry.models.usable()
    if not options.no_sanity:
        models = [*_SANITY, *(model for model in models if model not in _SANITY)]
    datasets = chosen or list(suite.datasets)
    for model in models:
        registry.models.get(model)
    if missing := [model for model in options.inflation if model not in models]:
        raise ConfigurationError(
            f"--inflation {missing[0]}: is not among the models of this run. Add it to --models."
        )
    if settings.tuner is not None:
        registry.tuners.get(settings.tuner)
    if options.executor is not None:
        registry.executors.get(options.executor)
    for dataset in datasets:
        catalog.get(dataset)
    _decide_positive(options.positive, datasets, catalog)
    return _Wanted(
        name=name,
        datasets=datasets,
        models=models,
        inflated=options.inflation,
        settings=settings,
        total_time=options.total_time,
        catalog=catalog,
        setup=_setup(options),
    )


def _decide_positive(positive: str | None, datasets: Sequence[str], catalog: Catalog) -> None:
    """Take ``--positive``, where it is given, for what the entry of the data set would say."""
    from medbench.errors import ConfigurationError

    if positive is None:
        return
    if len(datasets) > 1:
        raise ConfigurationError(
            f"--positive {positive}: is a class of one data set, and there are {len(datasets)}. "
            "Run it alone, or write the field positive into its entry."
        )
    catalog.decide(datasets[0], positive=positive)


def _budget(options: argparse.Namespace, default: str) -> Budget:
    """The budget of each cell; under ``--total-time`` what bounds its share from above."""
    from medbench.errors import ConfigurationError
    from medbench.execution.suite import named_budget
    from medbench.tuning.budget import Budget

    if options.time is not None and options.total_time is not None:
        raise ConfigurationError(
            "--time bounds each cell and --total-time the whole run: give one of them."
        )
    if options.trials is not None or options.time is not None:
        if options.budget is not None:
            raise ConfigurationError("give either --budget, or --trials and --time.")
        return Budget(trials=options.trials, seconds=options.time)
    if options.budget is None and options.total_time is not None:
        return Budget(trials=None, seconds=options.total_time)
    return named_budget(options.budget or default)


def _setup(options: argparse.Namespace) -> Setup:
    from medbench.cache import cache_folder
    from medbench.cores import available_threads
    from medbench.execution.plan import DEFAULT_EXECUTOR, Setup

    return Setup(
        cache=cache_folder(),
        threads=options.threads or max(1, available_threads() // options.jobs),
        executor=options.executor or DEFAULT_EXECUTOR,
        jobs=options.jobs,
        cell_seconds=options.cell_time,
        cell_memory=options.cell_memory,
        plugins=tuple(plugin.expanduser().resolve() for plugin in options.plugin),
        weights_dir=options.weights_dir,
        skip_unreadable=options.skip_unreadable,
    )
