"""MedBench: an honest AutoML benchmark for medical image classification.

``run``, ``audit`` and ``load_run`` are what the command line does, ``load_model`` classifies new
images, and the rest is what a plugin author needs. All is loaded only when it is asked for.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as in typing, which takes as long to import as Python to start
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

IMPORTED_BY = os.getpid()
"""Number of the process that imported MedBench, and not of one that was forked off it."""

_PUBLIC = {
    "run": "medbench.running.run",
    "audit": "medbench.running.audit",
    "load_run": "medbench.running.load",
    "Run": "medbench.running.load",
    "Batch": "medbench.datasets.batch",
    "LabelledBatch": "medbench.datasets.batch",
    "Task": "medbench.datasets.task",
    "Classifier": "medbench.models.contract",
    "Context": "medbench.models.contract",
    "ModelFamily": "medbench.models.contract",
    "Progress": "medbench.models.contract",
    "load_model": "medbench.inference.load",
    "complete_probabilities": "medbench.models.contract",
    "read_image": "medbench.datasets.read_image",
    "SearchSpace": "medbench.models.space",
    "register_executor": "medbench.registry",
    "register_model": "medbench.registry",
    "register_reader": "medbench.registry",
    "register_source": "medbench.registry",
    "register_tuner": "medbench.registry",
}

__all__ = ["__version__", "errors", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import importlib

        if name == "errors":
            return importlib.import_module("medbench.errors")
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'medbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
