import json
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from medbench.atomic_files import read_json, write_json, write_text, writing
from medbench.errors import StoreError
from medbench.evaluation.intervals import mean_auroc
from medbench.reports.predictions import fold_predictions
from medbench.store import FORMAT, CellId, RunLayout, RunStore, seals

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
SETTINGS = {"folds": 5, "seed": 0}
CELL = CellId(dataset="d", model="m", split="r0f0")
DATASET = {
    "title": "D",
    "task": "binary",
    "classes": ["a", "b"],
    "class_counts": [3, 3],
    "n_images": 6,
    "n_groups": 6,
    "split": "2-fold x 1",
    "n_folds": 2,
    "synthetic": False,
    "notes": [],
    "licence": "",
    "fingerprint": "0" * 64,
}
TRIAL = {"number": 0, "state": "complete", "params": {"C": 1}, "score": 0.5, "at_seconds": 1.5}
HUGE = 10**400
PREDICTIONS = pd.DataFrame(
    {"image": [3, 5], "group": [0, 1], "label": [0, 1], "p0": [0.1, 1 / 3], "p1": [0.9, 2 / 3]}
)


SPLIT = {"repeat": 0, "fold": 0, "by_image": False}
RECORD = {**SPLIT, "status": "ok", "reason": "", "threshold": 0.5, "n_trials": 1}


def finish(store, cell=CELL, **fields):
    """A finished cell as a run writes it."""
    stored = store.cell(cell)
    stored.begin("k", {"seed": 0})
    stored.append_trial(TRIAL, np.full((2, 2), 0.5))
    stored.write_predictions(PREDICTIONS)
    stored.finish({**RECORD, **fields})


DAMAGES = {
    "cells/d/m/r0f0/cell.json": "so cell d x m x r0f0 is left out",
    "cells/d/m/r0f0/predictions.parquet": "so cell d x m x r0f0 is left out",
    "cells/d/m/r0f0/key.json": "so it is not known from what inputs cell d x m x r0f0 was made",
    "cells/d/m/r0f0/trials.jsonl": "so the search of cell d x m x r0f0 is not shown",
    "datasets/d/dataset.json": "so data set d is left out with its 2 cells",
    "datasets/d/audit.json": "so what the audit of d found is not shown",
    "environment.json": "so versions and machine are not stated",
}


def rewrite_predictions(store, cell, predictions):
    """Other predictions in a finished cell, with the hash that they have."""
    files = store.layout.cell(cell)
    store.cell(cell).write_predictions(predictions)
    record, path = read_json(files.record), files.predictions
    seals.write_record(files.record, record, {path.name: path})


