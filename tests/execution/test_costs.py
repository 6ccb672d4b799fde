"""What cells are expected to take: from a table, and from what finished cells of here took."""

import json
from dataclasses import asdict, replace

import pytest

from medbench.backbones import BACKBONES
from medbench.cache import cache_folder, keep_note
from medbench.cli import main
from medbench.datasets.catalog import load_catalog
from medbench.execution import costs, machine_speed
from medbench.execution.cell_times import CellTimes, expected_seconds
from medbench.execution.costs import Costs, Measurement
from medbench.execution.plan import Settings, Setup, plan_cells, plan_datasets
from medbench.tuning.budget import Budget

ONE = Measurement(
    source="", data="", images=12, side=24.0, threads=1, held_out=12, folds=3,
    fixed=2.0, first=10.0, first_features=4.0, trial=5.0, trial_features=1.0, finish=0.0,
    refit=3.0, prediction=1.0,
)  # fmt: skip
"""Of a cell like those below."""


@pytest.fixture
def table(monkeypatch):
    """Makes a shipped table, of a machine that is so many times as fast as this one."""

    def make(slower: float = 1.0, **families: Measurement) -> None:
        shipped = {name.replace("_", "-"): [one] for name, one in families.items()}
        monkeypatch.setattr(costs, "table", lambda: (shipped, 1.0))
        monkeypatch.setattr(costs, "machine_seconds", lambda: slower)

    return make


@pytest.fixture
def plan(class_folders, tmp_path, monkeypatch):
    """Plans the cells of a small folder under some budget."""
    monkeypatch.chdir(tmp_path)
    catalog = load_catalog(folder=class_folders(per_class=12))
    setup = Setup(cache=cache_folder(), threads=1)

    def make(model: str, trials: int | None, seconds: float | None):
        chosen = Settings(budget=Budget(trials=trials, seconds=seconds), folds=2)
        datasets = plan_datasets(["set"], catalog, chosen, setup)
        return plan_cells(datasets, [model], chosen, setup, print)

    return make


def test_a_cell_takes_what_one_like_it_took_and_the_next_finds_its_features(plan, table):
    table(hog_svm=ONE)
    first, second = plan("hog-svm", 3, None)
    known = Costs(1)
    assert known.expected(first).seconds == pytest.approx(2 + 10 + 5 + 5 + 3 + 1, rel=0.01)
    saved = known.expected(first).seconds - known.expected(second).seconds
    assert 0 < saved < 6.001
    assert known.expected(first).trials == 3


@pytest.mark.parametrize(
    ("seconds", "trials", "ends_first"),
    [(100, 19, True), (31, 5, True), (11, 1, True), (9, 1, False)],
)
def test_a_budget_allows_as_many_trials_as_end_within_it(plan, table, seconds, trials, ends_first):
    table(hog_svm=ONE)
    expected = Costs(1).expected(plan("hog-svm", 20, seconds)[0])
    assert (expected.trials, expected.ends_first) == (trials, ends_first)
    assert expected.seconds_for(5) == pytest.approx(30, rel=0.01)


def test_a_first_trial_in_steps_is_cut_when_its_budget_is_over(plan, table):
    table(xgboost=ONE)
    expected = Costs(1).expected(plan("xgboost", 20, 4)[0])
    assert not expected.ends_first
    assert expected.seconds == pytest.approx(2 + 4 + 3 + 1, rel=0.01)


def test_a_slower_machine_takes_longer_and_more_images_too(plan, table):
    cell = plan("hog-svm", 3, None)[0]
    table(hog_svm=ONE)
    here = Costs(1).expected(cell).seconds
    table(slower=2.0, hog_svm=ONE)
    assert Costs(1).expected(cell).seconds == pytest.approx(2 * here, rel=0.01)
    table(hog_svm=replace(ONE, images=200, held_out=24))  # few count as a hundred, so as half
    assert Costs(1).expected(cell).seconds == pytest.approx(2 + 24 / 2, rel=0.01)


def test_below_a_hundred_images_fewer_are_not_expected_to_be_quicker(plan, table):
    cell = plan("hog-svm", 3, None)[0]
    table(hog_svm=replace(ONE, images=80))
    assert Costs(1).expected(cell).seconds == pytest.approx(26, rel=0.01)


def test_nothing_is_known_of_a_family_that_nobody_measured(plan, table):
    table()
    known = Costs(1)
    (cell, _), (bounded, _) = plan("hog-svm", 3, None), plan("hog-svm", 3, 20)
    assert known.expected(cell) is None
    assert expected_seconds(cell, CellTimes(known)) is None
    assert expected_seconds(bounded, CellTimes(known)) == 20


