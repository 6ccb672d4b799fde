"""The positive class of two: decided by a person, proposed by names, or asked where it matters."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
import yaml
from PIL import Image

from medbench import load_model
from medbench.cli import main
from medbench.datasets.catalog import load_catalog, read_datasets
from medbench.datasets.positive import BY_NAME, GUESSED, UNKNOWN, WRITTEN, proposed
from medbench.datasets.sources.folder import FolderSource
from medbench.errors import ConfigurationError, DatasetError, UndecidedError
from medbench.evaluation.operating_point import YOUDEN, OperatingPoint
from medbench.inference.held_out import held_out_images
from medbench.inference.model_info import ModelInfo
from medbench.store import RunStore, seals

QUICK = ["--models", "majority", "--no-sanity", "--trials", "1", "--folds", "2"]


@pytest.mark.parametrize(
    ("positive", "negative"),
    [
        ("COVID", "Normal"),
        ("PNEUMONIA", "NORMAL"),
        ("yes", "no"),
        ("1", "0"),
        ("1.0", "0.0"),
        ("grade_1", "grade_0"),
        ("+", "-"),
        ("true", "false"),
        ("present", "absent"),
        ("tumor", "notumor"),
        ("tumour", "no_tumour"),
        ("Finding", "NoFinding"),
        ("covid19", "no_finding"),
        ("malignant", "benign"),
        ("malignant tumour", "benign tumour"),
        ("malignant", "normal, benign"),
        ("benign", "normal"),
        ("Parasitized", "Uninfected"),
        ("Demented", "NonDemented"),
        ("DR", "No_DR"),
        ("with_mask", "without_mask"),
        ("abnormal", "normal"),
        ("unhealthy", "healthy"),
        ("not normal", "normal"),
        ("COVID-19 positive", "COVID-19 negative"),
        ("COVID", "non-COVID"),
        ("tumor", "tumor free"),
        ("tumor", "no evidence of tumor"),
        ("AD", "control"),
        ("melanoma", "nevus"),
        ("Monkeypox", "Others"),
        ("Tumour", "Tissue"),
    ],
)
def test_names_of_health_and_disease_propose_the_disease(positive, negative):
    assert proposed((negative, positive)) == proposed((positive, negative)) == positive


@pytest.mark.parametrize(
    "names",
    [
        ("cat", "dog"),
        ("1", "2"),
        ("pneumonia", "covid19"),
        ("melanoma", "bcc"),
        ("covid", "viral"),
        ("mass", "calcification"),
        ("Female", "Male"),
        ("type 1", "type 2"),
        ("0-5 years", "6-10 years"),
        ("clear cell carcinoma", "papillary"),
        ("non-small cell carcinoma", "small cell carcinoma"),
        ("squamous cell carcinoma", "adenocarcinoma"),
    ],
)
def test_names_that_do_not_tell_propose_nothing(names):
    assert proposed(names) == proposed(names[::-1]) == ""


@pytest.fixture
def listed(class_folders):
    """Lists a folder of two classes by an entry; the labels of the images in them by name."""

    def make(folders, **fields):
        source = FolderSource(path=str(class_folders(4, folders)), **fields)
        listing = source.listing()
        for origin, label in zip(listing.table["origin"], listing.table["label"], strict=True):
            assert origin.startswith(f"{listing.classes[label]}/")
        return listing.classes, listing.positive_decided

    return make


@pytest.mark.parametrize(
    ("fields", "classes", "decided"),
    [
        ({}, ("Normal", "COVID"), BY_NAME),
        ({"positive": "Normal"}, ("COVID", "Normal"), WRITTEN),
        ({"positive": "COVID"}, ("Normal", "COVID"), WRITTEN),
        ({"classes": ("COVID", "Normal")}, ("COVID", "Normal"), WRITTEN),
        ({"classes": ("COVID", "Normal"), "positive": "COVID"}, ("Normal", "COVID"), WRITTEN),
    ],
)
def test_what_is_written_decides_before_names(listed, fields, classes, decided):
    assert listed(("COVID", "Normal"), **fields) == (classes, decided)


def test_the_alphabet_alone_is_called_a_guess(listed):
    assert listed(("cat", "dog")) == (("cat", "dog"), GUESSED)


def test_more_classes_than_two_stay_in_their_order_and_have_no_positive(listed):
    assert listed(("covid", "normal", "other")) == (("covid", "normal", "other"), "")


@pytest.mark.parametrize(
    ("classes", "wrong"),
    [(("a", "b"), "'x' .* but the classes are 'a' and 'b'"), (("a", "b", "c"), "3 classes: a, b")],
)
def test_a_positive_class_that_is_none_is_refused_by_name(listed, classes, wrong):
    with pytest.raises(DatasetError, match=wrong):
        listed(classes, positive="x")


def test_an_archive_without_class_names_has_one_as_positive(tmp_path):
    rng = np.random.default_rng(0)
    parts = {f"{part}_images": rng.integers(0, 255, (8, 28, 28), np.uint8) for part in _PARTS}
    parts |= {f"{part}_labels": np.arange(8) % 2 for part in _PARTS}
    np.savez(tmp_path / "x.npz", **parts)
    for positive, classes in ((None, ("0", "1")), (0, ("1", "0")), ("1", ("0", "1"))):
        file = tmp_path / "own.yaml"
        said = {} if positive is None else {"positive": positive}
        entry = {"source": "npz", "path": str(tmp_path / "x.npz"), **said}
        file.write_text(yaml.safe_dump({"x": entry}))
        listing = read_datasets(file)["x"].listing()
        assert listing.classes == classes
        label = listing.classes.index("1")
        assert (listing.table["label"] == label).tolist() == (np.arange(16) % 2 == 1).tolist()


_PARTS = ("train", "test")


def test_yes_without_quotes_is_explained(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("x:\n  source: folder\n  path: x\n  positive: yes\n")
    with pytest.raises(ConfigurationError, match=r"line 4.*Write it in quotes"):
        read_datasets(file)


def test_every_registered_set_of_two_classes_has_an_order_that_is_written():
    for name, source in load_catalog().sources.items():
        assert source.orders_classes, name


# --- asked before it matters ------------------------------------------------------------------


@pytest.mark.parametrize("option", [["--sensitivity", ".9"], ["--specificity", ".9"]])
def test_an_operating_point_on_a_guess_asks_before_training(
    class_folders, tmp_path, capsys, option
):
    run = ["run", "--data", str(class_folders(6)), *QUICK, "--out", str(tmp_path / "run")]
    assert main([*run, *option]) == 2
    said = capsys.readouterr().err
    assert "'a' and 'b'" in said and "--positive of python -m medbench run" in said
    assert "field positive" in said and not (tmp_path / "run" / "cells").exists()
    assert main([*run, *option, "--positive", "a"]) == 0
    record = RunStore(tmp_path / "run").read().datasets["set"]
    assert (record["classes"], record["positive"]) == (["b", "a"], "a")
    assert record["positive_decided"] == WRITTEN


def test_a_prevalence_on_a_guess_asks_before_training(class_folders, tmp_path, capsys):
    file = tmp_path / "own.yaml"
    entry = {"source": "folder", "path": str(class_folders(6)), "prevalence": 0.1}
    file.write_text(yaml.safe_dump({"mine": entry}))
    run = ["run", "--datasets-file", str(file), "--datasets", "mine", *QUICK, "--dry-run"]
    assert main(run) == 2
    assert "prevalence (0.1) is about the positive class" in capsys.readouterr().err
    file.write_text(yaml.safe_dump({"mine": {**entry, "positive": "b"}}))
    assert main(run) == 0
    assert "positive class: b (as written)" in capsys.readouterr().out


def test_the_question_can_be_answered_by_its_field(class_folders):
    source = FolderSource(path=str(class_folders(4)))
    source.variants("mine")
    with pytest.raises(UndecidedError) as raised:
        source.listing(positive_for="--sensitivity 0.9")
    error = raised.value
    assert (error.dataset, error.field, [*error.choices]) == ("mine", "positive", ["a", "b"])
    again = source.model_copy(update={error.field: "a"})
    assert again.listing(positive_for="--sensitivity 0.9").classes == ("b", "a")


def test_one_positive_class_is_not_for_several_data_sets(class_folders, capsys):
    data = ["--datasets", "phantoms-mr", "--data", str(class_folders(4))]
    assert main(["run", *data, *QUICK, "--positive", "b"]) == 2
    assert "there are 2" in capsys.readouterr().err


def test_add_shows_the_positive_class_and_writes_the_one_that_is_named(
    class_folders, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = str(class_folders(4))
    assert main(["datasets", "add", "one", folder]) == 0
    assert "positive class: b (guessed from the alphabet)" in capsys.readouterr().out
    assert main(["datasets", "add", "two", folder, "--positive", "a"]) == 0
    assert "positive class: a (as written)" in capsys.readouterr().out
    written = yaml.safe_load((tmp_path / "datasets.yaml").read_text())
    assert written["two"]["positive"] == "a" and "positive" not in written["one"]


# --- named wherever a score of two classes stands ---------------------------------------------


@pytest.fixture(scope="module")
def covid_run(tmp_path_factory):
    """A run on COVID and Normal, and an image to predict."""
    base = tmp_path_factory.mktemp("covid")
    rng = np.random.default_rng(0)
    for label, low in (("COVID", 100), ("Normal", 0)):
        (base / "films" / label).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(low, low + 150, (24, 24), dtype=np.uint8)
            Image.fromarray(pixels).save(base / "films" / label / f"{i}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_CACHE", str(base / "cache"))
        models = ["--models", "intensity", "majority", "--no-sanity", "--trials", "1"]
        run = ["run", "--data", str(base / "films"), *models, "--folds", "2"]
        assert main([*run, "--sensitivity", ".9", "--out", str(base / "run")]) == 0
    return base


def test_every_table_page_and_card_names_the_positive_class(covid_run):
    run = covid_run / "run"
    said = f"positive class: COVID ({BY_NAME})"
    for name in ("leaderboard.md", "leaderboard.tex", "report.html"):
        assert said in (run / name).read_text(), name
    assert f"Positive class: COVID ({BY_NAME})" in (run / "cards/dataset-films.md").read_text()
    for name in ("leaderboard.csv", "scores.csv"):
        rows = list(csv.DictReader((run / name).read_text().splitlines()))
        assert {row["positive"] for row in rows} == {"COVID"}, name
    content = json.loads((run / "leaderboard.json").read_text())
    assert content["datasets"]["films"]["positive"] == "COVID"
    assert content["datasets"]["films"]["positive_decided"] == BY_NAME
    assert {row["positive"] for row in content["rows"]} == {"COVID"}


def test_the_terminal_names_it_for_run_report_and_audit(covid_run, tmp_path, capsys):
    said = re.compile(r"positive class: COVID \(proposed by its name\)")
    assert main(["leaderboard", str(covid_run / "run")]) == 0
    assert said.search(" ".join(capsys.readouterr().out.split()))
    films = ["--data", str(covid_run / "films")]
    assert main(["audit", *films, "--out", str(tmp_path / "audit")]) == 0
    assert said.search(capsys.readouterr().out)
    assert main(["run", *films, *QUICK, "--dry-run", "--out", str(tmp_path / "run")]) == 0
    assert said.search(capsys.readouterr().out)


def test_predictions_name_it_in_every_format(covid_run, capsys):
    image = str(next((covid_run / "films/COVID").iterdir()))
    predict = ["predict", image, "--run", str(covid_run / "run"), "--models", "intensity"]
    assert main(predict) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Positive class: COVID ({BY_NAME})" in shown
    assert main([*predict, "--format", "csv"]) == 0
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert row["positive class"] == "COVID"
    assert main([*predict, "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["about"]["positive"] == content["images"][0]["positive"] == "COVID"
    assert content["about"]["positive_decided"] == BY_NAME
    model = load_model(covid_run / "run", model="intensity")
    (prediction,) = model.classify([image])
    assert prediction.positive == model.task.positive == "COVID"
    assert "Positive class: COVID" in repr(model)


def test_an_export_names_it_and_one_of_before_still_opens(covid_run, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(covid_run / "cache"))
    out = tmp_path / "exported"
    films = ["--data", str(covid_run / "films")]
    export = ["export", str(covid_run / "run"), "--models", "intensity", "--out", str(out), *films]
    assert main(export) == 0
    info = json.loads((out / "model.json").read_text())["facts"]
    assert (info["positive"], info["positive_decided"]) == ("COVID", BY_NAME)
    del info["positive"], info["positive_decided"]
    assert ModelInfo.from_record(info).positive_words == f"Positive class: COVID ({UNKNOWN})"


def test_the_page_that_serve_opens_names_it(covid_run):
    pytest.importorskip("starlette")
    from medbench.inference.serve.app import Limits, _page

    shown = _page(load_model(covid_run / "run", model="intensity"), Limits())
    assert f"Positive class: COVID ({BY_NAME})" in shown


def test_another_operating_point_of_a_guessed_class_asks_which(class_folders, tmp_path, capsys):
    run = ["run", "--data", str(class_folders(6)), *QUICK, "--out", str(tmp_path / "run")]
    assert main(run) == 0
    model = load_model(tmp_path / "run", model="majority")
    point = OperatingPoint(rule="sensitivity", at_least=0.9)
    with pytest.raises(
        ConfigurationError, match=r"which class is that about.*'b'.*specificity 0.9"
    ):
        model.at(point)
    with pytest.raises(ConfigurationError, match=r"other class give --specificity 0\.9"):
        model.at(point, positive="a")
    assert model.at(YOUDEN).info.positive_decided == GUESSED
    assert model.at(point, positive="b").info.positive_decided == WRITTEN
    predict = ["predict", str(tmp_path / "set/a/00.png"), "--run", str(tmp_path / "run")]
    predict += ["--models", "majority", "--sensitivity", ".9"]
    assert main(predict) == 2
    assert "--positive" in capsys.readouterr().err
    assert main([*predict, "--positive", "b"]) == 0


# --- runs of before ---------------------------------------------------------------------------


def test_a_run_of_before_opens_says_that_it_does_not_know_and_keeps_its_order(
    class_folders, tmp_path, capsys
):
    """Such a run has the last of the alphabet as positive, whatever the names say."""
    folder, run = class_folders(6, ("COVID", "Normal")), tmp_path / "run"
    arguments = ["run", "--data", str(folder), *QUICK, "--out", str(run), "--positive", "Normal"]
    assert main(arguments) == 0
    path = run / "datasets/set/dataset.json"
    record = json.loads(path.read_text())
    assert record.pop("positive") == "Normal"
    del record["positive_decided"]
    seals.write_record(path, record)
    assert main(["leaderboard", str(run)]) == 0
    assert f"positive class: Normal ({UNKNOWN})" in " ".join(capsys.readouterr().out.split())
    assert main(["reproduce", str(run), "--data", str(folder)]) == 0
    images = held_out_images(RunStore(run), "set", load_catalog(folder=folder))
    assert len(images) == 12  # and so it can be exported


def test_the_images_of_development_are_known_again_whatever_the_order(
    class_folders, tmp_path, capsys
):
    folder, run = class_folders(6, ("COVID", "Normal")), tmp_path / "run"
    arguments = ["run", "--data", str(folder), *QUICK, "--out", str(run), "--positive", "Normal"]
    assert main(arguments) == 0
    evaluate = ["evaluate", "--run", str(run), "--datasets", "set", "--data", str(folder)]
    assert main([*evaluate, "--models", "majority"]) == 2
    assert "holds the very images" in capsys.readouterr().err
