"""Contracts of what can be plugged in, for authors of plugins; what is built in keeps them too.

Inherit one and let pytest show each test by itself::

    class TestMyModel(ModelContract):
        family = MyModel

Or run all of them by one call, without pytest::

    check_model(MyModel)

A model family, a tuner, a data source, an image reader and an executor each have a contract. Its
docstring says what a class must name; that of each test says what is demanded, and why.
"""

from __future__ import annotations

from medbench.testing.contract import Contract
from medbench.testing.executors import ExecutorContract, check_executor
from medbench.testing.models import ModelContract, check_model
from medbench.testing.readers import ReaderContract, check_reader
from medbench.testing.sources import SourceContract, check_source
from medbench.testing.synthetic import SyntheticData, synthetic_data
from medbench.testing.tuners import TunerContract, check_tuner

__all__ = [
    "Contract",
    "ExecutorContract",
    "ModelContract",
    "ReaderContract",
    "SourceContract",
    "SyntheticData",
    "TunerContract",
    "check_executor",
    "check_model",
    "check_reader",
    "check_source",
    "check_tuner",
    "synthetic_data",
]