def test_what_this_machine_measured_outweighs_the_table(plan, table):
    cell = plan("hog-svm", 3, None)[0]
    own = replace(ONE, source=cell.key_parts["source"], first=1.0, trial=1.0, images=13)
    keep_note(machine_speed.note_of("hog-svm"), [asdict(own)])
    table(hog_svm=replace(ONE, images=40))
    assert Costs(1).expected(cell).seconds == pytest.approx(2 + 3 + 3 + 1, rel=0.15)
    of_other_code = replace(own, source="other")
    keep_note(machine_speed.note_of("hog-svm"), [asdict(of_other_code)])
    table(hog_svm=ONE)
    assert Costs(1).expected(cell).seconds == pytest.approx(26, rel=0.01)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"\xff\x00", b'{"value": [], "sha256": "0"}',
        ["text", 3, None, {"first": 1.0}, asdict(ONE) | {"trial": "5"}, asdict(ONE) | {"side": 0}],
        {"families": {}}, [asdict(ONE) | {"images": True}], [asdict(ONE) | {"more": 1}],
    ],
)  # fmt: skip
def test_damaged_and_foreign_notes_are_ignored_and_made_anew(plan, table, content):
    table(hog_svm=ONE)
    cell = plan("hog-svm", 3, None)[0]
    note = machine_speed.note_of("hog-svm")
    if isinstance(content, bytes):
        note.parent.mkdir(parents=True)
        note.write_bytes(content)
    else:
        keep_note(note, content)
    known = Costs(1)
    assert known.expected(cell).seconds == pytest.approx(26, rel=0.01)
    trial = {"seconds": 2.0, "features_seconds": 1.0, "stage": "search"}
    seconds = {"tuning": 2.0, "features": 1.0, "refit": 1.0, "prediction": 1.0}
    record = {"seconds": seconds | {"wall_of_last_start": 5.0}, "inner_folds": 3}
    known.learn(cell, record, [trial], begun_before=False)
    (kept,) = json.loads(note.read_bytes())["value"]
    assert (kept["first"], kept["trial"], kept["refit"]) == (2.0, None, 1.0)
    assert kept["fixed"] is None  # the first cell has waited for imports


def test_a_fit_that_the_budget_cut_tells_what_a_whole_one_would_take(plan):
    cell = plan("xgboost", 3, 20)[0]
    trial = {"seconds": 21.0, "features_seconds": 1.0, "stage": "search"}
    seconds = {"tuning": 21.0, "features": 1.0, "refit": 1.0, "prediction": 1.0}
    record = {"seconds": seconds | {"wall_of_last_start": 25.0}, "inner_folds": 3}
    cut = record | {"cut": "step 10 of 40", "step": 10, "max_steps": 40}
    assert costs.measured(cell, cut, [trial], 1).first == pytest.approx(1 + 20 * 4)
    assert costs.measured(cell, record, [trial], 1).first == pytest.approx(21)
    assert costs.measured(cell, cut | {"step": None}, [trial], 1) is None
    assert costs.measured(cell, cut | {"step": 2}, [trial], 1) is None  # told by too few steps


def test_a_run_leaves_what_its_cells_took_and_the_next_one_knows_it(
    class_folders, tmp_path, monkeypatch, capsys, table
):
    monkeypatch.chdir(tmp_path)
    table()
    arguments = ["run", "--data", str(class_folders(per_class=12)), "--folds", "2", "--trials", "1"]
    arguments += ["--models", "hog-svm", "--no-sanity", "--threads", "1"]
    assert main([*arguments, "--out", "one"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "no measurement yet of hog-svm" in shown and "no estimate of the whole run" in shown
    assert main([*arguments, "--out", "two", "--dry-run"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "all trials: hog-svm (about" in shown and "for the whole run" in shown
    assert main(["cache", "verify"]) == 0


def test_the_shipped_table_is_sound_and_has_every_family_that_is_built_in():
    shipped, seconds = costs.table()
    content = json.loads(costs.TABLE.read_text())["families"]
    assert 0 < seconds < 1
    assert {name: len(rows) for name, rows in content.items()} == {
        name: len(rows) for name, rows in shipped.items()
    }
    wanted = {"majority", "hog-svm", "xgboost", "cnn", *BACKBONES}
    assert wanted | {costs.REPORTS, costs.START, costs.START_KERAS} <= shipped.keys()


def test_an_official_split_has_no_refit_to_expect_or_to_tell_of(plan, table):
    table(hog_svm=replace(ONE, folds=1))
    cell = plan("hog-svm", 3, None)[0]
    split = replace(cell.split, validation=cell.split.development[:6])
    official = replace(cell, split=split)
    assert Costs(1).expected(official).seconds == pytest.approx(2 + 10 + 5 + 5 + 1, rel=0.01)
    trial = {"seconds": 2.0, "features_seconds": 1.0, "stage": "search"}
    seconds = {"tuning": 2.0, "features": 1.0, "refit": 0.1, "prediction": 1.0}
    record = {"seconds": seconds | {"wall_of_last_start": 5.0}, "inner_folds": 1}
    measured = costs.measured(official, record, [trial], 1)
    assert measured.refit is None and costs._measurements([asdict(measured)]) == [measured]
