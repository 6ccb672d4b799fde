"""A model that the budget cut is shown with how far it came, and judged by nobody."""

import argparse
import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from medbench.cli.remedies import message
from medbench.errors import ConfigurationError
from medbench.inference import from_run
from medbench.reports.assessment import assess
from medbench.reports.cards import write_cards
from medbench.reports.compare import compare_runs
from medbench.reports.figures import figures_of, write_figures
from medbench.reports.latex import write_latex
from medbench.reports.leaderboard import write_leaderboard
from medbench.reports.page import page
from medbench.reports.stored import assessed
from medbench.reports.terminal import print_leaderboard
from medbench.reports.verdicts import verdicts
from medbench.reports.winner import winner

pytestmark = pytest.mark.filterwarnings("error")
EPOCHS = "epoch 3 of 24 when 20 s were over"
STEPS = {"step": 12, "max_steps": 24, "step_name": "epoch", "complete_trials": 4, "n_trials": 6}


def trial(seconds, features=0.0, at=20.0):
    """The one trial of a cell that was cut."""
    return {
        "number": 0,
        "state": "cut",
        "params": {},
        "score": 0.7,
        "seconds": seconds,
        "features_seconds": features,
        "at_seconds": at,
    }


def cut(words=EPOCHS, step=3, most=24, name="epoch", trials=None):
    """Fields of a cell whose one trial the budget cut."""
    return {
        "cut": words,
        "step": step,
        "max_steps": most,
        "step_name": name,
        "trial": 0,
        "n_trials": 1,
        "complete_trials": 0,
        "trials": [trial(20.0)] if trials is None else trials,
        "inner_score": 0.99,
    }


@pytest.fixture
def one_cut(factory):
    """A model of which the budget cut every fold, the highest by every score, beside two others."""
    factory.dataset()
    factory.model("majority", 0, inner_score=0.5)
    factory.model("hog-svm", 2.0, **STEPS)
    factory.model("xgboost", 0.2)
    factory.model("cnn", 3.0, **cut())
    return factory


@pytest.fixture
def all_cut(factory):
    factory.dataset()
    factory.model("cnn", 5.0, **cut())
    factory.model("xgboost", 2.0, **cut("1 of 200 rounds: 169 of 120 s went into features", 1, 200))
    factory.unfinished("broken", "failed", "boom")
    return factory


def printed(run, width=80):
    out = io.StringIO()
    print_leaderboard(assess(run), Console(file=out, width=width))
    return out.getvalue()


def said(factory, topic):
    (dataset,) = assess(factory.run()).datasets
    return [one.text for one in verdicts(dataset) if one.topic == topic]


def test_it_keeps_its_score_and_takes_part_in_nothing(one_cut):
    assessment = assess(one_cut.run())
    (dataset,) = assessment.datasets
    row = assessment.table.set_index("model").loc["cnn"]
    assert row["standing"] == "cut" and row["status"] == "ok"
    assert 0.9 < row["auroc_low"] <= row["auroc"] <= row["auroc_high"]
    assert dataset.leader.name == "hog-svm" and winner(dataset, one_cut.run()).name == "hog-svm"
    assert assessment.table["model"].tolist() == ["hog-svm", "xgboost", "cnn", "majority"]
    assert "cnn" not in {dataset.comparison.leader, *dataset.comparison.tie_group}
    assert "cnn" not in {each.rival for each in dataset.comparison.differences}
    assert not [text for text in said(one_cut, "ranking") if "cnn" in text]
    assert not [text for text in said(one_cut, "caution") if "cnn" in text]


def test_one_fold_is_enough_and_the_note_begins_with_how_far_it_came(factory):
    factory.dataset()
    factory.model("hog-svm", 2.0)
    factory.model("cnn", 2.0, folds=[0], note="no pretrained weights")
    factory.model("cnn", 2.0, folds=[1, 2], **cut())
    table = assess(factory.run()).table.set_index("model")
    assert table.loc["cnn", "standing"] == "cut"
    assert table.loc["cnn", "note"] == f"cut in 2 of 3 folds: {EPOCHS}; no pretrained weights"
    factory.cells.pop()
    factory.finished("cnn", 2.0, fold=2, **cut("epoch 1 of 24 when 20 s were over", step=1))
    note = assess(factory.run()).table.set_index("model").loc["cnn", "note"]
    assert note.startswith("cut in 2 of 3 folds, the earliest in r0f2: epoch 1 of 24 when")


