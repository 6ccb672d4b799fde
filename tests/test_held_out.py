"""A family finds nothing of what is held out, wherever it looks from inside its own process."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medbench.cli import main
from medbench.store import RunStore

pytestmark = pytest.mark.processes

SPY = Path(__file__).parent / "plugins" / "spy.py"
PLUGIN = SPY.with_name("nearest_centroid.py")
SIDE = 16
"""The least size of prepared images; files of that size are kept as they are."""
N_IMAGES, FOLDS = 40, 2


@pytest.fixture
def films(tmp_path, monkeypatch):
    """Images and a table of labels in no order that a pattern could give away; the working folder
    is the one that holds them."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(N_IMAGES) % 2)
    root = tmp_path / "films"
    (root / "images").mkdir(parents=True)
    for i in range(N_IMAGES):
        pixels = rng.integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{i:02d}.png")
    rows = [f"images/{i:02d}.png,{label}" for i, label in enumerate(labels)]
    (root / "labels.csv").write_text("\n".join(["file,label", *rows]))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))  # other tests leave their films there
    monkeypatch.chdir(tmp_path)
    Path("datasets.yaml").write_text(
        f"set: {{source: table, path: {root}/labels.csv, image_size: {SIDE}}}\n"
    )
    return root


def run(*models: str) -> int:
    arguments = ["run", "--datasets", "set", "--models", *models, "--plugin", str(SPY)]
    arguments += ["--trials", "1", "--folds", str(FOLDS), "--no-sanity", "--out", "out"]
    return main(arguments)


def hashes(images: np.ndarray) -> set[str]:
    return {hashlib.sha256(image.tobytes()).hexdigest() for image in images}


def test_a_family_that_looks_everywhere_finds_no_held_out_image_or_label(
    films, tmp_path, monkeypatch
):
    assert run("majority", "intensity") == 0  # whose predictions and features could be found
    (prepared,) = Path(os.environ["MEDBENCH_CACHE"], "prepared").glob("set-*")
    reports = tmp_path / "elsewhere" / "found.json"
    reports.parent.mkdir()
    told = {
        "labels": tmp_path / "out/datasets/set/images.parquet",
        "predictions": tmp_path / "out/cells/set/majority/r0f0/predictions.parquet",
        "audit": tmp_path / "out/datasets/set/audit.json",
        "prepared images": prepared / "images.npy",
        "prepared table": prepared / "table.parquet",
        "table": films / "labels.csv",
        "image": films / "images" / "00.png",
    }
    assert all(path.is_file() for path in told.values())
    monkeypatch.setenv("SPY_RUN", str(tmp_path / "out"))
    monkeypatch.setenv("SPY_OUT", str(reports))
    monkeypatch.setenv("SPY_TOLD", json.dumps({name: str(path) for name, path in told.items()}))
    monkeypatch.setenv("SPY_FILMS", str(films))
    assert run("majority", "spy") == 0
    images = np.load(prepared / "images.npy")
    parts = pd.read_parquet(told["labels"])
    looks = json.loads(reports.read_text())
    phases = [look["phase"] for look in looks]
    assert phases.count("fit") == FOLDS * 3 and phases.count("refit") == FOLDS
    assert phases.count("predict") >= FOLDS  # and those by which their speed is measured
    for look, fold in folds_of(looks):
        development = (parts[fold] == "development").to_numpy()
        held_out = parts.loc[~development, "label"].to_numpy(float).tolist()
        seen = set(look["images"])
        assert seen & hashes(images[development])  # it does find what it may
        if look["phase"] != "predict":
            assert not seen & hashes(images[~development])
        assert not [c for c in look["columns"] if c in (held_out, parts["label"].tolist())]
        # where a column of labels would be found by whatever order
        assert not [c for c in look["columns"] if len(c) == N_IMAGES and set(c) == {0.0, 1.0}]
        refused = {name for name, said in look["tries"].items() if said.startswith("ModelError")}
        assert {f"told: {kind}" for kind in told} <= refused
        assert {f"told: link to {kind}" for kind in told} <= refused
        assert {"run folder", "working folder", "glob"} <= refused
        assert look["tries"]["memory"] == look["tries"]["frames"] == "looked"
        allowed = set(look["tries"].values())
        assert allowed <= {"looked", "PermissionError", "FileNotFoundError", "OSError"} | {
            said for said in allowed if said.startswith("ModelError: tried to read ")
        }, allowed


