"""Every executor keeps the contract, whichever way its processes start."""

import sys
from functools import partial

import pytest

from medbench import registry
from medbench.execution.inline import InlineExecutor
from medbench.execution.local import LocalExecutor
from medbench.testing import ExecutorContract, check_executor

WAYS = {
    "local": {
        "forked": partial(LocalExecutor, start_method="fork"),
        "spawned": partial(LocalExecutor, start_method="spawn"),
    }
}
"""Executors that work in several ways; others are made as they are."""
EXECUTORS = {
    f"{name}-{way}" if way else name: made
    for name in registry.executors.names()
    for way, made in WAYS.get(name, {"": registry.executors.get(name)}).items()
}


SLOW = {"local-spawned"}
"""How processes begin and end either way is tested in ``test_process.py``, and that both give the
same numbers in ``test_local.py``; the rest is done by the same code."""


@pytest.fixture(
    scope="class",
    params=[
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in EXECUTORS
    ],
)
def executor(request, tmp_path_factory):
    """Found in the registry, so that a new one cannot be forgotten."""
    if request.param == "local-forked" and sys.platform != "linux":
        pytest.skip("forks are for Linux")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield EXECUTORS[request.param]


class TestEveryExecutor(ExecutorContract):
    @pytest.fixture(autouse=True)
    def registered(self, executor):
        self.executor = executor


def test_what_does_not_isolate_is_told_what_was_not_checked():
    assert check_executor(InlineExecutor) == (
        "test_process",
        "test_memory",
        "test_firewall",
        "test_messages",
        "test_leftovers",
        "test_limits",
    )
