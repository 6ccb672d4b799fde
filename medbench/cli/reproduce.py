"""Run the cells of a finished run again and say whether they give the same predictions."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medbench.cli.options import add_catalog, add_jobs, add_limits, add_plugin, catalog_of_run

if TYPE_CHECKING:
    from medbench.datasets.catalog import Catalog
    from medbench.execution.plan import PlannedCell, Setup
    from medbench.execution.run_listener import RunListener
    from medbench.store import CellId, CellResult, RunResult, RunStore

_SAME = 1e-6
"""Largest difference of probabilities that are the same but for their last bits."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``reproduce``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--datasets", nargs="+", metavar="NAME", help="only these data sets")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="only these models")
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
    from medbench import registry
    from medbench.running.ask import asking
    from medbench.store import RunStore

    run = RunStore(options.run).read()
    _check_whole(run)
    for plugin in options.plugin:
        registry.load_plugin(plugin)
    wanted = _wanted(run, options.datasets, options.models)
    names = list(dict.fromkeys(one.dataset for one in wanted))
    catalog = catalog_of_run(options, names)
    for name in names:
        if run.datasets[name]["task"] == "binary":  # whatever is guessed now
            catalog.decide(name, positive=run.datasets[name]["classes"][-1])
    return asking(catalog, lambda: _repeat(options, run, wanted, catalog))


def _repeat(
    options: argparse.Namespace,
    run: RunResult,
    wanted: dict[CellId, CellResult],
    catalog: Catalog,
) -> int:
    """As ``execute``."""
    from medbench.execution.environment import describe_environment
    from medbench.execution.run import run_cells
    from medbench.running.live import make_listener
    from medbench.running.progress import make_console
    from medbench.store import RunStore

    setup = _setup(options, run)
    console = make_console()
    with make_listener(console) as listener, _folder(options.out) as folder:
        cells = _plan(catalog, run, setup, wanted, listener)
        if _say_what_differs(cells, wanted, listener):
            return 1
        store = RunStore(folder)
        with store.lock():
            store.begin(cells[0].settings.as_record(), images=run.images)
            store.write_environment(describe_environment(setup.threads, setup.jobs))
            for name in {cell.id.dataset for cell in cells} & run.audits.keys():
                store.write_audit(name, run.audits[name])  # of the same data, as the keys say
            run_cells(cells, store, setup, listener)
        same = [_say_whether_same(wanted[cell.id], store, listener) for cell in cells]
        listener.say(f"{sum(same)} of {len(same)} cells gave the same predictions.")
    return 0 if all(same) else 1


def _check_whole(run: RunResult) -> None:
    """Refuse a run of which a part is damaged or missing: it would be called reproduced without.

    Raises:
        StoreError: Such parts are named.
    """
    from medbench.errors import StoreError

    if run.gaps:
        raise StoreError(
            f"{run.folder}: is not whole, so that it cannot be said to be reproduced. "
            f"{' '.join(run.gaps)} Take these files from a copy, or give the command of the run "
            "again."
        )


@contextlib.contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="medbench-") as name:
        yield Path(name) / "run"


def _wanted(
    run: RunResult, datasets: Sequence[str] | None, models: Sequence[str] | None
) -> dict[CellId, CellResult]:
    """The finished cells to repeat.

    Raises:
        StoreError: There are none.
    """
    from medbench.errors import StoreError

    found = {
        cell.id: cell
        for cell in run.cells
        if cell.status == "ok"
        and (datasets is None or cell.id.dataset in datasets)
        and (models is None or cell.id.model in models)
    }
    if not found:
        there = sorted({f"{cell.id.dataset} x {cell.id.model}" for cell in run.cells})
        raise StoreError(
            f"{run.folder}: has no finished cell of what is asked for. "
            f"It has {', '.join(there) or 'none at all'}."
        )
    return found


def _setup(options: argparse.Namespace, run: RunResult) -> Setup:
    from medbench.cache import cache_folder
    from medbench.cores import available_threads
    from medbench.execution.plan import Setup

    return Setup(
        cache=cache_folder(),
        threads=options.threads or run.environment.get("threads") or available_threads(),
        jobs=options.jobs,
        cell_seconds=options.cell_time,
        cell_memory=options.cell_memory,
        plugins=tuple(plugin.expanduser().resolve() for plugin in options.plugin),
        weights_dir=options.weights_dir,
        # as the run did; of runs of old it is not known
        skip_unreadable=any(one.get("n_unreadable") != 0 for one in run.datasets.values()),
    )


