"""Several runs in one leaderboard: what is shown twice, what once, and what cannot be joined."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from medbench.errors import StoreError
from medbench.reports.assessment import assess
from medbench.reports.describe import describe_settings
from medbench.reports.join import join_runs
from medbench.reports.terminal import print_leaderboard
from medbench.store import CellId

QUICK = {"budget": "20 trials / 20 s", "seed": 0, "tuner": None}
SLOW = {**QUICK, "budget": "5 trials / 10 s"}


@pytest.fixture
def pair(new_factory):
    first, second = new_factory(), new_factory()
    for factory in (first, second):
        factory.dataset()
        factory.model("majority", 0)
    return first, second


def joined(*factories, names=("one", "two", "three"), configurations=({}, {}, {}), **fields):
    runs = [
        replace(factory.run(), folder=Path("runs") / name, configuration=configuration, **fields)
        for factory, name, configuration in zip(factories, names, configurations, strict=False)
    ]
    return join_runs(runs, Path("together"))


def models(run):
    return sorted({cell.id.model for cell in run.cells})


def test_data_sets_and_models_of_both_are_there(pair):
    first, second = pair
    first.model("a", 1.0)
    second.model("b", 2.0)
    second.dataset("more", n_folds=1)
    second.model("b", 1.0, "more")
    run = joined(first, second)
    assert run.folder == Path("together")
    assert sorted(run.datasets) == ["more", "phantoms"]
    found = assess(run)
    rows = {(d.name, row.name): row.fields.status for d in found.datasets for row in d.rows}
    names = [("phantoms", "a"), ("phantoms", "b"), ("phantoms", "majority"), ("more", "b")]
    assert rows == dict.fromkeys(names, "ok")
    assert found.datasets[1].comparison.differences  # paired over the runs


def test_a_model_that_both_have_is_shown_twice_with_its_run(pair):
    first, second = pair
    first.model("a", 1.0)
    second.model("a", 2.0)
    assert models(joined(first, second)) == ["a (one)", "a (two)", "majority"]


def test_runs_of_equal_names_and_names_that_are_taken_stay_distinct(pair):
    first, second = pair
    first.model("a", 1.0)
    first.model("a (run)", 0.5)
    second.model("a", 2.0)
    run = joined(first, second, names=("x/run", "y/run"))
    assert models(run) == ["a (run 2)", "a (run)", "a (run) 2", "majority"]
    assert len(run.cells) == 4 * 3


def test_sanity_rows_are_kept_once_where_their_predictions_are_the_same(pair):
    first, second = pair
    for factory, skill in ((first, 1.0), (second, 2.0)):
        factory.model("border", 0.4)
        factory.model("thumbnail", skill)
    run = joined(first, second)
    assert models(run) == ["border", "majority", "thumbnail (one)", "thumbnail (two)"]
    assert len(run.cells) == 4 * 3


def test_a_sanity_row_takes_each_fold_from_the_run_that_finished_it(new_factory):
    first, second = new_factory(), new_factory()
    for factory in (first, second):
        factory.dataset()
    first.model("majority", 0, folds=[0])
    first.unfinished("majority", "failed", "boom", fold=1)
    object.__setattr__(first.cells[-1], "record", {**first.cells[-1].record, "sanity": True})
    second.model("majority", 0, folds=[1, 2])
    cells = joined(first, second).cells
    assert [(cell.id.split, cell.status) for cell in cells] == [
        ("r0f0", "ok"),
        ("r0f1", "ok"),
        ("r0f2", "ok"),
    ]


def test_rows_by_image_go_with_the_run_that_their_model_is_of(pair):
    first, second = pair
    first.model("a", 1.0)
    second.model("a", 1.0)
    second.datasets["phantoms"]["n_folds_by_image"] = 3
    for fold in range(3):
        second.finished("a", 2.0, fold=fold, by_image=True)
    run = joined(first, second)
    by_image = {cell.id.model for cell in run.cells if "by-image" in cell.id.split}
    assert by_image == {"a (two)"}
    assert run.datasets["phantoms"]["n_folds_by_image"] == 3
    assert assess(run).datasets[0].row("a (two)", "split by image").complete


def test_other_images_are_refused_with_both_folders_and_the_remedy(pair):
    first, second = pair
    second.datasets["phantoms"]["fingerprint"] = "1" * 64
    with pytest.raises(StoreError, match=r"'phantoms' has other images.*two.*one.*one by one"):
        joined(first, second)


@pytest.mark.parametrize("how", ["described", "drawn"])
def test_other_folds_are_refused(pair, how):
    first, second = pair
    if how == "described":
        second.datasets["phantoms"]["split"] = "3-fold x 2"
    else:
        second.cells[0].predictions["image"] += 1
    with pytest.raises(StoreError, match=r"'phantoms' was split differently in .*two.* than in"):
        joined(first, second)


def test_a_folder_given_twice_is_refused(pair):
    with pytest.raises(StoreError, match="is given twice"):
        joined(*pair, names=("one", "one"))


def test_unequal_budgets_are_stated_where_readers_look(pair):
    first, second = pair
    first.model("a", 1.0)
    run = joined(first, second, configurations=(QUICK, SLOW))
    said = "20 trials / 20 s (one) and 5 trials / 10 s (two), so not equal"
    assert run.configuration == {**QUICK, "budget": said, "unequal": ["budget"]}
    assert "with different settings (budget)" in describe_settings(run.configuration)
    out = io.StringIO()
    print_leaderboard(assess(run), Console(file=out, width=300))
    assert said in out.getvalue()


def test_equal_settings_are_not_said_to_differ(pair):
    run = joined(*pair, configurations=(QUICK, QUICK))
    assert run.configuration == QUICK


def test_gaps_say_of_which_run_they_are_and_audits_are_the_first_ones(pair):
    first, second = pair
    second.finding("seen by the second")
    run = joined(first, second, gaps=("cells/x: damaged.",))
    assert run.gaps == ("one: cells/x: damaged.", "two: cells/x: damaged.")
    assert run.audits["phantoms"]["findings"][0]["text"] == "seen by the second"
    first.finding("seen by the first")
    assert joined(first, second).audits["phantoms"]["findings"][0]["text"] == "seen by the first"


def test_machines_and_versions_that_differ_are_given_with_their_runs(pair):
    environments = (
        {"cores": 2, "packages": {"x": "1", "y": "1"}},
        {"cores": 2, "packages": {"x": "2", "y": "1"}},
    )
    runs = [
        replace(factory.run(), folder=Path(name), environment=environment)
        for factory, name, environment in zip(pair, ("one", "two"), environments, strict=True)
    ]
    packages = join_runs(runs, Path("t")).environment["packages"]
    assert packages == {"x": "1 (one) and 2 (two), so not equal", "y": "1"}


def test_a_commit_that_one_run_lacks_stays_an_object(pair):
    runs = [
        replace(factory.run(), folder=Path(name), environment={"commit": commit})
        for factory, name, commit in zip(pair, ("a", "b"), ({"hash": "x"}, None), strict=True)
    ]
    said = "x (a) and none (b), so not equal"
    assert join_runs(runs, Path("t")).environment["commit"] == {"hash": said}


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ((None, None), None),
        ((True, True), True),
        ((True, None), None),
        ((True, False), False),
        ((None, False), False),
    ],
)
def test_images_are_shown_as_far_as_every_run_shows_them(pair, said, holds):
    runs = [
        replace(factory.run(), folder=Path(name), images=images)
        for factory, name, images in zip(pair, ("a", "b"), said, strict=True)
    ]
    assert join_runs(runs, Path("t")).images is holds


def test_cells_that_could_not_be_read_are_those_of_all_runs(pair):
    cell = CellId(dataset="phantoms", model="m", split="r0f0")
    assert joined(*pair, unread=(cell,)).unread == (cell, cell)


def test_one_run_alone_is_itself_but_for_its_folder(pair):
    first, _ = pair
    run = joined(first)
    assert run == replace(first.run(), folder=Path("together"))
