"""What ``run`` adds and refuses: sanity rows, inflated scores, audits that stop it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medbench.cli import main
from medbench.store import RunStore

SANITY = ["majority", "file-properties", "intensity", "border", "thumbnail"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def patients(tmp_path):
    """A table of twenty patients with four images each, which resemble one another and say
    nothing of the label; and a run on it."""
    rng = np.random.default_rng(0)
    rows = ["file,label,patient"]
    for patient in range(20):
        person = rng.integers(0, 200, (24, 24))
        for i in range(4):
            pixels = (person + rng.integers(0, 50, (24, 24))).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{patient}-{i}.png")
            rows.append(f"{patient}-{i}.png,{'ab'[patient % 2]},{patient}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    Path("datasets.yaml").write_text("mine: {source: table, path: t.csv, group: patient}\n")

    def run(*options: str) -> int:
        common = ["run", "--datasets", "mine", "--folds", "2", "--trials", "1", "--out", "out"]
        return main([*common, *options])

    return run


def cells():
    return RunStore(Path("out")).read().cells


def stamps():
    return {p: p.stat().st_mtime_ns for p in Path("out/cells").rglob("predictions.parquet")}


def test_sanity_rows_run_beside_whatever_is_asked_for(patients):
    assert patients("--models", "xgboost") == 0
    found = {cell.id.model: cell for cell in cells()}
    assert sorted(found) == sorted([*SANITY, "xgboost"])
    assert {name for name, cell in found.items() if cell.record["sanity"]} == set(SANITY)
    assert {cell.status for cell in cells()} == {"ok"}
    kept = stamps()
    assert patients("--models", "xgboost", "border", "--no-sanity") == 0
    assert stamps() == kept


def test_a_cell_records_what_it_cost_and_how_it_was_calibrated(patients):
    assert patients("--models", "border", "--no-sanity") == 0
    for cell in cells():
        record = cell.record
        assert record["calibration"]["temperatures"] == [1.0]
        assert "the smaller class has" in record["calibration"]["reason"]  # too few patients
        assert set(record["cpu_seconds"]) == {"tuning", "refit"}
        assert min(record["cpu_seconds"].values()) >= 0
        assert record["latency_seconds"] > 0 and record["images_per_second"] > 0


def test_inflated_scores_are_cells_of_their_own_and_can_be_added_later(patients):
    assert patients("--models", "border", "thumbnail", "--no-sanity") == 0
    kept = stamps()
    assert len(kept) == 4
    inflated = ("--models", "border", "thumbnail", "--no-sanity", "--inflation", "thumbnail")
    assert patients(*inflated) == 0
    assert {path: stamps()[path] for path in kept} == kept  # nothing was trained again
    names = {(cell.id.model, cell.id.split) for cell in cells()}
    assert len(names) == 6
    assert {("thumbnail", "by-image-r0f0"), ("thumbnail", "by-image-r0f1")} < names
    images = RunStore(Path("out")).dataset_images("mine")
    for split, both_sides in (("r0f0", False), ("by-image-r0f0", True)):
        sides = images.groupby("group")[split].nunique()
        assert (sides > 1).any() == both_sides
    predicted = {cell.id.split: cell.predictions for cell in cells() if cell.id.model != "border"}
    assert predicted["by-image-r0f0"]["group"].nunique() == 40  # each image counts by itself
    scores = pd.read_csv("out/leaderboard.csv").set_index(["model", "kind"])["auroc"]
    assert scores["thumbnail", "sanity"] < 0.75  # patients tell nothing of other patients
    assert scores["thumbnail", "split by image"] > 0.9
    kept = stamps()
    assert patients(*inflated) == 0
    assert stamps() == kept


def test_an_official_split_has_no_inflation_to_show_and_the_run_says_so(capsys):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 40), ("test", 20)):
        arrays[f"{part}_images"] = rng.integers(0, 255, (n, 28, 28), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(n) % 2)[:, None]
    np.savez("set.npz", **arrays)
    Path("datasets.yaml").write_text("mine: {source: npz, path: set.npz, image_size: 28}\n")
    command = ["run", "--datasets", "mine", "--models", "border", "--no-sanity", "--trials", "1"]
    assert main([*command, "--inflation", "border", "--out", "out"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "mine: has an official split, so --inflation has nothing to show" in shown
    assert [cell.id.split for cell in cells()] == ["official"]


def test_a_fatal_finding_stops_a_run_before_anything_is_trained_or_written(patients, capsys):
    copy = Path("0-0.png").read_bytes()
    Path("1-0.png").write_bytes(copy)  # the same image under the other label
    before = {path for path in Path.cwd().rglob("*") if path.suffix != ".lock"}
    assert patients("--models", "border", "--fail-on-audit") == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "mine: serious: 1 pair of identical images carries different labels." in shown
    assert "Stopped by --fail-on-audit: nothing was trained or written." in shown
    left = {path for path in Path("out").rglob("*") if not path.name.startswith(".")}
    assert left == set()
    assert {path for path in before if not path.exists()} == set()
    assert patients("--models", "border", "--no-sanity") == 0  # without it, it is said and recorded
    audit = RunStore(Path("out")).read().audits["mine"]
    assert audit["worst"] == "serious"


def test_warnings_are_fatal_on_request_only(patients, capsys):
    (Path("2-0.png")).write_bytes(Path("0-0.png").read_bytes())  # two patients share an image
    assert patients("--models", "border", "--no-sanity", "--fail-on-audit", "warning") == 1
    assert not Path("out/run.json").exists()
    assert patients("--models", "border", "--no-sanity", "--fail-on-audit", "serious") == 0
    checks = {f["check"] for f in RunStore(Path("out")).read().audits["mine"]["findings"]}
    assert "joins-across-patients" in checks


def test_an_operating_point_is_recorded_reached_and_belongs_to_the_run(patients, capsys):
    options = ("--models", "border", "--no-sanity")
    assert patients(*options, "--sensitivity", "0.95", "--positive", "b") == 0
    recorded = json.loads(Path("out/run.json").read_text())["configuration"]
    assert recorded["operating_point"] == "sensitivity 0.95"
    for cell in cells():
        oof = RunStore(Path("out")).cell(cell.id).oof(cell.trials[0])
        images = RunStore(Path("out")).dataset_images("mine")
        labels = images.loc[images[cell.id.split] == "development", "label"].to_numpy()
        assert (oof[labels == 1, 1] >= cell.record["threshold"]).mean() >= 0.95
    assert patients(*options) == 2
    said = capsys.readouterr().err
    assert "operating_point: 'sensitivity 0.95' there, 'youden' now" in said
