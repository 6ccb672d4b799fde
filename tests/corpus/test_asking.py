"""What only a person can decide is asked at a terminal, and elsewhere the message says how."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from medbench.cli import main


@pytest.fixture
def views(tmp_path, monkeypatch):
    """Two views with the same two classes in each; the working folder is beside."""
    for k, label in enumerate(("no", "yes")):
        for view in ("AP", "PA"):
            (tmp_path / "films" / view / label).mkdir(parents=True)
            for i in range(4):
                rng = np.random.default_rng(100 * k + 10 * i + len(view) + ord(view[0]))
                pixels = rng.integers(0, 200, (24, 20 + i), dtype=np.uint8)
                pixels[4:9, 4:9] += 50 * k
                Image.fromarray(pixels).save(tmp_path / "films" / view / label / f"{view}{i}.png")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "films"


@pytest.fixture
def answering(monkeypatch):
    """A terminal at which these answers are typed; after the last one it is closed."""

    def typed(*answers: str) -> None:
        left = iter(answers)

        def read(*_):
            try:
                return next(left)
            except StopIteration:
                raise EOFError from None

        terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
        monkeypatch.setattr("medbench.running.ask.sys", terminal)
        monkeypatch.setattr("builtins.input", read)

    return typed


def record(run) -> dict:
    return json.loads((run / "datasets/films/dataset.json").read_text())


def test_without_a_terminal_the_message_names_an_option_that_exists(views, capsys):
    for verb in (["run"], ["audit"]):
        assert main([*verb, "--data", str(views)]) == 2
        said = capsys.readouterr().err
        assert "AP, PA hold the same folders (no, yes)" in said
        assert "--folders of python -m medbench datasets add" in said and "PA/" in said
    assert main(["datasets", "add", "films", str(views), "--folders", "parts"]) == 0
    assert main(["datasets", "show", "films"]) == 0
    assert "no: 8" in capsys.readouterr().out


def test_the_answer_goes_into_the_entry_that_is_written(views, answering, capsys):
    answering("neither", "PA/")
    assert main(["datasets", "add", "films", str(views)]) == 0
    shown = capsys.readouterr().out
    assert "AP, PA hold the same folders" in shown and "patients: each is a patient" in shown
    entry = yaml.safe_load(Path("datasets.yaml").read_text())["films"]
    assert entry["folders"] == "PA/"
    assert main(["audit", "films"]) == 0
    assert "8 images" in capsys.readouterr().out


def test_a_run_asks_before_anything_is_shown_live_and_holds_to_the_answer(views, answering):
    given = ["run", "--data", str(views), "--models", "thumbnail", "--no-sanity", "--folds", "2"]
    given += ["--trials", "1", "--out", "run"]
    answering("parts")
    assert main(given) == 0
    assert record(views.parent / "work/run")["class_counts"] == [8, 8]
    answering("parts")
    exported = ["export", "run", "--data", str(views), "--models", "thumbnail", "--out", "model"]
    assert main(exported) == 0
    answering("parts")
    assert main(["reproduce", "run", "--data", str(views)]) == 0
    answering("AP/")
    given = ["evaluate", "--run", "run", "--data", str(views), "--datasets", "films"]
    assert main([*given, "--models", "thumbnail"]) == 0


def test_no_answer_is_an_error_that_says_how(views, answering, capsys):
    answering()
    for verb in (["run", "--data"], ["audit", "--data"], ["datasets", "add", "films"]):
        assert main([*verb, str(views)]) == 2
        assert "--folders" in capsys.readouterr().err


def test_options_of_folders_are_refused_for_other_things(views, capsys):
    table = views / "t.csv"
    table.write_text("file,label\nAP/no/AP0.png,no\nAP/yes/AP0.png,yes\n")
    assert main(["datasets", "add", "films", str(table), "--folders", "parts"]) == 2
    assert "--folders: is for folders" in capsys.readouterr().err
    given = ["datasets", "add", "films", str(views / "AP"), "--exclude", "*0.png", "*1.png"]
    assert main(given) == 0
    assert "images: 4" in capsys.readouterr().out
