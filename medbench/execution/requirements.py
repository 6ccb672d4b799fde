"""What must be installed before a family can run here."""

from __future__ import annotations

import importlib.util

from medbench.execution.environment import keras_backend
from medbench.models.contract import ModelFamily

_INSTALL = {
    "keras": 'pip install "medbench[cpu]"',
    "xgboost": 'pip install "medbench[cpu]"',
}


def missing_requirement(family: ModelFamily) -> str | None:
    """What must be installed before a family can run, with the command; None if nothing."""
    for module in family.requires:
        if importlib.util.find_spec(module) is None:
            command = _INSTALL.get(module, f"pip install {module}")
            return f"not installed: {module} ({command})"
    if "keras" in family.requires and keras_backend() is None:
        return f"not installed: a Keras backend ({_INSTALL['keras']})"
    return None
