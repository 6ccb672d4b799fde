"""The leaderboard: what its rows say, what they do not claim, and names that mean harm."""

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medbench.errors import StoreError
from medbench.reports.assessment import assess
from medbench.reports.fields import COLUMNS
from medbench.reports.leaderboard import write_leaderboard

pytestmark = pytest.mark.filterwarnings("error")
HOSTILE = ("<script>", "=cmd()", "a|b", "[red]x[/red]", "`x`\nnew \x1b[31mline", "-1+1", "@sum")


@pytest.fixture
def usual(factory):
    """Two finished models, the constant one, and a partial, a failed and a skipped one."""
    factory.dataset()
    factory.model("majority", 0, inner_score=0.5)
    factory.model("weak", 0.8, inner_score=0.7)
    factory.model("strong", 2.0, note="no pretrained weights")
    factory.model("partial", 3.0, folds=[0, 2])
    factory.unfinished("partial", "failed", "out of memory", fold=1)
    for fold in range(3):
        factory.unfinished("broken", "failed", "ValueError: boom", fold=fold)
        factory.unfinished("never", "skipped", "needs three channels", fold=fold)
    return factory.run()


def leaderboard(run):
    return assess(run).table


def row_of(table, model):
    return table[table["model"] == model].iloc[0]


def test_rows_are_sorted_by_auroc_with_unfinished_rows_last(usual):
    table = leaderboard(usual)
    assert list(table.columns) == list(COLUMNS)
    assert list(table["model"]) == ["strong", "weak", "partial", "broken", "never", "majority"]
    assert list(table["status"]) == ["ok", "ok", "partial", "failed", "skipped", "ok"]
    assert list(table["kind"]) == ["model"] * 5 + ["sanity"]
    assert not [name for name in table.columns if "rank" in name]


def test_a_long_reason_is_cut_where_a_row_gives_it(factory):
    factory.dataset()
    factory.model("weak", 0.8)
    for fold in range(3):
        factory.unfinished("broken", "failed", "ValueError: " + "x" * 2000, fold=fold)
    note = row_of(leaderboard(factory.run()), "broken")["note"]
    assert note.startswith("ValueError: x") and note.endswith("...") and len(note) < 600


def test_auroc_is_averaged_over_folds_and_has_its_interval_and_spread(usual):
    each = [
        roc_auc_score(cell.predictions["label"], cell.predictions["p1"])
        for cell in usual.cells
        if cell.id.model == "weak"
    ]
    row = row_of(leaderboard(usual), "weak")
    assert row["auroc"] == pytest.approx(np.mean(each))
    assert row["auroc_fold_sd"] == pytest.approx(np.std(each, ddof=1))
    assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
    assert row["above_majority"] == pytest.approx(row["auroc"] - 0.5)


def test_costs_are_summed_over_folds_and_sizes_averaged(usual):
    row = row_of(leaderboard(usual), "strong")
    assert row["seconds"] == pytest.approx(3 * 24.0)
    assert row["size_mb"] == pytest.approx(3.1)
    assert row["n_trials"] == 3 * 12
    assert row["inner_score"] == pytest.approx(0.8)
    assert row["folds"] == "3/3"
    assert row["note"] == "no pretrained weights"


def test_the_frozen_threshold_decides_and_not_one_half(factory):
    factory.dataset(n_folds=1)
    factory.model("cautious", 2.0, threshold=0.9)
    got = row_of(leaderboard(factory.run()), "cautious")["balanced_accuracy"]
    predictions = factory.cells[0].predictions
    called = predictions["p1"] >= 0.9
    recalls = [(called == k)[predictions["label"] == k].mean() for k in (0, 1)]
    assert got == pytest.approx(np.mean(recalls))


def test_a_partial_row_says_so_and_is_compared_with_nothing(usual):
    row = row_of(leaderboard(usual), "partial")
    assert row["folds"] == "2/3"
    assert 0.5 < row["auroc"] <= 1
    assert math.isnan(row["above_majority"])
    assert "over 2 of 3 folds and compare with no other row" in row["note"]
    assert "r0f1 failed: out of memory" in row["note"]


def test_a_partial_majority_row_is_no_floor(factory):
    factory.dataset()
    factory.model("majority", 0, folds=[0])
    factory.model("strong", 2.0)
    table = leaderboard(factory.run())
    assert table["above_majority"].isna().all()
    assert "2 of 3 folds have not run" in row_of(table, "majority")["note"]


def test_failed_and_skipped_rows_carry_their_reason_and_no_score(usual):
    table = leaderboard(usual)
    for model, reason in (("broken", "ValueError: boom"), ("never", "needs three channels")):
        row = row_of(table, model)
        assert row["note"] == reason
        assert math.isnan(row["auroc"])
        assert math.isnan(row["seconds"])
        assert row["folds"] == "0/3"


