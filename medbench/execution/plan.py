"""The plan of a run: every cell that is wanted, with the key that decides what it will give."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench import registry
from medbench.cache.upkeep import keep_within_bound
from medbench.counts import LARGEST_SEED, MOST_FOLDS, MOST_SEEDS, MOST_SPLITS
from medbench.datasets.batch import PROPERTIES
from medbench.datasets.catalog import Catalog
from medbench.datasets.prepared import PreparedDataset, prepare
from medbench.datasets.progress_callback import ProgressCallback, no_progress
from medbench.datasets.sources.base import Source
from medbench.datasets.splits import (
    Indices,
    OuterSplit,
    SplitPlan,
    image_splits,
    inner_folds,
    outer_splits,
)
from medbench.errors import (
    ConfigurationError,
    DatasetError,
    MedBenchError,
    ProtocolError,
    StoreError,
)
from medbench.evaluation.operating_point import YOUDEN, OperatingPoint
from medbench.execution.environment import keras_backend
from medbench.execution.planned_model import PlannedModel, plan_model
from medbench.execution.stand_ins import settle
from medbench.execution.task import CellTask
from medbench.features import engines
from medbench.hashes import sha256_of_arrays, sha256_of_json, sha256_of_text
from medbench.models.contract import ModelFamily
from medbench.models.weights import Weights, find_weights
from medbench.seeds import derive_seed
from medbench.store import CellId
from medbench.tuning.budget import Budget
from medbench.versions import code_of, python_version

DEFAULT_EXECUTOR = "local"
ATTEMPT = "medbench.execution.attempt"
"""Code that decides what a cell gives, beside its family and its tuner."""
"""As ``ATTEMPT`` has it, whose every change makes all cells anew."""
KEPT_BACK = 0.25
"""Share of ``--total-time`` left to imports, refits, predictions and trials that end late.

Measured beside budgets of 20 to 60 s a cell on two cores: 11% (brain-mri, five folds), 23% (the
demo) and 39% (PneumoniaMNIST, as long as the model of an official split was refitted).
"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run folder is begun with and must not change afterwards."""

    budget: Budget
    """What each search may use."""
    folds: int = 5
    """Number of outer folds where there is no official split, at least 2."""
    seeds: int = 1
    """How often the folds are drawn anew, or an official split is run with another seed."""
    inner_folds: int = 3
    """Number of folds of each development part, at least 2."""
    seed: int = 0
    """Base seed of everything random."""
    strict_split: bool = False
    """Leave training images out whose group is also on a later side of an official split."""
    tuner: str | None = None
    """Tuner for every family; None takes each family's own default."""

    operating_point: OperatingPoint = YOUDEN
    """How thresholds are chosen on development predictions."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("folds", 2, MOST_FOLDS),
            ("seeds", 1, MOST_SEEDS),
            ("inner_folds", 2, MOST_FOLDS),
            ("seed", 0, LARGEST_SEED),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise ConfigurationError(
                    f"{name} must be a whole number from {low} to {high}, not {repr(value)[:60]}."
                )
        if self.folds * self.seeds > MOST_SPLITS:
            raise ConfigurationError(
                f"{self.folds} folds drawn with {self.seeds} seeds are {self.folds * self.seeds:,} "
                f"splits, above the limit of {MOST_SPLITS:,}. Give fewer folds or seeds."
            )

    def as_record(self) -> dict[str, Any]:
        """For ``run.json``."""
        texts = {"budget": str(self.budget), "operating_point": str(self.operating_point)}
        return {**asdict(self), **texts}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Settings:
        """What ``as_record`` gave.

        Raises:
            StoreError: It lacks something, or holds what no run can be begun with.
        """
        try:
            budget = Budget.parse(record["budget"])
            point = OperatingPoint.parse(record["operating_point"])
            return cls(**{**record, "budget": budget, "operating_point": point})
        except (KeyError, TypeError, MedBenchError) as error:
            raise StoreError(f"run.json: its configuration is damaged ({error}).") from None


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a run works on this machine: folders, executor, threads and processes.

    They are not part of a cell's key. Threads may change the last bits of what TensorFlow
    computes; their number is recorded with each cell.
    """

    cache: Path
    """The cache folder."""
    threads: int
    """Threads of each cell."""
    executor: str = field(default_factory=lambda: DEFAULT_EXECUTOR)
    """Name of what works on the cells."""
    jobs: int = 1
    """Most cells that run at a time."""
    cell_seconds: float | None = None
    """Most wall seconds of a cell in all; None for a number that follows from the budget."""
    cell_memory: int | None = None
    """Most bytes of a cell in all; None for a share of what the machine has."""
    plugins: tuple[Path, ...] = ()
    """Python files that each attempt imports."""
    weights_dir: Path | None = None
    """Folder with pretrained weights of the user; None for none."""
    skip_unreadable: bool = False
    """Whether images that cannot be read are left out."""
    backbones: Mapping[str, Weights] = field(default_factory=dict)
    """The files of the user's own that families start from, by the families' names."""


