"""A clock that stands still while its process is suspended."""

import time

import pytest

from medbench import awake


@pytest.fixture
def now(monkeypatch):
    """Moves the time on; begins at none."""
    time_ = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: time_[0])

    def pass_(seconds):
        time_[0] += seconds

    return pass_


def test_seconds_for_which_others_are_suspended_are_lost(now, monkeypatch):
    monkeypatch.setattr(awake, "_told", None)
    sleep = awake.Sleep()
    awake.told_by(sleep)
    began = awake.awake_seconds()
    now(0.5)
    sleep.look()
    assert awake.awake_seconds() - began == 0.5
    for _ in range(3):
        now(0.25)
        sleep.look(asleep=True)
    assert awake.awake_seconds() - began == 0.5
    now(0.25)
    sleep.look()
    assert awake.awake_seconds() - began == 0.75


def test_where_nobody_could_look_everything_was_suspended(now, monkeypatch):
    monkeypatch.setattr(awake, "_told", None)
    sleep = awake.Sleep()
    awake.told_by(sleep)
    began = awake.awake_seconds()
    now(100)
    before = awake.awake_seconds() - began
    assert before < 2  # also before anybody says so
    sleep.look()
    assert awake.awake_seconds() - began == before
