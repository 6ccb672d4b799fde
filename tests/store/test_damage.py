"""A run folder in which one bit is flipped: it is named, or nothing that is shown is another."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medbench.atomic_files import read_json, read_parquet, write_json, write_parquet
from medbench.cli import main
from medbench.errors import MedBenchError
from medbench.features.out_of_distribution import _ARRAYS, OutOfDistribution
from medbench.reports import stored
from medbench.reports.page.pictures import read_pictures
from medbench.store import CellId, RunStore, chunks, seals

CATEGORIES = {
    "settings": ["run.json"],
    "versions and machine": ["environment.json"],
    "data set": ["datasets/*/dataset.json", "datasets/*/images.parquet"],
    "audit": ["datasets/*/audit.json"],
    "unlike images": ["datasets/*/out-of-distribution.npz"],
    "pictures": ["datasets/*/pictures/*"],
    "cell": ["cells/*/*/*/cell.json"],
    "predictions": ["cells/*/*/*/predictions.parquet"],
    "key": ["cells/*/*/*/key.json"],
    "trials": ["cells/*/*/*/trials.jsonl", "cells/*/*/*/oof/*.npy"],
    "model": ["cells/*/*/*/model/*", "chunks/*/*"],
    "assessment": ["assessment.json"],
    "external validation": ["external/*/*/*/*"],
}
SEED = 20
SMALL = ("--no-sanity", "--folds", "2", "--trials", "2", "--threads", "1")
pytestmark = pytest.mark.filterwarnings("ignore:Using the fractional value max_samples")


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A finished run of two models with everything that one can hold; not to be changed."""
    folder = tmp_path_factory.mktemp("damage")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_CACHE", str(folder / "cache"))
        patch.setattr(chunks, "_LARGE", 5_000)
        patch.setattr(chunks, "_SHORTEST", 1_000)
        patch.setattr(chunks, "_BITS", 12)
        for name in ("here", "there"):
            phantoms(folder / name, seed=len(name))
        run = str(folder / "run")
        data = ["--data", str(folder / "here"), "--models", "hog-svm", "intensity"]
        small = [*SMALL, "--images", "--out", run]
        assert main(["run", *data, *small]) == 0
        other = ["--models", "intensity", "--data", str(folder / "there")]
        assert main(["evaluate", "--run", run, *other]) == 0
    return Path(run)


@pytest.fixture
def cells_only(run):
    """A copy without what hangs on the very models that are in it."""
    shutil.rmtree(run / "external")
    return run


