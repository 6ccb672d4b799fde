"""With an official split the model is the fit of the chosen trial, also after an interruption."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medbench.cli import main
from medbench.store import RunStore

PLUGIN = Path(__file__).parents[1] / "plugins" / "noted.py"
TRAIN, VALIDATION, TEST = 60, 40, 40


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the family on an archive with or without official parts; gives exit code and fits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("medbench.running.carry_out.write_everything", lambda *given: None)
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))

    def start(out, *options, parts=("train_", "val_", "test_"), budget=("--trials", "6")):
        random, arrays = np.random.default_rng(0), {}
        for part, n in zip(parts, (TRAIN, VALIDATION, TEST), strict=False):
            labels = np.arange(n) % 2
            images = random.integers(0, 120, (n, 28, 28), dtype=np.uint8)
            images[:, 3:15, 3:15] += (labels * random.integers(0, 90, n))[:, None, None].astype(
                np.uint8
            )
            arrays |= {f"{part}images": images, f"{part}labels": labels}
        np.savez("set.npz", **arrays)
        Path("datasets.yaml").write_text("mine: {source: npz, path: set.npz, image_size: 28}\n")
        Path("notes").write_text("")
        arguments = ["run", "--datasets", "mine", "--plugin", str(PLUGIN), "--models", "noted"]
        code = main([*arguments, "--no-sanity", "--out", out, *budget, *options])
        return code, [json.loads(line) for line in Path("notes").read_text().splitlines()]

    return start


def cell(out):
    (found,) = RunStore(Path(out)).read().cells
    return found


def saved(out):
    (path,) = Path(out).rglob("fitted.json")
    return json.loads(path.read_text())


def trials(out):
    (path,) = Path(out).rglob("trials.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_trial_is_fitted_once_and_the_model_is_the_fit_of_the_chosen_one(run):
    code, fits = run("out")
    assert code == 0 and len(fits) == len(trials("out")) == 6
    assert all(fit["validated"] and fit["n"] == TRAIN for fit in fits)
    assert saved("out") == fits[cell("out").record["trial"]]["fitted"]


def test_folds_are_refitted_on_all_development_images(run):
    code, fits = run("out", "--folds", "2", parts=("",))
    assert code == 0
    models = [fit for fit in fits if not fit["validated"]]
    assert [fit["n"] for fit in models] == [TRAIN / 2] * 2


@pytest.mark.parametrize("tuner", ["optuna", "hyperband"])
def test_a_cell_that_is_interrupted_before_it_is_saved_predicts_the_same(run, tuner):
    assert run("whole", "--tuner", tuner)[0] == 0
    Path("full").touch()
    assert run("out", "--tuner", tuner)[0] == 1
    before = trials("out")
    Path("full").unlink()
    code, fits = run("out", "--tuner", tuner)
    assert code == 0 and len(fits) == 1 and trials("out") == before
    trained_on = before[cell("out").record["trial"]]["resume_from"] is not None
    assert trained_on == (tuner == "hyperband") == (not fits[0]["validated"])
    assert saved("out") == saved("whole")
    pd.testing.assert_frame_equal(cell("out").predictions, cell("whole").predictions)


def test_so_does_one_whose_only_trial_was_cut(run, monkeypatch):
    monkeypatch.setenv("STEP_SECONDS", "0.4")
    Path("full").touch()
    code, (cut,) = run("out", budget=("--time", "2s"))
    assert code == 1 and trials("out")[0]["state"] == "cut"
    Path("full").unlink()
    monkeypatch.setenv("STEP_SECONDS", "0")
    code, (again,) = run("out", budget=("--time", "2s"))
    assert code == 0 and again == cut and saved("out") == cut["fitted"]
