"""What was finished when a run was interrupted is kept, and the rest gives what it would have."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medbench.cli import main
from medbench.execution.committer import Committer
from medbench.execution.events import Outcome, TrialEnded
from medbench.store import RunStore

STEPPER = '''
import json
import numpy as np
from medbench import Classifier, ModelFamily, register_model

class Steps(Classifier):
    """Logistic regression by gradient descent on the mean of each quarter of an image."""

    def __init__(self, params, context):
        self.rate, self.seed = params["rate"], context.seed
        self.w, self.done = None, 0

    def see(self, batch):
        n, side = len(batch), batch.images.shape[1] // 2
        quarters = batch.images.reshape(n, 2, side, 2, side, -1).mean(axis=(2, 4, 5)) / 255 - 0.3
        return np.column_stack([quarters.reshape(n, -1), np.ones(n)])

    def fit(self, train, validation, progress):
        x, y = self.see(train), train.labels
        if self.w is None or not progress.first_step:
            self.w, self.done = np.random.default_rng(self.seed).normal(0, 0.1, 5), 0
        for step in range(progress.first_step + 1, (progress.last_step or 9) + 1):
            self.w = self.w - self.rate * x.T @ (1 / (1 + np.exp(-x @ self.w)) - y) / len(y)
            self.done = step
            if not progress.report(step):
                break
        self.best_step = self.done

    def predict_proba(self, batch):
        p = 1 / (1 + np.exp(-self.see(batch) @ self.w))
        return np.column_stack([1 - p, p])

    def save(self, folder):
        (folder / "w.json").write_text(json.dumps([list(self.w), self.done]))

    def load(self, folder):
        w, self.done = json.loads((folder / "w.json").read_text())
        self.w = np.array(w)

@register_model("steps")
class StepsFamily(ModelFamily):
    max_steps = 9

    def search_space(self, space, task):
        space.real("rate", 0.1, 20.0, log=True)

    def build(self, params, task, context):
        return Steps(params, context)
'''


@pytest.fixture
def run(class_folders, tmp_path, monkeypatch):
    """Runs a family that counts steps; ``interrupted`` raises after so many events of a kind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("medbench.running.carry_out.write_everything", lambda *given: None)
    Path("steps.py").write_text(STEPPER)
    arguments = ["run", "--data", str(class_folders(per_class=12)), "--plugin", "steps.py"]
    arguments += ["--models", "steps", "--no-sanity", "--trials", "5", "--folds", "2"]

    def start(*options: str, interrupted=None, after=0) -> int:
        if interrupted is None:
            return main([*arguments, *options])
        take, seen = Committer.take, []

        def takes(self, event):
            if isinstance(event, interrupted):
                seen.append(event)
                if len(seen) > after:
                    raise KeyboardInterrupt
            take(self, event)

        with monkeypatch.context() as patch:
            patch.setattr(Committer, "take", takes)
            return main([*arguments, *options])

    return start


def predictions(out: str) -> dict:
    cells = RunStore(Path(out)).read().cells
    return {cell.id: cell.predictions for cell in cells if cell.status == "ok"}


@pytest.mark.parametrize("tuner", ["optuna", "hyperband"])
@pytest.mark.parametrize(("kind", "after"), [(TrialEnded, 3), (TrialEnded, 7), (Outcome, 0)])
def test_an_interrupted_run_gives_what_an_undisturbed_one_gives(run, tuner, kind, after):
    if tuner == "hyperband":
        pytest.importorskip("keras_tuner")
    assert run("--tuner", tuner, "--out", "whole") == 0
    assert run("--tuner", tuner, "--out", "out", interrupted=kind, after=after) == 130
    kept = {file: file.read_bytes() for file in Path("out").rglob("trials.jsonl")}
    assert kept and not list(Path("out").rglob("images.npy"))
    assert run("--tuner", tuner, "--out", "out") == 0
    for file, lines in kept.items():
        assert file.read_bytes().startswith(lines)  # nothing that was finished is repeated
    whole, found = predictions("whole"), predictions("out")
    assert whole.keys() == found.keys() and len(whole) == 2
    for cell, frame in whole.items():
        pd.testing.assert_frame_equal(frame, found[cell])
    assert not list(Path("out").rglob("checkpoints/*"))  # nobody trains on them any more


@pytest.mark.parametrize("after", [3, 5, 6])
def test_an_interrupted_screening_gives_what_an_undisturbed_one_gives(run, after):
    Path("steps.py").write_text(STEPPER.replace("max_steps = 9", "max_steps, screened = 9, True"))
    assert run("--out", "whole") == 0
    assert run("--out", "out", interrupted=TrialEnded, after=after) == 130
    assert run("--out", "out") == 0
    whole, found = predictions("whole"), predictions("out")
    for cell, frame in whole.items():
        pd.testing.assert_frame_equal(frame, found[cell])
    for cell in RunStore(Path("out")).read().cells:
        assert cell.record["n_trials"] == 5 == cell.trials[-1]["number"]  # and one that finishes
        assert cell.trials[-1]["stage"] == "finish" and cell.record["trial"] == 5
        assert cell.record["inner_score"] == np.mean(cell.trials[-1]["fold_scores"])
        assert 1 <= cell.record["complete_trials"] <= 5 and cell.record["cut"] is None
        assert (cell.record["step"], cell.record["step_name"]) == (9, "step")


def test_a_cell_says_how_far_the_chosen_trial_came(run):
    slow = STEPPER.replace("self.done = step\n", "self.done = step; time.sleep(0.1)\n")
    Path("steps.py").write_text("import time\n" + slow)
    assert run("--out", "out", "--time", "1s") == 0
    for cell in RunStore(Path("out")).read().cells:
        record = cell.record
        assert (record["n_trials"], record["complete_trials"]) == (1, 0)
        assert record["cut"] == f"step {cell.trials[0]['step']} of 9 when 1 s were over"


@pytest.mark.processes
def test_the_seconds_of_tuning_and_their_cpu_seconds_are_taken_between_the_same_moments(run):
    """Imports of the family count for neither."""
    plugin = Path("steps.py")
    slow = "import time\nend = time.process_time() + 0.7\nwhile time.process_time() < end: pass\n"
    plugin.write_text(slow + STEPPER)
    assert run("--out", "out") == 0
    for cell in RunStore(Path("out")).read().cells:
        assert cell.record["cpu_seconds"]["tuning"] < 0.7
        assert cell.record["seconds"]["tuning"] < 0.7


def test_labels_are_joined_to_the_held_out_rows_of_their_cell(run):
    assert run("--out", "out") == 0
    store = RunStore(Path("out"))
    images = store.dataset_images("set")
    for cell in store.read().cells:
        held_out = np.flatnonzero(images[cell.id.split] == "held-out")
        assert cell.predictions["image"].tolist() == held_out.tolist()
        for column in ("label", "group"):
            expected = images[column].to_numpy()[held_out].tolist()
            assert cell.predictions[column].tolist() == expected
        assert cell.record["held_out_opened"] and json.dumps(cell.record)
