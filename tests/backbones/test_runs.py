"""Runs on a backbone of the user's own: its row, its record, and what the run is good for later."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")):
    pytest.skip("onnx and onnxruntime are not both installed", allow_module_level=True)

import medbench
from medbench.cli import main
from medbench.errors import ConfigurationError, ModelError

from .onnx_files import node, patches, write_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def options(class_folders):
    """Of a run of a few seconds on a backbone that looks at 16 x 16 pixels."""
    write_settings(Path("Tiny.onnx"))
    patches(Path("Tiny.onnx"))
    return {
        "data": class_folders(per_class=12),
        "models": "onnx:Tiny.onnx",
        "no_sanity": True,
        "trials": 1,
        "folds": 2,
        "out": "out",
    }


def records():
    return [json.loads(p.read_text()) for p in sorted(Path("out/cells").rglob("cell.json"))]


def stamps():
    return {p: p.stat().st_mtime_ns for p in Path("out/cells").rglob("cell.json")}


def move_away():
    for name in ("Tiny.onnx", "Tiny.yaml"):
        Path(name).rename(Path("moved", name))


@pytest.mark.processes
def test_a_run_predicts_explains_and_exports_after_the_file_is_gone(options, capsys):
    run = medbench.run(**options)
    assert not run.failed
    Path("moved").mkdir()
    sha256 = hashlib.sha256(Path("Tiny.onnx").read_bytes()).hexdigest()
    move_away()
    for record in records():
        assert (record["model"], record["weights_sha256"]) == ("onnx-tiny", sha256)
        assert record["weights_settings"]["size"] == [16, 16]
        assert record["note"] == "weights of Tiny.onnx"
    images = sorted(Path("set").rglob("*.png"))
    model = medbench.load_model("out", model="onnx-tiny")
    expected = model.predict_proba(images)
    assert {"a", "b"} == set(model.predict(images))
    explanation = model.explain(images[0])
    assert explanation.method == "occlusion"
    assert explanation.heat.shape == (24, 24)
    run.export(model="onnx-tiny", data="set", out="exported")
    assert sorted(p.name for p in Path("exported").glob("*.onnx")) == ["model.onnx"]
    again = medbench.load_model("exported")
    np.testing.assert_allclose(again.predict_proba(images), expected, atol=1e-5)
    assert main(["predict", "--run", "exported", str(images[0])]) == 0
    assert main(["predict", "--run", "out", str(images[0]), "--explain", "why.png"]) == 0
    assert Path("why.png").exists()
    capsys.readouterr()


def test_it_is_reproduced_from_wherever_the_file_is_and_says_where_it_is_missed(options, capsys):
    run = medbench.run(**options)
    Path("moved").mkdir()
    move_away()
    with pytest.raises(ConfigurationError, match=r"onnx-tiny.*--models onnx:FOLDER/tiny\.onnx"):
        run.reproduce(data="set")
    assert run.reproduce(data="set", models="onnx:moved/Tiny.onnx").same
    write_settings(Path("moved/Tiny.onnx"), range=[0, 255])
    said = run.reproduce(data="set", models="onnx:moved/Tiny.onnx")
    assert any("weights" in text for text in said.inputs)
    capsys.readouterr()


def test_the_same_command_goes_on_and_other_settings_compute_anew(options):
    medbench.run(**options)
    before, keys = stamps(), [record["key"] for record in records()]
    medbench.run(**options)
    assert stamps() == before
    write_settings(Path("Tiny.onnx"), mean=[0.5, 0.5, 0.5])
    medbench.run(**options)
    assert not set(keys) & {record["key"] for record in records()}


def test_it_stands_beside_other_families_and_a_name_without_a_file_is_told(options):
    run = medbench.run(**{**options, "models": ["hog-svm", "onnx:Tiny.onnx"]})
    assert {record["model"] for record in records()} == {"hog-svm", "onnx-tiny", "ensemble"}
    assert not run.failed
    exported = run.export(model="ensemble", out="both", data=options["data"])
    assert exported.largest_difference < 1e-5
    with pytest.raises(ConfigurationError, match=r"--models onnx:FOLDER/tiny\.onnx"):
        medbench.run(**{**options, "models": "onnx-tiny", "out": "other"})


def test_a_bad_file_stops_a_run_before_anything_is_written(options):
    patches(Path("Tiny.onnx"), node("ArgMax", ["patches"], "out", axis=1))
    with pytest.raises(ModelError, match=r"Tiny\.onnx.*int64"):
        medbench.run(**options)
    assert not Path("out").exists()
    assert main(["run", "--data", "set", "--models", "onnx:nowhere.onnx"]) == 2


def test_onnx_that_is_not_installed_is_told(options, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigurationError, match="pip install onnx onnxruntime"):
        medbench.run(**options)


def test_the_page_shows_settings_that_are_read_and_code_that_is_python(tmp_path):
    import ast
    import re

    from medbench.features.backbone_settings import read_settings

    page = (Path(__file__).parents[2] / "docs" / "backbones.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "rad-dino.yaml").write_text(example)
    assert read_settings(tmp_path / "rad-dino.onnx", None).tokens == "class"
    snippets = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(snippets) == 2
    for snippet in snippets:
        ast.parse(snippet)