def test_the_note_of_a_single_fold_needs_no_count(factory):
    factory.dataset(n_folds=1)
    words = "1 of 200 rounds: 169 of 120 s went into features"
    factory.model("xgboost", 1.0, **cut(words, 1, 200, "round"))
    (row,) = assess(factory.run()).datasets[0].rows
    assert row.fields.note == f"cut: {words}"


def test_the_verdict_gives_the_time_that_may_be_enough(factory):
    factory.dataset(n_folds=1)
    for model in ("hog-svm", "xgboost"):
        factory.model(model, 2.0)
    factory.model("cnn", 1.0, **cut(trials=[trial(18.0, at=20.0)]))
    # 3 epochs in 18 s, 24 in 144: 146 s with what came before, and a quarter more
    assert said(factory, "cut") == [
        f"cnn was cut by its budget: {EPOCHS}. It says nothing of what the family can do: "
        "give run --time 4m or more."
    ]
    topics = [one.topic for one in verdicts(assess(factory.run()).datasets[0])]
    assert topics.index("cut") < topics.index("ranking")


def test_seconds_of_features_are_not_taken_for_steps(factory):
    factory.dataset(n_folds=1)
    words = "3 rounds: 70 of 120 s went into features"  # of a family without a known end
    factory.model("xgboost", 1.0, **cut(words, None, None, "round", [trial(80.0, 70.0)]))
    assert said(factory, "cut")[0].endswith("give more by run --time.")


def test_the_time_of_features_does_not_grow_with_the_rounds(factory):
    factory.dataset(n_folds=1)
    words = "10 of 200 rounds: 169 of 120 s went into features"
    trials = [trial(174.0, features=169.0, at=174.0)]
    factory.model("xgboost", 1.0, **cut(words, 10, 200, "round", trials))
    assert "give run --time 6m or more" in said(factory, "cut")[0]  # 169 + 200 * 0.5, and a quarter


def test_the_fold_that_was_cut_counts_and_not_the_median_of_the_folds(factory):
    factory.dataset(n_folds=1)
    factory.model("cnn", 1.0, **cut(step=24))
    assert "give run --time 4m or more" in said(factory, "cut")[0]


@pytest.mark.parametrize("fields", [{"trials": []}, {"words": "epoch 1 of 24 when 20 s were over"}])
def test_without_seconds_or_steps_enough_no_time_is_made_up(factory, fields):
    factory.dataset(n_folds=1)
    factory.model("cnn", 1.0, **cut(**fields))
    assert said(factory, "cut")[0].endswith(": give more by run --time.")


def test_a_cut_sanity_row_says_nothing_of_shortcuts(factory):
    factory.dataset(n_folds=1)
    factory.model("hog-svm", 0.5)
    factory.model("border", 5.0, **cut())
    assert not said(factory, "shortcut")
    assert not assess(factory.run()).datasets[0].sanity_comparisons


def test_it_has_no_rank_across_data_sets(factory):
    for name in ("a", "b"):
        factory.dataset(name)
        for model, skill in (("hog-svm", 1.0), ("xgboost", 2.0)):
            factory.model(model, skill, name)
        factory.model("cnn", 3.0, name, **(cut() if name == "a" else {}))
    ranks = assess(factory.run()).ranks
    assert {rank.model for rank in ranks.ranks} == {"hog-svm", "xgboost"}
    assert ranks.left_out == ("cnn",)


def test_where_every_model_was_cut_that_is_said_first_and_none_is_named(all_cut, tmp_path):
    assessment = assess(all_cut.run())
    (dataset,) = assessment.datasets
    assert dataset.leader is None and winner(dataset, all_cut.run()) is None
    first = "phantoms: no model can be named to use, as every one was cut by its budget: "
    assert " ".join(printed(all_cut.run()).split()).startswith(first)
    write_leaderboard(assessment, tmp_path)
    assert (tmp_path / "leaderboard.md").read_text().startswith(f"# Leaderboard\n\n**{first}")
    text = page(assessment)
    assert first in text and text.index(first) < text.index('<section id="answer"')
    assert "None: every model was cut by its budget." in text
    assert [path.name for path in write_cards(assessment, tmp_path)] == ["dataset-phantoms.md"]


