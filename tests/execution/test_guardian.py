"""What families do to their processes ends with them, and what is done to those is no result."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from medbench.execution import process
from medbench.execution.events import Outcome, TrialEnded
from medbench.execution.executor import Resources
from medbench.execution.local import LocalExecutor
from medbench.execution.process_tree import descendants, is_stopped
from medbench.testing.executor_work import small_work, weighted_work

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="guardians are for Linux")
UNRULY = Path(__file__).with_name("unruly_families.py")
FOREIGN = (
    "writes-words", "writes-a-number", "writes-a-half", "writes-a-fit", "writes-more",
    "writes-an-end", "writes-deeply", "writes-without-end",
)  # fmt: skip
LIMIT = 700_000_000
"""Bytes of memory that a cell may use."""


ENDURED = (
    "shares", "shares-a-map", "stops-guardian", "killed-once", "check-brightness", "killed-always",
    "exits", "aborts", *FOREIGN, "listens", "prints",
)  # fmt: skip


@pytest.fixture(scope="module")
def endured(tmp_path_factory):
    """A run of many families: what the local executor tells of the cell of each, by its family,
    and the folder of each."""
    folders = {family: tmp_path_factory.mktemp(family) for family in ENDURED}
    resources = Resources(threads=1, jobs=2, plugins=(UNRULY,), cell_memory=LIMIT)
    work = [weighted_work(small_work(family), folder) for family, folder in folders.items()]
    told = {family: [] for family in ENDURED}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        for event in LocalExecutor(resources).run(work):
            if isinstance(event, TrialEnded) and event.oof is not None:
                assert np.load(event.oof).ndim == 2
            told[event.cell.model].append(event)
    return told, folders


@pytest.fixture
def told(endured):
    return endured[0]


@pytest.fixture
def fits(endured):
    """How many fits of a family have begun."""
    return lambda family: (endured[1][family] / "fits").stat().st_size


def numbers(told):
    return [event.record["number"] for event in told if isinstance(event, TrialEnded)]


def wait_until(there):
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


def ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def hold(tmp_path):
    """Starts a run of families in a process of its own."""
    holders = []

    def start(*families):
        command = [sys.executable, Path(__file__).with_name("holder.py"), tmp_path, *families]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        holders.append(holder)
        return holder

    yield start
    for holder in holders:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_a_run_that_is_killed_takes_along_what_its_cells_hold_stop_or_cut_loose(tmp_path, hold):
    families = ("holds", "stops", "cuts-loose")
    holder = hold(*families)
    wait_until(lambda: all((tmp_path / family).exists() for family in families))
    wait_until(lambda: any(map(is_stopped, descendants(holder.pid))))
    pids = list(descendants(holder.pid))
    assert len(pids) >= 1 + 2 * len(families) + 1  # server, guardians, attempts, the one cut loose
    holder.kill()
    wait_until(lambda: all(map(ended, pids)))


def test_a_run_that_is_killed_takes_along_a_cell_whose_guardian_is_stopped(tmp_path, hold):
    holder = hold("holds")
    wait_until((tmp_path / "holds").exists)
    server = next(descendants(holder.pid))
    guardian = next(descendants(server))
    attempt = next(descendants(guardian))
    os.kill(guardian, signal.SIGSTOP)
    holder.kill()
    wait_until(lambda: ended(attempt) and ended(guardian))


def test_cells_stand_still_while_their_run_does_and_lose_no_time(tmp_path, hold):
    holder = hold("beats")
    beats = tmp_path / "beats"
    wait_until(beats.exists)
    stopped = time.perf_counter()
    holder.send_signal(signal.SIGSTOP)
    attempt = list(descendants(holder.pid))[-1]
    wait_until(lambda: is_stopped(attempt))
    before = beats.stat().st_size
    time.sleep(3)
    assert beats.stat().st_size == before
    least = time.perf_counter() - stopped - 1  # it takes a moment until they are stopped
    holder.send_signal(signal.SIGCONT)
    wait_until(lambda: beats.stat().st_size > before)
    (tmp_path / "enough").touch()
    told, _ = holder.communicate()
    awake, passed = map(float, (tmp_path / "clocks").read_text().split())
    assert passed - awake > least
    assert told.splitlines()[-1].strip() == "Outcome"  # without a reason


def test_a_guardian_that_is_stopped_is_let_go_on(told):
    events = told["stops-guardian"]
    assert numbers(events) == [0, 1, 2] and events[-1].reason == ""


def test_an_attempt_that_is_killed_goes_on_from_its_finished_trials(told, fits):
    assert numbers(told["killed-once"]) == [0, 1, 2]
    outcome, whole = told["killed-once"][-1], told["check-brightness"][-1]
    assert outcome.reason == "" and b"ended by SIGKILL" in outcome.log
    assert fits("killed-once") == 4 + 2 + 2 + 1  # the second trial from its start
    for name in ("params", "trial", "threshold", "calibration"):
        assert outcome.record[name] == whole.record[name]
    np.testing.assert_array_equal(outcome.probabilities, whole.probabilities)


def test_an_attempt_that_is_killed_whenever_it_starts_is_no_result(told, fits):
    events = told["killed-always"]
    outcome = events[-1]
    assert outcome.fault and "SIGKILL" in outcome.reason and "3 times" in outcome.reason
    assert fits("killed-always") == 3
    assert sum(isinstance(event, Outcome) for event in events) == 1


def test_an_attempt_that_ends_by_itself_is_a_failed_cell(told):
    assert "status 7" in told["exits"][-1].reason
    assert "SIGABRT" in told["aborts"][-1].reason
    assert not told["exits"][-1].fault and not told["aborts"][-1].fault


@pytest.mark.parametrize("family", FOREIGN)
def test_what_is_written_among_the_messages_is_a_failed_cell_and_no_event(told, family):
    events = told[family]
    assert "something else wrote" in events[-1].reason
    assert not events[-1].fault and not numbers(events)


def test_what_is_told_to_an_attempt_is_not_read_by_its_family(told):
    assert told["listens"][-1].reason == ""


def test_a_log_has_a_bound_and_says_what_is_left_out(told):
    outcome = told["prints"][-1]
    assert outcome.reason == ""
    assert len(outcome.log) < 1_100_000
    assert outcome.log.startswith(b"line 0 ") and b"line 29999 " in outcome.log
    assert b"bytes are left out here" in outcome.log


def test_memory_that_processes_share_counts_once_and_a_shared_map_counts(told):
    assert told["shares"][-1].reason == ""
    last = told["shares-a-map"][-1]
    overrun = last.overrun
    assert overrun is not None, last
    assert (overrun.limit, overrun.allowed) == ("--cell-memory", LIMIT)
    assert overrun.used > overrun.allowed
    assert "more than its limit of 700.0 MB (--cell-memory)" in last.reason


def test_a_guardian_that_is_stopped_does_not_hold_up_the_end_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_GRACE_SECONDS", 0.5)
    work = weighted_work(small_work("holds"), tmp_path)
    events = LocalExecutor(Resources(threads=1, plugins=(UNRULY,))).run([work])
    next(events)
    wait_until((tmp_path / "holds").exists)
    server = next(descendants(os.getpid()))
    guardian = next(descendants(server))
    attempt = next(descendants(guardian))
    os.kill(guardian, signal.SIGSTOP)
    events.close()
    wait_until(lambda: ended(attempt))