def test_a_search_that_went_well_over_its_seconds_says_so(factory):
    within = {"tuning": 125.0, "over_budget": 5.0, "total": 150.0}
    over = {"tuning": 169.0, "over_budget": 49.0, "total": 200.0}
    factory.dataset("phantoms", n_folds=2)
    for model, first, second in (("a", within, within), ("b", within, over), ("c", over, over)):
        factory.finished(model, 1, fold=0, seconds=first)
        factory.finished(model, 1, fold=1, seconds=second)
    notes = {row.name: row.fields.note for row in assess(factory.run()).datasets[0].rows}
    assert notes["a"] == ""
    assert notes["b"] == "the search of 1 of 2 folds took up to 2m 49s of 2m 00s"
    assert notes["c"] == "the search of 2 of 2 folds took up to 2m 49s of 2m 00s"


def test_multi_class_rows_are_scored_by_the_most_probable_class(factory):
    factory.dataset(classes=("a", "b", "c"), n_folds=1)
    factory.model("strong", 2.0)
    row = row_of(leaderboard(factory.run()), "strong")
    predictions = factory.cells[0].predictions
    probabilities = predictions[["p0", "p1", "p2"]].to_numpy()
    assert row["auroc"] == pytest.approx(
        roc_auc_score(predictions["label"], probabilities, multi_class="ovr")
    )
    assert row["balanced_accuracy"] > 0.5
    assert math.isnan(row["auroc_fold_sd"])


def test_a_held_out_part_with_one_class_is_a_note_and_not_the_end(factory):
    factory.dataset(n_folds=1)
    factory.model("strong", 2.0)
    factory.cells[0].predictions["label"] = 0
    row = row_of(leaderboard(factory.run()), "strong")
    assert row["status"] == "ok"
    assert math.isnan(row["auroc"])
    assert row["note"] == "not scored: AUROC is undefined: all 60 images are of class 'benign'."


def test_one_patient_a_class_gives_an_estimate_and_the_reason_for_no_interval(factory):
    factory.dataset(n_folds=1)
    factory.model("strong", 2.0)
    factory.cells[0].predictions["group"] = factory.cells[0].predictions["label"]
    row = row_of(leaderboard(factory.run()), "strong")
    assert row["auroc"] > 0.5
    assert math.isnan(row["auroc_low"])
    assert "no interval: fold 1 of 1 has fewer than two interchangeable groups" in row["note"]


def test_repeats_count_as_folds(factory):
    factory.dataset(n_folds=2)
    factory.model("strong", 2.0)
    again = [
        type(cell)(
            id=type(cell.id)(dataset="phantoms", model="strong", split=f"r1f{fold}"),
            status="ok",
            reason="",
            record=cell.record,
            predictions=cell.predictions,
            repeat=1,
            fold=fold,
        )
        for fold, cell in enumerate(factory.cells)
    ]
    once = row_of(leaderboard(factory.run()), "strong")
    factory.cells += again
    twice = row_of(leaderboard(factory.run()), "strong")
    assert twice["folds"] == "4/4"
    assert twice["auroc"] == pytest.approx(once["auroc"])
    # the same patients again: not more certain
    assert twice["auroc_high"] - twice["auroc_low"] == pytest.approx(
        once["auroc_high"] - once["auroc_low"], rel=0.2
    )


def test_cells_of_an_undescribed_data_set_are_an_error(usual):
    del usual.datasets["phantoms"]
    with pytest.raises(StoreError, match=r"'phantoms' but no dataset\.json"):
        leaderboard(usual)


def test_predictions_without_a_class_are_an_error(factory):
    factory.dataset(n_folds=1)
    factory.model("strong", 2.0)
    del factory.cells[0].predictions["p1"]
    with pytest.raises(StoreError, match="phantoms x strong x official"):
        leaderboard(factory.run())


def test_files_hold_the_same_rows(usual, tmp_path):
    write_leaderboard(assess(usual), tmp_path)
    table = leaderboard(usual)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "leaderboard.csv").read_text())))
    stored = json.loads((tmp_path / "leaderboard.json").read_text())
    assert [row["model"] for row in rows] == list(table["model"])
    assert [row["model"] for row in stored["rows"]] == list(table["model"])
    assert float(rows[0]["auroc"]) == table["auroc"][0] == stored["rows"][0]["auroc"]
    assert stored["rows"][-2]["auroc"] is None
    assert rows[-2]["auroc"] == ""
    assert stored["datasets"]["phantoms"]["n_images"] == 1200


def test_the_page_says_how_to_read_it_and_describes_the_data(usual, tmp_path):
    usual.datasets["phantoms"]["notes"].append("fewer folds than asked")
    write_leaderboard(assess(usual), tmp_path)
    page = (tmp_path / "leaderboard.md").read_text()
    assert "overlapping intervals decide nothing" in page
    assert (
        "phantoms: 1,200 images of 400 groups; 2 classes (benign 600, malignant 600); "
        "positive class: malignant (how it was chosen was not recorded); "
        "split: 3-fold x 1; synthetic images; fewer folds than asked; licence: CC BY 4.0."
    ) in page
    assert "| broken | failed | - | - |" in page