def test_every_format_marks_it_and_says_what_the_mark_means(one_cut, tmp_path):
    assessment = assess(one_cut.run())
    text = printed(one_cut.run())
    assert re.search(r"^ ! cnn +(\.\d{3}|1\.000) \(", text, re.MULTILINE)
    assert "! cut by its budget: compared with nothing" in " ".join(text.split())
    write_leaderboard(assessment, tmp_path)
    markdown = (tmp_path / "leaderboard.md").read_text()
    assert re.search(r"\| cnn \(cut\) \| [^|]+\| cut \|", markdown)
    assert "A row that is marked cut" in markdown
    latex = write_latex(assessment, tmp_path).read_text()
    assert "cnn (cut)$^{!}$" in latex and "! was cut by its budget" in latex
    shown = page(assessment)
    assert "ahead of every other model but cnn, which the budget cut" in shown
    assert 'data-standing="cut"' in shown and '<span class="chip caution">cut</span>' in shown
    write_cards(assessment, tmp_path)
    assert "cnn (cut): AUROC" in (tmp_path / "cards" / "model-phantoms.md").read_text()


def test_trials_and_steps_stand_in_every_table(one_cut, tmp_path):
    one_cut.finished("other", 1.0, fold=0)
    assessment = assess(one_cut.run())
    line = next(x for x in printed(one_cut.run()).splitlines() if "* hog-svm" in x)
    assert " 12/18 " in line and " 12/24 " in line
    assert "trials: complete/tried" in printed(one_cut.run())
    write_leaderboard(assessment, tmp_path)
    markdown = (tmp_path / "leaderboard.md").read_text()
    assert "| 12/18 | 12 of 24 epochs | 3/3 |" in markdown
    with (tmp_path / "leaderboard.csv").open() as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    columns = ("complete_trials", "steps", "max_steps", "step_name")
    assert [rows["hog-svm"][name] for name in columns] == ["12", "12", "24", "epoch"]
    assert [rows["other"][name] for name in columns] == ["", "", "", ""]
    recorded = json.loads((tmp_path / "leaderboard.json").read_text())["rows"]
    recorded = {row["model"]: row for row in recorded}
    assert recorded["cnn"]["steps"] == 3 and recorded["other"]["steps"] is None
    assert "12 of 24 epochs" in page(assessment)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
def test_the_terminal_table_fits_whatever_there_is(one_cut, width):
    one_cut.model("a-family-of-a-long-name", 1.0, **cut(step=1999, most=2000))
    text = printed(one_cut.run(), width)
    assert max(map(len, text.splitlines())) <= width
    assert re.search(r"^ \* hog-svm +\.\d{3} \(\.\d{3} to ", text, re.MULTILINE)
    assert ("MB" in text) == (width >= 100)


def test_an_assessment_that_was_kept_says_the_same(one_cut, tmp_path):
    run = replace(one_cut.run(), folder=tmp_path)
    first, again = assessed(run), assessed(run)
    assert (tmp_path / "assessment.json").exists()
    assert again.datasets[0].row("cnn") is None
    assert [v.text for v in verdicts(again.datasets[0])] == [
        v.text for v in verdicts(first.datasets[0])
    ]


def test_figures_are_drawn_where_every_model_was_cut(all_cut, tmp_path):
    drawn = write_figures(figures_of(assess(all_cut.run())), tmp_path)
    stems = {path.stem for path in drawn}
    assert stems >= {"scores", "roc", "confusion"} and "cost" not in stems


def test_two_runs_are_not_compared_by_a_model_that_one_of_them_cut(one_cut, new_factory):
    other = new_factory()
    other.dataset()
    other.model("cnn", 1.0)
    (change,) = compare_runs(one_cut.run(), other.run()).changes
    assert change.difference is None
    assert change.words == "cut by its budget in the first: not compared"


def test_no_model_is_taken_by_itself_where_every_one_was_cut(all_cut, monkeypatch):
    stored = SimpleNamespace(read=all_cut.run)
    monkeypatch.setattr(from_run, "RunStore", lambda folder: stored)
    with pytest.raises(ConfigurationError, match=re.escape(f"cnn ({EPOCHS})")) as refused:
        from_run.load(Path("a-run"), dataset=None, model="best")
    options = argparse.Namespace(models="best")
    assert "--models NAME uses one of them all the same." in message(refused.value, options)
    assert "--time" in str(refused.value)