def _plan(
    catalog: Catalog,
    run: RunResult,
    setup: Setup,
    wanted: dict[CellId, CellResult],
    listener: RunListener,
) -> list[PlannedCell]:
    """The cells of the run, planned again with what is here now."""
    from medbench.errors import StoreError, UnreadableError
    from medbench.execution.plan import Settings, plan_cells, plan_datasets

    settings = Settings.from_record(run.configuration)
    ids = [cell.id for cell in wanted.values()]
    inflated = list(dict.fromkeys(one.id.model for one in wanted.values() if one.by_image))
    names = list(dict.fromkeys(one.dataset for one in ids))
    try:
        datasets = plan_datasets(
            names, catalog, settings, setup, by_image=bool(inflated), say=listener.say
        )
    except UnreadableError as error:
        raise StoreError(
            f"{len(error.unreadable)} images that the run has read cannot be read now, first "
            f"{error.unreadable[0]} Give the same images with --data-dir or --data."
        ) from error
    models = list(dict.fromkeys(one.model for one in ids))
    planned = plan_cells(datasets, models, settings, setup, listener.say, inflated=inflated)
    cells = [cell for cell in planned if cell.id in wanted]
    if len(cells) < len(wanted):
        lacking = sorted(str(one) for one in wanted.keys() - {cell.id for cell in cells})
        raise StoreError(
            f"{run.folder}: {len(lacking)} of its cells cannot be planned here ({lacking[0]}): the "
            "data set is divided otherwise now."
        )
    return cells


def _say_what_differs(
    cells: Sequence[PlannedCell], wanted: dict[CellId, CellResult], listener: RunListener
) -> bool:
    """Name the inputs that are not as they were; whether there are any."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        before = wanted[cell.id].key_parts
        for name, now in cell.key_parts.items():
            then = before.get(name)
            if then == now:
                continue
            if isinstance(then, dict) and isinstance(now, dict):
                for one in sorted({*then, *now}):
                    if then.get(one) != now.get(one):
                        text = f"{name}: {one} was {then.get(one)}, is {now.get(one)}"
                        found.setdefault(text, []).append(str(cell.id))
            else:
                found.setdefault(f"{name}: was {then}, is {now}", []).append(str(cell.id))
    for text, of_cells in found.items():
        listener.say(f"differs for {len(of_cells)} of {len(cells)} cells: {text}")
    if found:
        listener.say(
            "With other inputs the predictions need not be the same, so nothing was run. To see "
            "what they make of the scores, run again into another folder and use compare."
        )
    return bool(found)


def _say_whether_same(before: CellResult, store: RunStore, listener: RunListener) -> bool:
    """Whether a repeated cell gave the same predictions; if not, say what it may be due to."""
    from medbench.reports.text import without_paths

    after, left = store.cell(before.id).result(), store.cell(before.id).unfinished()
    if after is None or after.predictions is None or before.predictions is None:
        reason = "did not finish"
        if after is not None:
            reason = f"{after.status}: {without_paths(after.reason)}"
        elif left is not None:
            reason += f": {without_paths(left['reason'])}"
        listener.say(f"{before.id}: {reason}")
        return False
    columns = [name for name in before.predictions if str(name).startswith("p")]
    difference = float(
        (before.predictions[columns] - after.predictions[columns]).abs().to_numpy().max()
    )
    if difference <= _SAME:
        return True
    listener.say(
        f"{before.id}: probabilities differ by up to {difference:.2g}: {_because(before, after)}"
    )
    return False


def _because(before: CellResult, after: CellResult) -> str:
    """The first input outside the key in which two equal cells differ."""
    if len(before.trials) != len(after.trials):
        return (
            f"the search had {len(before.trials)} trials then and {len(after.trials)} now, as a "
            "budget of seconds holds what the machine can do in it (a run with --trials alone "
            "repeats)"
        )
    if before.record.get("cut"):
        return (
            f"its chosen trial was cut by the budget ({before.record['cut']}), and how far a fit "
            "comes in seconds is up to the machine"
        )
    for then, now in zip(before.trials, after.trials, strict=True):
        if then["params"] != now["params"] or then["state"] != now["state"]:
            return f"trial {then['number']} was another or ended otherwise, as seconds decide it"
    for name in ("device", "threads", "backend"):
        if before.record.get(name) != after.record.get(name):
            return f"{name} was {before.record.get(name)}, is {after.record.get(name)}"
    return "no recorded input differs, so the model does not repeat under one seed"
