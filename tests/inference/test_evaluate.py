"""The model of a run on another data set: internal against external."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from medbench import load_model
from medbench.atomic_files import read_json
from medbench.cli import main
from medbench.datasets.catalog import load_catalog
from medbench.evaluation.metrics import auroc
from medbench.inference.external import prepare_like
from medbench.reports.external import externals
from medbench.reports.stored import assessed
from medbench.store import RunStore, seals


@pytest.fixture
def evaluate(run, entries):
    """Runs the verb on the data set ``elsewhere``."""

    def do(*more: str) -> int:
        given = ["evaluate", "--run", str(run), "--datasets-file", str(entries)]
        return main([*given, "--datasets", "elsewhere", *more])

    return do


def found(run):
    result = RunStore(run).read()
    (dataset,) = assessed(result).datasets
    return externals(result, dataset)


def test_the_report_shows_internal_against_external(run, evaluate, capsys):
    assert evaluate("--models", "xgboost", "hog-svm", "ensemble") == 0
    shown = capsys.readouterr().out
    assert "xgboost on elsewhere (32 images" in shown and "where it was" in shown
    both = found(run)
    assert [one.result.record["model"] for one in both] == ["ensemble", "hog-svm", "xgboost"]
    for one in both:
        table = one.result.predictions
        scored = auroc(table["label"].to_numpy(), table[["p0", "p1"]].to_numpy(), 2)
        assert one.auroc.estimate == pytest.approx(scored)
        assert one.internal.name == one.result.record["model"]
        folds = np.mean([table[f"f{i}p1"] for i in range(2)], axis=0)
        np.testing.assert_allclose(table["p1"], folds)
    page = (run / "report.html").read_text()
    assert "Internal against external" in page and "elsewhere" in page
    assert "Images are left out (--no-images of run or report)" in page  # as was said to the run
    assert "On other data sets" in (run / "leaderboard.md").read_text()
    assert main(["report", str(run)]) == 0
    assert "Internal against external" in (run / "report.html").read_text()


def test_classes_of_other_names_are_translated(run, evaluate, tmp_path, entries, capsys, films):
    root = tmp_path / "classes"
    for name, numbers in {"sick": (1, 3, 5, 7), "well": (0, 2, 4), "unclear": (6,)}.items():
        (root / name).mkdir(parents=True)
        for i in numbers:
            (root / name / f"{i}.png").write_bytes((films / f"{i}.png").read_bytes())
    given = ["evaluate", "--run", str(run), "--data", str(root), "--datasets", "classes"]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert "--class-map" in said and "sick" in said and "lesion" in said
    assert main([*given, "--class-map", "sick=lesion", "wel=healthy"]) == 2
    assert "sick, unclear, well" in capsys.readouterr().err
    assert main([*given, "--class-map", "sick=lesion", "sick=healthy"]) == 2
    assert "twice" in capsys.readouterr().err
    assert main([*given, "--class-map", "sick"]) == 2
    assert "THEIRS=OURS" in capsys.readouterr().err
    assert main([*given, "--class-map", "sick=lesion", "well=healthy"]) == 0
    (one,) = found(run)
    assert one.result.record["left_out"] == {"unclear": 1} and len(one.result.predictions) == 7
    assert "left out: unclear (1)" in " ".join(one.notes)


def test_at_a_terminal_the_classes_are_asked_for(run, tmp_path, films, monkeypatch, capsys):
    root = tmp_path / "asked"
    for name, i in (("sick", 1), ("well", 0)):
        (root / name).mkdir(parents=True)
        (root / name / "a.png").write_bytes((films / f"{i}.png").read_bytes())
        (root / name / "b.png").write_bytes((films / f"{i + 2}.png").read_bytes())
    given = ["evaluate", "--run", str(run), "--data", str(root), "--datasets", "asked"]
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("medbench.running.ask.sys", terminal)
    answers = iter(["healthy", "no such class", "lesion"])
    monkeypatch.setattr("builtins.input", lambda *_: next(answers))
    assert main(given) == 0
    assert "Which is which?" in capsys.readouterr().out
    assert found(run)[0].result.record["class_map"] == {"sick": "lesion", "well": "healthy"}

    def ends(*_):
        raise EOFError

    monkeypatch.setattr("builtins.input", ends)
    assert main(given) == 2
    assert "--class-map" in capsys.readouterr().err


def test_what_is_damaged_is_named_and_the_rest_is_shown(run, evaluate, capsys):
    assert evaluate("--models", "hog-svm") == 0
    path = run / "external/small/hog-svm/elsewhere/external.json"
    path.write_text(path.read_text().replace('"n_folds": 2', '"n_folds": 3'))
    result = RunStore(run).read()
    assert result.externals == () and "external.json" in result.gaps[0]
    path.write_text("{")
    assert "external.json" in RunStore(run).read().gaps[0]
    assert main(["report", str(run)]) == 0


def test_the_images_of_development_are_no_external_test(run, entries, capsys):
    given = ["evaluate", "--run", str(run), "--datasets-file", str(entries)]
    assert main([*given, "--datasets", "small"]) == 2
    assert "the very images" in capsys.readouterr().err


def test_a_validation_of_models_that_are_gone_is_left_out(run, evaluate):
    assert evaluate("--models", "hog-svm") == 0
    path = run / "cells/small/hog-svm/r0f0/cell.json"
    record = read_json(path)
    seals.write_record(path, {**record, "model_sha256": "0" * 64})
    result = RunStore(run).read()
    assert result.externals == () and "no longer here" in result.gaps[0]


def test_another_shape_is_brought_to_the_models(run, evaluate, entries):
    catalog = load_catalog(datasets_file=entries)
    listing = catalog.get("elsewhere").listing()
    assert listing.read(0).shape == (48, 48)
    assert evaluate() == 0
    data = prepare_like(load_model(run), "elsewhere", catalog)
    small = Image.fromarray(listing.read(0)).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.abs(data.images[0][..., 0].astype(int) - np.asarray(small)).max() <= 1


def test_unreadable_images_are_listed_and_left_out_only_on_request(run, tmp_path, films, capsys):
    root = tmp_path / "classes"
    for name in ("healthy", "lesion"):
        (root / name).mkdir(parents=True)
        for i in range(3):
            (root / name / f"{i}.png").write_bytes((films / f"{i}.png").read_bytes())
    (root / "lesion" / "notes.png").write_text("no image")
    given = ["evaluate", "--run", str(run), "--data", str(root), "--datasets", "classes"]
    given += ["--models", "hog-svm"]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert "lesion/notes.png" in said and "--skip-unreadable" in said
    assert found(run) == []
    assert main([*given, "--skip-unreadable"]) == 0
    assert len(found(run)[0].result.predictions) == 6


def test_an_exported_model_has_no_run_to_keep_it_in(run, evaluate, tmp_path, entries, capsys):
    given = ["evaluate", "--run", str(tmp_path), "--datasets", "elsewhere"]
    assert main([*given, "--datasets-file", str(entries)]) == 2
    assert "no run.json" in capsys.readouterr().err
    assert evaluate("--models", "nothing") == 2
    assert main([*given[:2], str(run), "--datasets", "nowhere"]) == 2
