from dataclasses import replace

import pytest

from medbench.datasets.catalog import load_catalog
from medbench.errors import ConfigurationError
from medbench.execution.plan import (
    KEPT_BACK,
    Settings,
    Setup,
    plan_cells,
    plan_datasets,
    share_time,
)
from medbench.tuning.budget import Budget


@pytest.fixture
def plan(class_folders, tmp_path, monkeypatch):
    """Plans the cells of a small folder under some settings."""
    monkeypatch.chdir(tmp_path)
    catalog = load_catalog(folder=class_folders(per_class=12))
    setup = Setup(cache=tmp_path / "cache", threads=1)

    def make(*models: str, **settings):
        chosen = Settings(**({"budget": Budget(trials=2, seconds=None), "folds": 2} | settings))
        datasets = plan_datasets(["set"], catalog, chosen, setup)
        return plan_cells(datasets, models, chosen, setup, print)

    return make


def budgets(cells) -> set:
    return {cell.settings.budget for cell in cells}


def test_the_time_of_a_run_is_divided_over_the_cells_that_are_tuned(plan):
    cells = plan("majority", "hog-svm", "xgboost")  # 4 of 6 cells have something to tune
    assert [cell.tuned for cell in cells] == [False, True, True] * 2
    whole = (1 - KEPT_BACK) * 1000
    assert budgets(share_time(cells, 1000, 1)) == {Budget(trials=2, seconds=whole // 4)}
    assert budgets(share_time(cells, 1000, 2)) == {Budget(trials=2, seconds=whole * 2 // 4)}
    assert budgets(share_time(cells, 1000, 9)) == {Budget(trials=2, seconds=whole)}  # 4 at most
    assert {cell.id for cell in share_time(cells, 1000, 2)} == {cell.id for cell in cells}


def test_a_share_is_never_more_than_the_budget_that_was_named(plan):
    cells = plan("hog-svm", budget=Budget(trials=20, seconds=120))
    assert budgets(share_time(cells, 10_000, 1)) == {Budget(trials=20, seconds=120)}
    assert budgets(share_time(cells, 100, 1)) == {Budget(trials=20, seconds=37)}


def test_a_share_below_a_second_is_refused_and_says_what_to_do(plan):
    with pytest.raises(ConfigurationError, match="less than a second for each of 2 cells"):
        share_time(plan("hog-svm"), 2, 1)
    cells = plan("majority")
    assert share_time(cells, 1, 1) == cells  # nothing is tuned, nothing is divided


def test_another_budget_is_another_key(plan):
    cells = plan("hog-svm")
    assert cells[0].key != share_time(cells, 100, 1)[0].key


def test_the_repeats_of_a_split_have_keys_and_seeds_of_their_own(plan):
    cells = plan("hog-svm", seeds=2)
    assert [cell.id.split for cell in cells] == ["r0f0", "r0f1", "r1f0", "r1f1"]
    assert len({cell.key for cell in cells}) == len({cell.seed for cell in cells}) == 4
    assert cells[0].key == plan("hog-svm")[0].key  # more seeds do not change the first one's cells
    again = replace(cells[0], split=replace(cells[0].split, repeat=1, name="official-r1"))
    assert again.key != cells[0].key  # although it has the very same images
    assert again.split_seed != cells[0].split_seed
