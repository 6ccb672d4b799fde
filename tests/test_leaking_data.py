"""A data set that leaks in four ways is caught by the default run, each way in its own words."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medbench.cli import main

ENTRY = """
leaky:
  source: table
  path: leaky/films.csv
  group: patient
  split: part
  image_size: 48
"""
N = 120


@pytest.fixture
def leaky(tmp_path, monkeypatch):
    """Noise; a marker in a corner and a larger file for one class, shared patients, copies."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    root = tmp_path / "leaky"
    root.mkdir()
    rows = []
    for i in range(N):
        label = ("healthy", "ill")[i % 2]
        pixels = rng.integers(60, 120, (48, 48), dtype=np.uint8)
        if label == "ill":
            pixels[1:4, 1:4] = 255  # a marker
        stored = io.BytesIO()
        Image.fromarray(pixels).save(stored, "JPEG", quality=60 if label == "ill" else 85)
        (root / f"{i}.jpg").write_bytes(stored.getvalue())
        part = "test" if i % 3 == 0 else "train"
        patient = f"p{i}" if i >= 8 else f"p{i % 2}"  # the first two patients are in both parts
        rows.append({"file": f"{i}.jpg", "label": label, "patient": patient, "part": part})
    for i in range(3):  # healthy films that also come as ill
        source = 10 + 6 * i
        (root / f"copy-{i}.jpg").write_bytes((root / f"{source}.jpg").read_bytes())
        row = {"file": f"copy-{i}.jpg", "label": "ill", "patient": f"c{i}", "part": "train"}
        rows.append(row)
    pd.DataFrame(rows).to_csv(root / "films.csv", index=False)
    Path("datasets.yaml").write_text(ENTRY)


def test_the_default_run_names_each_of_four_leaks(leaky, capsys):
    assert main(["run", "--datasets", "leaky", "--models", "hog-svm", "--trials", "1"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "2 patients have images in both train and test" in shown
    assert "3 pairs of identical images carry different labels" in shown
    assert "the file size alone tells" in shown
    near_one = r"(1\.000|\.9\d\d) "
    border = re.escape("border (the outer tenth: markers, collimation, padding) ")
    size = re.escape("file-properties (width, height, mode and file size, not one pixel) ")
    assert "Shortcut risk" in shown
    assert re.search(border + near_one, shown) and re.search(size + near_one, shown)
    stored = json.loads(Path("results/leaky/leaderboard.json").read_text())["datasets"]["leaky"]
    assert stored["shortcut_risk"]
    checks = {f["check"] for f in stored["audit"]["findings"] if f["severity"] == "serious"}
    assert {"label-conflicts", "patients-across-parts"} <= checks
    page = Path("results/leaky/leaderboard.md").read_text()
    assert "patients have images in both train and test" in page and "Shortcut risk" in page


def test_the_audit_can_stop_it_before_anything_is_trained(leaky, capsys):
    command = ["run", "--datasets", "leaky", "--models", "hog-svm", "--trials", "1"]
    assert main([*command, "--fail-on-audit"]) == 1
    assert "Stopped by --fail-on-audit" in capsys.readouterr().out
    assert not list(Path("results").rglob("*.json"))
