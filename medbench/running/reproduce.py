"""A finished run once more: whether its cells give the same predictions; see ``Run.reproduce``."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medbench import registry
from medbench.cache import cache_folder
from medbench.cores import available_threads
from medbench.datasets.catalog import Catalog
from medbench.errors import ConfigurationError, StoreError, UnreadableError
from medbench.execution.differences import (
    SAME,
    differing_inputs,
    largest_difference,
    why_other_predictions,
)
from medbench.execution.environment import describe_environment
from medbench.execution.plan import PlannedCell, Settings, Setup, plan_cells, plan_datasets
from medbench.execution.run import run_cells
from medbench.execution.run_listener import RunListener
from medbench.models.backbone_files import family_name, take_backbones
from medbench.models.weights import Weights
from medbench.reports.text import without_paths
from medbench.running.ask import asking
from medbench.running.data_again import catalog_of_run
from medbench.running.live import make_listener
from medbench.running.options import ReproduceOptions
from medbench.running.progress import make_console
from medbench.store import CellId, CellResult, RunResult, RunStore

_Cells = Mapping[CellId, CellResult]


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What came of running the cells of a run again."""

    inputs: Mapping[str, Sequence[str]]
    """Inputs that are not as they were, in words, each with the names of its cells. Where there
    are any, nothing was run."""
    cells: Mapping[str, str]
    """Every cell that was run again, or made of such cells, by its name: why its predictions are
    others, or an empty text where they are the same."""

    @property
    def same(self) -> bool:
        """Whether every cell gave the same predictions."""
        return not self.inputs and not any(self.cells.values())


def reproduce(run_folder: Path, options: ReproduceOptions) -> Reproduction:
    """Run the finished cells of a run again, and tell a person whether they predict the same.

    Args:
        run_folder: The run.
        options: Which cells, and how they are run.

    Raises:
        StoreError: The run is not whole, has no finished cell of what is asked for, its images
            cannot be read or are divided otherwise now, or the new folder cannot be written.
        ConfigurationError: A data set of the run is not registered, the file of a backbone is not
            given, or the new folder is its own.
        ModelError: The file of a backbone cannot be used.
        PluginError: A plugin cannot be loaded.
        DatasetError: The images of a data set cannot be used as they are.
    """
    run = RunStore(run_folder).read()
    _check_whole(run)
    _check_new(options.out, run_folder)
    for plugin in options.plugin:
        registry.load_plugin(plugin)
    models = options.models or ()
    wanted = _wanted(run, options.datasets, [family_name(model) for model in models])
    names = list(dict.fromkeys(one.dataset for one in wanted))
    backbones = take_backbones(models)
    catalog = catalog_of_run(
        names,
        data=options.data,
        data_dir=options.data_dir,
        datasets_file=options.datasets_file,
    )
    for name in names:
        if run.datasets[name]["task"] == "binary":  # whatever is guessed now
            catalog.decide(name, positive=run.datasets[name]["classes"][-1])
    return asking(catalog, lambda: _repeat(options, run, wanted, catalog, backbones))


def _repeat(
    options: ReproduceOptions,
    run: RunResult,
    wanted: _Cells,
    catalog: Catalog,
    backbones: Mapping[str, Weights],
) -> Reproduction:
    """As ``reproduce``."""
    setup = _setup(options, run, backbones)
    with make_listener(make_console()) as listener, _folder(options.out) as folder:
        ensembles = {name: one for name, one in wanted.items() if one.record.get("members")}
        cells = _plan(
            catalog,
            run,
            setup,
            {name: one for name, one in wanted.items() if name not in ensembles},
            listener,
        )
        inputs = differing_inputs(cells, wanted)
        if inputs:
            _say_what_differs(inputs, len(cells), listener)
            return Reproduction(inputs=inputs, cells={})
        store = RunStore(folder)
        with store.lock():
            store.begin(cells[0].settings.as_record(), images=run.images)
            store.write_environment(describe_environment(setup.threads, setup.jobs))
            for name in {cell.id.dataset for cell in cells} & run.audits.keys():
                store.write_audit(name, run.audits[name])  # of the same data, as the keys say
            run_cells(cells, store, setup, listener)
        repeated = [*(cell.id for cell in cells), *ensembles]
        reasons = {str(one): _why_others(wanted[one], store) for one in repeated}
        for name, reason in reasons.items():
            if reason:
                listener.say(f"{name}: {reason}")
        same = sum(not reason for reason in reasons.values())
        listener.say(f"{same} of {len(reasons)} cells gave the same predictions.")
    return Reproduction(inputs={}, cells=reasons)


