"""Finds the model that is meant, in a run folder or an exported one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from medbench import registry
from medbench.errors import ConfigurationError
from medbench.evaluation.operating_point import OperatingPoint
from medbench.inference import exported, from_run
from medbench.inference.foreign import SENTENCE, ForeignWarning, is_foreign
from medbench.inference.model import Model


def load_model(
    path: str | Path,
    *,
    dataset: str | None = None,
    model: str = "best",
    plugins: Sequence[str | Path] = (),
) -> Model:
    """The model to use on new images, from a run folder or an exported one.

    Models that this user did not make himself (see ``medbench.inference.foreign``) bring no code
    of their own: families are those that are registered here. But the libraries that read them
    were not made for files that mean harm, which may end the process or worse. So a
    ``ForeignWarning`` says of such a folder that it is one; the command line lets its models work
    in a process of their own, whose end it survives.

    Args:
        path: A run folder, or a folder that ``export`` wrote.
        dataset: Name of the data set of the run; may be None where there is one.
        model: Name of a family; ``"best"`` is the highest inner score, or of several folds the
            cheapest within one standard error of it (see ``medbench.reports.winner``).
        plugins: Python files whose families the run used.

    Returns:
        The fitted models of all folds, which predict as one.

    Raises:
        StoreError: There is nothing of that kind, it is damaged, or no model of it is finished.
        ConfigurationError: Data set or model are not in it, or what it needs is not installed; an
            ``UnknownNameError`` where a name is unknown.
        ModelError: A model file was changed, is not there, or is none that MedBench writes.
        PluginError: A file of ``plugins`` cannot be loaded.
    """
    for plugin in plugins:
        registry.load_plugin(Path(plugin))
    folder = Path(path).expanduser()
    if is_foreign(folder):
        warnings.warn(f"{folder}: {SENTENCE}", ForeignWarning, stacklevel=2)
    if exported.is_exported(folder):
        return exported.load(folder, dataset=dataset, model=model)
    return from_run.load(folder, dataset=dataset, model=model)


def load_model_at(
    path: str | Path,
    *,
    dataset: str | None = None,
    model: str = "best",
    plugins: Sequence[str | Path] = (),
    sensitivity: float | None = None,
    specificity: float | None = None,
    positive: str | None = None,
) -> Model:
    """As ``load_model``, with another operating point where one is asked for.

    Args:
        path: As of ``load_model``.
        dataset: As of ``load_model``.
        model: As of ``load_model``.
        plugins: As of ``load_model``.
        sensitivity: The least on development data, above 0 and up to 1.
        specificity: The same for the specificity; give one of them.
        positive: The class that these are about.

    Raises:
        ProtocolError: The point cannot be reached.
        ConfigurationError: As ``load_model`` and ``Model.at``, or a class is named and no point.
        StoreError: As ``load_model``.
        ModelError: As ``load_model``.
    """
    point = OperatingPoint.given(sensitivity, specificity)
    found = load_model(path, dataset=dataset, model=model, plugins=plugins)
    if point is not None:
        return found.at(point, positive=positive or "")
    if positive is not None:
        raise ConfigurationError(
            f"--positive {positive}: says what --sensitivity or --specificity is about. Give one."
        )
    return found
