"""A run of a folder keeps no path: what needs the images again is told where they are."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medbench.cli import main

RUN = ("--models", "thumbnail", "--no-sanity", "--trials", "1", "--folds", "2", "--out", "out")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of the thumbnail row on a folder called films, made once."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    for label in ("a", "b"):
        (folder / "films" / label).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 255, (24, 24), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "films" / label / f"{i:02d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MEDBENCH_CACHE", str(folder / "cache"))
        assert main(["run", "--data", "films", *RUN]) == 0
    return folder


@pytest.fixture
def films(made, tmp_path, monkeypatch):
    """The folder of images, beside a copy of the run, where the test works."""
    monkeypatch.chdir(tmp_path)
    for name in ("films", "out"):
        shutil.copytree(made / name, tmp_path / name)
    return Path("films")


VERBS = {
    "export": ["export", "out", "--models", "thumbnail", "--out", "exported"],
    "reproduce": ["reproduce", "out"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_without_the_folder_the_option_that_names_it_is_told(films, verb, capsys):
    assert main(VERBS[verb]) == 2
    said = capsys.readouterr().err
    assert "data set 'films' of the run is not registered" in said and "--data FOLDER" in said


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ["films", "moved and renamed"])
def test_with_the_folder_wherever_it_is_now_it_works(films, verb, name):
    moved = films.rename(name)
    assert main([*VERBS[verb], "--data", str(moved)]) == 0


@pytest.mark.parametrize("verb", VERBS)
def test_another_folder_is_refused(films, verb, class_folders, capsys):
    other = class_folders(per_class=9)
    assert main([*VERBS[verb], "--data", str(other)]) > 0
    said = "".join(capsys.readouterr())
    assert "are not those of out" in said or "data: was" in said


def test_of_several_sets_it_must_be_said_which_is_meant_by_an_option_of_the_verb(films, capsys):
    entries = Path("datasets.yaml")
    entries.write_text("first: {source: folder, path: films}\n")
    assert main(["run", "--datasets", "first", "--data", "films", *RUN[:-1], "two"]) == 0
    entries.unlink()
    capsys.readouterr()
    films.rename("other")
    assert main(["reproduce", "two", "--data", "other"]) == 2
    said = capsys.readouterr().err
    assert "no data set of the run is called other, it has films, first" in said
    for verb, option in (
        (["evaluate", "--run", "two", "--data", "other"], "--trained-on"),
        (["export", "two"], "--dataset"),
        (["predict", "other", "--run", "two"], "--dataset"),
    ):
        assert main([*verb, "--models", "thumbnail"]) == 2
        said = capsys.readouterr().err
        assert "has several data sets" in said and said.endswith(f" {option} NAME does it.\n")


def test_evaluate_takes_the_folder_by_itself(films, capsys):
    shutil.copytree(films, "ours")
    (Path("ours") / "a" / "00.png").unlink()
    given = ["evaluate", "--run", "out", "--models", "thumbnail"]
    assert main(given) == 2
    assert "--data FOLDER" in capsys.readouterr().err
    assert main([*given, "--data", "ours"]) == 0


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("films.zip", "is truncated"),
        ("films.7z", "unpack what is packed otherwise"),
        ("films.csv", "python -m medbench datasets add NAME films.csv"),
        ("films.npz", "python -m medbench datasets add NAME films.npz"),
        ("film.png", "Name a folder"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "audit"])
def test_a_file_where_a_folder_is_wanted(tmp_path, monkeypatch, capsys, verb, name, remedy):
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"PK")
    assert main([verb, "--data", name]) == 2
    said = capsys.readouterr().err
    assert remedy in said and ("datasets add" in said) == ("datasets add" in remedy)


def test_a_file_of_an_entry_that_is_gone_is_not_looked_for_in_data_folders(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("datasets.yaml").write_text(f"mine: {{source: folder, path: {tmp_path / 'gone'}}}\n")
    assert main(["audit", "mine"]) == 2
    said = capsys.readouterr().err
    assert "correct the field path of its entry" in said and "--data-dir" not in said


def test_a_run_folder_that_cannot_be_written_is_told_without_an_option_that_is_not_there(
    films, monkeypatch, capsys
):
    def full(*given, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("filelock.FileLock.acquire", full)
    shutil.copytree(films, "ours")
    (Path("ours") / "a" / "00.png").unlink()
    assert main(["evaluate", "--run", "out", "--models", "thumbnail", "--data", "ours"]) == 2
    said = capsys.readouterr().err
    assert "No space left on device" in said and "--out" not in said
    assert main(["run", "--data", "films", *RUN]) == 2
    assert "--out names another folder." in capsys.readouterr().err
