"""Classes and parts too small for what they are for: said by name before anything is trained."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medbench.cli import main
from medbench.datasets.splits import group_folds, outer_splits
from medbench.errors import ProtocolError
from medbench.evaluation.calibration import fit_calibration
from medbench.store import RunStore

QUICK = ["--models", "majority", "--no-sanity", "--trials", "1"]


def write_images(folder, n, seed):
    """So many images of noise, all different."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(n):
        pixels = rng.integers(0, 256, (20, 20), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}-{i:03d}.png")


@pytest.fixture
def folders(tmp_path):
    """A folder of class folders of so many images each."""

    def make(**counts):
        for seed, (name, n) in enumerate(counts.items()):
            write_images(tmp_path / "set" / name, n, seed)
        return tmp_path / "set"

    return make


@pytest.fixture
def table(tmp_path):
    """Registers a table with an official split: images by part and class; arguments of run."""

    def make(**parts):
        rows = ["file,label,split"]
        for seed, (part, counts) in enumerate(parts.items()):
            for k, (name, n) in enumerate(counts.items()):
                write_images(tmp_path / "data" / part / name, n, 10 * seed + k)
                rows += [
                    f"{part}/{name}/{10 * seed + k}-{i:03d}.png,{name},{part}" for i in range(n)
                ]
        (tmp_path / "data/t.csv").write_text("\n".join(rows) + "\n")
        entry = f"mine: {{source: table, path: {tmp_path}/data/t.csv, split: split}}"
        (tmp_path / "own.yaml").write_text(entry)
        return ["--datasets-file", str(tmp_path / "own.yaml")]

    return make


def said(capsys):
    """What was printed, on one line."""
    shown = capsys.readouterr()
    return " ".join(f"{shown.out} {shown.err}".split())


# --- classes of one, two and three groups -----------------------------------------------------


@pytest.mark.parametrize("how", [[], ["--dry-run"]])
@pytest.mark.parametrize(("n", "words"), [(1, "1 image of 1 group"), (2, "2 images of 2 groups")])
def test_a_class_that_no_model_could_learn_is_refused_by_name(
    folders, tmp_path, capsys, n, words, how
):
    data = str(folders(glioma=8, meningioma=7, rare=n))
    run = ["run", "--data", data, *QUICK, *how, "--out", str(tmp_path / "run")]
    assert main(run) == 2
    shown = said(capsys)
    assert f"class 'rare' ({words}) cannot be tested, tuned on and learnt" in shown
    assert "every model would fail. Add images of other patients, join the class" in shown
    assert not list((tmp_path / "run").glob("cells/*"))


def test_the_audit_says_that_a_run_would_refuse_it(folders, tmp_path, capsys):
    data = str(folders(glioma=12, meningioma=12, rare=2))
    assert main(["audit", "--data", data, "--out", str(tmp_path / "audit")]) == 0
    shown = said(capsys)
    assert "'rare' (2 images of 2 groups)" in shown and "so run refuses the set" in shown


def test_a_class_of_three_groups_runs_on_three_folds_and_it_is_said_before(
    folders, tmp_path, capsys
):
    run = ["run", "--data", str(folders(healthy=30, sick=3)), "--out", str(tmp_path / "run")]
    for how in (["--dry-run"], []):
        assert main([*run, *QUICK, *how]) == 0
        shown = said(capsys)
        assert "3 folds instead of 5: the rarest class, 'sick', has images of only 3" in shown
        assert "serious: Fewer than 10 independent images (groups) show 'sick' (3" in shown
        assert "Add images of other patients, join the class with another" in shown
    cells = RunStore(tmp_path / "run").read().cells
    assert [cell.status for cell in cells] == ["ok"] * 3
    report = (tmp_path / "run/leaderboard.md").read_text()
    assert "of class 'sick'" in report and not re.search(r"class \d", report)


@st.composite
def few_groups(draw):
    """Labels of three classes and groups of which some show several classes."""
    n_groups = draw(st.integers(3, 12))
    images = draw(
        st.lists(
            st.tuples(st.integers(0, n_groups - 1), st.integers(0, 2)), min_size=6, max_size=40
        )
    )
    groups, labels = (np.array(column) for column in zip(*images, strict=True))
    return labels, groups


