"""Every executor keeps the contract, whichever way its processes start."""

import sys
from functools import partial

import pytest

from medbench import registry
from medbench.execution.inline import InlineExecutor
from medbench.execution.local import LocalExecutor
from medbench.testing.executors import (
    EXECUTOR_CHECKS,
    NEEDS_ISOLATION,
    ExecutorContract,
    check_executor,
)

WAYS = {
    "inline": InlineExecutor,
    "forked": partial(LocalExecutor, start_method="fork"),
    "spawned": partial(LocalExecutor, start_method="spawn"),
}


@pytest.fixture(scope="module", params=WAYS)
def contract(request, tmp_path_factory):
    if request.param == "forked" and sys.platform != "linux":
        pytest.skip("forks are for Linux")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield ExecutorContract(WAYS[request.param])


@pytest.mark.parametrize("check", EXECUTOR_CHECKS)
def test_an_executor_keeps_the_contract(contract, check):
    if check in NEEDS_ISOLATION and not contract.isolates:
        pytest.skip("what it does not promise")
    contract.check(check)


def test_what_does_not_isolate_is_told_what_was_not_checked():
    assert check_executor(InlineExecutor) == NEEDS_ISOLATION


def test_every_executor_is_checked():
    found = {registry.executors.get(name) for name in registry.executors.names()}
    assert found == {LocalExecutor, InlineExecutor}
