"""Entries of the cache are whole and as written, or not there; what killed processes left goes."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from medbench.cache import adding_entry, cache_folder, is_sound, sums_of, working_folder


def entry_of(values, name="set/one"):
    path = cache_folder() / name
    with adding_entry(path) as entry:
        np.save(entry / "rows.npy", values)
        (entry / "inner").mkdir()
        (entry / "inner" / "about.json").write_text("{}")
    return path


def test_an_entry_is_sound_until_any_of_its_files_changes():
    path = entry_of(np.arange(1000))
    assert is_sound(path) and set(sums_of(path)) == {"rows.npy", "inner/about.json"}
    content = bytearray((path / "rows.npy").read_bytes())
    content[-1] ^= 1  # a bit that flipped on a disk
    (path / "rows.npy").write_bytes(content)
    assert not is_sound(path)
    assert not path.exists()  # so that it is made again


@pytest.mark.parametrize("damage", ("rows.npy", "inner/about.json", "sha256.json"))
def test_an_entry_that_lacks_a_file_is_removed(damage):
    path = entry_of(np.arange(3))
    (path / damage).unlink()
    assert not is_sound(path) and not path.exists()


def test_a_file_that_was_added_is_damage_too():
    path = entry_of(np.arange(3))
    (path / "more.npy").write_bytes(b"more")
    assert not is_sound(path)


def test_an_entry_that_fails_leaves_nothing():
    path = cache_folder() / "set" / "one"
    with pytest.raises(ValueError), adding_entry(path) as entry:
        (entry / "half").write_text("half")
        raise ValueError
    assert not path.exists() and list(working_folder().iterdir()) == [working_folder() / "lock"]


def test_of_two_processes_that_make_one_entry_the_first_keeps_it():
    path = cache_folder() / "set" / "one"
    with adding_entry(path) as slow:
        np.save(slow / "rows.npy", np.zeros(2))
        entry_of(np.ones(2))
    assert is_sound(path) and np.load(path / "rows.npy").tolist() == [1, 1]


WORKS = """
import sys
from medbench.cache import adding_entry, cache_folder
with adding_entry(cache_folder() / "set" / "two") as entry:
    (entry / "half.npy").write_bytes(b"half")
    print("begun", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_by_the_next():
    process = subprocess.Popen(
        [sys.executable, "-c", WORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    work = cache_folder() / "work"
    (theirs,) = work.iterdir()
    assert working_folder() != theirs and theirs.exists()  # it is still at work
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert any(theirs.iterdir())
    code = "from medbench.cache import working_folder; working_folder()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert list(work.iterdir()) == [working_folder()]  # nor did the last one leave anything
    process.stdin.close(), process.stdout.close()


def test_a_working_folder_belongs_to_one_process():
    own = working_folder()
    assert own == working_folder() and own.is_dir()
    code = "from medbench.cache import working_folder; print(working_folder())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() != str(own)
