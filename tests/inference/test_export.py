"""Exported models say what the originals say, and nothing is loaded of one that was changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from medbench import load_model
from medbench.cli import main
from medbench.errors import ModelError, StoreError
from medbench.hashes import sha256_of_folder
from medbench.inference.exported import file_hashes


@pytest.fixture(scope="module")
def kept_exports(tmp_path_factory):
    """Where exported models are kept; not to be changed."""
    return tmp_path_factory.mktemp("exports")


@pytest.fixture
def export(kept_exports, entries, tmp_path, monkeypatch, shared_folder):
    """Exports a model of an unchanged run by the command line, once; gives a copy of its own."""
    monkeypatch.setenv("MEDBENCH_CACHE", str(shared_folder / "cache"))

    def do(run, model, kind) -> Path:
        out = kept_exports / f"{model}-{kind}"
        if not out.exists():
            given = ["export", str(run), "--models", model, "--out", str(out)]
            given += ["--datasets-file", str(entries), *(["--format", kind] if kind else [])]
            assert main(given) == 0
        return Path(shutil.copytree(out, tmp_path / out.name))

    return do


def repair_manifest(folder):
    """What somebody would do who wants a changed file to be loaded all the same."""
    path = folder / "model.json"
    manifest = json.loads(path.read_text())
    manifest["sha256"] = file_hashes(folder)
    if "folds" in {file.name for file in folder.iterdir()}:
        for number, fold in enumerate(manifest["facts"]["folds"]):
            fold["sha256"] = sha256_of_folder(folder / "folds" / str(number))
    path.write_text(json.dumps(manifest))


def test_an_ensemble_is_exported_with_the_models_of_its_families(
    run, export, films, entries, capsys
):
    folder = export(run, "ensemble", None)
    path = folder / "model.json"
    manifest = json.loads(path.read_text())
    assert manifest["export"] == "ensemble"
    assert manifest["members"] == {"hog-svm": "skops", "xgboost": "xgboost"}
    paths = sorted(films.iterdir())
    original, copy = load_model(run, model="ensemble"), load_model(folder)
    np.testing.assert_array_equal(copy.predict_proba(paths), original.predict_proba(paths))
    assert copy.info == original.info
    assert main(["predict", str(films), "--run", str(folder), "--sensitivity", "1"]) == 0
    capsys.readouterr()
    again = ["export", str(run), "--models", "ensemble", "--format", "skops"]
    assert main([*again, "--out", str(folder / "again"), "--datasets-file", str(entries)]) == 2
    assert "consists of hog-svm, xgboost" in capsys.readouterr().err
    manifest["facts"]["folds"][0]["params"]["xgboost"] = 7.0
    path.write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="weights"):
        load_model(folder)


@pytest.mark.parametrize(
    ("model", "kind"), [("hog-svm", "skops"), ("xgboost", "xgboost"), ("thumbnail", "skops")]
)
def test_a_classical_model_says_the_same_exported(run, export, films, model, kind, capsys):
    folder = export(run, model, kind)
    shown = capsys.readouterr().out
    assert "Checked on" in shown and folder.name in shown
    assert json.loads((folder / "model.json").read_text())["check"]["largest_difference"] <= 1e-4
    paths = sorted(films.iterdir())
    original, copy = load_model(run, model=model), load_model(folder)
    np.testing.assert_array_equal(copy.predict_proba(paths), original.predict_proba(paths))
    assert copy.classify(paths)[0] == original.classify(paths)[0]
    assert copy.info == original.info
    assert main(["predict", str(films), "--run", str(folder), "--sensitivity", "1"]) == 0
    assert {"model-card.md", "dataset-small.md"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("model", ["cnn", "squeezenet"])
@pytest.mark.parametrize("kind", ["onnx", "keras"])
def test_a_network_says_the_same_exported(deep_run, export, films, pixels, model, kind):
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    folder = export(deep_run, model, kind)
    paths = sorted(films.iterdir())
    original, copy = load_model(deep_run, model=model), load_model(folder)
    given, said = original.classify(paths), copy.classify(paths)
    for one, other in zip(given, said, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-4)
        np.testing.assert_allclose(one.low, other.low, atol=1e-4)
    explanation = copy.explain(paths[0])
    assert explanation.method == ("occlusion" if kind == "onnx" else "Grad-CAM")
    if kind == "keras":
        np.testing.assert_allclose(explanation.heat, original.explain(paths[0]).heat, atol=1e-3)
        check_plain_function(folder / "model.keras", pixels, copy.predict_proba(pixels))


def check_plain_function(path, pixels, expected):
    """It does not augment, nor change its batch statistics, when it is called as a function."""
    import keras

    whole = keras.saving.load_model(path)
    before = whole.get_weights()
    for _ in range(2):
        said = keras.ops.convert_to_numpy(whole(pixels))
        np.testing.assert_allclose(said, expected, atol=1e-6)
    for old, new in zip(before, whole.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert not whole.trainable_variables


def test_an_onnx_model_needs_no_tensorflow_and_no_medbench(deep_run, export, pixels, tmp_path):
    pytest.importorskip("onnxruntime")
    folder = export(deep_run, "cnn", "onnx")
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'torch', 'medbench'): sys.modules[name] = None\n"
        "import numpy, onnxruntime\n"
        f"session = onnxruntime.InferenceSession({str(folder / 'model.onnx')!r})\n"
        f"pixels = numpy.load({str(tmp_path / 'pixels.npy')!r})\n"
        "(said,) = session.run(['probabilities'], {'image': pixels})\n"
        f"numpy.save({str(tmp_path / 'said.npy')!r}, said)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    expected = load_model(deep_run, model="cnn").predict_proba(pixels)
    np.testing.assert_allclose(np.load(tmp_path / "said.npy"), expected, atol=1e-4)
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'jax', 'torch'): sys.modules[name] = None\n"
        "from medbench import load_model\n"
        f"load_model({str(folder)!r}).classify(__import__('numpy').load("
        f"{str(tmp_path / 'pixels.npy')!r}))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_format_that_a_family_does_not_have_is_refused_with_the_reason(
    run, entries, tmp_path, capsys
):
    given = ["export", str(run), "--models", "hog-svm", "--datasets-file", str(entries)]
    given += ["--out", str(tmp_path / "out"), "--format"]
    assert main([*given, "onnx"]) == 2
    assert "features" in (said := capsys.readouterr().err) and "as skops" in said
    assert main([*given, "keras"]) == 2
    assert "no network" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_left_alone(run, export, entries, tmp_path, capsys):
    folder = export(run, "hog-svm", None)
    before = file_hashes(folder)
    given = ["export", str(run), "--models", "hog-svm", "--datasets-file", str(entries)]
    assert main([*given, "--out", str(folder)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert file_hashes(folder) == before


def test_without_the_images_of_the_run_nothing_is_exported(run, tmp_path, capsys):
    other = tmp_path / "other.yaml"
    other.write_text(
        "small: {source: phantoms, patients: 8, images_per_patient: 2, image_size: 32}"
    )
    given = ["export", str(run), "--out", str(tmp_path / "out"), "--datasets-file", str(other)]
    assert main(given) == 2
    assert "are not those of" in capsys.readouterr().err
    assert main(["export", str(run), "--out", str(tmp_path / "out")]) == 2
    assert "small" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_copy_that_says_otherwise_is_not_kept(run, entries, tmp_path, monkeypatch, capsys):
    from medbench.inference import exported

    def spoilt(folder, **more):
        model = load(folder, **more)
        inner = model.fold_models.probabilities
        model.fold_models.probabilities = lambda batch: inner(batch)[:, :, ::-1]
        return model

    load = exported.load
    monkeypatch.setattr(exported, "load", spoilt)
    given = ["export", str(run), "--models", "hog-svm", "--datasets-file", str(entries)]
    assert main([*given, "--out", str(tmp_path / "out")]) == 2
    assert "other probabilities than the original" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_a_changed_file_of_an_exported_model_is_refused(run, export):
    folder = export(run, "hog-svm", None)
    for name in ("folds/1/model.skops", "development.parquet", "out-of-distribution.npz"):
        changed = shutil.copytree(folder, folder.with_name("changed"), dirs_exist_ok=True)
        (changed / name).write_bytes((changed / name).read_bytes() + b"x")
        with pytest.raises(ModelError, match=r"hash does not match of " + name):
            load_model(changed)
        (changed / name).unlink()
        with pytest.raises(ModelError, match="hash does not match"):
            load_model(changed)
    (folder / "more.bin").write_bytes(b"x")  # what nobody listed is not trusted either
    with pytest.raises(ModelError, match="hash does not match of more"):
        load_model(folder)


@pytest.mark.parametrize(
    "change", ["format", "export", "facts", "text", "check", "kind", "threshold"]
)
def test_a_damaged_manifest_is_named(run, export, change):
    folder = export(run, "hog-svm", None)
    manifest = json.loads((folder / "model.json").read_text())
    info = manifest["facts"]
    texts = {
        "format": {**manifest, "format": 99},
        "export": {**manifest, "export": "pickle"},
        "facts": {**manifest, "facts": {}},
        "text": [],
        "check": {name: value for name, value in manifest.items() if name != "check"},
        "kind": {**manifest, "facts": {**info, "task": {**info["task"], "kind": "odd"}}},
        "threshold": {
            **manifest,
            "facts": {**info, "folds": [{**fold, "threshold": "x"} for fold in info["folds"]]},
        },
    }
    (folder / "model.json").write_text(json.dumps(texts[change]))
    with pytest.raises(StoreError, match=r"model\.json"):
        load_model(folder)


def test_a_skops_file_with_an_unknown_type_is_refused_and_the_type_named(run, export):
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    folder = export(run, "hog-svm", None)
    skops.io.dump(FunctionTransformer(repair_manifest), folder / "folds" / "0" / "model.skops")
    repair_manifest(folder)
    with pytest.raises(ModelError, match="repair_manifest"):
        load_model(folder)


def test_a_keras_file_with_a_lambda_is_refused(deep_run, export):
    import keras

    folder = export(deep_run, "cnn", "keras")
    inputs = keras.Input((32, 32, 1), dtype="uint8")
    outputs = keras.layers.Lambda(lambda x: x)(inputs)
    keras.Model(inputs, outputs).save(folder / "model.keras")
    repair_manifest(folder)
    with pytest.raises(ModelError, match="lambda"):
        load_model(folder)
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("nothing", "x")
    repair_manifest(folder)
    with pytest.raises(ModelError, match="damaged"):
        load_model(folder)
    (folder / "model.keras").write_bytes(b"x")
    repair_manifest(folder)
    with pytest.raises(ModelError, match="damaged"):
        load_model(folder)


def test_a_damaged_copy_in_the_cache_is_made_again(deep_run, pixels, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    expected = load_model(deep_run, model="cnn").predict_proba(pixels)
    (kept,) = (tmp_path / "cache" / "networks").glob("*/model.onnx")
    kept.write_bytes(kept.read_bytes()[:1000])
    np.testing.assert_array_equal(load_model(deep_run, model="cnn").predict_proba(pixels), expected)
