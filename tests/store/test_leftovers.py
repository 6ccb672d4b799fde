"""What a run folder may hold, and what killed processes and earlier versions have left there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench.atomic_files import replacing_folder, write_text
from medbench.cli import main
from medbench.store import CellId, RunLayout, RunStore, seals
from medbench.store.leftovers import strangers

pytestmark = pytest.mark.filterwarnings("ignore:Using the fractional value max_samples")
CELL = "cells/set/file-properties/r0f0"
ENDING = ("0123456789abcdef", "tmp")


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run with all that one writes, images among it; not to be changed."""
    folder = tmp_path_factory.mktemp("leftovers")
    rng = np.random.default_rng(0)
    for label in "ab":
        (folder / "set" / label).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 255, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "set" / label / f"{number}.png")
    options = ["--models", "file-properties", "--no-sanity", "--folds", "2", "--trials", "1"]
    data = ["--data", str(folder / "set"), "--images"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_CACHE", str(folder / "cache"))
        assert main(["run", *data, *options, "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture
def run(whole_run, tmp_path):
    """A copy that a test may change."""
    return Path(shutil.copytree(whole_run, tmp_path / "run"))


def warned(folder, capsys):
    """What ``report`` says of files that are no part of a run."""
    capsys.readouterr()
    assert main(["report", str(folder)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    return shown if "no part of a run" in shown else ""


def test_a_run_holds_nothing_that_its_layout_does_not_know(run, capsys):
    assert list(strangers(RunLayout(run))) == []
    assert warned(run, capsys) == ""
    assert main(["report", str(run), "--format", "html", "md", "latex", "csv", "json"]) == 0
    assert warned(run, capsys) == ""


def test_no_image_is_in_a_run_but_the_thumbnails_of_its_page(run):
    arrays = {path.suffix for path in run.rglob("*") if path.is_file()}
    assert arrays <= {
        *(".json", ".jsonl", ".parquet", ".npy", ".npz", ".skops", ".webp", ".png", ".lock", ""),
        *(".html", ".md", ".csv", ".tex", ".log"),
    }
    images = {path.relative_to(run).parts[:3] for path in run.rglob("*.webp")}
    assert images == {("datasets", "set", "pictures")}
    assert {path.parts[-3] for path in run.rglob("*.png")} == {"figures"}
    for path in run.glob("cells/*/*/*/oof/*.npy"):  # two probabilities an image
        assert path.stat().st_size < 128 + 12 * 2 * 8 + 1


@pytest.mark.parametrize(
    "left",
    [
        ".scratch/0123/images.npy",
        "tmp/part/images.npy",
        f"{CELL}/development.npz",
        f"{CELL}/held-out/0.png",
        "datasets/set/images.npy",
        "datasets/set/pictures/0.png",
        f"{CELL}/.model.{'.'.join(ENDING)}/weights",
        f".run.json.{'.'.join(ENDING)}",
    ],
)
def test_a_report_warns_of_what_it_does_not_know(run, left, capsys):
    write_text(run / left, "x")
    shown = warned(run, capsys)
    assert f"{run}: 1 file or folder here is no part of a run (first " in shown
    assert "images of patients" in shown and "remove what you do not need" in shown
    assert (run / left).exists()


def test_several_are_counted_in_one_line(run, capsys):
    for name in ("a.npy", "b.npy", "c/d.npy"):
        write_text(run / name, "x")
    assert "3 files or folders here are no part of a run (first a.npy)" in warned(run, capsys)


def test_the_next_start_removes_what_a_killed_one_has_not_finished(run):
    store = RunStore(run)
    before = sorted(run.rglob("*"))
    configuration = store.read().configuration
    folder = store.cell(CellId(dataset="set", model="file-properties", split="r0f0")).model
    for path in (folder, store.layout.run, store.layout.dataset("set").thumbnail(0)):
        write_text(path.with_name(f".{path.name}.{'.'.join(ENDING)}") / "x", "x")
    write_text(run / "chunks" / "ab" / ("ab" * 32), "of no model")
    mine = run / "notes.txt"
    write_text(mine, "mine")
    store.begin(configuration)
    for path in ((run / "chunks" / "ab"), (run / "chunks")):
        path.rmdir()
    assert sorted(run.rglob("*")) == sorted([*before, mine])


def test_what_is_not_finished_is_called_as_a_start_looks_for_it(tmp_path):
    class Killed(BaseException):
        pass

    with pytest.raises(Killed), replacing_folder(tmp_path / "run" / "model") as temporary:
        shutil.copytree(temporary, kept := tmp_path / "run" / temporary.name, dirs_exist_ok=True)
        raise Killed
    kept.mkdir(exist_ok=True)
    assert list(strangers(RunLayout(tmp_path / "run"))) == [kept]


def test_a_run_without_hashes_says_so_in_a_line(run, tmp_path, capsys):
    for path in run.rglob("*.json"):  # as an earlier version wrote it
        record = json.loads(path.read_text())
        path.write_text(json.dumps(seals.unsealed(record)))
    path = run / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 4}))
    assert main(["report", str(run), "--format", "json", "--out", str(tmp_path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Written before hashes were kept" in shown and "Not shown" not in shown
