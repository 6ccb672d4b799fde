"""Ordered classes and several labels an image, from the file to the leaderboard."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medbench.cli import main
from medbench.store import RunStore

PLUGIN = Path(__file__).parent / "plugins" / "nearest_centroid.py"
MODELS = ("majority", "hog-svm", "xgboost", "nearest-centroid")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write_archive(name: str, draw, *, images_of=(("train", 90), ("val", 40), ("test", 60))) -> None:
    """An npz in MedMNIST's layout; ``draw(rng, images)`` marks the images and returns labels."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in images_of:
        images = rng.integers(0, 120, (n, 28, 28), dtype=np.uint8)
        arrays |= {f"{part}_images": images, f"{part}_labels": draw(rng, images)}
    np.savez(name, **arrays)


def several_labels(rng, images):
    """Upper left bright, lower right bright, both, neither; the third label is noise."""
    labels = (rng.random((len(images), 3)) < [0.4, 0.3, 0.2]).astype(np.uint8)
    images[labels[:, 0] == 1, 3:12, 3:12] = 230
    images[labels[:, 1] == 1, 16:25, 16:25] = 230
    return labels


def rising_classes(rng, images):
    """The higher the grade, the larger the bright square."""
    labels = rng.integers(0, 4, len(images))
    for image, label in zip(images, labels, strict=True):
        image[3 : 3 + 6 * label, 3 : 3 + 6 * label] = 230
    return labels[:, None]


def run(entry: str, *more: str) -> tuple[pd.DataFrame, RunStore]:
    Path("datasets.yaml").write_text(f"mine: {entry}\n")
    arguments = ["run", "--datasets", "mine", "--plugin", str(PLUGIN), "--models", *MODELS]
    assert main([*arguments, "--no-sanity", "--trials", "2", "--out", "out", *more]) == 0
    return pd.read_csv("out/leaderboard.csv").set_index("model"), RunStore(Path("out"))


def test_several_labels_an_image_run_through_families_and_plugins(capsys):
    write_archive("set.npz", several_labels)
    table, store = run(
        "{source: npz, path: set.npz, image_size: 28, task: multi-label, classes: [u, l, noise]}"
    )
    assert (table["status"] == "ok").all()
    assert table.loc["majority", "auroc"] == 0.5
    assert (table.drop("majority")["auroc"] > 0.6).all()
    record = json.loads(Path("out/datasets/mine/dataset.json").read_text())
    assert record["task"] == "multi-label" and record["classes"] == ["u", "l", "noise"]
    cell = next(c for c in store.read().cells if c.id.model == "hog-svm")
    assert {"label0", "label1", "label2", "p0", "p1", "p2"} <= set(cell.predictions.columns)
    assert len(cell.record["threshold"]) == 3
    (cell,) = store.read().cells_of("mine", "ensemble")
    assert len(cell.record["threshold"]) == 3 and set(cell.record["params"]) <= set(MODELS)
    figures = {path.stem for path in Path("out/figures/mine").iterdir()}
    assert figures >= {"scores", "roc", "classes", "tuning"} and "confusion" not in figures
    assert "3 labels, any number of them an image" in " ".join(capsys.readouterr().out.split())


def test_several_labels_without_an_official_validation_part_are_tuned_on_inner_folds():
    write_archive("set.npz", several_labels, images_of=(("train", 120), ("test", 60)))
    entry = (
        "{source: npz, path: set.npz, image_size: 28, task: multi-label, classes: [u, l, noise]}"
    )
    table, store = run(entry, "--models", "xgboost", "--trials", "1")
    assert table.loc["xgboost", "auroc"] > 0.6
    assert all(cell.record["inner_folds"] == 3 for cell in store.read().cells)


def test_ordered_classes_run_through_families_and_plugins():
    write_archive("set.npz", rising_classes)
    table, store = run(
        "{source: npz, path: set.npz, image_size: 28, task: ordinal, classes: [a, b, c, d]}",
        "--trials",
        "1",
    )
    assert (table["status"] == "ok").all()
    assert (table.drop("majority")["auroc"] > 0.8).all()
    assert json.loads(Path("out/datasets/mine/dataset.json").read_text())["task"] == "ordinal"
    assert all(c.record["threshold"] is None for c in store.read().cells)


@pytest.mark.slow
@pytest.mark.parametrize("task_type", ["multi-label", "ordinal"])
def test_deep_families_run_on_every_type_of_task(task_type):
    draw, classes = (several_labels, "[u, l, noise]")
    if task_type == "ordinal":
        draw, classes = (rising_classes, "[a, b, c, d]")
    write_archive("set.npz", draw)
    entry = f"{{source: npz, path: set.npz, image_size: 28, task: {task_type}, classes: {classes}}}"
    table, _ = run(entry, "--models", "cnn", "squeezenet", "--trials", "3")
    assert (table["status"] == "ok").all() and (table["auroc"] > 0.6).all()
