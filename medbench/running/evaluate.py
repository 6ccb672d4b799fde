"""The models of a run on other data sets, internal against external; see ``Run.evaluate_on``."""

from __future__ import annotations

import functools
from pathlib import Path

from medbench import registry
from medbench.datasets.catalog import load_catalog, name_of_folder
from medbench.datasets.prepared import PreparedDataset
from medbench.errors import ConfigurationError
from medbench.inference.class_map import ClassMap, read_map, same_names
from medbench.inference.external import evaluate as evaluate_model
from medbench.inference.external import prepare_like
from medbench.inference.load import load_model
from medbench.inference.model import Model
from medbench.reports.external import External, external_words, externals
from medbench.reports.stored import assessed
from medbench.reports.text import plain
from medbench.running.ask import ask_class_map, asking
from medbench.running.options import EvaluateOptions
from medbench.running.progress import make_console
from medbench.running.writing import write_everything
from medbench.store import RunStore


def evaluate(run_folder: Path, options: EvaluateOptions) -> list[External]:
    """Predict other data sets, keep it in the run, and tell a person what became of the score.

    Args:
        run_folder: The run.
        options: Which models, and on what.

    Returns:
        What was evaluated, by data set of the run.

    Raises:
        StoreError: There is no run, or it is damaged or cannot be written.
        ConfigurationError: No data set is named, one or a model is unknown, or their classes do
            not fit.
        PluginError: A plugin cannot be loaded.
        DatasetError: The images of a data set cannot be used as they are.
        ModelError: A model file was changed.
    """
    console, store = make_console(), RunStore(run_folder)
    store.read()  # an exported model has no run to keep it in, and says so here
    for plugin in options.plugin:  # before the entries that name its source
        registry.load_plugin(plugin)
    catalog = load_catalog(
        data_dir=options.data_dir, datasets_file=options.datasets_file, folder=options.data
    )
    others = dict.fromkeys(options.datasets)
    if options.data is not None:
        others[name_of_folder(options.data)] = None
    if not others:
        raise ConfigurationError("no data set is named. Give --datasets NAME, or --data FOLDER.")
    for other in others:
        catalog.get(other)  # all of them are known before the first model is loaded
    say = functools.partial(console.print, soft_wrap=True, markup=False)
    evaluated = []
    for name in dict.fromkeys(options.models):
        model = load_model(run_folder, dataset=options.trained_on, model=name)
        for other in others:
            read = functools.partial(
                prepare_like,
                model,
                other,
                catalog,
                skip_unreadable=options.skip_unreadable,
                say=say,
            )
            data = asking(catalog, read)
            for note in data.notes:
                say(f"{data.name}: {plain(note)}")
            class_map = _class_map(options.class_map, model, data)
            with store.lock():
                evaluated.append(evaluate_model(model, data, class_map, store))
    assessment = assessed(store.read())
    found = [
        one
        for dataset in assessment.datasets
        for one in externals(assessment.run, dataset)
        if one.result.record in evaluated
    ]
    for one in found:
        say(external_words(one))
    with store.lock():
        write_everything(assessment, console)
    return found


def _class_map(
    given: tuple[str, ...] | ClassMap | None, model: Model, data: PreparedDataset
) -> ClassMap:
    """What is given, what is plain, or what a person answers.

    Raises:
        ConfigurationError: What is given cannot be read, or there is no answer.
    """
    ours, theirs = model.task.classes, data.task.classes
    if isinstance(given, tuple):
        return read_map(given, ours=ours, theirs=theirs)
    if given is not None:
        return given
    plain_map = same_names(ours, theirs)
    return ask_class_map(data.name, ours=ours, theirs=theirs) if plain_map is None else plain_map
