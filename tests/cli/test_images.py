"""Pictures of patients' images in a run folder: what was said to ``run`` holds for every verb."""

import shutil
from pathlib import Path

import pytest

from medbench.cli import main

LEFT_OUT = """
from medbench import ModelFamily, register_model


@register_model("left-out")
class LeftOut(ModelFamily):
    '''Applies to nothing, so that a run of it starts no process.'''

    def skip(self, task):
        return "applies to nothing"

    def search_space(self, space, task):
        pass

    def build(self, params, task, context):
        raise NotImplementedError
"""


@pytest.fixture
def run(class_folders, tmp_path, monkeypatch):
    """Starts a run of a set with two copies of one image, whose licence says nothing."""
    monkeypatch.chdir(tmp_path)
    root = class_folders()
    shutil.copy(root / "a" / "00.png", root / "a" / "copy.png")
    Path("left_out.py").write_text(LEFT_OUT)
    what = ["run", "--data", str(root), "--plugin", "left_out.py", "--models", "left-out"]

    def start(*options):
        assert main([*what, "--no-sanity", "--folds", "2", "--out", "out", *options]) == 0

    return start


def kept():
    """Kinds of pictures of patients' images in the run folder."""
    found = {path.suffix for path in Path("out").rglob("*.webp")}
    return found | {path.name for path in Path("out").rglob("duplicates.png")}


def on_page():
    return Path("out/report.html").read_text().count("<img")


ALL = {".webp", "duplicates.png"}


def test_nothing_is_kept_or_shown_where_no_licence_allows_it(run):
    run()
    assert kept() == set() and on_page() == 0


def test_what_was_said_to_the_run_holds_for_later_starts_and_other_verbs(run):
    run("--images")
    assert kept() == ALL and on_page() > 4
    shown = on_page()
    run()
    assert kept() == ALL and on_page() == shown
    for verb in (["leaderboard", "out"], ["report", "out"]):
        Path("out/report.html").unlink()
        assert main(verb) == 0
        assert on_page() == shown
    assert main(["report", "out", "--no-images"]) == 0
    assert on_page() == 0 and kept() == ALL  # this page only
    run("--no-images")
    assert kept() == set() and on_page() == 0
    run()
    assert main(["leaderboard", "out"]) == 0
    assert kept() == set()
    assert (
        "Images are left out (--no-images of run or report)" in Path("out/report.html").read_text()
    )
