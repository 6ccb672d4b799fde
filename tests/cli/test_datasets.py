import numpy as np
import pytest
import yaml
from PIL import Image

from medbench.cli import main


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_folder_is_added_shown_and_found_again(class_folders, capsys, tmp_path):
    root = class_folders()
    assert main(["datasets", "add", "mine", str(root)]) == 0
    shown = capsys.readouterr().out
    assert "images: 16" in shown and "a: 8" in shown
    side = yaml.safe_load((tmp_path / "datasets.yaml").read_text())["mine"]["image_size"]
    assert f"brought to {side} x {side} pixels" in shown
    assert "groups (patients): not known" in shown
    assert main(["datasets", "list"]) == 0
    assert "mine" in capsys.readouterr().out
    assert main(["datasets", "show", "mine"]) == 0
    shown = capsys.readouterr().out
    assert "images: 16" in shown and "a/00.png" in shown
    assert "mine-images.png" in shown
    with Image.open(tmp_path / "mine-images.png") as sheet:
        assert len(np.unique(np.asarray(sheet))) > 2


def test_an_image_that_cannot_be_read_is_no_obstacle_to_looking_at_the_others(
    class_folders, capsys, tmp_path
):
    root = class_folders()
    (root / "a" / "00.png").write_bytes(b"no image")
    assert main(["datasets", "add", "mine", str(root)]) == 0
    assert main(["datasets", "show", "mine", "--sheet", "look/here.png"]) == 0
    assert (tmp_path / "look" / "here.png").is_file()


def test_the_entries_of_a_file_are_checked_each(class_folders, capsys, tmp_path):
    file = tmp_path / "datasets.yaml"
    good, bad = class_folders(), tmp_path / "empty"
    bad.mkdir()
    file.write_text(
        f"good: {{source: folder, path: '{good}'}}\nbad: {{source: folder, path: '{bad}'}}\n"
        "elsewhere: {source: folder, path: nowhere}\n"
    )
    assert main(["datasets", "validate"]) == 1
    said = capsys.readouterr()
    assert "good: 16 images" in said.out and "elsewhere: its images are not here" in said.out
    assert "bad: " in said.err
    file.write_text("good: {source: folder, pth: x}\n")
    assert main(["datasets", "validate"]) == 2
    assert 'line 1: data set "good": "pth" is not a field' in capsys.readouterr().err


def test_an_entry_is_appended_and_what_was_there_stays(class_folders, capsys, tmp_path):
    file = tmp_path / "datasets.yaml"
    file.write_text("# my sets\nfirst: {source: phantoms}")
    assert main(["datasets", "add", "second", str(class_folders())]) == 0
    text = file.read_text()
    assert text.startswith("# my sets\nfirst: {source: phantoms}\n")
    assert "second:" in text


def test_what_lies_below_the_file_is_named_relative_to_it_and_found_after_a_move(
    class_folders, tmp_path, monkeypatch, capsys
):
    here, elsewhere = tmp_path / "study", tmp_path / "moved"
    here.mkdir()
    class_folders(per_class=3).rename(here / "films")
    monkeypatch.chdir(here)
    assert main(["datasets", "add", "mine", "films"]) == 0
    assert yaml.safe_load((here / "datasets.yaml").read_text())["mine"]["path"] == "films"
    monkeypatch.chdir(tmp_path)
    here.rename(elsewhere)
    file = ["--datasets-file", str(elsewhere / "datasets.yaml")]
    class_folders(per_class=4).rename(tmp_path / "films")  # of the same name in a data folder
    assert main(["datasets", "show", "mine", *file, "--data-dir", str(tmp_path)]) == 0
    assert "images: 6" in capsys.readouterr().out


def test_a_name_cannot_be_added_twice(class_folders, capsys):
    root = str(class_folders())
    main(["datasets", "add", "mine", root])
    assert main(["datasets", "add", "mine", root]) == 2
    assert "registered already" in capsys.readouterr().err


def test_what_cannot_be_used_is_not_written(class_folders, capsys, tmp_path):
    assert main(["datasets", "add", "mine", str(class_folders(classes=("a",)))]) == 2
    assert "only one class" in capsys.readouterr().err
    assert not (tmp_path / "datasets.yaml").exists()


def test_models_can_be_listed_and_shown(capsys):
    assert main(["models", "list"]) == 0
    assert "hog-svm" in capsys.readouterr().out
    assert main(["models", "info", "hog-svm"]) == 0
    shown = capsys.readouterr().out
    assert "Dalal" in shown and "kernel is rbf" in shown


def test_a_file_that_cannot_be_appended_to_stays_and_the_entry_is_shown(
    class_folders, capsys, tmp_path
):
    file = tmp_path / "datasets.yaml"
    file.write_text("{a: {source: phantoms}}")
    assert main(["datasets", "add", "mine", str(class_folders())]) == 2
    assert "Paste this into it" in capsys.readouterr().err
    assert file.read_text() == "{a: {source: phantoms}}"


def test_the_next_command_that_is_printed_works(class_folders, capsys):
    root = str(class_folders(per_class=12))
    assert main(["datasets", "add", "mine", root, "--datasets-file", "my.yaml"]) == 0
    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if line.startswith("Run it: "))
    arguments = line.removeprefix("Run it: python -m medbench ").split()
    assert arguments[-2:] == ["--datasets-file", "my.yaml"]
    assert main([*arguments, "--models", "majority", "--folds", "2", "--dry-run"]) == 0
    assert "1 data set x" in capsys.readouterr().out


def test_a_file_given_as_data_says_how_to_register_it(capsys, tmp_path):
    (tmp_path / "t.csv").write_text("file,label\n")
    assert main(["run", "--data", "t.csv"]) == 2
    assert "datasets add NAME t.csv" in capsys.readouterr().err
