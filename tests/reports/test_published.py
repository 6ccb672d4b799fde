"""Published results stand below ours, marked, unranked, and only where the split is theirs."""

import csv
import io
import json
import math

import pytest
from rich.console import Console

from medbench.datasets.catalog import load_catalog
from medbench.reports.assessment import assess
from medbench.reports.figures import figures_of, write_figures
from medbench.reports.leaderboard import write_leaderboard
from medbench.reports.published import published_rows
from medbench.reports.terminal import print_leaderboard

OFFICIAL = {
    **{"task": "binary", "classes": ["normal", "pneumonia"]},
    **{"split": "official", "published": "pneumoniamnist", "official_file": True},
}


@pytest.fixture
def official(factory):
    factory.dataset("pneumo", n_folds=1, **OFFICIAL)
    factory.model("majority", 0, dataset="pneumo")
    factory.model("weak", 0.5, dataset="pneumo")
    factory.unfinished("broken", "failed", "boom", dataset="pneumo")
    return factory


def test_published_rows_stand_below_ours_with_no_interval_and_in_no_comparison(official):
    table = assess(official.run()).table
    assert table["status"].tolist() == ["ok", "failed", "ok"] + ["published"] * 7
    rows = table[table["status"] == "published"]
    assert rows["auroc"].is_monotonic_decreasing
    assert rows.iloc[0][["model", "auroc"]].tolist() == ["Google AutoML Vision", 0.991]
    assert rows.iloc[0]["note"] == "published; accuracy .946; J. Yang et al. 2023"
    for column in ("auroc_low", "auroc_high", "above_majority", "inner_score", "seconds"):
        assert rows[column].isna().all()


def test_a_file_that_is_not_the_official_one_is_marked(official):
    official.datasets["pneumo"]["official_file"] = False
    notes = assess(official.run()).table["note"].tail(7)
    assert notes.str.endswith("our file is not the official one").all()


@pytest.mark.parametrize(
    ("change", "n_rows"),
    [
        ({}, 7),
        ({"split": "official x 3"}, 7),
        ({"split": "5-fold x 1 by group"}, 0),
        ({"published": ""}, 0),
        ({"published": "a set nobody has published"}, 0),
    ],
)
def test_they_are_shown_only_for_the_official_split_of_a_set_that_has_them(change, n_rows):
    assert len(published_rows("pneumo", OFFICIAL | change)) == n_rows


def test_a_run_of_before_there_were_published_results_has_none(factory):
    factory.dataset(n_folds=1, split="official")
    factory.model("weak", 0.5)
    assert assess(factory.run()).table["status"].tolist() == ["ok"]


def test_they_are_in_every_file_and_on_the_terminal_and_in_no_figure(official, tmp_path):
    run = assess(official.run())
    write_leaderboard(run, tmp_path)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "leaderboard.csv").read_text())))
    assert rows[-1]["status"] == "published" and rows[-1]["auroc_low"] == ""
    assert json.loads((tmp_path / "leaderboard.json").read_text())["rows"][-1]["status"] == (
        "published"
    )
    markdown = (tmp_path / "leaderboard.md").read_text()
    assert "| ResNet-18 (28) | .944 (published) | - | - | - | - | - | - | - | - |" in markdown
    assert "compared with nothing" in markdown
    out = io.StringIO()
    print_leaderboard(run, Console(file=out, width=80))
    assert ".947 (published)" in out.getvalue()
    assert {path.stem for path in write_figures(figures_of(run), tmp_path)} >= {"scores", "roc"}


def test_every_registered_medmnist_set_has_its_seven_methods():
    names = {s.published for s in load_catalog().sources.values() if s.published}
    assert len(names) == 12
    for name in names:
        rows = published_rows(name, {**OFFICIAL, "published": name})
        assert len(rows) == 7
        assert all(0.5 < row.auroc <= 1 and not math.isnan(row.auroc) for row in rows)
