"""A run from its first look at the data to the last file of its folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from medbench.errors import AuditError
from medbench.execution.cell_limits import limits_of
from medbench.execution.costs import Costs
from medbench.execution.environment import describe_environment
from medbench.execution.plan import KEPT_BACK, PlannedCell, plan_cells, plan_datasets, share_time
from medbench.execution.plan_state import plan_state
from medbench.execution.run import run_cells
from medbench.reports.assessment import Assessment
from medbench.reports.page.pictures import keep_pictures, may_be_shown
from medbench.reports.stored import assessed
from medbench.reports.terminal import print_leaderboard
from medbench.reports.text import format_seconds, plain
from medbench.running.before_training import audit_all, write_audits
from medbench.running.downloading import download_missing
from medbench.running.dry_run import print_plan
from medbench.running.live import make_listener
from medbench.running.load import Run
from medbench.running.options import RunOptions
from medbench.running.progress import make_console, unfinished_in_words
from medbench.running.wanted import Wanted
from medbench.running.writing import write_everything
from medbench.store import RunStore


def carry_out(options: RunOptions, wanted: Wanted) -> Run:
    """Plan, run what is missing, and report; or print the plan only, where that is asked for.

    Args:
        options: Of the call.
        wanted: What they ask for.

    Raises:
        AuditError: A finding is fatal; nothing was trained or written.
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
        with make_listener(console) as listener:
            cells = _plan(wanted, store, listener.say)
            audits = audit_all(cells, listener.say)
            fatal = [name for name, found in audits.items() if found.reaches(options.fail_on_audit)]
            if fatal:
                raise AuditError(
                    f"{', '.join(fatal)}: the audit found what is {options.fail_on_audit}. Stopped "
                    "by --fail-on-audit: nothing was trained or written."
                )
            shown = store.begin(cells[0].settings.as_record(), images=options.images)
            write_audits(cells, audits, store, shown)
            store.write_environment(describe_environment(setup.threads, setup.jobs))
            listener.say(_in_words(wanted, cells))
            ended = run_cells(cells, store, setup, listener, retry_failed=retry_failed)
        began = time.perf_counter()
        assessment = assessed(store.read())
        if not console.is_jupyter:  # where the run shows itself
            print_leaderboard(assessment, console)  # first: what cannot be written can be read
        if ended:
            console.print(Text(unfinished_in_words(list(ended.values())), style="bold yellow"))
        _keep_pictures(cells, assessment)
        write_everything(assessment, console)
        Costs(setup.threads).learn_reports(cells, time.perf_counter() - began)
    return Run(store.folder, assessment, cells=[cell.id for cell in cells])


def _dry_run(wanted: Wanted, store: RunStore, console: Console, *, retry_failed: bool) -> None:
    """Print what a run would do; only the cache of decoded images may be written."""

    def say(text: str) -> None:
        console.print(text, markup=False)

    say("Reading the data sets: what was never decoded is, into the cache; nothing is downloaded.")
    cells = _plan(wanted, store, say, download=False)
    audit_all(cells, say)
    say(_in_words(wanted, cells))
    state = plan_state(cells, store, retry_failed=retry_failed, costs=Costs(wanted.setup.threads))
    say(f"A cell is ended that {limits_of(cells, wanted.setup)}.")
    print_plan(cells, state, wanted.setup.jobs, console)


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
        prepared,
        wanted.models,
        settings,
        setup,
        say,
        inflated=inflated,
        stand_ins=wanted.stand_ins,
        begun=store.begun_models(),
        download=download,
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
