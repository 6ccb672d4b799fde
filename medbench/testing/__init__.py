"""Contract checks for authors of plugins, which what is built in passes as well.

One call checks a model family, a tuner, a data source, a reader or an executor::

    check_model(MyModel)
    check_tuner(MyTuner)
    check_source(...)
    check_reader(...)
    check_executor(MyExecutor)

Or let pytest show each check by itself::

    @pytest.mark.parametrize("check", MODEL_CHECKS.values(), ids=MODEL_CHECKS.keys())
    def test_my_model_keeps_the_contract(check):
        check(MyModel, params={"epochs": 2})
"""

from __future__ import annotations

from medbench.testing.executors import (
    EXECUTOR_CHECKS,
    NEEDS_ISOLATION,
    ExecutorContract,
    check_executor,
)
from medbench.testing.models import (
    MODEL_CHECKS,
    ModelCheck,
    check_batch_sizes,
    check_determinism,
    check_learns,
    check_missing_class,
    check_model,
    check_probabilities,
    check_pruning,
    check_refit,
    check_save_and_load,
    check_space,
    check_stop,
    check_task_kinds,
)
from medbench.testing.sources import READER_CHECKS, SOURCE_CHECKS, check_reader, check_source
from medbench.testing.synthetic import SyntheticData, synthetic_data
from medbench.testing.tuners import TUNER_CHECKS, TunerCheck, check_tuner

__all__ = [
    "EXECUTOR_CHECKS",
    "MODEL_CHECKS",
    "NEEDS_ISOLATION",
    "READER_CHECKS",
    "SOURCE_CHECKS",
    "TUNER_CHECKS",
    "ExecutorContract",
    "ModelCheck",
    "SyntheticData",
    "TunerCheck",
    "check_batch_sizes",
    "check_determinism",
    "check_executor",
    "check_learns",
    "check_missing_class",
    "check_model",
    "check_probabilities",
    "check_pruning",
    "check_reader",
    "check_refit",
    "check_save_and_load",
    "check_source",
    "check_space",
    "check_stop",
    "check_task_kinds",
    "check_tuner",
    "synthetic_data",
]
