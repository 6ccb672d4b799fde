"""What a run is asked for: the options, and what a suite says where they are silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medbench import cores, registry
from medbench.backbones import FILE_PREFIX
from medbench.cache import cache_folder
from medbench.datasets.catalog import Catalog, load_catalog, name_of_folder
from medbench.errors import ConfigurationError
from medbench.evaluation.operating_point import YOUDEN, OperatingPoint
from medbench.execution import plan
from medbench.execution.plan import Settings, Setup
from medbench.execution.suite import Suite, load_suite, named_budget
from medbench.models.backbone_files import family_name, take_backbones
from medbench.models.weights import Weights
from medbench.running.options import (
    ALL,
    CORE,
    DEFAULT_SUITE,
    SANITY,
    STAND_INS,
    AuditOptions,
    RunOptions,
)
from medbench.tuning.budget import Budget


@dataclass(frozen=True, kw_only=True)
class Wanted:
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
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    """By the name of one of ``models`` that nobody asked for by name, what may run in its place."""


def wanted_of(options: RunOptions) -> Wanted:
    """What is to be run, from a suite and the options over it.

    Raises:
        ConfigurationError: A name is unknown, or options contradict each other.
        ModelError: The file of a backbone cannot be used.
    """
    catalog, chosen = registered(options)
    if options.suite or not chosen:
        name, suite = load_suite(
            options.suite or DEFAULT_SUITE,
            datasets=catalog.sources,
            models=[*registry.models.names(), ALL],
        )
    else:
        name, suite = "-".join(chosen), Suite(datasets=tuple(chosen))
    settings = Settings(
        budget=_budget(options, suite.budget),
        folds=options.folds or suite.folds,
        seeds=options.seeds or suite.seeds,
        inner_folds=suite.inner_folds,
        seed=suite.seed if options.seed is None else options.seed,
        strict_split=options.strict_split,
        tuner=options.tuner,
        operating_point=OperatingPoint.given(options.sensitivity, options.specificity) or YOUDEN,
    )
    asked = options.models or [*(suite.models or CORE), *registry.models.added()]
    models = list(dict.fromkeys(map(family_name, asked)))
    if ALL in models:
        files = (model for model in models if model.startswith(FILE_PREFIX))
        models = [*registry.models.usable(), *files]
    if not options.no_sanity:
        models = [*SANITY, *(model for model in models if model not in SANITY)]
    stand_ins = {} if options.models or suite.models else STAND_INS
    datasets = chosen or list(suite.datasets)
    for model in models:
        registry.models.get(model)
    inflated = tuple(family_name(model) for model in options.inflation)
    if missing := [model for model in inflated if model not in models]:
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
    return Wanted(
        name=name,
        datasets=datasets,
        models=models,
        inflated=inflated,
        settings=settings,
        total_time=options.total_time,
        catalog=catalog,
        setup=_setup(options, take_backbones(asked)),
        stand_ins={name: one for name, one in stand_ins.items() if name not in inflated},
    )


def _decide_positive(positive: str | None, datasets: Sequence[str], catalog: Catalog) -> None:
    """Take ``--positive``, where it is given, for what the entry of the data set would say."""
    if positive is None:
        return
    if len(datasets) > 1:
        raise ConfigurationError(
            f"--positive {positive}: is a class of one data set, and there are {len(datasets)}. "
            "Run it alone, or write the field positive into its entry."
        )
    catalog.decide(datasets[0], positive=positive)


def _budget(options: RunOptions, default: str) -> Budget:
    """The budget of each cell; under ``--total-time`` what bounds its share from above."""
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


def _setup(options: RunOptions, backbones: Mapping[str, Weights]) -> Setup:
    return Setup(
        cache=cache_folder(),
        threads=options.threads or max(1, cores.available_threads() // options.jobs),
        executor=options.executor or plan.DEFAULT_EXECUTOR,
        jobs=options.jobs,
        cell_seconds=options.cell_time,
        cell_memory=options.cell_memory,
        plugins=tuple(plugin.expanduser().resolve() for plugin in options.plugin),
        weights_dir=options.weights_dir,
        skip_unreadable=options.skip_unreadable,
        backbones=backbones,
    )


def registered(options: AuditOptions) -> tuple[Catalog, list[str]]:
    """All data sets that may be named, with those of plugins, and the names that are; each once.

    Raises:
        ConfigurationError: A file that registers some is wrong, or two would have one name.
        PluginError: A plugin cannot be loaded.
    """
    for plugin in options.plugin:
        registry.load_plugin(plugin)
    catalog = load_catalog(
        data_dir=options.data_dir, datasets_file=options.datasets_file, folder=options.data
    )
    chosen = list(options.datasets)
    if options.data is not None:
        name = name_of_folder(options.data)
        if name in chosen:
            raise ConfigurationError(
                f"--data {options.data} and data set {name} would have the same name. "
                "Take them one after the other, or rename the folder."
            )
        chosen.append(name)
    return catalog, list(dict.fromkeys(chosen))
