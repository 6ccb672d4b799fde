"""Files and folders take their final names whole, or not at all."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from medbench.atomic_files import (
    append_line,
    read_lines,
    replacing_file,
    replacing_folder,
    write_json,
    write_text,
)
from medbench.errors import StoreError
from medbench.hashes import sha256_of_arrays, sha256_of_folder, sha256_of_json, sha256_of_text


def test_a_file_is_replaced_when_all_is_well_and_left_when_not(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing_file(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "model"
    for text, name in (("old", "a"), ("new", "b")):
        with replacing_folder(path) as temporary:
            (temporary / name).write_text(text)
    assert [file.name for file in path.iterdir()] == ["b"]
    with pytest.raises(ZeroDivisionError), replacing_folder(path) as temporary:
        (temporary / "c").write_text("half")
        raise ZeroDivisionError
    assert [file.name for file in path.iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def done(monkeypatch):
    """What reached the disk, by its number there, and when something was renamed."""
    done = []

    def renaming(rename):
        def renamed(self, target):
            done.append("renamed")
            return rename(self, target)

        return renamed

    monkeypatch.setattr(os, "fsync", lambda number: done.append(os.fstat(number).st_ino))
    for name in ("replace", "rename"):
        monkeypatch.setattr(Path, name, renaming(getattr(Path, name)))
    return done


def number(path):
    return path.stat().st_ino


@pytest.mark.skipif(os.name == "nt", reason="Windows opens no folders")
def test_what_takes_its_final_name_has_reached_the_disk_before(tmp_path, done):
    """Else a machine that loses power leaves half a file under that name."""
    file, folder, lines = tmp_path / "a.txt", tmp_path / "model", tmp_path / "lines"
    write_text(file, "whole")
    assert done == [number(file), "renamed", number(tmp_path)]
    done.clear()
    with replacing_folder(folder) as temporary:
        (temporary / "b").write_text("whole")
    assert done == [number(folder / "b"), number(folder), "renamed", number(tmp_path)]
    done.clear()
    append_line(lines, {"number": 0})
    append_line(lines, {"number": 1})
    assert done == [number(lines), number(tmp_path), number(lines)]


def test_what_cannot_be_written_names_the_place_and_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written.*Free space or permissions there"):
        write_json(tmp_path / "file" / "a.json", {})


def test_a_torn_last_line_is_not_read_and_goes_with_the_next(tmp_path):
    path = tmp_path / "trials.jsonl"
    assert read_lines(path) == []
    append_line(path, {"number": 0})
    with path.open("ab") as file:
        file.write(b'{"number": 1, "sc')
    assert read_lines(path) == [{"number": 0}]
    append_line(path, {"number": 1})
    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == [0, 1]


def test_hashes_tell_content_apart(tmp_path):
    assert sha256_of_text("a", "bc") != sha256_of_text("ab", "c")
    assert sha256_of_json({"a": 1, "b": 2}) == sha256_of_json({"b": 2, "a": 1})
    values = np.arange(6)
    others = [values.reshape(2, 3), values.astype(np.int32), values[::-1], None]
    assert len({sha256_of_arrays(one) for one in (values, *others)}) == 5
    assert sha256_of_arrays(values, None) != sha256_of_arrays(None, values)
    (tmp_path / "a").write_text("x")
    before = sha256_of_folder(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert sha256_of_folder(tmp_path) != before