def test_hostile_names_stay_names_in_every_file(factory, tmp_path):
    factory.dataset("<script>", HOSTILE, n_folds=1, title="<b>`t`|</b>", notes=["[a](x)<i>"])
    for name in HOSTILE:
        factory.model(name, 1.0, "<script>", n=140, note=name)
    write_leaderboard(assess(factory.run()), tmp_path)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "leaderboard.csv").read_text())))
    assert len(rows) == len(HOSTILE)
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "@"))]
    assert {"'=cmd()", "'-1+1", "'@sum"} <= {row["model"] for row in rows}
    page = (tmp_path / "leaderboard.md").read_text()
    assert "<" not in page
    assert ">" not in page
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(lines) == 2 * (1 + len(HOSTILE))
    for line in lines:
        assert line.replace("\\|", "").count("|") in (10, 14)
    assert "\x1b" not in page


def test_a_run_without_cells_gives_tables_without_rows(factory, tmp_path):
    factory.dataset()
    write_leaderboard(assess(factory.run()), tmp_path)
    assert (tmp_path / "leaderboard.csv").read_text() == ",".join(COLUMNS) + "\n"
    assert json.loads((tmp_path / "leaderboard.json").read_text())["rows"] == []


def test_reasons_are_written_without_absolute_paths(factory, tmp_path):
    factory.dataset(n_folds=1)
    reason = "OSError: /home/anna/secret/weights.h5 or C:\\Users\\anna\\w.h5"
    factory.unfinished("broken", "failed", reason)
    run = replace(factory.run(), gaps=("cells/x: see /home/anna/log.txt",))
    write_leaderboard(assess(run), tmp_path)
    for file in ("leaderboard.csv", "leaderboard.json", "leaderboard.md", "leaderboard.tex"):
        content = (tmp_path / file).read_text()
        assert "anna" not in content
        assert "weights.h5" in content


def test_no_file_gives_away_a_path_from_wherever_it_comes(factory, tmp_path):
    path = "/home/anna/scans/last"
    fields = dict.fromkeys(("title", "split", "licence", "citation", "source"), path)
    homepage = "https://example.org/home/set"
    classes = (f"{path}-a", f"{path}-b")
    factory.dataset(classes=classes, n_folds=1, notes=[path], homepage=homepage, **fields)
    factory.model("m", 2.0, note=path)
    factory.finding(path)
    run = replace(factory.run(), configuration={"tuner": path, "budget": path})
    write_leaderboard(assess(run), tmp_path)
    for file in tmp_path.iterdir():
        content = file.read_text()
        assert "anna" not in content and "scans" not in content
    stored = json.loads((tmp_path / "leaderboard.json").read_text())
    assert stored["settings"]["tuner"] == "…/last"
    assert stored["datasets"]["phantoms"]["homepage"] == homepage
    assert stored["datasets"]["phantoms"]["audit"]["findings"][0]["text"] == "…/last"
    assert "licence: …/last" in (tmp_path / "leaderboard.md").read_text()


def test_cpu_seconds_that_are_null_are_not_known(factory, tmp_path):
    factory.dataset(n_folds=1)
    factory.model("m", 2.0, cpu_seconds=None)
    write_leaderboard(assess(factory.run()), tmp_path)
    stored = json.loads((tmp_path / "leaderboard.json").read_text())
    assert stored["rows"][0]["costs"]["cpu_seconds"] is None


def test_groups_are_not_said_to_be_patients_where_nobody_named_them(usual, tmp_path):
    write_leaderboard(assess(usual), tmp_path)
    page = (tmp_path / "leaderboard.md").read_text()
    assert "groups (patients where the data set names them, and copies)" in page


def test_what_is_not_there_stands_above_the_tables(factory, tmp_path):
    factory.dataset()
    factory.model("half", 1.0, folds=[0])
    run = replace(factory.run(), gaps=("cells/a/b/c/cell.json: damaged, so it is left out.",))
    write_leaderboard(assess(run), tmp_path)
    page = (tmp_path / "leaderboard.md").read_text()
    top = page[: page.index("## The phantoms set")]
    assert "cells/a/b/c/cell.json: damaged" in top
    assert "This run is not finished: 1 of 3 cells are finished." in top
    stored = json.loads((tmp_path / "leaderboard.json").read_text())
    assert stored["gaps"] == list(run.gaps) and stored["unfinished"] == run.unfinished


def test_runs_with_other_budgets_are_not_said_to_have_had_the_same(usual, tmp_path):
    write_leaderboard(assess(usual), tmp_path)
    assert "Every model had the same tuning budget." in (tmp_path / "leaderboard.md").read_text()
    joined = {"budget": "2 trials (a) and 3 trials (b), so not equal", "unequal": ["budget"]}
    write_leaderboard(assess(replace(usual, configuration=joined)), tmp_path)
    page = (tmp_path / "leaderboard.md").read_text()
    assert "Every model had the same tuning budget." not in page
    assert "2 trials (a) and 3 trials (b), so not equal" in page
    assert "made with different settings (budget)" in page
