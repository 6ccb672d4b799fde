"""What the machine ended is shown as unfinished everywhere, and compared with nothing."""

import csv
import io
import json

import pytest
from rich.console import Console

from medbench.reports.assessment import assess
from medbench.reports.join import join_runs
from medbench.reports.latex import write_latex
from medbench.reports.markdown import write_markdown
from medbench.reports.page import page
from medbench.reports.tables import write_csv, write_leaderboard_json
from medbench.reports.terminal import print_leaderboard
from medbench.reports.verdicts import verdicts
from medbench.reports.winner import winner

pytestmark = pytest.mark.filterwarnings("error")
FULL = "OSError: [Errno 28] No space left on device: '/home/anna/cache/features'"
SAID = "OSError: [Errno 28] No space left on device: '…/features'"


@pytest.fixture
def run(factory):
    """One model that is finished, one in part, one not at all, and one with failed trials."""
    factory.dataset()
    factory.model("weak", 0.8)
    factory.model("half", 3.0, folds=[0, 2])
    factory.unfinished("half", "unfinished", FULL, fold=1)
    for fold in range(3):
        factory.unfinished("waiting", "unfinished", FULL, fold=fold)
    failed = {"n": 2, "of": 12, "reason": "ValueError: boom"}
    factory.model("shaky", 0.7, failed_trials=failed)
    return factory.run()


def rows(run) -> dict:
    return {row.name: row.fields for row in assess(run).datasets[0].rows}


def test_rows_say_what_is_not_finished_and_why(run):
    found = rows(run)
    assert {name: fields.status for name, fields in found.items()} == {
        "weak": "ok", "shaky": "ok", "half": "partial", "waiting": "unfinished",
    }  # fmt: skip
    assert list(found)[-2:] == ["half", "waiting"]
    assert found["waiting"].note == SAID
    assert f"r0f1 unfinished: {SAID}" in found["half"].note
    assert "2 of 3 folds and compare with no other row" in found["half"].note


def test_a_row_that_failed_on_one_fold_and_waits_on_another_waits(factory):
    factory.dataset(n_folds=2)
    factory.unfinished("mixed", "failed", "boom", fold=0)
    factory.unfinished("mixed", "unfinished", FULL, fold=1)
    fields = rows(factory.run())["mixed"]
    assert fields.status == "unfinished"
    assert fields.note == f"r0f0 failed: boom; r0f1 unfinished: {SAID}"


def test_no_words_speak_of_a_family_with_unfinished_cells(run):
    (dataset,) = assess(run).datasets
    said = " ".join(one.text for one in verdicts(dataset))
    assert "half" not in said and "waiting" not in said and "weak" in said
    assert winner(dataset, run).name in ("weak", "shaky")
    assert rows(run)["half"].standing == rows(run)["waiting"].standing == ""


def test_the_run_says_how_many_and_why(run):
    assert run.unfinished == (
        "This run is not finished: 8 of 12 cells are finished; 4 cells were left unfinished by "
        f"trouble of the machine, not of a model ({FULL})."
    )
    assert [cell.id.model for cell in run.ended_by_machine] == ["half", *["waiting"] * 3]


def test_several_reasons_are_counted(factory):
    factory.dataset()
    for fold, reason in enumerate(("a", "b", "b")):
        factory.unfinished("waiting", "unfinished", reason, fold=fold)
    words = "3 cells were left unfinished by trouble of the machine, not of a model (b, and 1 other"
    assert f"{words} reason)" in factory.run().unfinished


def test_reasons_that_name_other_files_are_one(factory):
    factory.dataset()
    for fold in range(3):
        factory.unfinished("waiting", "unfinished", f"no space: '/cache/work/{fold}'", fold=fold)
    assert "not of a model (no space: '/cache/work/0')" in factory.run().unfinished


def test_trials_that_failed_are_counted_over_the_folds(run):
    assert rows(run)["shaky"].note == "6 of 36 trials failed: ValueError: boom"
    assert "trials failed" not in rows(run)["weak"].note


def test_every_format_says_it(run, tmp_path):
    found = assess(run)
    out = io.StringIO()
    print_leaderboard(found, Console(file=out, width=80))
    texts = {
        "terminal": " ".join(out.getvalue().split()),
        "md": write_markdown(found, tmp_path).read_text(),
        "tex": write_latex(found, tmp_path).read_text(),
        "page": page(found),
    }
    for name, text in texts.items():
        assert "unfinished" in text, name
        assert "No space left on device" in text, name
        assert "4 cells were left unfinished by trouble of the machine" in text, name
        assert "6 of 36 trials failed" in text or name == "tex", name
        assert "anna" not in text, name
    assert '<span class="chip caution">unfinished</span>' in texts["page"]
    with write_csv(found, tmp_path).open() as file:
        by_model = {row["model"]: row for row in csv.DictReader(file)}
    assert by_model["waiting"]["status"] == "unfinished"
    assert by_model["waiting"]["note"] == SAID and by_model["waiting"]["auroc"] == ""
    content = json.loads(write_leaderboard_json(found, tmp_path).read_text())
    assert "4 cells were left unfinished" in content["unfinished"]
    assert {row["model"]: row["status"] for row in content["rows"]}["waiting"] == "unfinished"


def test_runs_that_are_joined_keep_it(run, new_factory, tmp_path):
    other = new_factory()
    other.dataset()
    other.model("cnn", 1.0)
    joined = join_runs([run, _named(other.run())], tmp_path)
    assert rows(joined)["waiting"].status == "unfinished"
    assert "4 cells were left unfinished" in joined.unfinished


def _named(run):
    object.__setattr__(run, "folder", run.folder.with_name("another"))
    return run
