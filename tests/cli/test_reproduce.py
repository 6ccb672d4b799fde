"""A run is repeated and gives the same predictions, or it is said which input differs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medbench.atomic_files import read_json
from medbench.cli import main
from medbench.store import RunStore, seals


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of the majority class on a folder of images, made once."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    for label, count in (("a", 8), ("b", 12)):
        (folder / "set" / label).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 255, (24, 24), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "set" / label / f"{i:02d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_CACHE", str(folder / "cache"))
        common = ["--data", str(folder / "set"), "--trials", "2", "--folds", "2", "--threads", "1"]
        command = ["run", *common, "--models", "majority", "--no-sanity"]
        assert main([*command, "--out", str(folder / "out")]) == 0
    return folder


@pytest.fixture
def finished(made, tmp_path, monkeypatch):
    """A copy of the run and of its images where the test works; the folder of images."""
    monkeypatch.chdir(tmp_path)
    for name in ("set", "out"):
        shutil.copytree(made / name, tmp_path / name)
    return tmp_path / "set"


def reproduce(root: Path, *more: str) -> int:
    return main(["reproduce", "out", "--data", str(root), *more])


def test_the_same_inputs_give_the_same_predictions(finished, capsys):
    assert reproduce(finished, "--models", "majority", "--out", "kept") == 0
    assert "2 of 2 cells gave the same predictions." in capsys.readouterr().out
    assert (Path("kept") / "run.json").is_file()


def test_other_images_are_named_and_nothing_is_run(finished, capsys):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (24, 24), dtype=np.uint8)
    Image.fromarray(pixels).save(finished / "a" / "00.png")
    assert reproduce(finished) == 1
    shown = capsys.readouterr().out
    assert "differs for 2 of 2 cells: data: was" in shown
    assert "nothing was run" in shown


def test_another_version_of_a_library_is_named(finished, capsys):
    for path in Path("out").rglob("key.json"):
        content = json.loads(path.read_text())
        content["parts"]["versions"]["scikit-learn"] = "0.1"
        seals.write_record(path, content)
    assert reproduce(finished) == 1
    assert "versions: scikit-learn was 0.1, is " in capsys.readouterr().out


def test_predictions_that_differ_under_equal_inputs_are_an_alarm(finished, capsys):
    path = Path("out/cells/set/majority/r0f0/predictions.parquet")
    frame = pd.read_parquet(path)
    frame[["p0", "p1"]] = frame[["p1", "p0"]].to_numpy()
    frame.to_parquet(path)
    record = path.with_name("cell.json")
    seals.write_record(record, read_json(record), {path.name: path})
    assert reproduce(finished) == 1
    shown = capsys.readouterr().out
    assert "set x majority x r0f0: probabilities differ by up to" in shown
    assert "no recorded input differs" in shown
    assert "1 of 2 cells gave the same predictions." in shown


def test_what_the_run_does_not_have_is_an_error_that_says_what_it_has(finished, capsys):
    assert reproduce(finished, "--models", "cnn") == 2
    assert "It has set x majority." in capsys.readouterr().err


def test_a_run_is_compared_with_another_from_the_command_line(finished, capsys):
    assert main(["compare", "out", "out"]) == 0
    assert "identical predictions" in capsys.readouterr().out
    assert main(["compare", "out", "nowhere"]) == 2
    assert "there is no run here" in capsys.readouterr().err


def test_a_run_that_is_not_whole_is_not_called_reproduced(finished, capsys):
    path = Path("out/cells/set/majority/r0f1/predictions.parquet")
    path.write_bytes(path.read_bytes()[:100])
    assert reproduce(finished) == 2
    error = capsys.readouterr().err
    assert "is not whole" in error
    assert "cells/set/majority/r0f1/predictions.parquet: damaged" in error


def test_what_is_kept_of_a_repeated_run_is_whole(finished):
    assert reproduce(finished, "--out", "kept") == 0
    kept = RunStore(Path("kept")).read()
    assert kept.gaps == () and not kept.partial


def test_comparing_a_damaged_run_says_what_is_left_out(finished, capsys):
    shutil.copytree("out", "other")
    Path("other/cells/set/majority/r0f0/key.json").write_text("{")
    assert main(["compare", "out", "other"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "other: cells/set/majority/r0f0/key.json: damaged" in shown