def _check_whole(run: RunResult) -> None:
    """Refuse a run of which a part is damaged or missing: it would be called reproduced without.

    Raises:
        StoreError: Such parts are named.
    """
    if run.gaps:
        raise StoreError(
            f"{run.folder}: is not whole, so that it cannot be said to be reproduced. "
            f"{' '.join(run.gaps)} Take these files from a copy, or give the command of the run "
            "again."
        )


def _check_new(out: Path | None, run_folder: Path) -> None:
    """Refuse to put the new run where the old one is: each cell would be compared with itself.

    Raises:
        ConfigurationError: It is so.
    """
    if out is not None and out.exists() and out.samefile(run_folder):
        raise ConfigurationError(
            f"--out {out}: is the run itself, whose cells would be kept and not run again. Name "
            "another folder."
        )


@contextlib.contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """The folder of the new run, which is kept only if it was asked for."""
    if out is not None:
        yield out
        return
    with tempfile.TemporaryDirectory(prefix="medbench-") as name:
        yield Path(name) / "run"


def _wanted(run: RunResult, datasets: Sequence[str] | None, models: Sequence[str]) -> _Cells:
    """The finished cells to repeat, of all models where none is named.

    Beside an ensemble come those of the families that it is made of.

    Raises:
        StoreError: There are none.
    """
    found = {
        cell.id: cell
        for cell in run.cells
        if cell.status == "ok"
        and (datasets is None or cell.id.dataset in datasets)
        and (not models or cell.id.model in models)
    }
    if not found:
        there = sorted({f"{cell.id.dataset} x {cell.id.model}" for cell in run.cells})
        raise StoreError(
            f"{run.folder}: has no finished cell of what is asked for. "
            f"It has {', '.join(there) or 'none at all'}."
        )
    members = {
        replace(one.id, model=family)
        for one in found.values()
        if one.record.get("members")
        for family in one.key_parts.get("members", {})
    }
    return {c.id: c for c in run.cells if c.id in found or (c.id in members and c.status == "ok")}


def _setup(options: ReproduceOptions, run: RunResult, backbones: Mapping[str, Weights]) -> Setup:
    """How the cells are run: as they were, where the options are silent."""
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
        backbones=backbones,
    )


def _plan(
    catalog: Catalog, run: RunResult, setup: Setup, wanted: _Cells, listener: RunListener
) -> list[PlannedCell]:
    """The cells of the run, planned again with what is here now.

    Raises:
        StoreError: Images cannot be read, or the data set is divided otherwise now.
    """
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
    inputs: Mapping[str, Sequence[str]], n_cells: int, listener: RunListener
) -> None:
    for text, of_cells in inputs.items():
        listener.say(f"differs for {len(of_cells)} of {n_cells} cells: {text}")
    listener.say(
        "With other inputs the predictions need not be the same, so nothing was run. To see "
        "what they make of the scores, run again into another folder and use compare."
    )


def _why_others(before: CellResult, store: RunStore) -> str:
    """Why a repeated cell has not the same predictions; empty where it has."""
    after, left = store.cell(before.id).result(), store.cell(before.id).unfinished()
    if after is None or after.predictions is None or before.predictions is None:
        if after is not None:
            return f"{after.status}: {without_paths(after.reason)}"
        return "did not finish" + (f": {without_paths(left['reason'])}" if left is not None else "")
    difference = largest_difference(before.predictions, after.predictions)
    if difference <= SAME:
        return ""
    because = why_other_predictions(before, after)
    return f"probabilities differ by up to {difference:.2g}: {because}"
