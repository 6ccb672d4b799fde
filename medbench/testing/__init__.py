"""Contract checks for authors of plugins, which what is built in passes as well.

One call checks a model family, or a tuner::

    check_model(MyModel)
    check_tuner(MyTuner)

Or let pytest show each check by itself::

    @pytest.mark.parametrize("check", MODEL_CHECKS.values(), ids=MODEL_CHECKS.keys())
    def test_my_model_keeps_the_contract(check):
        check(MyModel, params={"epochs": 2})
"""

from __future__ import annotations

from medbench.testing.models import MODEL_CHECKS, ModelCheck, check_model
from medbench.testing.synthetic import SyntheticData, synthetic_data
from medbench.testing.tuners import TUNER_CHECKS, TunerCheck, check_tuner

__all__ = [
    "MODEL_CHECKS",
    "TUNER_CHECKS",
    "ModelCheck",
    "SyntheticData",
    "TunerCheck",
    "check_model",
    "check_tuner",
    "synthetic_data",
]
