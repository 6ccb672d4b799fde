import pytest

from medbench.execution.cell_times import CellTimes, makespan
from medbench.store import CellId


def test_tasks_start_in_order_as_soon_as_a_job_is_free():
    assert makespan([], 2) == 0
    assert makespan([5, 1, 1, 1], 1) == 8
    assert makespan([5, 1, 1, 1], 2) == 5
    assert makespan([1, 1, 1, 5], 2) == 6
    assert makespan([3.0] * 5, 2) == 9  # not 7.5: the last one has nobody beside it


def test_the_mean_time_is_that_of_the_same_data_set_and_model():
    cell_times, fold = CellTimes(), CellId(dataset="set", model="cnn", split="r0f0")
    cell_times.learn(fold, 10)
    cell_times.learn(fold, 20)
    assert cell_times.mean(CellId(dataset="set", model="cnn", split="r0f1")) == pytest.approx(15)
    assert cell_times.mean(CellId(dataset="set", model="xgboost", split="r0f0")) is None
    assert cell_times.mean(CellId(dataset="other", model="cnn", split="r0f0")) is None
