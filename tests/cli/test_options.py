import argparse

import pytest

from medbench.cli import main
from medbench.cli.options import duration, whole


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("2m", 120), ("1.5h", 5400), ("3 min", 180)]
)
def test_durations_are_read_as_people_write_them(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 days", "-3"])
def test_other_durations_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="write 90s, 2m or 1h"):
        duration(text)


def test_a_number_below_the_least_is_refused_with_the_value_received():
    with pytest.raises(argparse.ArgumentTypeError, match="'1' is not a whole number of at least 2"):
        whole(2)("1")


def errors_of(capsys, *arguments) -> str:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_wrong_names_list_the_close_ones_and_leave_no_folder(capsys, tmp_path):
    assert "'hog-svm'" in errors_of(capsys, "run", "--models", "hog-smv")
    assert "'brain-mri'" in errors_of(capsys, "run", "--datasets", "brain-mir")
    assert "'demo'" in errors_of(capsys, "run", "--suite", "dmeo")
    assert "'optuna'" in errors_of(capsys, "run", "--tuner", "optunna")
    assert "'quick'" in errors_of(capsys, "run", "--budget", "quik")
    assert list(tmp_path.iterdir()) == []


def test_options_that_exclude_each_other_are_refused(capsys):
    text = errors_of(capsys, "run", "--budget", "quick", "--trials", "3")
    assert "either --budget, or --trials and --time" in text


def test_a_missing_folder_or_file_is_named(capsys, tmp_path):
    assert "--data nowhere" in errors_of(capsys, "run", "--data", "nowhere")
    assert "--plugin" in errors_of(capsys, "run", "--plugin", "no.py")
    assert "no run here" in errors_of(capsys, "leaderboard", "nothing")
    assert "--data-dir or" in errors_of(capsys, "run", "--datasets", "brain-mri", "--out", "x")


def test_a_suite_file_is_checked_like_the_catalog(capsys, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("datasets: [phantoms-mr]\nmodles: [majority]\n")
    text = errors_of(capsys, "run", "--suite", str(file))
    assert "mine.yaml, line 2" in text and 'Did you mean "models"' in text


def test_a_folder_that_cannot_be_written_is_an_error(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    arguments = ("run", "--models", "majority", "--out", str(tmp_path / "file" / "run"))
    assert "cannot be written" in errors_of(capsys, *arguments)
