"""What must be installed before a family can run here."""

from __future__ import annotations

import importlib.util

from medbench.execution.environment import keras_backend
from medbench.models.contract import ModelFamily
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
