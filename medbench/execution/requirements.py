"""Whether a family can run here: what must be installed, and what its own code says."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator

from medbench import registry
from medbench.datasets.task import Task
from medbench.errors import PluginError
from medbench.execution.environment import keras_backend
from medbench.faults import reason_of
from medbench.models.contract import ModelFamily
from medbench.models.space import SearchSpace
from medbench.versions import install_command

_OF_AN_EXTRA = ("keras", "xgboost")
"""Modules that come with the extra cpu."""


def missing_requirement(family: ModelFamily) -> str | None:
    """What must be installed before a family can run, with the command; None if nothing."""
    for module in family.requires:
        if importlib.util.find_spec(module) is None:
            of_extra = module in _OF_AN_EXTRA
            command = install_command("cpu") if of_extra else f"pip install {module}"
            return f"not installed: {module} ({command})"
    if "keras" in family.requires and keras_backend() is None:
        return f"not installed: a Keras backend ({install_command('cpu')})"
    return None


def why_unusable(name: str) -> str:
    """What keeps a registered family from running here; empty where nothing does."""
    try:
        return missing_requirement(registry.models.get(name)()) or ""
    except (Exception, SystemExit) as error:  # its own code
        return f"cannot be used: {reason_of(error)}"


def missing_of(name: str) -> str:
    """What must be installed before a registered family can run; empty if nothing.

    Raises:
        PluginError: The family's own code fails.
    """
    family = registry.models.get(name)
    with _own_code(name):
        return missing_requirement(family()) or ""


def search_space_of(name: str, task: Task) -> SearchSpace:
    """The search space of a registered family for a task.

    Raises:
        PluginError: The family's own code fails.
    """
    family, space = registry.models.get(name), SearchSpace()
    with _own_code(name):
        family().search_space(space, task)
    return space


@contextlib.contextmanager
def _own_code(name: str) -> Iterator[None]:
    """Code of a family, which may be anybody's.

    Raises:
        PluginError: It fails.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        said = f"model family {name!r}: its own code fails: {reason_of(error)}"
        raise PluginError(said) from error
