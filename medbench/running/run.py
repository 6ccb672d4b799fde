"""``medbench.run``: tune models on data sets under one equal budget and write a leaderboard."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from medbench.errors import AuditError, MachineError, MedBenchError
from medbench.execution.cell_limits import limits_of
from medbench.execution.costs import Costs
from medbench.execution.environment import describe_environment
from medbench.execution.plan import KEPT_BACK, PlannedCell, plan_cells, plan_datasets, share_time
from medbench.execution.run import run_cells
from medbench.execution.stock import take_stock
from medbench.faults import is_fault, reason_of
from medbench.reports.assessment import Assessment
from medbench.reports.page.pictures import keep_pictures, may_be_shown
from medbench.reports.stored import assessed
from medbench.reports.terminal import print_leaderboard
from medbench.reports.text import format_seconds, plain
from medbench.running.ask import asking
from medbench.running.before_training import audited, write_audits
from medbench.running.call import call
from medbench.running.downloading import download_missing
from medbench.running.dry_run import print_plan
from medbench.running.live import make_watcher
from medbench.running.load import Run
from medbench.running.options import RunOptions
from medbench.running.progress import make_console, unfinished_in_words
from medbench.running.wanted import Wanted, wanted_of
from medbench.running.writing import write_everything
from medbench.store import RunStore

_Path = str | os.PathLike[str]
_Words = str | Iterable[str]
_Seconds = str | float


def run(
    *,
    suite: _Path | None = None,
    data: _Path | None = None,
    datasets: _Words | None = None,
    models: _Words | None = None,
    no_sanity: bool = False,
    inflation: _Words = (),
    budget: str | None = None,
    trials: int | None = None,
    time: _Seconds | None = None,
    total_time: _Seconds | None = None,
    folds: int | None = None,
    seeds: int | None = None,
    seed: int | None = None,
    strict_split: bool = False,
    sensitivity: float | None = None,
    specificity: float | None = None,
    positive: str | None = None,
    tuner: str | None = None,
    jobs: int = 1,
    threads: int | None = None,
    executor: str | None = None,
    cell_time: _Seconds | None = None,
    cell_memory: str | int | None = None,
    retry: Literal["failed"] | None = None,
    dry_run: bool = False,
    out: _Path | None = None,
    data_dir: _Path | None = None,
    datasets_file: _Path | None = None,
    download: bool = False,
    weights_dir: _Path | None = None,
    plugin: _Path | Iterable[_Path] = (),
    images: bool | None = None,
    skip_unreadable: bool = False,
    fail_on_audit: bool | Literal["serious", "warning"] | None = None,
    **unknown: Any,
) -> Run:
    """Tune models on data sets under one equal budget, and write a leaderboard.

    This is ``python -m medbench run``, with its names, defaults and errors: ``--data-dir D`` is
    ``data_dir="D"``. It prints what the command prints, in a notebook too. Each cell (data set x
    model x split) has a process of its own, which is no copy of this one: scripts need no main
    guard, and a kernel is not forked. After Ctrl-C, and after any error, what is finished stays in
    the run folder, and the same call goes on with it. A cell that fails is a row of the leaderboard
    and no error; see ``Run.failed``.

    Args:
        suite: A suite by name, or its YAML file; ``"demo"`` where no data set is named.
        data: A folder with one sub-folder of images per class.
        datasets: Names of registered data sets; one or several.
        models: Names of model families, or ``"all"``; one or several. Those of the suite, or the
            core ones, where None are named; and those of ``plugin``.
        no_sanity: Leave out the sanity rows that are not named.
        inflation: Models that also run with images split one by one, to show what copies and
            patients on both sides of a split would add.
        budget: Of each cell: ``"smoke"``, ``"quick"`` (the default), ``"standard"`` or
            ``"thorough"``.
        trials: Most configurations that a cell may try, instead of ``budget``.
        time: Most wall seconds of a cell's search, as ``90`` or ``"2m"``, instead of ``budget``.
        total_time: Wall seconds of the whole run, as ``time``, divided over its cells.
        folds: Outer folds where there is no official split; 5 by default.
        seeds: How often folds are drawn, or with how many seeds an official split runs; 1 by
            default.
        seed: Base seed, 0 by default.
        strict_split: Leave training images out whose patient is also in the official test part.
        sensitivity: Ask for an operating point of at least this sensitivity on development data,
            above 0 and up to 1; by default that of the highest Youden index.
        specificity: The same for the specificity; give one of them.
        positive: The positive of two classes.
        tuner: ``"optuna"``, ``"keras-tuner"`` or ``"hyperband"``, for every family.
        jobs: Cells that run at a time.
        threads: Of each cell; all cores, divided by ``jobs``, by default.
        executor: ``"local"``, a process for each cell, or ``"inline"``: in this process, without a
            firewall, for debugging.
        cell_time: Wall seconds, as ``time``, after which a cell is ended.
        cell_memory: Bytes, or a text as ``"4GB"``, above which a cell is ended (Linux only).
        retry: ``"failed"`` runs cells again that failed.
        dry_run: Print the plan and an estimate, and train nothing.
        out: The run folder; ``results/`` and the name of the suite or data sets by default.
        data_dir: Where the images of registered data sets are; before ``MEDBENCH_DATA``.
        datasets_file: A YAML file of more data sets.
        download: Fetch data sets that are not here.
        weights_dir: Where pretrained weights are; before ``MEDBENCH_WEIGHTS``.
        plugin: Python files that register models, sources, readers or tuners; one or several.
        images: Whether the page and the run folder show images of patients; where None, as before
            in this run, else of data sets whose licence lets them be passed on.
        skip_unreadable: Leave unreadable images out, instead of stopping.
        fail_on_audit: Stop where the audit has findings that are ``"serious"`` (or True), or
            ``"warning"`` and above.
        **unknown: There is none; what is misspelt is refused with the closest name.

    Returns:
        The run, as ``medbench.load_run`` gives it. With ``dry_run``, as far as it is there.

    Raises:
        ConfigurationError: A name or a value cannot be, or two contradict each other. The message
            is that of the command line, where ``data_dir`` is called ``--data-dir``.
        PluginError: A plugin cannot be loaded.
        DatasetError: The images of a data set cannot be used as they are; an ``UndecidedError``
            where only a person can tell what they mean, and nobody can be asked.
        AuditError: ``fail_on_audit`` has stopped it; nothing was trained or written.
        ProtocolError: The data cannot be split or the operating point not be reached as asked.
        StoreError: The run folder is in use, was begun with other settings, or cannot be written.
        MachineError: There is no disk or memory.
    """
    given = {name: value for name, value in locals().items() if name != "unknown"}
    with call("medbench.run"):
        return _run(RunOptions.of({**given, **unknown}))


def _run(options: RunOptions) -> Run:
    """As ``run``."""
    wanted = wanted_of(options)
    try:
        # What is unclear of a data set is asked when nothing is shown any more, and all begins
        # again.
        return asking(wanted.catalog, lambda: _decided_run(options, wanted))
    except Exception as error:
        if isinstance(error, MedBenchError | OSError) or not is_fault(error):
            raise  # told as it is, or a fault of ours
        raise MachineError(
            f"{reason_of(error)}. What is finished is kept: give the same command again when there "
            "is room for it.",
            options={"--jobs": "lets fewer cells run at a time"},
        ) from error


def _decided_run(options: RunOptions, wanted: Wanted) -> Run:
    """As ``run``.

    Raises:
        UndecidedError: What a data set holds is unclear; nothing was trained or written yet.
    """
    setup, retry_failed = wanted.setup, options.retry == "failed"
    console = make_console()
    store = RunStore(options.out or Path("results") / wanted.name)
    if options.dry_run:
        _dry_run(wanted, store, console, retry_failed=retry_failed)
        return Run(store.folder, cells=())
    if options.download:
        download_missing(wanted.datasets, wanted.catalog, options.data_dir, console)
    with store.lock():
        with make_watcher(console) as watcher:
            cells = _plan(wanted, store, watcher.say)
            audits = audited(cells, watcher.say)
            fatal = [name for name, found in audits.items() if found.reaches(options.fail_on_audit)]
            if fatal:
                raise AuditError(
                    f"{', '.join(fatal)}: the audit found what is {options.fail_on_audit}. Stopped "
                    "by --fail-on-audit: nothing was trained or written."
                )
            shown = store.begin(cells[0].settings.as_record(), images=options.images)
            write_audits(cells, audits, store, shown)
            store.write_environment(describe_environment(setup.threads, setup.jobs))
            watcher.say(_in_words(wanted, cells))
            ended = run_cells(cells, store, setup, watcher, retry_failed=retry_failed)
        began = clock.perf_counter()
        assessment = assessed(store.read())
        if not console.is_jupyter:  # where the run shows itself
            print_leaderboard(assessment, console)  # first: what cannot be written can be read
        if ended:
            console.print(Text(unfinished_in_words(list(ended.values())), style="bold yellow"))
        _keep_pictures(cells, assessment)
        write_everything(assessment, console)
        Costs(setup.threads).learn_reports(cells, clock.perf_counter() - began)
    return Run(store.folder, assessment, cells=[cell.id for cell in cells])


def _dry_run(wanted: Wanted, store: RunStore, console: Console, *, retry_failed: bool) -> None:
    """Print what a run would do; only the cache of decoded images may be written."""

    def say(text: str) -> None:
        console.print(text, markup=False)

    say("Reading the data sets: what was never decoded is, into the cache; nothing is downloaded.")
    cells = _plan(wanted, store, say, download=False)
    audited(cells, say)
    say(_in_words(wanted, cells))
    stock = take_stock(cells, store, retry_failed=retry_failed, costs=Costs(wanted.setup.threads))
    say(f"A cell is ended that {limits_of(cells, wanted.setup)}.")
    print_plan(cells, stock, wanted.setup.jobs, console)


def _plan(
    wanted: Wanted, store: RunStore, say: Callable[[str], None], *, download: bool = True
) -> list[PlannedCell]:
    """Every cell with its final budget; the run folder is only read."""
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
    prepared = {cell.dataset.data.name: cell.dataset.data for cell in cells}
    for dataset in assessment.datasets:
        data = prepared.get(dataset.name)
        if data is not None and may_be_shown(dataset.record, assessment.run.images):
            keep_pictures(assessment.run, dataset, data.images, data.labels)


def _in_words(wanted: Wanted, cells: Sequence[PlannedCell]) -> str:
    """The plan in a line."""
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
