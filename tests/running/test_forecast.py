"""What a run says before it starts, and budgets too small for anything."""

from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from medbench.cli import main
from medbench.execution.cell_times import CellTimes
from medbench.execution.costs import Expected
from medbench.execution.plan_state import PlanState
from medbench.running.forecast import forecast
from medbench.running.live import make_listener
from medbench.store import CellId
from medbench.tuning.budget import Budget


class Known:
    """Costs of which a test decides; a family that is not named was never measured."""

    def __init__(self, **families: Expected) -> None:
        self._families = families

    def expected(self, cell):
        return self._families.get(cell.id.model)

    def outside(self, cells) -> float:
        return 10.0


def expected(trials: int, *, first=40.0, trial=25.0, ends_first=True, seconds=60.0) -> Expected:
    return Expected(
        trials=trials, first=first, trial=trial, ends_first=ends_first, exhausted=False,
        seconds=seconds,
    )  # fmt: skip


def cell(model: str, budget: Budget, dataset: str = "films", *, tuned=True, sanity=False):
    family = SimpleNamespace(sanity=sanity, max_steps=None if model == "svm" else 24)
    return SimpleNamespace(
        id=CellId(dataset=dataset, model=model, split="r0f0"),
        settings=SimpleNamespace(budget=budget),
        model=SimpleNamespace(fits=True, family=family),
        tuned=tuned,
    )


def state(known: Known, *cells) -> PlanState:
    return PlanState(finished=(), failed=(), waiting=cells, cell_times=CellTimes(known))


QUICK = Budget(trials=20, seconds=120)


def test_families_that_have_all_their_trials_share_a_line_and_others_say_what_they_need():
    known = Known(
        majority=expected(1, seconds=1.0), border=expected(20, seconds=4.0),
        svm=expected(20, seconds=12.0), net=expected(4), own=None,
    )  # fmt: skip
    cells = [
        cell("majority", QUICK, tuned=False, sanity=True), cell("border", QUICK, sanity=True),
        cell("svm", QUICK), cell("net", QUICK), cell("own", QUICK),
    ]  # fmt: skip
    assert forecast(state(known, *cells), 1) == [
        "all trials: svm (about 12s a cell), 2 sanity rows (about 4.0s a cell)",
        "net: about 4 of 20 trials; for 10 trials run --time 6m",
        "no measurement yet of own: counted by the budget",
        "about 3m 27s for the whole run",
    ]
    assert forecast(state(known, *cells[:2]), 2)[-1] == "about 14s for the whole run"


def test_a_first_trial_that_the_budget_cuts_is_named_with_the_smallest_that_completes_it():
    small = Budget(trials=None, seconds=5)
    known = Known(net=expected(1, ends_first=False), svm=expected(1, ends_first=False))
    assert forecast(state(known, cell("net", small), cell("svm", small)), 1)[:2] == [
        "net: its first trial takes about 40s, and run --time 5s will cut it; the smallest that "
        "completes one is run --time 50s",
        "svm: its first trial takes about 40s, and run --time 5s ends before it does; the smallest "
        "that completes one is run --time 50s",
    ]


def test_seconds_alone_and_trials_alone_are_said_as_they_are():
    known = Known(net=expected(12), svm=expected(3))
    seconds, trials = Budget(trials=None, seconds=400), Budget(trials=3, seconds=None)
    assert forecast(state(known, cell("net", seconds)), 1)[0] == "net: about 12 trials"
    assert forecast(state(known, cell("svm", seconds)), 1)[0] == (
        "svm: about 3 trials; for 10 trials run --time 6m"
    )
    assert forecast(state(known, cell("svm", trials)), 1)[0].startswith("all trials: svm")
    one = forecast(state(Known(net=expected(1)), cell("net", seconds)), 1)[0]
    assert one.startswith("net: about 1 trial;")
    assert forecast(state(Known(), cell("own", trials)), 1) == [
        "no measurement yet of own: counted by the budget",
        "no estimate of the whole run: nothing bounds the seconds of these families",
    ]
    assert forecast(state(known), 1) == []


