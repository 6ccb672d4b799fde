"""The neutral search space: defaults, conditions, and mistakes that fail where they are made."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from medbench.errors import ModelError
from medbench.models.space import SearchSpace


def test_defaults_are_the_first_option_and_the_middle_of_a_range():
    space = SearchSpace()
    space.choice("kernel", ("rbf", "linear"))
    space.choice("scaled", (True, False), default=False)
    space.integer("depth", 2, 8)
    space.real("rate", 0.0, 1.0)
    space.real("C", 1e-2, 1e2, log=True)
    space.integer("components", 4, 64, log=True)
    assert space.defaults() == {
        "kernel": "rbf",
        "scaled": False,
        "depth": 5,
        "rate": 0.5,
        "C": pytest.approx(1.0),
        "components": 16,
    }
    assert [parameter.name for parameter in space] == list(space.defaults())
    assert len(space) == 6


def conditional_space():
    """One of 2 kernels; the first with 1 to 3 degrees, and the third degree with a flag."""
    space = SearchSpace()
    space.choice("kernel", ("poly", "linear"))
    space.integer("degree", 1, 3, log=True, when={"kernel": "poly"})
    space.choice("flag", (True, False), when={"degree": 3})
    return space


def test_configurations_are_counted_under_their_conditions():
    space = conditional_space()
    assert space.n_configurations == 2 + 2 + 1  # degrees 1 and 2, 3 with a flag, linear
    random = np.random.default_rng(0)
    drawn = {tuple(sorted(space.sample(random).items())) for _ in range(200)}
    assert len(drawn) == 5
    space.real("C", 0.1, 1.0, when={"kernel": "linear"})
    assert space.n_configurations == math.inf
    assert SearchSpace().n_configurations == 1


def test_a_range_is_drawn_from_end_to_end_and_no_further():
    space = SearchSpace()
    space.integer("components", 2, 5, log=True)
    space.real("C", 1e-3, 1e3, log=True)
    drawn = [space.sample(np.random.default_rng(seed)) for seed in range(200)]
    assert {params["components"] for params in drawn} == {2, 3, 4, 5}
    for params in drawn:
        space.check(params)
    below_one = np.mean([params["C"] < 1 for params in drawn])
    assert 0.4 < below_one < 0.6


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"kernel": "poly", "degree": 4}, "degree = 4; it takes a whole number from 1 to 3"),
        ({"kernel": "poly", "degree": 2.0}, "degree = 2.0"),
        ({"kernel": "poly", "degree": True}, "degree = True"),
        ({"kernel": "rbf"}, "kernel = 'rbf'; it takes one of 'poly', 'linear'"),
        ({"kernel": "poly"}, "degree has no value"),
        ({"kernel": "linear", "degree": 1}, "where kernel is 'poly'"),
        ({"kernel": "linear", "depth": 1}, "depth = 1, but there is no such parameter"),
    ],
)
def test_what_is_not_in_the_space_is_named_with_what_is(params, said):
    with pytest.raises(ModelError, match=re.escape(said)):
        conditional_space().check(params)


@pytest.mark.parametrize(("kernel", "active"), [("rbf", True), ("linear", False)])
def test_a_conditional_parameter_exists_only_under_its_condition(kernel, active):
    space = SearchSpace()
    space.choice("kernel", ("rbf", "linear"), default=kernel)
    space.real("gamma", 0.1, 10.0, when={"kernel": "rbf"})
    assert ("gamma" in space.defaults()) is active


def test_a_condition_on_an_absent_parameter_does_not_hold():
    space = SearchSpace()
    space.choice("pca", (False, True))
    space.choice("whiten", (True, False), when={"pca": True})
    space.real("power", 0.5, 1.0, when={"whiten": True})
    assert space.defaults() == {"pca": False}


def test_several_values_may_switch_a_parameter_on():
    space = SearchSpace()
    space.choice("kernel", ("linear", "rbf", "poly"), default="poly")
    space.real("gamma", 0.1, 10.0, when={"kernel": ("rbf", "poly")})
    assert "gamma" in space.defaults()


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda s: s.real("C", 2.0, 1.0), "low 2.0 must be below high 1.0"),
        (lambda s: s.integer("n", 3, 3), "low 3 must be below high 3"),
        (lambda s: s.real("C", 0.0, 1.0, log=True), "begin above 0"),
        (lambda s: s.integer("n", 1, 5, default=9), r"default 9 is outside \[1, 5\]"),
        (lambda s: s.choice("kernel", ("a", "b"), default="c"), "'c' is not among"),
        (lambda s: s.real("x", 0.0, 1.0, when={"y": 1}), "depends on 'y'"),
    ],
)
def test_a_mistake_in_a_declaration_says_what_is_wrong(declare, message):
    with pytest.raises(ModelError, match=message):
        declare(SearchSpace())


def test_a_name_cannot_be_declared_twice():
    space = SearchSpace()
    space.real("C", 0.1, 1.0)
    with pytest.raises(ModelError, match="'C' is declared twice"):
        space.choice("C", (1, 2))


def test_what_a_search_begins_with_differs_from_the_defaults_and_is_in_the_space():
    space = SearchSpace()
    space.integer("depth", 1, 3, default=1)
    space.choice("blocks", ["plain", "residual"])
    space.begin_with(depth=2)
    space.begin_with(blocks="residual")
    assert [space.first(number) for number in range(4)] == [
        {"depth": 1, "blocks": "plain"},
        {"depth": 2, "blocks": "plain"},
        {"depth": 1, "blocks": "residual"},
        None,
    ]
    with pytest.raises(ModelError, match="depth = 9"):
        space.begin_with(depth=9)
