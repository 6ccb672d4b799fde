import time

import numpy as np
import pandas as pd
import pytest

from medbench.datasets.batch import PROPERTIES, Batch
from medbench.errors import ConfigurationError
from medbench.features.feature_cache import FeatureCache
from medbench.tuning.budget import BUDGETS, Budget, Clock


class Slow:
    key = "slow"
    parallel = False

    def __call__(self, images):
        time.sleep(0.2)
        return images.reshape(len(images), -1).astype(np.float32)


def batch():
    images = np.arange(4 * 16, dtype=np.uint8).reshape(4, 4, 4, 1)
    return Batch(images=images, properties=pd.DataFrame(0, index=range(4), columns=PROPERTIES))


def test_the_named_budgets_are_those_of_the_design():
    assert str(BUDGETS["smoke"]) == "3 trials / 20 s"
    assert str(BUDGETS["thorough"]) == "200 trials / 3600 s"
    assert str(Budget(trials=1, seconds=None)) == "1 trial"
    assert Budget.parse("1 trial") == Budget(trials=1, seconds=None)


@pytest.mark.parametrize(
    ("trials", "seconds", "message"),
    [(None, None, "needs trials, seconds"), (0, None, "1 trial, not"), (3, 0, "0 seconds, not")],
)
def test_a_budget_that_allows_nothing_is_refused(trials, seconds, message):
    with pytest.raises(ConfigurationError, match=message):
        Budget(trials=trials, seconds=seconds)


def test_a_warm_cache_costs_what_a_cold_one_would_have_cost(tmp_path):
    cold = FeatureCache(tmp_path)
    cold.get(Slow(), batch())
    warm = FeatureCache(tmp_path)
    clock = Clock(warm)
    warm.get(Slow(), batch())
    warm.get(Slow(), batch())
    assert warm.spent_seconds == 0
    assert 0.2 <= warm.cold_seconds < 0.4  # charged once
    assert clock.seconds >= 0.2


def test_features_paid_before_an_interruption_are_not_charged_again(tmp_path):
    cold = FeatureCache(tmp_path)
    cold.get(Slow(), batch())
    resumed = FeatureCache(tmp_path, paid=cold.names)
    resumed.get(Slow(), batch())
    assert resumed.cold_seconds == 0
    assert resumed.names == cold.names


def test_time_before_an_interruption_is_carried_over():
    assert Clock(FeatureCache(None), spent_before=30.0).seconds >= 30


@pytest.mark.parametrize(
    "budget",
    [*BUDGETS.values(), Budget(trials=4, seconds=None), Budget(trials=None, seconds=0.5)],
    ids=str,
)
def test_a_budget_is_read_back_as_it_was_written(budget):
    assert Budget.parse(str(budget)) == budget


@pytest.mark.parametrize("text", ["", "many", "0 trials", "3 trials / soon s", "-1 s"])
def test_a_text_that_is_no_budget_is_refused(text):
    with pytest.raises(ConfigurationError, match="is no budget, such as 20 trials / 120 s"):
        Budget.parse(text)
