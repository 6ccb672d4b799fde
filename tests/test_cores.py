"""Threads follow what the process may really use."""

import builtins
import io
import os

import pytest

from medbench.cores import available_threads


def test_the_cores_that_the_process_is_bound_to_count(monkeypatch):
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to cores")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_threads() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(("quota", "threads"), [("50000", 1), ("150000", 2), ("max", None)])
def test_the_quota_of_a_container_counts_rounded_up(monkeypatch, quota, threads):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("quotas of containers are those of Linux")
    quotas, exists, opened = "/sys/fs/cgroup/cpu.max", os.path.exists, builtins.open
    monkeypatch.setattr(os.path, "exists", lambda path: path == quotas or exists(path))
    monkeypatch.setattr(
        builtins,
        "open",
        lambda file, *given, **named: (
            io.StringIO(f"{quota} 100000\n") if file == quotas else opened(file, *given, **named)
        ),
    )
    of_process = len(os.sched_getaffinity(0))
    expected = of_process if threads is None else min(of_process, threads)
    assert available_threads() == expected
