"""A model in Python: scikit-learn's words, and nothing loaded that was tampered with."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medbench import load_model
from medbench.atomic_files import read_parquet, write_parquet
from medbench.cli import main
from medbench.datasets.catalog import load_catalog
from medbench.datasets.prepared import prepare
from medbench.errors import (
    ConfigurationError,
    DatasetError,
    ModelError,
    StoreError,
    UnknownNameError,
)
from medbench.evaluation.operating_point import YOUDEN
from medbench.inference.images import prepared_batch
from medbench.reports.predictions import fold_predictions
from medbench.reports.stored import assessed
from medbench.reports.winner import winner
from medbench.store import RunStore, seals, signature


def change_json(path, **entries):
    files = {one.name: one for one in path.parent.glob("*.parquet")}
    record = seals.as_read({**json.loads(path.read_text()), **entries}, files)
    seals.write_record(path, signature.signed(record))


def test_it_speaks_scikit_learns_words(run, films, pixels):
    model = load_model(run)
    probabilities = model.predict_proba(pixels)
    assert probabilities.shape == (8, 2) and probabilities.dtype == np.float64
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert model.classes_.tolist() == ["healthy", "lesion"]
    expected = np.where(probabilities[:, 1] >= model.threshold, "lesion", "healthy")
    assert model.predict(pixels).tolist() == expected.tolist()
    paths = sorted(films.iterdir())
    for same in (paths, [str(path) for path in paths], list(pixels), [*map(Image.open, paths)]):
        np.testing.assert_array_equal(model.predict_proba(same), probabilities)
    np.testing.assert_array_equal(model.predict_proba(pixels[..., 0]), probabilities)
    np.testing.assert_array_equal(model.predict_proba(paths[0].read_bytes()), probabilities[:1])
    assert model.predict_proba(pixels[:0]).shape == (0, 2)
    for other in (pixels.astype(int), pixels.astype(np.uint16), pixels / 255):
        np.testing.assert_array_equal(model.predict_proba(other), probabilities)


@pytest.mark.parametrize("name", ["xgboost", "ensemble"])
def test_it_is_the_mean_of_the_fold_models_as_they_were_scored(run, entries, name):
    """What each fold model says of its held-out images is what the run stored of it."""
    store = RunStore(run)
    result = store.read()
    model = load_model(run, model=name)
    catalog = load_catalog(datasets_file=entries)
    data = prepare("small", catalog.get("small"), cache=run.parent / "cache", threads=1)
    for number, fold in enumerate(model.info.folds):
        (cell,) = [c for c in result.cells if (c.id.model, c.id.split) == (name, fold.split)]
        stored = fold_predictions(cell, result.datasets["small"]).probabilities
        images = data.images[cell.predictions["image"].to_numpy()]
        said = model.fold_models.probabilities(prepared_batch(np.asarray(images)))
        np.testing.assert_allclose(said[number], stored, atol=1e-9)
        np.testing.assert_allclose(said.mean(axis=0), model.predict_proba(images), atol=1e-12)


def test_best_is_the_winner_by_inner_scores(run):
    result = RunStore(run).read()
    (dataset,) = assessed(result).datasets
    assert load_model(run).info.family == winner(dataset, result).name
    assert "inner score" in load_model(run).info.why
    assert "Named by the user" in load_model(run, model="hog-svm").info.why
    best = load_model(run).info.family
    (run / f"cells/small/{best}/r0f1/cell.json").unlink()
    left_out = load_model(run).info.why.partition("not considered: ")[2]
    assert best in left_out and ("ensemble" in left_out) == (best in ("hog-svm", "xgboost"))


def test_the_frozen_thresholds_are_those_of_the_stored_development_predictions(run):
    for name in ("hog-svm", "xgboost", "ensemble"):
        model = load_model(run, model=name)
        again = model.at(YOUDEN)
        for fold, found in zip(model.info.folds, again.info.folds, strict=True):
            assert fold.threshold == pytest.approx(found.threshold)


def test_a_notebook_shows_models_and_predictions(run, films, pixels):
    model = load_model(run)
    assert "For research, not for diagnosis" in model._repr_html_()
    (films / "<b>.png").write_bytes((films / "0.png").read_bytes())
    shown = model.classify([films / "<b>.png"])
    assert "&lt;b&gt;" in shown._repr_html_() and "<b>.png" not in shown._repr_html_()
    table = model.classify(pixels).to_frame()
    assert len(table) == 8 and {"image", "decision", "probability of lesion"} <= set(table)
    assert "For research" in repr(shown) and "xgboost" in repr(load_model(run, model="xgboost"))
    explanation = model.explain(films / "0.png")
    assert explanation._repr_png_().startswith(b"\x89PNG")
    assert explanation.heat.shape == (32, 32) and explanation.heat.min() >= 0


def test_an_image_that_cannot_be_read_is_an_error_in_python(run, films):
    model = load_model(run)
    (films / "0.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"0\.png"):
        model.predict_proba(sorted(films.iterdir()))
    with pytest.raises(DatasetError, match=r"gone\.png"):
        model.classify("gone.png")
    with pytest.raises(DatasetError, match="shape"):
        model.predict_proba([np.zeros((3, 4, 5, 6))])
    with pytest.raises(UnknownNameError, match="lesion"):
        model.explain(films / "1.png", class_name="lesio")


def test_a_model_that_was_changed_is_refused(run, capsys):
    name = next(run.glob("cells/small/xgboost/r0f0/model/booster.ubj"))
    name.write_bytes(name.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="hash does not match"):
        load_model(run, model="xgboost")
    assert main(["predict", "x.png", "--run", str(run), "--models", "xgboost"]) == 2
    assert "hash does not match" in capsys.readouterr().err
    load_model(run, model="hog-svm")


def test_a_file_beside_the_model_is_refused_too(run):
    (run / "cells/small/hog-svm/r0f0/model/more.txt").write_text("x")
    with pytest.raises(ModelError, match="hash does not match"):
        load_model(run, model="hog-svm")


def test_a_model_that_is_not_here_is_named(run):
    shutil.rmtree(run / "cells/small/hog-svm/r0f0/model")
    with pytest.raises(ModelError, match="is not here"):
        load_model(run, model="hog-svm")
    change_json(run / "cells/small/xgboost/r0f0/cell.json", model_sha256=None)
    with pytest.raises(ModelError, match="no hash"):
        load_model(run, model="xgboost")


@pytest.mark.parametrize(
    ("damaged", "wanted"),
    [
        ("datasets/small/dataset.json", {"dataset": "small"}),
        ("datasets/small/dataset.json", {}),
        ("cells/small/xgboost/*/cell.json", {"model": "xgboost"}),
    ],
)
def test_what_cannot_be_used_is_named_as_damaged_and_not_as_unknown(run, damaged, wanted):
    paths = list(run.glob(damaged))
    for path in paths:
        path.write_text(path.read_text().replace("0", "1", 1))
    with pytest.raises(StoreError, match="be used") as raised:
        load_model(run, **wanted)
    for path in paths:
        assert f"{path.relative_to(run).as_posix()}: damaged" in str(raised.value)
    assert str(raised.value).endswith("Give the run's command again.")


def test_what_is_not_in_the_run_is_named_with_what_is(run, tmp_path):
    with pytest.raises(UnknownNameError, match="hog-svm"):
        load_model(run, model="hog")
    with pytest.raises(UnknownNameError, match="small"):
        load_model(run, dataset="smal")
    with pytest.raises(StoreError, match=r"no run\.json"):
        load_model(tmp_path / "nothing")
    shutil.copytree(run / "cells/small", run / "cells/large")
    shutil.copytree(run / "datasets/small", run / "datasets/large")
    with pytest.raises(ConfigurationError, match="dataset in Python") as error:
        load_model(run)
    assert "--dataset" in error.value.options
    assert load_model(run, dataset="large", model="hog-svm").info.dataset == "large"


def test_a_shortcut_of_the_data_set_is_said_with_every_prediction(run, films, capsys):
    """A sanity row of which the whole interval is high makes a data set a shortcut risk."""
    for cell in sorted(run.glob("cells/small/thumbnail/*")):
        shutil.rmtree(cell)
        shutil.copytree(run / "cells/small/xgboost" / cell.name, cell)
        table = read_parquet(cell / "predictions.parquet")
        table["p1"] = np.where(table["label"] == 1, 0.8, 0.2) + table["image"] * 1e-4
        write_parquet(cell / "predictions.parquet", table.assign(p0=1 - table["p1"]))
        change_json(cell / "cell.json", sanity=True, model="thumbnail")
    assert main(["predict", str(films), "--run", str(run)]) == 0
    assert "Shortcut risk" in capsys.readouterr().out
    assert main(["predict", str(films), "--run", str(run), "--format", "csv"]) == 0
    assert "Shortcut risk" in capsys.readouterr().err
    assert main(["predict", str(films), "--run", str(run), "--format", "json"]) == 0
    about = json.loads(capsys.readouterr().out)["about"]
    assert any("Shortcut risk" in text for text in about["verdicts"])


def test_several_labels_an_image_are_decided_one_by_one(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 60), ("val", 24), ("test", 24)):
        labels = rng.integers(0, 2, (n, 3))
        images = rng.integers(0, 90, (n, 24, 24)).astype(np.uint8)
        for k in range(3):
            images[labels[:, k] == 1, 8 * k : 8 * k + 8] += 120
        arrays |= {f"{part}_images": images, f"{part}_labels": labels}
    np.savez(tmp_path / "several.npz", **arrays)
    (tmp_path / "e.yaml").write_text(
        f"several: {{source: npz, path: '{tmp_path}/several.npz', task: multi-label, "
        "classes: [top, middle, bottom], image_size: 24}"
    )
    given = ["run", "--datasets-file", str(tmp_path / "e.yaml"), "--datasets", "several"]
    given += ["--models", "xgboost", "--no-sanity", "--trials", "1", "--out", str(tmp_path / "run")]
    assert main(given) == 0
    model = load_model(tmp_path / "run")
    images, labels = arrays["test_images"], arrays["test_labels"]
    assert (model.predict(images) == labels).mean() > 0.8
    predictions = model.classify(images)
    assert predictions[0].decision == tuple(model.classes_[model.predict(images)[0] == 1])
    assert len(model.info.folds) == 1 and "on the held-out part" in model.info.estimate_words
    assert "Probabilities: not calibrated for" in repr(model)
    twice = replace(model.info, folds=(*model.info.folds, *model.info.folds))
    assert "fitted with 2 seeds" in twice.estimate_words
    assert model.at(YOUDEN).threshold == pytest.approx(model.threshold)
