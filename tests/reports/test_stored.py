"""A stored assessment is the one that was computed, and is used for these results only."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

from medbench.evaluation.resampling import FoldPredictions
from medbench.reports import stored
from medbench.reports.leaderboard import write_leaderboard
from medbench.reports.stored import assessed
from medbench.reports.verdicts import across_verdict, verdicts

pytestmark = pytest.mark.filterwarnings("error")


def build(factory, folder):
    """Six collections with all that an assessment holds: ties, failures, sanity rows, repeats."""
    for k in range(6):
        name = f"set-{k}"
        classes = ("a", "b", "c")[: 3 if k == 1 else 2]
        factory.dataset(name, classes, n_folds=2, n_folds_by_image=2 * (k == 0), prevalence=0.1)
        factory.model("good", 3.0, name, calibration={"temperatures": [2.0], "reason": ""})
        factory.model("fair", 1.2, name, note="=a note", calibration=None)
        factory.model("border", 0.4, name)
        factory.model("majority", 0, name)
    for fold in range(2):
        factory.finished("good", 4.0, "set-0", fold, by_image=True)
    factory.model("partial", 1.0, "set-0", folds=[1])
    factory.unfinished("broken", "failed", "boom", "set-0")
    factory.dataset("small", n_folds=1, split="official", published="pneumoniamnist")
    for name in ("good", "fair"):
        factory.finished(name, 1.0, "small", n=3)  # no interval and no comparison
    factory.finished("file-properties", 1.0, "small", n=3)
    factory.finished("not-scored", 1.0, "small")
    factory.cells[-1].predictions["p0"] = math.nan
    factory.finding("Something.", dataset="set-0")
    return dataclasses.replace(factory.run(), folder=folder)


@pytest.fixture(scope="module")
def computed(new_factory, tmp_path_factory):
    """The assessment of such a run, computed once, beside which it is stored."""
    return assessed(build(new_factory(), tmp_path_factory.mktemp("computed")))


@pytest.fixture
def run(new_factory, tmp_path):
    """Such a run that was never assessed."""
    return build(new_factory(), tmp_path)


@pytest.fixture
def known(run, computed):
    """The same, assessed before."""
    shutil.copy(computed.run.folder / "assessment.json", run.folder)
    return run


def refuse(run):
    raise AssertionError("computed again")


@pytest.fixture
def never_computed(monkeypatch):
    """From here on nothing may be computed."""

    def now():
        monkeypatch.setattr(stored, "assess", refuse)

    return now


def same(one, other):
    """Equal in every field, where NaN equals NaN."""
    assert type(one) is type(other)
    if isinstance(one, FoldPredictions) or dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            same(one[name], other[name])
    elif isinstance(one, tuple | list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other or (math.isnan(one) and math.isnan(other))


def test_what_was_stored_is_what_was_computed(known, computed, never_computed):
    never_computed()
    again = assessed(known)
    assert again.run is known
    same(again.ranks, computed.ranks)
    same(again.datasets, computed.datasets)
    assert again.ranks.test is not None
    sanity = again.datasets[0].sanity_comparisons[0]
    assert sanity.row in again.datasets[0].rows and sanity.behind is not None
    (small,) = (dataset for dataset in again.datasets if dataset.name == "small")
    assert small.comparison.reason and {row.fields.kind for row in small.rows} >= {"published"}


def test_all_that_reads_an_assessment_says_the_same_of_a_stored_one(
    known, computed, never_computed, tmp_path
):
    never_computed()
    written = []
    for turn, found in enumerate((computed, assessed(known))):
        folder = tmp_path / f"turn-{turn}"
        folder.mkdir()
        write_leaderboard(found, folder)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        words = [verdicts(dataset) for dataset in found.datasets]
        written.append((files, words, across_verdict(found.ranks)))
    assert len(written[0][0]) >= 5
    assert written[0] == written[1]


def test_only_json_is_stored_and_no_probability(computed):
    text = (computed.run.folder / "assessment.json").read_text()
    assert "NaN" not in text
    row = json.loads(text)["datasets"]["set-0"]["rows"][0]
    assert row["fields"]["behind_leader"] is None
    assert "folds" not in row
    assert len(text) < 200_000


def changed_probability(run):
    run.cells[0].predictions.loc[5, "p0"] += 1e-12


def changed_label(run):
    for cell in run.cells:
        if cell.id.dataset == "set-5" and cell.id.split == "r0f0":
            cell.predictions.loc[[5, 6], "label"] = [0, 1]


def changed_threshold(run):
    run.cells[0].record["threshold"] = 0.25


def changed_prevalence(run):
    run.datasets["set-0"]["prevalence"] = 0.2


def changed_code(run):
    """Only ``code_version`` gives another answer."""


@pytest.mark.parametrize(
    "change",
    [changed_probability, changed_label, changed_threshold, changed_prevalence, changed_code],
)
def test_other_results_are_computed_again(known, change, never_computed, monkeypatch):
    if change is changed_code:
        monkeypatch.setattr(stored, "code_version", lambda name: "0")
    change(known)
    with monkeypatch.context() as patched:
        patched.setattr(stored, "assess", refuse)
        with pytest.raises(AssertionError, match="computed again"):
            assessed(known)
    found = assessed(known)
    never_computed()
    same(assessed(known).datasets, found.datasets)  # stored in place of the other


def test_a_finished_fold_less_is_another_result(known, never_computed):
    never_computed()
    with pytest.raises(AssertionError, match="computed again"):
        assessed(dataclasses.replace(known, cells=known.cells[1:]))


def test_what_an_audit_found_is_not_stored(known, never_computed):
    never_computed()
    audits = {"set-0": {"findings": []}}
    assert assessed(dataclasses.replace(known, audits=audits)).datasets[0].audit == {"findings": []}


def cut_short(text):
    return text[: len(text) // 2]


def without_rows(text):
    record = json.loads(text)
    record["datasets"]["set-0"].pop("rows")
    return json.dumps(record)


def of_another_shape(text):
    return json.dumps({**json.loads(text), "datasets": [1, 2]})


@pytest.mark.parametrize("damage", [cut_short, without_rows, of_another_shape, lambda _: "[]"])
def test_a_damaged_file_is_replaced_in_silence(known, computed, damage, tmp_path, capsys):
    path = tmp_path / "assessment.json"
    whole = path.read_text()
    path.write_text(damage(whole))
    same(assessed(known).datasets, computed.datasets)
    assert path.read_text() == whole
    assert capsys.readouterr() == ("", "")


def test_a_folder_that_cannot_be_written_is_assessed_all_the_same(run, computed, tmp_path):
    gone = dataclasses.replace(run, folder=tmp_path / "gone")
    same(assessed(gone).datasets, computed.datasets)
    assert not gone.folder.exists()
    (tmp_path / "assessment.json").mkdir()  # nothing can be written under this name
    same(assessed(run).datasets, computed.datasets)
    assert [path.name for path in tmp_path.iterdir()] == ["assessment.json"]