def phantoms(folder, seed):
    """Grey images in two class folders, of which one is a little brighter."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    for k, label in enumerate("ab"):
        (folder / label).mkdir(parents=True)
        for number in range(8):
            pixels = rng.integers(20 * k, 120 + 20 * k, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


@pytest.fixture
def run(whole_run, tmp_path):
    """A copy of it that a test may change."""
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


def flips(folder, count, seed):
    """So many places, by category in turn: a file, and a bit of it."""
    rng = np.random.default_rng(seed)
    files = {
        category: sorted(path for pattern in patterns for path in folder.glob(pattern))
        for category, patterns in CATEGORIES.items()
    }
    assert all(files.values()), files
    for number in range(count):
        category = list(files)[number % len(files)]
        path = files[category][rng.integers(len(files[category]))]
        yield category, path, int(rng.integers(path.stat().st_size * 8))


def shown(folder):
    """All that is read of a run, by where it is shown; and what is said to be missing."""
    run = RunStore(folder).read()
    things = {
        ("settings", name): value for name, value in {**run.configuration, "": run.images}.items()
    }
    things |= {("environment", name): one for name, one in run.environment.items()}
    things |= {("data set", name): one for name, one in run.datasets.items()}
    things |= {("audit", name): one for name, one in run.audits.items()}
    for cell in run.cells:
        frame = cell.predictions
        numbers = frame.to_dict("list") if frame is not None else None
        split = (cell.status, cell.reason, cell.repeat, cell.fold, cell.by_image)
        things["cell", str(cell.id)] = (split, cell.record, numbers)
        things["search", str(cell.id)] = cell.trials
        things["key", str(cell.id)] = cell.key_parts
    for one in run.externals:
        named = one.record["model"], one.record["other"]
        things["external", named] = (one.record, one.predictions.to_dict("list"))
    return run, {name: json.dumps(value, sort_keys=True) for name, value in things.items()}


def used(folder, run):
    """What is loaded of a run for new images and for reports; errors name what cannot be."""
    store = RunStore(folder)
    found = {}
    for name in run.datasets:
        path = store.sound_out_of_distribution(name)
        known = OutOfDistribution.load(path)
        found["unlike", name] = [getattr(known, field).tobytes() for field in _ARRAYS]
        found["images", name] = store.dataset_images(name).to_json()
    for cell in run.cells:
        kept = store.cell(cell.id)
        kept.whole_model(cell.record["model_sha256"])
        for trial in cell.trials:
            found["oof", str(cell.id), trial["number"]] = kept.oof(trial).tobytes()
    return found


class Original:
    """What the undamaged run shows."""

    def __init__(self, folder):
        self.run, self.shown = shown(folder)
        assert self.run.gaps == ()
        self.assessment = stored.assess(self.run)
        self.table = self.assessment.table.to_json()
        self.used = used(folder, self.run)
        self.pictures = set(self._pictures(folder))

    def _pictures(self, folder):
        found = read_pictures(self.run, self.assessment.datasets[0], folder)
        return [] if found is None else [*found.samples, *found.wrong]

    def verdict(self, folder):
        """ "named" or "harmless" of a damaged copy; fails where other things are shown."""
        try:
            run, here = shown(folder)
        except MedBenchError as error:
            assert str(folder) in str(error)
            return "named"
        if any(gap.startswith("run.json: damaged") for gap in run.gaps):
            assert here.pop(("settings", "")) == "false"  # no images, and that is said
        left_out = ("{}", "[]") if run.gaps else ()  # inputs and search of a cell
        wrong = [n for n, value in here.items() if value not in (self.shown[n], *left_out)]
        assert not wrong, f"shown in silence: {wrong}"
        assert set(self._pictures(folder)) <= self.pictures
        if run.gaps:
            return "named"
        assert here == self.shown
        assert stored.assessed(run).table.to_json() == self.table
        try:
            assert used(folder, run) == self.used
        except MedBenchError as error:
            assert str(folder) in str(error)
            return "named"
        return "harmless"


def flip(whole_run, folder, count, monkeypatch):
    """Flip bits one after the other, and count by category what becomes of them."""
    original = Original(whole_run)
    monkeypatch.setattr(stored, "assess", lambda run: original.assessment)
    found = Counter()
    for category, path, bit in flips(folder, count, SEED):
        content = path.read_bytes()
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found[category, original.verdict(folder)] += 1
        except Exception as error:
            raise AssertionError(f"{path.relative_to(folder)}, bit {bit}: {error!r}") from error
        path.write_bytes(content)
        (folder / "assessment.json").write_bytes((whole_run / "assessment.json").read_bytes())
    return found


def test_a_flipped_bit_is_named_or_shows_nothing_else(whole_run, run, monkeypatch):
    found = flip(whole_run, run, 130, monkeypatch)
    assert sum(found.values()) == 130
    for category in ("cell", "predictions", "data set", "model", "unlike images"):
        assert found[category, "named"] >= 8


@pytest.mark.slow
def test_10_000_flipped_bits_are_named_or_show_nothing_else(whole_run, run, monkeypatch):
    found = flip(whole_run, run, 10_000, monkeypatch)
    assert sum(found.values()) == 10_000
    print(*(f"{key}: {n}" for key, n in sorted(found.items())), sep="\n")


# --- what a disk or a person does beside --------------------------------------------------------


def with_predictions(folder, change, *, hashed=True):
    """Other predictions in one cell, with a hash that matches, or none as of earlier versions."""
    record = sorted(folder.glob("cells/*/intensity/*/cell.json"))[0]
    path = record.with_name("predictions.parquet")
    write_parquet(path, change(read_parquet(path)))
    seals.write_record(record, read_json(record), {path.name: path} if hashed else {})
    return RunStore(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: pd.concat([f, f]), "an image stands in it twice"),
        (lambda f: pd.concat([f, f.head(1)]), "an image stands in it twice"),
        (lambda f: f.head(len(f) - 1), "not of the images that r0f0 holds out"),
        (lambda f: f.assign(image=f["image"] + 100), "not of the images that r0f0 holds out"),
        (lambda f: f.assign(image=-1 - f["image"]), "not of the images that r0f0 holds out"),
        (lambda f: f.assign(label=1 - f["label"]), "with other labels than images.parquet"),
        (lambda f: f.assign(p0=np.nan), "p0 is not always a probability"),
        (lambda f: f.assign(p1=np.inf), "p1 is not always a probability"),
        (lambda f: f.assign(p0=-0.5, p1=1.5), "p0 is not always a probability"),
        (lambda f: f.assign(p0=0.5, p1=0.6), "probabilities do not always sum up to 1"),
        (lambda f: f.assign(label=2), "not of the classes of here"),
        (lambda f: f.rename(columns={"label": "label0"}), "not of the classes of here"),
        (lambda f: f.drop(columns="group"), "not of the classes of here"),
        (lambda f: f.head(0), "not of the classes of here"),
    ],
)
def test_predictions_that_cannot_be_of_their_cell_are_named_and_the_rest_is_shown(
    cells_only, change, said
):
    read = with_predictions(cells_only, change).read()
    where = "cells/here/intensity/r0f0/predictions.parquet"
    assert read.gaps == (f"{where}: {said}, so cell here x intensity x r0f0 is left out.",)
    assert len(read.cells) == 3


def test_a_report_names_what_is_left_out(cells_only, capsys):
    with_predictions(cells_only, lambda f: f.head(0))
    assert main(["report", str(cells_only)]) == 0
    where = "cells/here/intensity/r0f0/predictions.parquet"
    said = " ".join(capsys.readouterr().out.split())
    assert f"Not shown: {where}: not of the classes of here" in said


def test_seconds_below_zero_are_named(run):
    record = run / "cells/here/intensity/r0f0/cell.json"
    seals.write_record(record, {**read_json(record), "seconds": {"total": -1.0}})
    assert "cell.json: damaged (see seconds)" in RunStore(run).read().gaps[0]


@pytest.mark.parametrize(
    "file",
    ["predictions.parquet", "cell.json", "key.json", "trials.jsonl", "oof/0000.npy", "model"],
)
def test_the_same_command_makes_a_damaged_cell_again_and_says_so(
    whole_run, cells_only, file, capsys, monkeypatch
):
    run = cells_only
    monkeypatch.setenv("MEDBENCH_CACHE", str(whole_run.parent / "cache"))
    path = run / "cells/here/intensity/r0f0" / file
    if file == "model":
        path = sorted(path.iterdir())[0]
    path.write_bytes(path.read_bytes()[:-9])  # what a full disk or half a copy leaves
    if file not in ("model", "oof/0000.npy"):  # and in another cell of this run, something else
        (run / "cells/here/intensity/r0f1" / file).write_text("{}\n")
    before = {cell.id: cell for cell in RunStore(whole_run).read().cells}
    data = ["--data", str(whole_run.parent / "here"), "--models", "hog-svm", "intensity"]
    small = [*SMALL, "--out", str(run)]
    assert main(["run", *data, *small]) == 0
    out = " ".join(capsys.readouterr().out.split())
    if file != "oof/0000.npy":  # that of a finished cell is looked at by whoever needs it
        why = "its model is damaged" if file == "model" else "its record is damaged"
        assert f"here x intensity x r0f0: run again, because {why}" in out
    read = RunStore(run).read()
    assert read.gaps == ()
    for cell in read.cells:
        pd.testing.assert_frame_equal(cell.predictions, before[cell.id].predictions)


@pytest.mark.parametrize("file", ["dataset.json", "images.parquet"])
def test_a_damaged_description_of_a_data_set_is_made_again_and_its_cells_are_kept(
    whole_run, run, file, capsys, monkeypatch
):
    monkeypatch.setenv("MEDBENCH_CACHE", str(whole_run.parent / "cache"))
    path = run / "datasets/here" / file
    if file == "dataset.json":
        write_json(path, {**read_json(path), "n_images": 17})
    else:
        write_parquet(path, read_parquet(path).assign(label=0))
    cells = {one: one.stat().st_mtime_ns for one in run.glob("cells/*/*/*/cell.json")}
    data = ["--data", str(whole_run.parent / "here"), "--models", "hog-svm", "intensity"]
    command = ["run", *data, *SMALL, "--out", str(run)]
    assert main([*command, "--dry-run"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{path}: damaged" in said and f"Remove {path.parent} and give" in said
    assert main(command) == 0
    assert "here: what this run says of it was damaged" in capsys.readouterr().out
    assert RunStore(run).read().gaps == ()
    assert cells == {one: one.stat().st_mtime_ns for one in run.glob("cells/*/*/*/cell.json")}


def test_a_damaged_run_json_shows_the_cells_and_no_images_and_is_not_gone_on_with(run):
    path = run / "run.json"
    write_json(path, {**read_json(path), "images": True, "configuration": {"seed": 1}})
    read = RunStore(run).read()
    assert len(read.cells) == 4 and read.images is False and read.configuration == {}
    assert read.gaps == (
        "run.json: damaged, so its settings are not stated and images are not shown.",
    )
    with pytest.raises(MedBenchError, match=r"run\.json: damaged, its hash does not match"):
        RunStore(run).check({"seed": 1})


def test_a_damaged_assessment_is_computed_again(run):
    path = run / "assessment.json"
    text = path.read_text()
    damaged = text.replace('"auroc": 0.', '"auroc": 0.9').replace('"auroc": 1.0', '"auroc": 0.9')
    assert damaged != text
    path.write_text(damaged)
    stored.assessed(RunStore(run).read())
    assert json.loads(path.read_text()) == json.loads(text)


def test_a_damaged_thumbnail_is_not_shown(run):
    original = Original(run)
    n_before = len(original._pictures(run))
    (first, *_) = sorted(run.glob("datasets/*/pictures/*.webp"))
    first.write_bytes(sorted(run.glob("datasets/*/pictures/*.webp"))[1].read_bytes())
    here = original._pictures(run)
    assert 0 < len(here) < n_before
    assert set(here) <= original.pictures


def test_a_trial_that_stands_there_twice_leaves_out_the_search(run):
    cell = CellId(dataset="here", model="intensity", split="r0f0")
    path = RunStore(run).layout.cell(cell).trials
    path.write_bytes(path.read_bytes() * 2)
    assert RunStore(run).read().gaps == (
        "cells/here/intensity/r0f0/trials.jsonl: damaged, so the search of cell "
        "here x intensity x r0f0 is not shown.",
    )
