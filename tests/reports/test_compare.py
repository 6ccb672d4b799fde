"""Two runs are compared on the same patients, or it is said why they cannot be."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from medbench.errors import StoreError
from medbench.reports.compare import compare_runs, print_comparison


@pytest.fixture
def pair(new_factory):
    first, second = new_factory(), new_factory()
    for factory in (first, second):
        factory.dataset(n_folds=2)
        factory.model("same", 1.0)
    return first, second


def printed(found):
    out = io.StringIO()
    print_comparison(found, Console(file=out, width=80))
    return out.getvalue()


def swapped(factory, skill, model="changed"):
    """A model whose seed of noise is its name, so two skills share their patients."""
    factory.model(model, skill, n=200)


def test_equal_predictions_are_called_identical(pair):
    (change,) = compare_runs(*(factory.run() for factory in pair)).changes
    assert change.words == "identical predictions"
    assert change.difference is None and change.before == change.after


def test_a_better_second_run_is_told_with_its_paired_interval(pair):
    first, second = pair
    swapped(first, 0.5)
    swapped(second, 2.5)
    changes = {c.model: c for c in compare_runs(first.run(), second.run()).changes}
    change = changes["changed"]
    assert change.words == "the second is ahead"
    assert change.difference.low > 0
    assert change.difference.difference == pytest.approx(change.after - change.before)
    text = printed(compare_runs(first.run(), second.run()))
    assert "the second is" in text and max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("skills", "words"),
    [
        ((0.5, 2.5), "the second is ahead"),
        ((2.5, 0.5), "the second is behind"),
    ],
)
def test_a_change_that_is_certain_is_ahead_or_behind(pair, skills, words):
    for factory, skill in zip(pair, skills, strict=True):
        swapped(factory, skill)
    changes = {c.model: c for c in compare_runs(*(factory.run() for factory in pair)).changes}
    assert changes["changed"].words == words


def test_a_change_that_is_not_is_neither(pair):
    first, second = pair
    first.model("changed", 1.0, n=200)
    second.model("of-other-noise", 1.0, n=200)
    second.cells = [
        replace(cell, id=replace(cell.id, model="changed")) if cell.id.model != "same" else cell
        for cell in second.cells
    ]
    changes = {c.model: c for c in compare_runs(first.run(), second.run()).changes}
    assert changes["changed"].words == "neither is ahead"
    assert changes["changed"].difference.low < 0 < changes["changed"].difference.high


def test_the_inputs_that_differ_are_named(pair):
    first, second = pair
    for factory, budget in zip(pair, ("20 trials", "60 trials"), strict=True):
        for cell in factory.cells:
            object.__setattr__(cell, "key_parts", {"budget": budget, "seed": 0})
    found = compare_runs(first.run(), second.run())
    assert found.changes[0].differing == ("budget",)
    assert "What differs between the runs: budget." in printed(found)


def test_what_could_not_be_read_is_said_with_its_run(pair):
    runs = [
        replace(factory.run(), folder=Path(name), gaps=gaps)
        for factory, name, gaps in zip(pair, ("a", "b"), ((), ("cells/x: damaged.",)), strict=True)
    ]
    found = compare_runs(*runs)
    assert found.notes == ("b: cells/x: damaged.",)
    assert "b: cells/x: damaged." in printed(found)


def test_other_data_are_refused(pair):
    first, second = pair
    second.datasets["phantoms"]["fingerprint"] = "1" * 64
    with pytest.raises(StoreError, match="'phantoms' has other images, labels or groups"):
        compare_runs(first.run(), second.run())


def test_runs_without_a_common_data_set_are_refused(pair, new_factory):
    other = new_factory()
    other.dataset("else", n_folds=2)
    with pytest.raises(StoreError, match="no data set in common"):
        compare_runs(pair[0].run(), other.run())


def test_other_folds_and_models_of_one_run_only_are_notes(pair):
    first, second = pair
    first.model("early", 1.0)
    second.model("late", 1.0)
    for factory in (first, second):
        factory.model("moved", 1.0)
    second.cells[-1].predictions["image"] += 1
    found = compare_runs(first.run(), second.run())
    assert [change.model for change in found.changes] == ["same"]
    text = " ".join(found.notes)
    assert "early is finished in" in text and "late is finished in" in text
    assert "moved was held against other folds" in text
