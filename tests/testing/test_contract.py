"""How a contract is used: by inheritance or by one call, with a clear word where it is not."""

import unittest
from unittest import SkipTest

import pytest

from medbench import registry, testing
from medbench.errors import PluginError
from medbench.testing import Contract
from medbench.testing.contract import needed

CONTRACTS = {
    "models": testing.ModelContract,
    "sources": testing.SourceContract,
    "readers": testing.ReaderContract,
    "tuners": testing.TunerContract,
    "executors": testing.ExecutorContract,
}


class Numbers(Contract):
    """Of a list that must rise."""

    numbers: list = needed("[1, 2, 3]")
    made = 0

    def make(self, numbers):
        Numbers.made += 1
        return list(numbers)

    def test_rises(self):
        assert self.once(self.make, self.numbers) == sorted(self.numbers), "it must rise"

    def test_short(self):
        if not self.numbers:
            raise SkipTest("nothing in it")
        assert len(self.once(self.make, self.numbers)) < 5


def test_everything_that_can_be_registered_has_a_contract():
    kinds = [name for name, kind in vars(registry).items() if isinstance(kind, registry.Registry)]
    assert set(kinds) == set(CONTRACTS)
    assert len(registry.ALL) == len(CONTRACTS)


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_every_demand_says_what_and_is_collected_by_its_name(contract):
    assert contract.__doc__ and len(contract.names()) >= 5
    for name in contract.names():
        assert getattr(contract, name).__doc__, name


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_a_class_that_names_no_plugin_is_told_what_to_write(contract):
    empty = type("TestMine", (contract,), {})()
    with pytest.raises(PluginError, match=r"TestMine does not say what it tests: .*Write `\w+ = "):
        getattr(empty, contract.names()[0])()


def test_one_call_runs_every_test_and_tells_what_does_not_apply():
    assert Numbers.check(numbers=[1, 2]) == ()
    assert Numbers.check(numbers=[]) == ("test_short",)
    with pytest.raises(AssertionError, match="must rise"):
        Numbers.check(numbers=[2, 1])


def test_unittest_collects_the_same_tests():
    class TestMine(Numbers, unittest.TestCase):
        numbers = (2, 1, 3)

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(TestMine).run(result)
    assert result.testsRun == 2
    assert [test.id().rpartition(".")[2] for test, _ in result.failures] == ["test_rises"]


def test_what_is_costly_is_made_once_for_a_plugin_whichever_object_asks():
    class TestMine(Numbers):
        numbers = (1, 2)

    before = Numbers.made
    for _ in range(2):
        TestMine().test_rises()
        TestMine().test_short()
    assert Numbers.made == before + 1
    Numbers.check(numbers=(1, 2))
    assert Numbers.made == before + 2