def folds_of(looks):
    """Each look with its fold: cells run one after the other, and each ends with predictions."""
    fold, predicted = 0, False
    for look in looks:
        if predicted and look["phase"] == "fit":
            fold += 1
        predicted = look["phase"] == "predict"
        yield look, f"r0f{fold}"
    assert fold == FOLDS - 1


def test_a_family_that_is_refused_becomes_a_row_with_the_reason_and_the_run_goes_on(
    films, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("SPY_RUN", str(tmp_path / "out"))
    assert run("careless", "careless-later", "majority") == 1
    table = pd.read_csv("out/leaderboard.csv").set_index("model")
    assert table["status"].to_dict() == {
        "majority": "ok",
        "careless": "failed",
        "careless-later": "failed",
    }
    reasons = {cell.id.model: cell.reason for cell in RunStore(Path("out")).read().cells}
    said = "in a folder that holds held-out images or labels. A family gets all that it may see"
    assert f"tried to read 'images.parquet' {said}" in reasons["careless"]
    assert "tried to read " in reasons["careless-later"] and said in reasons["careless-later"]
    assert "Traceback" not in capsys.readouterr().err


def test_images_in_the_working_folder_itself_are_closed_too(films, tmp_path, monkeypatch):
    monkeypatch.setenv("SPY_RUN", str(tmp_path / "out"))
    monkeypatch.chdir(films)
    (films / "datasets.yaml").write_text("set: {source: table, path: labels.csv}\n")
    assert run("careless-later") == 1
    (reason,) = {cell.reason for cell in RunStore(Path("out")).read().cells}
    assert reason.startswith("tried to read ")


def test_predictions_that_a_killed_start_left_are_gone_before_a_family_runs(
    films, tmp_path, monkeypatch
):
    monkeypatch.setenv("SPY_OUT", str(tmp_path / "found.json"))
    monkeypatch.setenv("SPY_RUN", str(tmp_path / "out"))
    assert run("spy") == 0
    folder = Path("out/cells/set/spy/r0f0")
    (folder / "cell.json").unlink()  # as if it had been killed before it could write this
    assert (folder / "predictions.parquet").exists()
    (tmp_path / "found.json").unlink()
    assert run("spy") == 0
    (refit, *_) = looks = json.loads((tmp_path / "found.json").read_text())
    assert refit["phase"] == "refit"
    labels = pd.read_parquet(folder / "predictions.parquet")["label"].tolist()
    assert not [c for look in looks for c in look["columns"] if c == labels]


READS_A_NETWORK = """
from medbench.cache import cache_folder

def read():
    return (cache_folder() / "networks" / "kept").read_bytes()
"""


def test_a_cache_in_the_folder_of_an_archive_is_no_held_out_part(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "networks").mkdir(parents=True)
    (tmp_path / "cache" / "networks" / "kept").write_text("a pretrained network")
    text = PLUGIN.read_text().replace(
        "        pixels = train", "        read()\n        pixels = train", 1
    )
    (tmp_path / "plugin.py").write_text(text + READS_A_NETWORK)
    random = np.random.default_rng(0)
    sizes = {"train": 40, "val": 16, "test": 16}
    parts = {f"{part}_labels": np.arange(n) % 2 for part, n in sizes.items()}
    for part, n in sizes.items():
        parts[f"{part}_images"] = random.integers(0, 255, (n, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "archive.npz", **parts)
    (tmp_path / "datasets.yaml").write_text(
        "archive: {source: npz, path: archive.npz, classes: [a, b], image_size: 28, "
        "channels: grey}\n"
    )
    options = ["--datasets", "archive", "--datasets-file", str(tmp_path / "datasets.yaml")]
    models = ["--plugin", str(tmp_path / "plugin.py"), "--models", "nearest-centroid"]
    models += ["--no-sanity", "--trials", "1", "--threads", "1"]
    assert main(["run", *options, *models, "--out", str(tmp_path / "run")]) == 0
