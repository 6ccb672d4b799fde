"""Running a plan: what is not finished yet is handed to an executor, and its events are kept."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np

from medbench import registry
from medbench.cache.upkeep import keep_within_bound
from medbench.datasets.prepared import PreparedDataset
from medbench.datasets.task import Task
from medbench.errors import ProtocolError
from medbench.execution.cell_limits import limits_of
from medbench.execution.committer import Committer, EarlierWork
from medbench.execution.costs import Costs
from medbench.execution.dataset_tables import dataset_tables
from medbench.execution.ensemble import drop_outdated, make_ensembles
from medbench.execution.environment import BACKENDS
from medbench.execution.events import Outcome
from medbench.execution.executor import Executor, Resources, Work
from medbench.execution.firewall import closed_paths
from medbench.execution.parts import DevelopmentPart, HeldOutPart
from medbench.execution.plan import ATTEMPT, PlannedCell, PlannedDataset, Setup
from medbench.execution.plan_state import plan_state
from medbench.execution.run_listener import RunListener
from medbench.features.out_of_distribution import fit_out_of_distribution
from medbench.models.transfer import TransferFamily
from medbench.store import CellId, RunStore
from medbench.versions import code_of

_ROUNDS_OF_FAULTS = 3
"""A run stops when the machine has ended this many cells in a row, times those at a time."""
_IMPORT_KERAS = ("keras", "keras_tuner")
"""Packages that load Keras, and with it its backend."""
_WITH_KERAS = (*_IMPORT_KERAS, *BACKENDS)
"""What is not loaded beforehand where Keras is not needed."""


def run_cells(
    cells: Sequence[PlannedCell],
    store: RunStore,
    setup: Setup,
    listener: RunListener,
    *,
    retry_failed: bool = False,
) -> dict[CellId, str]:
    """Finish every cell that is not finished under the same key, and make the ensembles of them.

    A cell that trouble of the machine ends is left as it is, for the next start, and the others go
    on; where nothing but such ends come any more, the run stops.

    Args:
        cells: The plan.
        store: The run folder, locked by the caller.
        setup: Folders, threads, the executor and the number of cells that run at a time.
        listener: Who is told.
        retry_failed: Whether cells that failed under the same key are run again.

    Returns:
        Why cells were ended by trouble of the machine.

    Raises:
        StoreError: The run folder cannot be written, or holds the same data set with other data.
        ConfigurationError: There is no such executor, or no cell could keep its limits.
    """
    limits = limits_of(cells, setup)
    executor: Executor = registry.executors.get(setup.executor)(
        Resources(
            threads=setup.threads,
            jobs=setup.jobs,
            features=setup.cache / "features",
            plugins=setup.plugins,
            cell_seconds=limits.seconds,
            cell_memory=limits.memory,
        )
    )
    for name in dict.fromkeys(cell.dataset.data.name for cell in cells):
        if store.drop_damaged_dataset(name):
            listener.say(f"{name}: what this run says of it was damaged, and is made again")
    costs = Costs(setup.threads)
    state = plan_state(cells, store, retry_failed=retry_failed, costs=costs)
    for dataset in {id(cell.dataset): cell.dataset for cell in cells}.values():
        tables = dataset_tables(dataset, store)
        _learn_what_is_usual(dataset, store, listener)  # first, since the record stands for it
        store.write_dataset(dataset.data.name, *tables)
    listener.planned(state, setup.jobs)
    planned = {cell.id: cell for cell in state.waiting}
    drop_outdated(state.waiting, store)
    committer = Committer(planned, store, listener, executor)
    for cell in state.waiting:
        if cell.model.skip is not None:
            committer.skip(cell)
        elif cell.model.error is not None:
            committer.refuse(cell, cell.model.error)
    handed = _Handed(store, setup)
    work = {
        cell.id: handed.work(cell, committer.earlier_work(cell))
        for cell in state.waiting
        if cell.model.fits
    }
    committer.ended_in_a_row, left = 0, len(work)
    try:
        with contextlib.closing(executor.run([*work.values()])) as events:
            for event in events:
                committer.take(event)
                if isinstance(event, Outcome):
                    left -= 1
                    _learn(costs, planned[event.cell], store, bool(work[event.cell].earlier))
                if left and committer.ended_in_a_row >= _ROUNDS_OF_FAULTS * setup.jobs:
                    listener.say(
                        f"Stopped: trouble of the machine ended {committer.ended_in_a_row} cells "
                        f"in a row, so it would end the other {left} too. They are left for the "
                        "next start."
                    )
                    break
    finally:
        keep_within_bound()
    make_ensembles(cells, store, listener)
    return committer.ended


def _learn(costs: Costs, cell: PlannedCell, store: RunStore, begun_before: bool) -> None:
    """Keep what a cell took, if it is finished well."""
    result = store.cell(cell.id).result()
    if result is not None and result.status == "ok":
        with contextlib.suppress(KeyError, TypeError, ValueError):  # other executors may tell less
            costs.learn(cell, result.record, result.trials, begun_before=begun_before)


def _needs_keras(cell: PlannedCell, modules: Sequence[str], of_tuner: Sequence[str]) -> bool:
    """Whether a cell is sure to import Keras, so that this is better done beforehand.

    A backbone that is in the cache as ONNX embeds images without it. Only a fine-tuning imports it
    then, if the budget comes to that.
    """
    if not any(_is_of(name, _IMPORT_KERAS) for name in modules):
        return False
    family = cell.model.family
    if not issubclass(family, TransferFamily) or any(_is_of(n, _IMPORT_KERAS) for n in of_tuner):
        return True
    task = Task(
        classes=cell.task.classes, image_shape=cell.task.image_shape, task_type=cell.task.task_type
    )
    return family().embedding(task, cell.model.weights).needs_keras()


def _is_of(module: str, packages: Sequence[str]) -> bool:
    return module.partition(".")[0] in packages


class _Handed:
    """Makes what an executor is handed of each cell."""

    def __init__(self, store: RunStore, setup: Setup) -> None:
        self._store = store
        self._setup = setup
        self._closed: dict[str, tuple[str, ...]] = {}

    def work(self, cell: PlannedCell, earlier: EarlierWork) -> Work:
        """The work on one cell; nothing of its images is read yet."""
        data, split = cell.dataset.data, cell.split
        rows, validation = split.development, None
        if split.validation is not None:
            validation = np.isin(rows, split.validation)
        family, tuner = cell.model.family, registry.tuners.get(cell.model.tuner)
        modules = code_of(family, tuner, ATTEMPT).imports
        keras = _needs_keras(cell, modules, code_of(tuner).imports)
        if not keras:
            modules = tuple(name for name in modules if not _is_of(name, _WITH_KERAS))
        return Work(
            task=cell.task,
            development=DevelopmentPart(
                images=data.images,
                table=data.table,
                rows=rows,
                labels=data.labels[rows],
                groups=cell.dataset.groups(split)[rows],
                validation=validation,
            ),
            held_out=HeldOutPart(images=data.images, table=data.table, rows=split.held_out),
            weights=cell.model.weights,
            keras=keras,
            modules=modules,
            closed=self._closed_for(data),
            earlier=earlier.trials,
            earlier_oof=earlier.oof,
            earlier_checkpoints=earlier.checkpoints,
        )

    def _closed_for(self, data: PreparedDataset) -> tuple[str, ...]:
        if data.name not in self._closed:
            self._closed[data.name] = tuple(
                closed_paths(
                    self._store.folder,
                    self._setup.cache,
                    [*data.source.reads(), *([data.entry.path] if data.entry else [])],
                    [*data.table["origin"], *data.first_folders],
                )
            )
        return self._closed[data.name]


def _learn_what_is_usual(dataset: PlannedDataset, store: RunStore, listener: RunListener) -> None:
    """Keep by what images unlike the development part are told, for those who predict later.

    Without an official split every image is in the development part of some fold.
    """
    store.drop_damaged_out_of_distribution(dataset.data.name)
    path = store.out_of_distribution(dataset.data.name)
    if path.exists():
        return
    parts = [split.development for split in dataset.plan.splits]
    known = np.unique(np.concatenate(parts))
    groups = dataset.data.table["group"].to_numpy(np.int64)[known]
    try:
        fit_out_of_distribution(dataset.data.images.take(known), groups).save(path)
    except ProtocolError as error:
        listener.say(f"{dataset.data.name}: unlike images cannot be told later: {error}")