@dataclass(frozen=True, kw_only=True)
class PlannedDataset:
    """A prepared data set with its splits."""

    data: PreparedDataset
    """Its images, labels and groups."""
    plan: SplitPlan
    """Its outer splits, the same for every model."""
    by_image: tuple[OuterSplit, ...] = ()
    """Folds that divide single images, for families whose inflation is to be shown."""

    @cached_property
    def properties_sha256(self) -> str:
        """Hash of the file properties of all images, which the sanity rows see."""
        rows = pd.util.hash_pandas_object(self.data.table[list(PROPERTIES)], index=False)
        return sha256_of_arrays(rows.to_numpy())

    def groups(self, split: OuterSplit) -> NDArray[np.int64]:
        """What a split keeps whole: the group of every image, shape (n_images,)."""
        if split.by_image:
            return np.arange(len(self.data.table))
        return self.data.table["group"].to_numpy(np.int64)


@dataclass(frozen=True)
class PlannedCell:
    """One cell of the plan: a data set, a model and an outer split."""

    dataset: PlannedDataset
    """The data set."""
    model: PlannedModel
    """The model family, and what is known of it on that data set."""
    split: OuterSplit
    """The outer split."""
    settings: Settings
    """Those of the run."""

    @property
    def id(self) -> CellId:
        """Its name."""
        return CellId(dataset=self.dataset.data.name, model=self.model.name, split=self.split.name)

    @property
    def tuned(self) -> bool:
        """Whether there is anything to search; the majority class has nothing."""
        return self.model.fits and len(self.model.space) > 0

    @cached_property
    def key_parts(self) -> dict[str, Any]:
        """Everything that decides what the cell gives, by name, JSON-ready."""
        data, model, settings = self.dataset.data, self.model, self.settings
        split = self.split
        parts = sha256_of_arrays(split.development, split.validation, split.held_out)
        tuner = registry.tuners.get(model.tuner)
        code = code_of(model.family, tuner, ATTEMPT)
        return {
            "data": data.fingerprint,
            "pixels": data.pixels_sha256,
            "properties": self.dataset.properties_sha256[:16],
            "split": parts[:16],
            "repeat": split.repeat,
            "model": model.name,
            "source": code.syntax,
            "space": sha256_of_text(list(model.space))[:16],
            "tuner": model.tuner,
            "budget": str(settings.budget),
            "inner_folds": settings.inner_folds,
            "operating_point": str(settings.operating_point),
            "by_image": split.by_image,
            "seed": settings.seed,
            "weights": model.weights.key if model.weights else None,
            "backend": _backend(model.family) if model.error is None else None,
            "versions": {"python": python_version(), **code.libraries},
        }

    @cached_property
    def key(self) -> str:
        """Hash of ``key_parts``."""
        return sha256_of_json(self.key_parts)[:32]

    @property
    def seed(self) -> int:
        """Seed of everything random in the cell, but not of the inner folds."""
        return derive_seed("cell", self.settings.seed, self.key)

    @property
    def task(self) -> CellTask:
        """What whoever works on it is told."""
        task, settings = self.dataset.data.task, self.settings
        return CellTask(
            cell=self.id,
            tuner=self.model.tuner,
            classes=task.classes,
            image_shape=task.image_shape,
            task_type=task.task_type,
            trials=settings.budget.trials,
            seconds=settings.budget.seconds,
            inner_folds=settings.inner_folds,
            operating_point=str(settings.operating_point),
            split_seed=self.split_seed,
            cell_seed=self.seed,
        )

    @property
    def split_seed(self) -> int:
        """Seed of the inner folds: the same for every model."""
        return derive_seed("split", self.settings.seed, self.id.dataset, self.split.name)

    @cached_property
    def inner_folds(self) -> Sequence[Indices]:
        """What each inner fold validates on, the same for every model, int64, shape (n_chosen,).

        Places in the development part; of an official validation the only one has all of it.
        """
        split, rows = self.split, self.split.development
        official = None if split.validation is None else np.isin(rows, split.validation)
        pairs = inner_folds(
            self.dataset.data.labels[rows],
            self.dataset.groups(split)[rows],
            official,
            folds=self.settings.inner_folds,
            split_seed=self.split_seed,
        )
        return [validation for _, validation in pairs]