@given(few_groups(), st.integers(2, 5), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_plan_passes_of_which_every_cell_must_fail(data, folds, official):
    labels, groups = data
    parts = np.full(len(labels), "", dtype="<U5")
    if official:
        parts[:] = np.where(groups % 3 == 0, "test", np.where(groups % 3 == 1, "val", "train"))
    drawn = {"folds": folds, "repeats": 1, "seed": 0, "classes": ("a", "b", "c")}
    try:
        plan = outer_splits(labels, groups, parts, **drawn)
    except ProtocolError:
        return
    fails = 0
    for split in plan.splits:
        assert set(labels[split.held_out]) == set(labels[split.development]) == {0, 1, 2}
        if split.validation is None:
            rows = split.development
            try:
                group_folds(labels[rows], groups[rows], folds=3, seed=1)
            except ProtocolError:
                fails += 1
    assert fails < len(plan.splits)
    assert not fails or any("every model fails there" in note for note in plan.notes)


def test_two_folds_of_a_class_of_three_patients_are_refused_with_the_option_that_helps():
    labels, groups = np.repeat([0, 1], 3), np.arange(6)
    drawn = {"repeats": 1, "seed": 0, "classes": ("a", "b")}
    with pytest.raises(ProtocolError, match="run with --folds 3 or more"):
        outer_splits(labels, groups, np.full(6, ""), folds=2, **drawn)
    assert len(outer_splits(labels, groups, np.full(6, ""), folds=3, **drawn).splits) == 3


def test_patients_who_mix_classes_so_that_no_fold_can_be_drawn_are_counted_by_class():
    """Seven classes in three of seven patients each, as the lines of Fano's plane lie."""
    groups = np.array([(k + step) % 7 for k in range(7) for step in (0, 1, 3)])
    drawn = {"folds": 3, "repeats": 1, "seed": 0, "classes": tuple("abcdefg")}
    with pytest.raises(ProtocolError, match=r"Groups of each class: 'a' 3, 'b' 3, .*'g' 3"):
        outer_splits(np.repeat(np.arange(7), 3), groups, np.full(21, ""), **drawn)


# --- official parts ---------------------------------------------------------------------------


def test_an_official_part_without_a_class_is_refused_by_name(table, tmp_path, capsys):
    known = {"glioma": 6, "pituitary": 6}
    mine = table(train={**known, "rare": 8}, test=known)
    for how in (["--dry-run"], ["--out", str(tmp_path / "run")]):
        assert main(["run", *mine, "--datasets", "mine", *QUICK, *how]) == 2
        assert (
            "the official test part has no image of class 'rare', so it cannot be tested"
            in said(capsys)
        )
    assert main(["audit", "mine", *mine, "--out", str(tmp_path / "audit")]) == 0
    shown = said(capsys)
    assert "serious The official test part has no image of 'rare', so run refuses" in shown


def test_few_images_of_a_class_in_the_test_part_are_said_before_training(table, capsys):
    known = {"glioma": 30, "rare": 30}
    mine = table(train=known, test={"glioma": 12, "rare": 2})
    assert main(["run", *mine, "--datasets", "mine", *QUICK, "--dry-run"]) == 0
    assert "The official test part has few images of 'rare' (2 groups); scores" in said(capsys)


def test_a_validation_part_of_six_is_not_tuned_on(table, tmp_path, capsys):
    both = ("NORMAL", "PNEUMONIA")
    mine = table(**{p: dict.fromkeys(both, n) for p, n in (("train", 20), ("val", 3), ("test", 9))})
    run = ["run", *mine, "--datasets", "mine", *QUICK, "--out", str(tmp_path / "run")]
    note = "the official validation part has 6 images of 6 groups ('NORMAL' 3, 'PNEUMONIA' 3)"
    for how in (["--dry-run"], []):
        assert main([*run, *how]) == 0
        shown = said(capsys)
        assert note in shown and "so inner folds over train and val are used instead" in shown
    (cell,) = RunStore(tmp_path / "run").read().cells
    assert cell.record["inner_folds"] == 3
    assert "has 23 groups to fit it on" in cell.record["calibration"]["reason"]
    assert note in (tmp_path / "run/leaderboard.md").read_text().replace("\\", "")
    assert main(["audit", "mine", *mine, "--out", str(tmp_path / "audit")]) == 0
    shown = json.loads((tmp_path / "audit/mine/audit.json").read_text())["findings"]
    assert "small-validation-part" in {finding["check"] for finding in shown}


def test_a_sound_validation_part_is_kept_and_its_few_groups_are_counted_as_its_own(
    table, tmp_path, capsys
):
    mine = table(train={"a": 30, "b": 30}, val={"a": 30, "b": 8}, test={"a": 9, "b": 9})
    run = ["run", *mine, "--datasets", "mine", *QUICK, "--out", str(tmp_path / "run")]
    assert main(run) == 0
    shown = said(capsys)
    assert "The official val part has few images of 'b' (8 groups); tuning, operating" in shown
    (cell,) = RunStore(tmp_path / "run").read().cells
    assert cell.record["inner_folds"] == 1
    assert "the smaller class has 8 groups to fit it on" in cell.record["calibration"]["reason"]


@pytest.mark.parametrize("lonely", [0, 1, 2])
def test_a_validation_part_with_next_to_nothing_of_a_class_is_not_tuned_on(lonely):
    labels = np.array([0, 1] * 40 + [0] * 40 + [1] * lonely + [0, 1] * 5)
    parts = np.repeat(["train", "val", "test"], [80, 40 + lonely, 10])
    drawn = {"folds": 5, "repeats": 1, "seed": 0, "classes": ("a", "b")}
    plan = outer_splits(labels, np.arange(len(labels)), parts, **drawn)
    assert plan.splits[0].validation is None
    assert len(plan.splits[0].development) == 120 + lonely
    assert f"('a' 40, 'b' {lonely})" in plan.notes[0]


# --- sentences --------------------------------------------------------------------------------


def test_what_is_not_calibrated_is_said_in_a_sentence_that_can_be_read():
    labels = np.tile([[0, 1, 0], [1, 0, 1]], (10, 1))
    fitted = fit_calibration(labels, np.full((20, 3), 0.5), np.arange(20))
    assert f"Probabilities are {fitted.reason}." == (
        "Probabilities are not calibrated for 3 of 3 labels, which fewer than 50 groups have or "
        "lack."
    )
