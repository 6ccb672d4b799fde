"""The row that a run makes of its families: what it is, when it is made, what it goes without."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medbench.cli import main
from medbench.evaluation.calibration import Calibration
from medbench.evaluation.ensemble import weighted_mean
from medbench.evaluation.metrics import auroc
from medbench.execution import ensemble
from medbench.execution.committer import Committer
from medbench.execution.events import Outcome
from medbench.store import CellId, RunStore

PLUGIN = Path(__file__).parents[1] / "plugins" / "quarters.py"
BOTH = ("upper-left", "lower-right")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs families on images that show two classes in two corners, each a little."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)

    def start(*models: str, out: str = "out", official: bool = False) -> int:
        arrays = {}
        sizes = {"train_": 60, "val_": 40, "test_": 30} if official else {"": 80}
        for part, n in sizes.items():
            labels = np.arange(n) % 2
            images = random.integers(0, 160, (n, 28, 28), dtype=np.uint8)
            for corner in (slice(0, 14), slice(14, 28)):
                more = 6 * labels + random.integers(0, 12, n)
                images[:, corner, corner] += more[:, None, None].astype(np.uint8)
            arrays |= {f"{part}images": images, f"{part}labels": labels}
        if not Path("set.npz").exists():
            np.savez("set.npz", **arrays)
        entry = "mine: {source: npz, path: set.npz, image_size: 28}\n"
        Path("datasets.yaml").write_text(entry)
        arguments = ["run", "--datasets", "mine", "--plugin", str(PLUGIN), "--no-sanity"]
        arguments += ["--trials", "2", "--folds", "2", "--out", out, "--models", *models]
        return main(arguments)

    return start


def cells(out="out", model="ensemble"):
    return RunStore(Path(out)).read().cells_of("mine", model, status=None)


def mean_of_members(cell, out="out"):
    """What an ensemble must say of its held-out images by the cells that it names."""
    said = []
    for name in cell.record["params"]:
        member = RunStore(Path(out)).cell(replace(cell.id, model=name)).result()
        calibration = Calibration.from_record(member.record["calibration"])
        said.append(
            calibration.apply(member.predictions[["p0", "p1"]].to_numpy(), multi_label=False)
        )
    weights = np.array(list(cell.record["params"].values()))
    return weighted_mean(np.stack(said), weights, multi_label=False)


def test_a_run_of_two_families_has_a_row_of_both(run, capsys):
    assert run(*BOTH, "majority") == 0
    assert "ensemble of lower-right, upper-left" in capsys.readouterr().out
    found = cells()
    assert [cell.status for cell in found] == ["ok", "ok"]
    for cell in found:
        assert set(cell.record["params"]) <= set(BOTH)  # no sanity row
        assert sum(cell.record["params"].values()) == pytest.approx(1)
        np.testing.assert_allclose(
            cell.predictions[["p0", "p1"]].to_numpy(), mean_of_members(cell), atol=1e-12
        )
    table = pd.read_csv("out/leaderboard.csv").set_index("model")
    both = table.loc[list(BOTH)]
    assert table.loc["ensemble", "kind"] == "model"
    assert table.loc["ensemble", "seconds"] == pytest.approx(both["seconds"].sum(), rel=1e-3)
    assert table.loc["ensemble", "auroc"] > both["auroc"].mean()
    assert "The row ensemble is made of the other models" in Path("out/leaderboard.md").read_text()


@pytest.mark.parametrize("official", [False, True])
def test_the_inner_score_is_of_inner_predictions_like_that_of_any_row(run, official):
    assert run(*BOTH, official=official) == 0
    store = RunStore(Path("out"))
    for cell in cells():
        images = store.dataset_images("mine")
        part = images[images[cell.id.split].isin(("development", "validation"))]
        oof = store.cell(cell.id).oof(cell.trials[0])
        known = np.isfinite(oof).all(axis=1)
        assert known.sum() == (40 if official else len(part))
        labels = part["label"].to_numpy()[known]
        inner = cell.record["inner_score"]
        assert inner == pytest.approx(auroc(labels, oof[known], 2), abs=0.1)
        for name in BOTH:  # the folds are those on which the families were tuned
            member = store.cell(replace(cell.id, model=name)).result()
            assert cell.record["inner_folds"] == member.record["inner_folds"]


def test_inner_folds_are_those_of_the_families(run, monkeypatch):
    seen = []
    made = ensemble._Split._made_of

    def remember(self, members):
        labels = self._cell.dataset.data.labels[self._cell.split.development]
        for one in members:
            scores = [auroc(labels[f], one.oof[f], 2) for f in self._cell.inner_folds]
            seen.append((np.mean(scores), one.cell.record["inner_score"]))
        return made(self, members)

    monkeypatch.setattr(ensemble._Split, "_made_of", remember)
    assert run(*BOTH) == 0
    assert len(seen) == 4
    for again, recorded in seen:
        assert again == pytest.approx(recorded)


def test_labels_of_held_out_images_have_no_part_in_it(run, monkeypatch):
    assert run(*BOTH, out="whole") == 0
    read = RunStore.cells_of_split

    def without_labels(self, dataset, split):
        return [
            replace(cell, predictions=cell.predictions.drop(columns="label"))
            for cell in read(self, dataset, split)
        ]

    monkeypatch.setattr(RunStore, "cells_of_split", without_labels)
    assert run(*BOTH) == 0
    for before, now in zip(cells("whole"), cells(), strict=True):
        assert now.record["params"] == before.record["params"]
        assert now.record["threshold"] == before.record["threshold"]
        pd.testing.assert_frame_equal(now.predictions, before.predictions)


def test_it_goes_on_without_a_family_that_failed(run):
    assert run(*BOTH, "broken") == 1  # as of any run of which a cell has failed
    for cell in cells():
        assert set(cell.record["params"]) <= set(BOTH)
        assert (
            cell.record["note"]
            == f"mean of {', '.join(cell.record['params'])}; without broken: failed"
        )
    note = pd.read_csv("out/leaderboard.csv").set_index("model").loc["ensemble", "note"]
    assert "without broken: failed" in note


def test_one_family_alone_makes_no_row_and_another_one_later_does(run):
    assert run("upper-left", "broken", "majority") == 1
    assert not cells()
    assert run("lower-right") == 0
    assert [cell.status for cell in cells()] == ["ok", "ok"]
    assert set(cells()[0].key_parts["members"]) == set(BOTH)


def test_it_is_made_anew_where_a_member_has_changed_and_is_kept_elsewhere(run):
    assert run(*BOTH) == 0
    first, second = (Path(f"out/cells/mine/ensemble/r0f{fold}/cell.json") for fold in (0, 1))
    kept, before = second.read_bytes(), first.read_bytes()
    stored = RunStore(Path("out")).cell(CellId(dataset="mine", model="upper-left", split="r0f0"))
    record = {**stored.result().record, "cut": "epoch 1 of 9 when 2 s were over"}
    stored.finish(record)
    assert run(*BOTH) == 0
    assert second.read_bytes() == kept and first.read_bytes() != before
    cell = cells()[0]
    assert cell.status == "skipped" and "without upper-left: cut by its budget" in cell.reason
    row = pd.read_csv("out/leaderboard.csv").set_index("model").loc["ensemble"]
    assert row["status"] == "partial" and "cut by its budget" in row["note"]


@pytest.mark.parametrize("after", [0, 3])
def test_an_interrupted_run_gives_the_ensemble_of_an_undisturbed_one(run, monkeypatch, after):
    assert run(*BOTH, out="whole") == 0
    take, seen = Committer.take, []

    def takes(self, event):
        take(self, event)
        if isinstance(event, Outcome):
            seen.append(event)
            if len(seen) > after:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Committer, "take", takes)
        assert run(*BOTH) == 130
    assert not cells()
    assert run(*BOTH) == 0
    for before, now in zip(cells("whole"), cells(), strict=True):
        pd.testing.assert_frame_equal(now.predictions, before.predictions)


def test_what_was_left_half_made_is_made_again(run):
    assert run(*BOTH) == 0
    before = [cell.predictions for cell in cells()]
    for record in Path("out/cells/mine/ensemble").glob("*/cell.json"):
        record.unlink()
    assert not cells()
    assert run(*BOTH) == 0
    for table, cell in zip(before, cells(), strict=True):
        pd.testing.assert_frame_equal(cell.predictions, table)


def test_a_family_whose_inner_predictions_are_gone_is_named(run):
    assert run(*BOTH) == 0
    for path in Path("out/cells/mine").glob("*/*/oof"):
        if path.parts[-3] != "ensemble":
            for file in path.iterdir():
                file.unlink()
    for record in Path("out/cells/mine/ensemble").glob("*/cell.json"):
        record.unlink()
    assert run(*BOTH) == 0
    assert all("its inner predictions are not here" in cell.reason for cell in cells())


def test_an_ensemble_repeats(run, capsys):
    assert run(*BOTH) == 0
    capsys.readouterr()
    arguments = ["reproduce", "out", "--datasets-file", "datasets.yaml", "--plugin", str(PLUGIN)]
    assert main([*arguments, "--models", "ensemble"]) == 0
    assert "6 of 6 cells gave the same predictions." in capsys.readouterr().out


def test_no_family_has_its_name(run, capsys):
    assert run("upper-left", "ensemble") == 2
    assert "is no model family: it is the row that run makes by itself" in capsys.readouterr().err
    Path("mine.py").write_text(
        "from medbench import ModelFamily, register_model\n"
        '@register_model("ensemble")\nclass Mine(ModelFamily): ...\n'
    )
    assert main(["models", "list", "--plugin", "mine.py"]) == 2
    assert "'ensemble' cannot be the name of a model family" in capsys.readouterr().err