def describe(store, name="d", **fields):
    """The description of a data set as a run writes it."""
    store.write_audit(name, {"findings": []})
    store.write_dataset(name, {**DATASET, **fields}, pd.DataFrame({"label": [0, 1]}))


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A whole run of two folds; not to be changed."""
    store = RunStore(tmp_path_factory.mktemp("whole") / "run")
    store.begin(SETTINGS)
    store.write_environment({"cores": 2})
    describe(store)
    for split in ("r0f0", "r0f1"):
        finish(store, replace(CELL, split=split))
    return store.folder


@pytest.fixture
def store(whole_run, tmp_path):
    """A copy of it that a test may change."""
    return RunStore(Path(shutil.copytree(whole_run, tmp_path / "run")))


def test_a_run_is_begun_once_and_other_settings_are_refused_by_name(tmp_path):
    store = RunStore(tmp_path / "run")
    store.begin(SETTINGS)
    store.begin(SETTINGS)
    with pytest.raises(StoreError, match=r"folds: 5 there, 3 now.*--out"):
        store.begin({**SETTINGS, "folds": 3})


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(StoreError, match=r"not empty and holds no run.json"):
        RunStore(tmp_path).begin(SETTINGS)
    with pytest.raises(StoreError, match="not empty"), RunStore(tmp_path).lock():
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]
    with pytest.raises(StoreError, match="is a file"):
        RunStore(tmp_path / "thesis.doc").begin(SETTINGS)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (FORMAT + 1, rf"newer MedBench \(format {FORMAT + 1}, this one reads 3, 4 or 5\): update"),
        (1, "written in format 1, .*Use the version that wrote it"),
        (str(FORMAT), f"written in format '{FORMAT}', this MedBench reads format 3, 4 or 5"),
        (None, "written in format None"),
    ],
)
def test_a_run_of_another_version_is_refused(tmp_path, written, said):
    write_json(tmp_path / "run.json", {"format": written, "configuration": {}})
    for use in (lambda s: s.begin(SETTINGS), lambda s: s.read()):
        with pytest.raises(StoreError, match=said):
            use(RunStore(tmp_path))


def as_format_3(store):
    """The same run as an earlier version wrote it: what a split is stands in its name only."""
    without_hashes(store)
    for path in [store.layout.run, *(cell.record for cell in store.layout.finished_cells())]:
        record = {**read_json(path), "format": 3}
        lacking = ("images", "repeat", "fold", "by_image")
        write_json(path, {name: value for name, value in record.items() if name not in lacking})


def without_hashes(store):
    """The same run as the version before this one wrote it, in format 4."""
    for path in store.folder.rglob("*.json"):
        record = {n: v for n, v in read_json(path).items() if n not in (seals.SEAL, "sha256")}
        write_json(path, {**record, "format": 4} if "format" in record else record)
    for path in store.folder.rglob("trials.jsonl"):
        trials = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(seals.unsealed(one)) + "\n" for one in trials))


def test_a_run_of_format_3_is_read_and_its_splits_are_understood(store):
    wanted = {
        "official": (0, None, False),
        "official-r2": (2, None, False),
        "r1f3": (1, 3, False),
        "by-image-r0f1": (0, 1, True),
    }
    for split in wanted:
        finish(store, replace(CELL, split=split))
    as_format_3(store)
    run = store.read()
    found = {cell.id.split: (cell.repeat, cell.fold, cell.by_image) for cell in run.cells}
    assert run.gaps == () and run.images is None
    assert found == {**wanted, "r0f0": (0, 0, False), "r0f1": (0, 1, False)}


def test_a_run_of_format_4_is_read_without_hashes_and_not_gone_on_with(store):
    without_hashes(store)
    run = store.read()
    assert run.gaps == () and len(run.cells) == 2 and not run.hashed
    assert run.cells[0].trials[0]["number"] == 0 and run.cells[0].key_parts == {"seed": 0}
    with pytest.raises(StoreError, match=r"format 4.*can be read and compared.*--out"):
        store.begin(SETTINGS)


@pytest.mark.parametrize("file", ["run.json", *(f for f in DAMAGES if f.endswith(".json"))])
def test_a_record_that_lost_its_hash_is_damaged(store, file):
    path = store.folder / file
    write_json(path, seals.unsealed(read_json(path)))
    (gap,) = store.read().gaps
    assert gap.startswith(f"{file}: damaged, so ")


def test_a_run_of_format_3_is_not_gone_on_with(store):
    as_format_3(store)
    for use in (store.check, store.begin):
        with pytest.raises(StoreError, match=r"format 3.*can be read and compared.*--out"):
            use(SETTINGS)
    assert read_json(store.layout.run)["format"] == 3


def test_the_reference_results_still_open():
    folder = REFERENCE / "brain-mri-untuned"
    if not folder.is_dir():
        pytest.skip("the reference results (results/reference) are not here")
    run = RunStore(folder).read()
    assert run.gaps == () and not run.partial
    (name,) = run.datasets
    whole, single = run.cells_of(name, "border"), run.cells_of(name, "border", by_image=True)
    assert len(whole) == len(single) == 15
    assert {(cell.repeat, cell.fold) for cell in whole} == {
        (r, f) for r in range(3) for f in range(5)
    }
    table = pd.read_csv(folder / "leaderboard.csv").set_index(["model", "kind"])["auroc"]
    for cells, kind in ((whole, "sanity"), (single, "split by image")):
        folds = [fold_predictions(cell, run.datasets[name]) for cell in cells]
        assert mean_auroc(folds, 2) == pytest.approx(table["border", kind], abs=1e-9)


def test_no_run_and_a_damaged_run_are_named(tmp_path):
    with pytest.raises(StoreError, match="there is no run here"):
        RunStore(tmp_path).read()


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"format": FORMAT})])
def test_a_damaged_run_json_does_not_cost_the_finished_cells(store, content):
    (store.folder / "run.json").write_text(content)
    said = "Only this file is damaged, the cells are untouched: restore it from a copy"
    for use in (store.read, lambda: store.begin(SETTINGS)):
        with pytest.raises(StoreError, match=said) as error:
            use()
        assert "emove" not in str(error.value)


@pytest.mark.parametrize(
    ("entry", "value"),
    [("seed", [1]), ("budget", {"a": 1}), ("inner_folds", HUGE), ("unequal", "budget")],
)
def test_a_setting_that_cannot_be_used_is_left_out_and_named(tmp_path, entry, value):
    settings = {"folds": 5, "tuner": None, "seed": 2**63}
    RunStore(tmp_path).begin({**settings, entry: value})
    run = RunStore(tmp_path).read()
    kept = {name: one for name, one in settings.items() if name != entry}
    assert run.configuration == kept
    gap = f"run.json: damaged (see {entry}), so these settings are not stated."
    assert gap in run.gaps


# --- images of patients --------------------------------------------------------------------


@pytest.fixture
def pictured(store):
    """A run with thumbnails, a sheet of copies and a page."""
    files = store.layout
    for path in (files.dataset("d").thumbnail(3), files.copies("d"), files.page):
        write_text(path, "x")
    write_json(files.dataset("d").samples, {"samples": []})
    write_text(files.figure("d", "roc"), "x")
    return store


def pictures(store):
    """What there is in a run of images of patients."""
    found = [path for path in store.folder.rglob("*") if path.suffix in (".webp", ".html")]
    return {path.name for path in [*found, *store.folder.rglob("duplicates.png")]}


@pytest.mark.parametrize(
    ("said", "holds"),
    [
        ((None,), None),
        ((None, True, None), True),
        ((False, None), False),
        ((True, False), False),
        ((False, True), True),
    ],
)
def test_what_was_said_of_images_holds_until_something_else_is_said(tmp_path, said, holds):
    store = RunStore(tmp_path / "run")
    for images in said:
        shown = store.begin(SETTINGS, images=images)
    assert shown is holds and store.read().images is holds


@pytest.mark.parametrize("images", [None, True])
def test_pictures_stay_where_nobody_refuses_images(pictured, images):
    pictured.begin(SETTINGS, images=images)
    assert pictures(pictured) == {"3.webp", "duplicates.png", "report.html"}


def test_no_picture_stays_where_images_are_refused(pictured):
    pictured.begin(SETTINGS, images=False)
    assert pictures(pictured) == set()
    assert pictured.layout.figure("d", "roc").exists() and len(pictured.read().cells) == 2
    write_text(pictured.layout.page, "without images")
    pictured.begin(SETTINGS)
    assert pictured.layout.page.exists()


def test_a_damaged_choice_shows_no_images_and_is_named(store):
    seals.write_record(store.layout.run, {**read_json(store.layout.run), "images": "yes"})
    run = store.read()
    assert run.images is False
    assert run.gaps == ("run.json: damaged (see images), so images are not shown.",)


def test_two_runs_cannot_work_in_one_folder(tmp_path):
    first, second = RunStore(tmp_path), RunStore(tmp_path)
    with first.lock(), pytest.raises(StoreError, match="another run is at work"), second.lock():
        pass
    with RunStore(tmp_path).lock():
        pass


def test_a_run_may_start_at_the_moment_in_which_another_process_reads_it(tmp_path):
    reader = FileLock(tmp_path / ".lock", thread_local=False)
    reader.acquire()
    done = threading.Timer(0.2, reader.release)
    done.start()
    with RunStore(tmp_path).lock():
        assert not reader.is_locked
    done.join()


def test_a_finished_cell_is_read_back_in_full_precision(tmp_path):
    store = RunStore(tmp_path)
    store.begin(SETTINGS)
    describe(store)
    stored = store.cell(CELL)
    stored.begin("k", {"seed": 0})
    stored.append_trial(TRIAL, np.full((2, 2), 0.5))
    stored.write_predictions(PREDICTIONS)
    assert store.read().cells == ()  # not finished before cell.json is there
    stored.finish({**RECORD, "repeat": 2, "fold": 1, "by_image": True})
    (cell,) = store.read().cells
    assert (cell.repeat, cell.fold, cell.by_image) == (2, 1, True)  # whatever its split is called
    assert cell.id == CELL and cell.key_parts == {"seed": 0}
    pd.testing.assert_frame_equal(cell.predictions, PREDICTIONS)
    assert cell.trials[0]["score"] == 0.5
    assert (stored.oof(cell.trials[0]) == 0.5).all()


@pytest.mark.parametrize("cut", [1, 9, 30])
@pytest.mark.parametrize("finished", [0, 2])
def test_a_torn_last_line_is_dropped_and_the_next_trial_is_whole(tmp_path, finished, cut):
    stored = RunStore(tmp_path).cell(CELL)
    trial = {"state": "complete", "params": {"name": "ü\n"}}
    for number in range(finished):
        stored.append_trial({"number": number, **trial}, None)
    lines = RunLayout(tmp_path).cell(CELL).trials
    lines.parent.mkdir(parents=True, exist_ok=True)
    with lines.open("ab") as file:
        file.write(json.dumps({"number": finished, "x": "y" * 40}).encode()[:cut])
    assert [one["number"] for one in stored.trials()] == list(range(finished))
    stored.append_trial({"number": finished, **trial}, None)
    assert [one["number"] for one in stored.trials()] == list(range(finished + 1))


def test_nan_is_not_json_and_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"a": object()})
    assert read_json(tmp_path / "x.json") == {"a": 1}


def test_the_operating_systems_refusal_names_the_place_and_the_remedy(tmp_path):
    refusal = r"cannot be written \(No space left.*Free space or permissions there"
    with pytest.raises(StoreError, match=refusal), writing(tmp_path):
        raise OSError(28, os.strerror(28))
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_json(tmp_path / "file" / "x.json", {})


# --- reading what is not whole -------------------------------------------------------------


def test_a_whole_run_has_no_gaps_and_is_finished(store):
    run = store.read()
    assert run.gaps == () and run.unfinished == "" and not run.partial
    assert len(run.cells) == 2 and run.environment == {"cores": 2}


@pytest.mark.parametrize("file", DAMAGES)
@pytest.mark.parametrize("content", ["{\n", "[1]\n", '"x"\n', "[" * 100_000 + "\n", b"\xff\xfe\n"])
def test_what_is_damaged_is_left_out_and_named_by_its_path_within_the_run(store, file, content):
    path = store.folder / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    run = store.read()
    assert run.gaps == (f"{file}: damaged, {DAMAGES[file]}.",)
    left = {cell.id.split: cell for cell in run.cells}
    lost = {"r0f0"} if "left out" in DAMAGES[file] else set()
    if "dataset.json" in file:
        lost = {"r0f0", "r0f1"}
    assert set(left) == {"r0f0", "r0f1"} - lost
    if "trials" in file:
        assert left["r0f0"].trials == () and left["r0f0"].predictions is not None
        assert left["r0f1"].trials != ()
    if "key" in file:
        assert left["r0f0"].key_parts == {} and left["r0f1"].key_parts == {"seed": 0}


# A cell without cell.json is not finished; trials are counted, see below.
@pytest.mark.parametrize(
    "file", [file for file in DAMAGES if not file.endswith(("cell.json", "trials.jsonl"))]
)
def test_what_is_missing_is_named_as_missing(store, file):
    (store.folder / file).unlink()
    assert store.read().gaps == (f"{file}: missing, {DAMAGES[file]}.",)


@pytest.mark.parametrize(
    ("file", "entry", "value"),
    [
        ("datasets/d/dataset.json", "classes", "ab"),
        ("datasets/d/dataset.json", "classes", [1, 2]),
        ("datasets/d/dataset.json", "class_counts", [3]),
        ("datasets/d/dataset.json", "class_counts", [1, 2, 3]),
        ("datasets/d/dataset.json", "task", "regression"),
        ("datasets/d/dataset.json", "task", ["binary"]),
        ("datasets/d/dataset.json", "n_folds", "2"),
        ("datasets/d/dataset.json", "n_folds", 0),
        ("datasets/d/dataset.json", "n_images", True),
        ("datasets/d/dataset.json", "notes", "x"),
        ("datasets/d/dataset.json", "caution_above", "x"),
        ("cells/d/m/r0f0/cell.json", "status", "done"),
        ("cells/d/m/r0f0/cell.json", "repeat", None),
        ("cells/d/m/r0f0/cell.json", "fold", -1),
        ("cells/d/m/r0f0/cell.json", "by_image", 0),
        ("cells/d/m/r0f0/cell.json", "inner_score", "high"),
        ("cells/d/m/r0f0/cell.json", "seconds", 3),
        ("cells/d/m/r0f0/cell.json", "seconds", {"total": "long"}),
        ("cells/d/m/r0f0/cell.json", "calibration", {"temperatures": []}),
        ("cells/d/m/r0f0/cell.json", "calibration", {"temperatures": [0], "reason": ""}),
        ("datasets/d/dataset.json", "redistributable", "yes"),
        ("datasets/d/dataset.json", "image_shape", "28x28"),
        ("datasets/d/dataset.json", "image_shape", [28, 28]),
        ("datasets/d/dataset.json", "image_shape", [28, 28, 1.5]),
        ("datasets/d/dataset.json", "image_shape", [0, 0, 1]),
        ("datasets/d/dataset.json", "image_shape", [10**9, 10**9, 3]),
        ("datasets/d/dataset.json", "classes", ["a", "a"]),
        ("datasets/d/dataset.json", "n_images", HUGE),
        ("cells/d/m/r0f0/cell.json", "seconds", {"total": 1e308}),
        ("cells/d/m/r0f0/cell.json", "size_bytes", HUGE),
        ("cells/d/m/r0f0/cell.json", "params", {"C": [1]}),
        ("environment.json", "commit", "abc"),
        ("environment.json", "commit", {"hash": {}}),
        ("environment.json", "packages", ["numpy"]),
        ("environment.json", "packages", {"numpy": 2}),
        ("environment.json", "threads", "all"),
        ("datasets/d/audit.json", "findings", [{"text": "x"}]),
        ("cells/d/m/r0f0/key.json", "parts", None),
    ],
)
def test_an_entry_that_reports_cannot_use_is_named(store, file, entry, value):
    path = store.folder / file
    write_json(path, {**read_json(path), entry: value})
    assert store.read().gaps == (f"{file}: damaged (see {entry}), {DAMAGES[file]}.",)


@pytest.mark.parametrize("entry", sorted(DATASET))
def test_a_description_that_lacks_an_entry_is_named(store, entry):
    path = store.folder / "datasets" / "d" / "dataset.json"
    write_json(path, {name: value for name, value in DATASET.items() if name != entry})
    (gap,) = store.read().gaps
    assert gap.startswith(f"datasets/d/dataset.json: damaged (see {entry})")


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.drop(columns="p1"),
        lambda frame: frame.drop(columns="group"),
        lambda frame: frame.rename(columns={"label": "label0"}).assign(label1=1),
        lambda frame: frame.assign(label=["a", "b"]),
        lambda frame: frame.assign(label=[0, 2]),
        lambda frame: frame.assign(p1=["x", "y"]),
        lambda frame: frame.head(0),
    ],
)
def test_predictions_of_other_classes_are_named(store, change):
    rewrite_predictions(store, CELL, change(PREDICTIONS))
    run = store.read()
    where = "cells/d/m/r0f0/predictions.parquet"
    assert run.gaps == (f"{where}: not of the classes of d, {DAMAGES[where]}.",)
    assert [cell.id.split for cell in run.cells] == ["r0f1"]


@pytest.mark.parametrize(
    ("task", "threshold", "fits"),
    [
        ("binary", 0.5, True),
        ("binary", None, False),
        ("binary", [0.5, 0.5], False),
        ("ordinal", None, True),
        ("ordinal", 0.5, False),
        ("multi-label", [0.5, 0.5], True),
        ("multi-label", [0.5], False),
        ("multi-label", 0.5, False),
    ],
)
def test_an_operating_point_of_another_task_is_named(store, task, threshold, fits):
    describe(store, "e", task=task)
    cell = replace(CELL, dataset="e")
    finish(store, cell, threshold=threshold)
    if task == "multi-label":
        several = PREDICTIONS.rename(columns={"label": "label0"}).assign(label1=1)
        rewrite_predictions(store, cell, several)
    where = "cells/e/m/r0f0/cell.json"
    gap = f"{where}: not of the classes of e, so cell e x m x r0f0 is left out."
    assert store.read().gaps == (() if fits else (gap,))


def test_a_calibration_of_other_classes_is_named(store):
    finish(store, calibration={"temperatures": [1.0, 1.0, 1.0], "reason": ""})
    where = "cells/d/m/r0f0/cell.json"
    assert store.read().gaps == (f"{where}: not of the classes of d, {DAMAGES[where]}.",)


def test_a_torn_last_trial_is_no_gap(store):
    with (store.layout.cell(CELL).folder / "trials.jsonl").open("a") as file:
        file.write('{"number": 1, "sta')
    run = store.read()
    assert run.gaps == () and len(run.cells[0].trials) == 1


@pytest.mark.parametrize("left", [None, 0, 2])
def test_trials_that_are_gone_leave_out_the_search_but_not_the_predictions(store, left):
    store.cell(CELL).finish({**RECORD, "n_trials": 3})
    log = store.layout.cell(CELL).folder / "trials.jsonl"
    if left is None:
        log.unlink()
    else:
        trials = [seals.sealed({**TRIAL, "number": number}) for number in range(left)]
        log.write_text("".join(json.dumps(trial) + "\n" for trial in trials))
    run = store.read()
    assert run.gaps == (
        f"cells/d/m/r0f0/trials.jsonl: {left or 0} of 3 trials are there, "
        "so the search of cell d x m x r0f0 is not shown.",
    )
    assert run.cells[0].trials == () and run.cells[0].predictions is not None


@pytest.mark.parametrize(
    "trial",
    [
        {"number": 1},
        {**TRIAL, "at_seconds": -1},
        {**TRIAL, "at_seconds": 1e300},
        {**TRIAL, "params": {"C": HUGE}},
        {**TRIAL, "params": {"C": [1]}},
        {**TRIAL, "params": {"C": float("nan")}},
    ],
)
def test_a_trial_that_cannot_be_used_leaves_out_the_search(store, trial):
    with (store.layout.cell(CELL).folder / "trials.jsonl").open("a") as file:
        file.write(json.dumps(trial) + "\n")
    run = store.read()
    assert run.cells[0].trials == ()
    assert run.gaps == (
        f"cells/d/m/r0f0/trials.jsonl: damaged, {DAMAGES['cells/d/m/r0f0/trials.jsonl']}.",
    )


def test_several_gaps_are_named_each(store):
    for file in ("environment.json", "cells/d/m/r0f0/key.json", "cells/d/m/r0f1/cell.json"):
        (store.folder / file).write_text("")
    assert [gap.split(":")[0] for gap in store.read().gaps] == [
        "environment.json",
        "cells/d/m/r0f0/key.json",
        "cells/d/m/r0f1/cell.json",
    ]


@pytest.mark.parametrize("file", ["cell.json", "key.json", "predictions.parquet", "trials.jsonl"])
def test_a_damaged_cell_is_an_error_to_whoever_goes_on_with_it(store, file):
    (store.layout.cell(CELL).folder / file).write_text("{\n")
    with pytest.raises(StoreError, match=rf"{file}: damaged.*Run the same command again"):
        store.cell(CELL).result()


def test_an_empty_run_has_no_cells_and_is_not_finished(tmp_path):
    store = RunStore(tmp_path)
    store.begin(SETTINGS)
    store.write_environment({})
    run = store.read()
    assert run.cells == () and run.gaps == ()
    assert run.unfinished == "This run is not finished: no cell of it is finished yet."


@pytest.mark.parametrize("file", ["cells/d/m/*/cell.json", "datasets/d/dataset.json"])
def test_a_run_of_which_nothing_can_be_read_is_not_said_to_have_finished_nothing(store, file):
    for path in store.folder.glob(file):
        path.write_text("{")
    run = store.read()
    assert run.cells == () and len(run.unread) == 2
    assert run.unfinished == (
        "This run is not finished: none of its finished cells could be read; the command of the "
        "run, given again, mends what is damaged."
    )
    assert "given again" not in replace(run, hashed=False).unfinished  # it is not gone on with


def test_folds_and_data_sets_that_are_to_come_make_a_run_unfinished(store):
    describe(store, "later")
    finish(store, replace(CELL, model="half"))
    store.cell(replace(CELL, model="half")).finish({**SPLIT, "status": "failed", "reason": "x"})
    assert store.read().unfinished == (
        "This run is not finished: 3 of 4 cells are finished; no cell of later is finished yet."
    )


def test_folds_by_image_count_for_the_models_that_have_them(store):
    path = store.folder / "datasets" / "d" / "dataset.json"
    seals.write_record(path, {**DATASET, "n_folds_by_image": 2})
    assert not store.read().partial
    finish(store, replace(CELL, split="by-image-r0f0"), by_image=True)
    assert "3 of 4 cells" in store.read().unfinished


LEFT = {**SPLIT, "reason": "no disk", "ended": "2026-01-01T00:00:00+00:00", "times": 2}


def test_a_cell_that_the_machine_ended_is_read_with_its_reason(store):
    cell = replace(CELL, model="other")
    stored = store.cell(cell)
    stored.begin("k", {})
    stored.leave_unfinished({**LEFT, "sanity": True})
    found = next(one for one in store.read().cells if one.id == cell)
    assert (found.status, found.reason, found.fold) == ("unfinished", "no disk", 0)
    assert found.predictions is None and found.record["sanity"]
    assert stored.unfinished()["times"] == 2 and stored.result() is None
    assert [one.id for one in store.read().ended_by_machine] == [cell]
    assert "1 cell was left unfinished by trouble of the machine" in store.read().unfinished
    stored.drop_outcome()
    assert stored.unfinished() is None and not store.read().ended_by_machine


def test_a_finished_cell_is_finished_whatever_was_left_beside_it(store):
    store.cell(CELL).leave_unfinished(LEFT)
    assert not store.read().ended_by_machine


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"reason": 1}'])
def test_where_it_is_damaged_why_a_cell_is_unfinished_that_is_said(store, content):
    stored = store.cell(replace(CELL, model="other"))
    stored.leave_unfinished(LEFT)
    (stored.folder / "unfinished.json").write_text(content)
    run = store.read()
    assert stored.unfinished() is None and not run.ended_by_machine
    (gap,) = run.gaps
    assert gap.startswith("cells/d/other/r0f0/unfinished.json: damaged")
    assert gap.endswith("it is not known why cell d x other x r0f0 is not finished.")


def test_a_folder_at_work_is_unfinished_but_not_for_the_run_that_works_there(store):
    reader = RunStore(store.folder)
    with store.lock():
        assert reader.read().unfinished == (
            "This run is not finished: another process is at work in its folder."
        )
        assert not store.read().partial
    assert not reader.read().partial
    with store.lock():  # reading did not keep it
        pass