def test_the_lines_are_readable_on_forty_columns():
    known = Known(net=expected(1, ends_first=False), svm=expected(20, seconds=12.0))
    console = Console(file=StringIO(), width=40, force_terminal=True, _environ={"TERM": "dumb"})
    with make_listener(console) as listener:
        listener.planned(state(known, cell("net", QUICK), cell("svm", QUICK)), 1)
    shown = console.file.getvalue()
    assert "about 1m 22s for the whole run" in shown
    assert "--time 50s" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--time", "0"], "argument --time: '0' is no time at all; write 90s, 2m or 1h"),
        (["--time", "-5"], "argument --time: '-5' is no duration"),
        (["--trials", "0"], "argument --trials: '0' is not a whole number from 1 to"),
        (["--trials", "-1"], "argument --trials: '-1' is not a whole number from 1 to"),
        (["--trials", "1.5"], "argument --trials: '1.5' is not a whole number from 1 to"),
        (["--budget", "5s"], "'5s' is not a budget. Known: quick, smoke, standard, thorough."),
        (["--total-time", "1s"], "leaves less than a second for each of 2 cells. Give more time"),
    ],
)  # fmt: skip
def test_budgets_that_are_none_are_refused_with_what_can_be_written(
    options, said, class_folders, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    given = ["run", "--data", str(class_folders(per_class=12)), "--folds", "2", *options]
    try:
        assert main([*given, "--models", "hog-svm", "--no-sanity", "--out", "out"]) == 2
    except SystemExit as end:
        assert end.code == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "run.json").exists()


@pytest.mark.parametrize(
    ("time", "seconds"), [("0.5s", "0.5 s"), ("1.5m", "90 s"), ("5", "5 s"), ("0.001s", "0.001 s")]
)
def test_fractions_and_bare_numbers_are_seconds_and_what_is_too_small_is_said(
    time, seconds, class_folders, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    given = ["run", "--data", str(class_folders(per_class=12)), "--folds", "2", "--dry-run"]
    given += ["--models", "hog-svm", "--no-sanity", "--threads", "1"]
    assert main([*given, "--time", time]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"2 cells, each {seconds}, on 1 thread" in shown
    too_small = (
        "run --time 0.001s ends before it does; the smallest that completes one is run --time"
    )
    assert (too_small in shown) == (time == "0.001s")


@pytest.mark.parametrize("budget", ["0s", "'5 trials / 0 s'", "0"])
def test_a_budget_of_a_suite_that_is_none_is_named_with_its_line(budget, tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text(f"datasets: [phantoms-mr]\nmodels: [majority]\nbudget: {budget}\n")
    assert main(["run", "--suite", str(file), "--dry-run"]) == 2
    assert "mine.yaml, line 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("images", "ends", "said"),
    [
        ("one", 2, "(30 images of 1 group) cannot be tested, tuned on and learnt: that takes 3"),
        ("flat", 0, "set: serious: 60 images show nothing: all pixels are equal."),
        ("few", 0, "Serious finding of the audit: Fewer than 10 independent images"),
    ],
)
def test_constant_images_and_a_single_batch_end_with_rows_or_a_reason(
    images, ends, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    pixels = {
        "one": np.full((60, 28, 28), 128, np.uint8),
        "flat": np.repeat(np.arange(0, 240, 4, dtype=np.uint8), 784).reshape(60, 28, 28),
        "few": np.random.default_rng(0).integers(0, 200, (8, 28, 28), dtype=np.uint8),
    }[images]
    np.savez("set.npz", images=pixels, labels=(np.arange(len(pixels)) % 2)[:, None])
    entry = "set: {source: npz, path: set.npz, image_size: 28}"
    (tmp_path / "datasets.yaml").write_text(entry)
    given = ["run", "--datasets", "set", "--models", "hog-svm", "--no-sanity", "--folds", "2"]
    assert main([*given, "--trials", "2", "--time", "5s", "--threads", "1", "--out", "out"]) == ends
    shown = capsys.readouterr()
    assert said in " ".join((shown.out + shown.err).split())
    assert (tmp_path / "out" / "leaderboard.csv").exists() == (ends == 0)
