import pytest

from medbench.execution.stock import Pace, makespan
from medbench.store import CellId


def test_tasks_start_in_order_as_soon_as_a_job_is_free():
    assert makespan([], 2) == 0
    assert makespan([5, 1, 1, 1], 1) == 8
    assert makespan([5, 1, 1, 1], 2) == 5
    assert makespan([1, 1, 1, 5], 2) == 6
    assert makespan([3.0] * 5, 2) == 9  # not 7.5: the last one has nobody beside it


def test_the_pace_is_that_of_the_same_data_set_and_model():
    pace, fold = Pace(), CellId(dataset="set", model="cnn", split="r0f0")
    pace.learn(fold, 10)
    pace.learn(fold, 20)
    assert pace.of(CellId(dataset="set", model="cnn", split="r0f1")) == pytest.approx(15)
    assert pace.of(CellId(dataset="set", model="xgboost", split="r0f0")) is None
    assert pace.of(CellId(dataset="other", model="cnn", split="r0f0")) is None
