"""Names that are no text, or that would be commands for a terminal, in what predict prints."""

import csv
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from medbench.cli import main
from medbench.inference.prediction import Prediction
from medbench.names import harmless
from medbench.testing.image_files import picture_file

LATIN = os.fsdecode(b"caf\xe9.png")
NAMES = (LATIN, os.fsdecode(b"caf\xff.png"), "a\nb.png", "a\x1b[31mb.png", "a\u202egnp.exe.png")
posix = pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    for k, name in enumerate(NAMES):
        pixels = np.random.default_rng(k).integers(0, 255, (32, 32)).astype(np.uint8)
        (folder / name).write_bytes(picture_file(pixels))
    return folder


@posix
@pytest.mark.parametrize("kind", ["json", "csv", "table"])
def test_predict_reads_such_names_and_shows_them_harmlessly(run, root, kind, capsys):
    (root / "broken\x1b]0;x\x07.png").write_bytes(b"no image")
    given = ["predict", str(root), str(root / "gone\x1b[2J.png"), "--run", str(run)]
    assert main([*given, "--format", kind]) == 1
    said = capsys.readouterr()
    assert "\x1b[31m" not in said.out and "\x1b]0" not in said.out + said.err
    assert "\x1b[2J" not in said.out + said.err and "\u202e" not in said.out
    assert f"2 of {len(NAMES) + 2} images could not be classified." in said.err
    if kind == "json":
        rows = [one["image"] for one in json.loads(said.out)["images"]]
    elif kind == "csv":
        rows = [row["image"] for row in csv.DictReader(io.StringIO(said.out))]
    else:
        return
    assert len(rows) == len(NAMES) + 2
    assert {row.rpartition("/")[2] for row in rows} >= {harmless(name) for name in NAMES}


@posix
def test_an_error_names_a_file_on_one_line(run, root, capsys):
    (root / "a\n\tb.png").write_bytes(b"no image")
    (root / "loop.png").symlink_to("loop.png")
    assert main(["predict", str(root), "--run", str(run), "--format", "csv"]) == 1
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    (error,) = [row["error"] for row in rows if row["error"]]
    assert r"a\n\tb.png: not an image" in error
    assert "left out: 1 link" in said.err


def test_a_row_is_one_line_whatever_a_class_is_called(run, films, capsys, monkeypatch):
    monkeypatch.setattr(Prediction, "decided", property(lambda self: "mal\u202eig\nnant"))
    (films / "0.png").write_bytes(b"no image")
    assert main(["predict", str(films), "--run", str(run), "--format", "csv"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(list(films.iterdir()))
    assert all(",mal ig nant," in line or "not an image" in line for line in lines[1:])


@posix
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_terminal_is_too_poor_for_a_name(root, encoding):
    names = [str(root / LATIN), str(root / "ü\x1b[2J"), "-"]
    done = subprocess.run(
        [sys.executable, "-m", "medbench", "predict", *names, "--run", str(root)],
        input=os.fsencode(LATIN) + b"\n",
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        check=False,
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr and b"\x1b[2J" not in done.stderr
