import json

import pytest
from PIL import Image

from medbench.cli import main


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments):
    return main(["audit", *map(str, arguments)])


@pytest.fixture
def conflicting(class_folders):
    """A folder with an image under both labels, and a file that is no image."""
    root = class_folders(per_class=12)
    (root / "b" / "copy.png").write_bytes((root / "a" / "00.png").read_bytes())
    (root / "b" / "notes.png").write_text("not an image")
    return root


def test_findings_are_printed_within_80_columns_and_written(conflicting, capsys, tmp_path):
    assert run("--data", conflicting, "--skip-unreadable") == 0
    shown = capsys.readouterr().out
    assert "25 images in 24 groups: 1 serious" in shown
    assert "1 pair of identical images carries different labels." in shown
    assert "a/00.png, b/copy.png" in shown and "b/notes.png: not an image" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    folder = tmp_path / "results" / "audit" / "set"
    assert {file.name for file in folder.iterdir()} == {"audit.json", "audit.md", "duplicates.png"}
    with Image.open(folder / "duplicates.png") as sheet:
        assert sheet.width > 300


def test_the_owner_finds_the_names_of_the_files_and_no_place_of_this_machine(conflicting, tmp_path):
    assert run("--data", conflicting, "--out", "out", "--skip-unreadable") == 0
    record = json.loads((tmp_path / "out" / "set" / "audit.json").read_text())
    conflict = next(f for f in record["findings"] if f["check"] == "label-conflicts")
    files = {file["image"]: file for file in record["files"]}
    named = [files[row] for row in conflict["images"]]
    assert [file["file"] for file in named] == ["a/00.png", "b/copy.png"]
    assert named[0]["group"] == named[1]["group"]
    page = (tmp_path / "out" / "set" / "audit.md").read_text()
    assert "## Serious: label-conflicts" in page and "- b/copy.png" in page
    for text in (page, json.dumps(record)):
        assert "b/notes.png" in text and str(tmp_path) not in text


@pytest.mark.parametrize(
    ("options", "status"),
    [([], 0), (["--fail-on-audit"], 0), (["--fail-on-audit", "warning"], 1)],
)
def test_a_warning_is_fatal_only_on_request(class_folders, options, status):
    root = class_folders(per_class=12)
    (root / "b" / "notes.png").write_text("not an image")
    assert run("--data", root, "--skip-unreadable", *options) == status


def test_a_serious_finding_is_fatal_on_request(conflicting):
    assert run("--data", conflicting, "--fail-on-audit", "--skip-unreadable") == 1


def test_the_sheet_of_an_earlier_audit_goes_when_the_images_are_mended(conflicting, tmp_path):
    sheet = tmp_path / "results" / "audit" / "set" / "duplicates.png"
    run("--data", conflicting, "--skip-unreadable")
    assert sheet.exists()
    (conflicting / "b" / "copy.png").unlink()
    run("--data", conflicting, "--skip-unreadable")
    assert not sheet.exists()


def test_unreadable_files_are_listed_and_left_out_only_on_request(conflicting, capsys):
    assert run("--data", conflicting) == 2
    said = capsys.readouterr()
    assert "1 of 26 images cannot be read" in said.err and "b/notes.png" in said.err
    assert "--skip-unreadable" in said.err and "images in" not in said.out
    assert run("--data", conflicting, "--skip-unreadable") == 0
    assert "25 images in 24 groups" in capsys.readouterr().out


def test_a_data_set_that_cannot_be_read_does_not_stop_the_others(class_folders, capsys):
    root = class_folders(per_class=12)
    assert run("brain-mri", "--data", root) == 2
    output = capsys.readouterr()
    assert "brain-mri" in output.err and "24 images in 24 groups" in output.out


def test_hostile_names_reach_neither_the_terminal_nor_the_page(class_folders, capsys, tmp_path):
    root = class_folders(per_class=12, classes=("\x1b[31m[bold]<i>", "b"))
    source = next((root / "b").iterdir())
    for name in ("x|`\x1b[2J.png", "[link](y).png"):
        (root / "b" / name).write_bytes(source.read_bytes())
    assert run("--data", root) == 0
    shown = capsys.readouterr().out
    page = (tmp_path / "results" / "audit" / "set" / "audit.md").read_text()
    assert "\x1b" not in shown + page
    assert "[link](y).png" in shown and "\\[link\\](y).png" in page


def test_no_name_and_an_unknown_name_are_refused_with_the_choices(capsys):
    assert run() == 2
    assert "python -m medbench datasets list" in capsys.readouterr().err
    assert run("brian-mri") == 2
    assert "brain-mri" in capsys.readouterr().err


@pytest.mark.real
def test_the_copies_in_brain_mri_are_found(real_data, tmp_path):
    assert run("brain-mri", "--data-dir", real_data, "--out", "out") == 0
    record = json.loads((tmp_path / "out" / "brain-mri" / "audit.json").read_text())
    numbers = {finding["check"]: finding["numbers"] for finding in record["findings"]}
    assert numbers["exact-duplicates"] == {"groups": 22, "images": 47, "surplus": 25}
    assert "label-conflicts" not in numbers