def plan_datasets(
    names: Sequence[str],
    catalog: Catalog,
    settings: Settings,
    setup: Setup,
    *,
    by_image: bool = False,
    say: ProgressCallback = no_progress,
) -> list[PlannedDataset]:
    """Decode every data set (or find it decoded) and split it.

    Args:
        names: Data sets.
        catalog: Where they are.
        settings: The run's.
        setup: How the run works on this machine.
        by_image: Also draw folds that divide single images, where there is no official split.
        say: Shows how far a long step is.

    Raises:
        UndecidedError: A person must say what something means.
        DatasetError: A data set is missing or cannot be used.
        ProtocolError: It cannot be split as the protocol asks; the data set is named.
        ConfigurationError: ``MEDBENCH_CACHE_SIZE`` is no size.
    """
    keep_within_bound()
    planned = []
    for name in names:
        source = catalog.get(name)
        data = prepare(
            name,
            source,
            cache=setup.cache / "prepared",
            threads=setup.threads * setup.jobs,
            skip_unreadable=setup.skip_unreadable,
            positive_for=_about_positive(source, settings.operating_point),
            say=say,
        )
        groups, official = data.table["group"].to_numpy(np.int64), data.table["split"].to_numpy(str)
        wanted: dict[str, Any] = {
            "folds": settings.folds,
            "repeats": settings.seeds,
            "seed": settings.seed,
            "classes": data.task.classes,
        }
        try:
            plan = outer_splits(
                data.labels, groups, official, strict=settings.strict_split, **wanted
            )
            single: tuple[OuterSplit, ...] = ()
            if by_image and not (official != "").any():
                single = image_splits(data.labels, **wanted)
        except (DatasetError, ProtocolError) as error:
            raise ProtocolError(f"data set {name!r}: {error}") from error
        planned.append(PlannedDataset(data=data, plan=plan, by_image=single))
    return planned


def _about_positive(source: Source, point: OperatingPoint) -> str:
    """What of a run means something else if the other of two classes is the positive one."""
    if point.at_least is not None:
        return f"--{point}"
    return "" if source.prevalence is None else f"The field prevalence ({source.prevalence:g})"


def plan_cells(
    datasets: Sequence[PlannedDataset],
    models: Sequence[str],
    settings: Settings,
    setup: Setup,
    say: Callable[[str], None],
    *,
    inflated: Sequence[str] = (),
    stand_ins: Mapping[str, str] | None = None,
    begun: Collection[str] = (),
    download: bool = True,
) -> list[PlannedCell]:
    """Every data set x split x model, in the order in which they will run.

    Args:
        datasets: Prepared and split data sets.
        models: Names of families.
        inflated: Those of them that are also run on the splits by image.
        settings: The run's.
        setup: How the run works on this machine.
        say: Shows a line to the user (a download, missing weights).
        stand_ins: What may run in place of a family; see ``stand_ins.settle``.
        begun: Families of which the run has cells.
        download: Whether pretrained weights that are not here may be fetched.

    Raises:
        UnknownNameError: A family or tuner is not registered.
        ConfigurationError: The file of a family's backbone is not given.
    """
    models, chosen = settle(
        models,
        stand_ins or {},
        begun,
        weights_dir=setup.weights_dir,
        say=say,
        download=download,
    )
    found = {**setup.backbones, **chosen}

    def with_weights(model: PlannedModel) -> PlannedModel:
        name = model.family.weights
        if name is None or not model.fits:
            return model
        if name not in found:
            found[name] = find_weights(name, setup.weights_dir, say, download=download)
        return replace(model, weights=found[name])

    cells = []
    for dataset in datasets:
        planned = [
            with_weights(plan_model(name, dataset.data.task, settings.tuner, say))
            for name in models
        ]
        cells += [
            PlannedCell(dataset, model, split, settings)
            for split in (*dataset.plan.splits, *dataset.by_image)
            for model in planned
            if model.name in inflated or not split.by_image
        ]
    return cells


def share_time(cells: Sequence[PlannedCell], seconds: float, jobs: int) -> list[PlannedCell]:
    """Divide the time of a whole run over its cells.

    Every cell that has something to tune gets an equal share, of which ``KEPT_BACK`` is left to
    what comes on top of the search. Cells that are finished already count too, so that the same
    command goes on under the same budget.

    Args:
        cells: The whole plan, whose budget bounds the shares from above.
        seconds: Wall seconds for all of it.
        jobs: Cells that run at a time.

    Returns:
        The same cells, their budget's seconds lowered to the share (a whole number).

    Raises:
        ConfigurationError: The share is less than a second.
    """
    tuned = sum(cell.tuned for cell in cells)
    if not tuned:
        return list(cells)
    share = math.floor(seconds * min(jobs, tuned) / tuned * (1 - KEPT_BACK))
    if share < 1:
        raise ConfigurationError(
            f"--total-time {seconds:g} s leaves less than a second for each of {tuned} cells. "
            "Give more time, or fewer data sets, models, --folds or --seeds."
        )
    budget = cells[0].settings.budget
    bound = share if budget.seconds is None else min(share, budget.seconds)
    settings = replace(cells[0].settings, budget=replace(budget, seconds=float(bound)))
    return [replace(cell, settings=settings) for cell in cells]


def _backend(family: type[ModelFamily]) -> str | None:
    """What a deep family computes with, and what embeds images for one with a backbone."""
    if "keras" not in family.requires:
        return None
    backend, engine = keras_backend(), engines.installed()[0]
    if family.weights is None or engine == "keras":
        return backend
    return f"{backend}, {engine} {metadata.version(engine)}"
