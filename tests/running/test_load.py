"""What ``medbench.load_run`` gives: the leaderboard, the page and the models of a run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import medbench
from medbench.errors import ConfigurationError, StoreError
from medbench.store import RunStore

NAME = 'a<b>"&[red]'
"""A title that is markup for whoever believes it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a run on two data sets, made by the plain call."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 40), ("test", 20)):
        labels = np.arange(n) % 2
        arrays[f"{part}_images"] = rng.integers(0, 200, (n, 28, 28), dtype=np.uint8)
        arrays[f"{part}_images"][labels == 1, 4:10, 4:10] = 255
        arrays[f"{part}_labels"] = labels[:, None]
    np.savez(folder / "set.npz", **arrays)
    entry = "source: npz, path: set.npz, image_size: 28"
    (folder / "datasets.yaml").write_text(
        f"one: {{{entry}, title: '{NAME}'}}\ntwo: {{{entry}}}\n", encoding="utf-8"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        medbench.run(
            datasets=["one", "two"],
            models=["hog-svm", "border"],
            no_sanity=True,
            trials=1,
            out=folder / "out",
        )
    return folder / "out"


def test_the_leaderboard_is_the_table_in_the_folder(folder):
    table = medbench.load_run(folder).leaderboard()
    written = pd.read_csv(folder / "leaderboard.csv")
    assert list(table.columns) == list(written.columns)
    assert list(zip(table["dataset"], table["model"], strict=True)) == list(
        zip(written["dataset"], written["model"], strict=True)
    )
    np.testing.assert_allclose(table["auroc"], written["auroc"])
    assert table["auroc"].dtype == np.float64
    table.loc[:, "auroc"] = 0  # a user's own
    assert (medbench.load_run(str(folder)).leaderboard()["auroc"] > 0).all()


def test_the_best_model_of_a_data_set_classifies_new_images(folder):
    run = medbench.load_run(folder)
    model = run.best_model("one")
    assert model.info.family == "hog-svm"
    probabilities = model.predict_proba([np.zeros((28, 28), np.uint8)])
    assert probabilities.shape == (1, 2) and probabilities.sum() == pytest.approx(1)
    with pytest.raises(ConfigurationError, match="one"):
        run.best_model("three")
    with pytest.raises((ConfigurationError, StoreError), match="two"):
        run.best_model()  # of which, it cannot know


def test_a_report_is_written_where_and_as_what_is_asked_for(folder, tmp_path):
    run = medbench.load_run(folder)
    assert run.report() == folder / "report.html"
    page = run.report(out=tmp_path / "mine")
    assert page == tmp_path / "mine" / "report.html" and "hog-svm" in page.read_text()
    assert run.report(format="csv", out=str(tmp_path / "t")).name == "leaderboard.csv"
    with pytest.raises(ConfigurationError, match="argument --format: invalid choice: 'pdf'"):
        run.report(format="pdf")
    with pytest.raises(ConfigurationError, match="argument --images: 'no' is neither"):
        run.report(images="no")


def test_a_report_opens_in_the_browser_only_if_told_to(folder, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    run = medbench.load_run(folder)
    run.report(out=tmp_path)
    assert opened == []
    assert run.report(out=tmp_path, open=True).resolve().as_uri() == opened[0]


def test_a_notebook_shows_the_leaderboard_and_a_link_without_believing_names(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    run = medbench.load_run("out")
    shown = run._repr_html_()
    assert '<a href="out/report.html" target="_blank">out/report.html</a>' in shown
    assert "AUROC [95% CI]" in shown and "hog-svm" in shown
    assert "a&lt;b&gt;" in shown and "<b>" not in shown and "[red]" in shown
    assert re.sub(r"<[^>]*>", "", shown).count("hog-svm") == str(run).count("hog-svm") > 0
    assert repr(run) == "<medbench.Run 'out'>"


def test_a_link_leads_to_a_folder_whatever_its_name(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = Path('50% "new" <run> é')
    odd.symlink_to(folder)
    shown = medbench.load_run(odd)._repr_html_()
    assert 'href="50%25%20%22new%22%20%3Crun%3E%20%C3%A9/report.html"' in shown
    assert "&lt;run&gt;" in shown and "<run>" not in shown
    assert f'href="{(folder / "report.html").as_uri()}"' in medbench.load_run(folder)._repr_html_()


def test_what_is_no_run_is_refused_by_name(tmp_path):
    with pytest.raises(StoreError, match=r"nothing: there is no run here"):
        medbench.load_run(tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match="argument RUN: 5 is no path"):
        medbench.load_run(5)


def test_a_run_is_used_from_python_as_by_the_verbs(folder, tmp_path):
    rng = np.random.default_rng(1)
    labels = np.arange(30) % 2
    images = rng.integers(0, 200, (30, 28, 28), dtype=np.uint8)
    images[labels == 1, 4:10, 4:10] = 255
    np.savez(tmp_path / "three.npz", images=images, labels=labels)
    ours = f"source: npz, path: {folder.parent / 'set.npz'}, image_size: 28"
    entries = tmp_path / "entries.yaml"
    entries.write_text(f"one: {{{ours}, title: '{NAME}'}}\n", encoding="utf-8")
    others = tmp_path / "others.yaml"
    others.write_text("three: {source: kept-arrays, path: three.npz}\n", encoding="utf-8")
    plugin = tmp_path / "kept_arrays.py"
    plugin.write_text(
        "from medbench import register_source\n"
        "from medbench.datasets.sources.npz import NpzSource\n"
        "@register_source('kept-arrays')\n"
        "class KeptArrays(NpzSource):\n"
        "    'Arrays.'\n"
    )
    run = medbench.load_run(shutil.copytree(folder, tmp_path / "out"))

    again = run.reproduce(datasets="one", models="border", datasets_file=entries)
    assert again.same and set(again.cells.values()) == {""} and not again.inputs
    with pytest.raises(ConfigurationError, match="is the run itself"):
        run.reproduce(out=run.folder, datasets_file=entries)

    done = run.export(dataset="one", model="border", out=tmp_path / "new", datasets_file=entries)
    assert done.folder == tmp_path / "new" and done.largest_difference < 1e-6
    original = medbench.load_model(run.folder, dataset="one", model="border")
    np.testing.assert_allclose(
        medbench.load_model(done.folder).predict_proba(images), original.predict_proba(images)
    )

    given = {"models": "border", "trained_on": "one", "datasets_file": others, "plugin": plugin}
    with pytest.raises(ConfigurationError, match="no data set is named"):
        run.evaluate_on(**given)
    with pytest.raises(ConfigurationError, match="healthy"):
        run.evaluate_on("three", class_map={"healthy": "0"}, **given)
    same = {"class_map": {"0": "0", "1": "1"}, **given}
    with RunStore(run.folder).lock(), pytest.raises(StoreError, match="is at work in") as in_use:
        run.evaluate_on("three", **same)
    assert not getattr(in_use.value, "__notes__", [])  # evaluate has no --out
    (found,) = run.evaluate_on("three", **same)
    assert found.result.record["other"] == "three" and found.internal.name == "border"
    assert len(found.result.predictions) == 30 and 0 <= found.auroc.estimate <= 1
    assert [one.record["other"] for one in run.assessment.run.externals] == ["three"]

    with pytest.raises(ConfigurationError, match="argument --jobs: 0 is not a whole number"):
        run.reproduce(jobs=0)
    with pytest.raises(ConfigurationError, match=r"keyword of medbench\.Run\.export.*'model'"):
        run.export(modle="border")
    with pytest.raises(ConfigurationError, match="argument --class-map: 3"):
        run.evaluate_on("three", class_map={"0": 3}, **given)


def test_importing_medbench_imports_nothing_that_python_has_not():
    """So that it costs no more than a bare interpreter, whatever of it is used later."""
    code = (
        "import os, sys; before = set(sys.modules); import medbench; "
        "print(*sorted(set(sys.modules) - before))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(said.stdout.split()) <= {"__future__", "medbench"}


def test_every_public_name_is_there_and_described():
    for name in medbench.__all__:
        found = getattr(medbench, name)
        assert name.startswith("__") or found.__doc__, name
    for name, member in vars(medbench.Run).items():
        assert name.startswith("_") or getattr(member, "__doc__", None), name
    with pytest.raises(AttributeError, match="has no attribute 'runn'"):
        _ = medbench.runn
