"""The cache is optional: whole and as written or not there, and nothing fails because of it."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from medbench import cache
from medbench.cache import (
    CHECKSUMS,
    cache_folder,
    entries,
    folders,
    found_entry,
    is_sound,
    keep_entry,
    keep_note,
    locks,
    made_entry,
    read_entry,
    read_note,
    sums_of,
    working_folder,
)
from medbench.errors import CacheWarning, MachineError


def files_of(values):
    def write(folder):
        np.save(folder / "rows.npy", values)
        (folder / "inner").mkdir()
        (folder / "inner" / "about.json").write_text("{}")

    return write


def entry_of(values, name="set/one"):
    path = cache_folder() / name
    assert keep_entry(path, files_of(values))
    return path


# --- reading --------------------------------------------------------------------------------


def test_an_entry_is_sound_until_any_of_its_files_changes():
    path = entry_of(np.arange(1000))
    assert is_sound(path) and set(sums_of(path)) == {"rows.npy", "inner/about.json"}
    content = bytearray((path / "rows.npy").read_bytes())
    content[-1] ^= 1  # a bit that flipped on a disk
    (path / "rows.npy").write_bytes(content)
    assert not is_sound(path)
    assert not path.exists()  # so that it is made again


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def filled_with_zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def made_a_folder(path):
    path.unlink()
    path.mkdir()


def truncated_without_checksums(path):
    truncated(path)
    (cache_folder() / "set" / "one" / CHECKSUMS).unlink()


def of_another_shape(path):
    path.write_text("[[1]]")


DAMAGES = (
    Path.unlink, flipped, truncated, filled_with_zeros, made_a_folder, of_another_shape,
    truncated_without_checksums,
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("file", ["rows.npy", "inner/about.json", CHECKSUMS])
@pytest.mark.parametrize("read", [is_sound, read_entry, found_entry], ids=lambda r: r.__name__)
def test_whatever_is_damaged_is_not_there_and_can_be_made_again(damage, file, read):
    path = entry_of(np.arange(300))
    damage(path / file)
    assert not read(path)
    assert keep_entry(path, files_of(np.arange(3))) and read(path)
    assert np.load(path / "rows.npy").tolist() == [0, 1, 2]


@pytest.mark.parametrize("read", [is_sound, read_entry], ids=lambda r: r.__name__)
def test_a_file_in_the_place_of_an_entry_is_not_there_and_makes_room(read):
    path = cache_folder() / "set" / "one"
    path.parent.mkdir(parents=True)
    path.write_text("what is this")
    assert not read(path)
    assert read(entry_of(np.arange(3)))


def test_an_entry_in_the_place_of_another_is_not_taken_for_it():
    one, two = entry_of(np.arange(3)), entry_of(np.arange(4), "set/two")
    aside = one.with_name("aside")
    one.rename(aside), two.rename(one), aside.rename(two)
    assert read_entry(one) is None and not is_sound(two)
    assert not one.exists() and not two.exists()


def test_a_file_that_was_added_is_damage_too():
    path = entry_of(np.arange(3))
    (path / "more.npy").write_bytes(b"more")
    assert not is_sound(path)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_what_cannot_be_read_is_not_there_and_is_left(monkeypatch, number):
    path = entry_of(np.arange(3))

    def refuse(self, *arguments, **named):
        raise OSError(number, os.strerror(number), str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        patch.setattr(Path, "read_bytes", refuse)
        assert not is_sound(path) and read_entry(path) is None and read_note(path) is None
    assert is_sound(path)


def test_what_is_read_of_an_entry_is_what_was_checked():
    path = entry_of(np.arange(3))
    content = read_entry(path)
    flipped(path / "rows.npy")
    assert content["inner/about.json"] == b"{}" and len(content["rows.npy"]) == 128 + 24


def test_a_damaged_note_is_not_there():
    note = cache_folder() / "checked" / "one.json"
    assert read_note(note) is None and keep_note(note, {"state": [1, 2], "value": "abc"})
    assert read_note(note) == {"state": [1, 2], "value": "abc"}
    sound = note.read_text()
    for damaged in (sound.replace("abc", "abd"), sound[:20], "[" * 10_000, "[]", "", "null"):
        note.write_text(damaged)
        assert read_note(note) is None
    note.with_name("two.json").write_text(sound)
    assert read_note(note.with_name("two.json")) is None  # that of another


# --- writing --------------------------------------------------------------------------------


def test_an_entry_that_fails_leaves_nothing():
    path = cache_folder() / "set" / "one"

    def fail(folder):
        (folder / "half").write_text("half")
        raise ValueError

    with pytest.raises(ValueError):
        keep_entry(path, fail)
    with pytest.raises(ValueError):
        made_entry(path.parent, fail, 0)
    assert not path.exists() and list(working_folder().iterdir()) == [working_folder() / "lock"]


def test_of_two_processes_that_make_one_entry_the_first_keeps_it():
    path = cache_folder() / "set" / "one"

    def slow(folder):
        np.save(folder / "rows.npy", np.zeros(2))
        entry_of(np.ones(2))
        return "one"

    assert keep_entry(path, slow)
    assert is_sound(path) and np.load(path / "rows.npy").tolist() == [1, 1]
    entries.discard(path)
    assert made_entry(path.parent, slow, 0).path == path
    assert is_sound(path) and np.load(path / "rows.npy").tolist() == [1, 1]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The system's temporary folder of this test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


@pytest.fixture
def said():
    """What was warned of the cache; nothing was before."""
    folders._said.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def is_a_file(monkeypatch):
    cache_folder().rmdir()
    cache_folder().write_text("")


def has_no_parent(monkeypatch):
    (cache_folder() / "file").write_text("")
    monkeypatch.setenv("MEDBENCH_CACHE", str(cache_folder() / "file" / "cache"))


def is_read_only(monkeypatch):
    make = Path.mkdir

    def refuse(self, *arguments, **named):
        if self.is_relative_to(cache_folder()) and self != cache_folder():
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        make(self, *arguments, **named)

    monkeypatch.setattr(Path, "mkdir", refuse)


def is_full(monkeypatch):
    sync = os.fsync

    def refuse(descriptor):
        if str(cache_folder()) in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)


UNWRITABLE = pytest.mark.parametrize(
    "trouble", [is_a_file, has_no_parent, is_read_only, is_full], ids=lambda t: t.__name__
)


@UNWRITABLE
def test_where_it_cannot_be_written_things_go_on_and_that_is_said_once(
    trouble, monkeypatch, temporary, said
):
    trouble(monkeypatch)
    path = cache_folder() / "set" / "one"
    for _ in range(2):
        assert not keep_entry(path, files_of(np.arange(3))) and read_entry(path) is None
        assert not keep_note(path, "value") and read_note(path) is None
        entry = made_entry(path.parent, lambda f: files_of(np.arange(3))(f) or "one", 100)
        assert np.load(entry.path / "rows.npy").tolist() == [0, 1, 2]
        assert found_entry(path).path == entry.path
        assert working_folder().is_dir()
    (warning,) = [w.message for w in said if w.category is CacheWarning]
    assert str(cache_folder()) in str(warning) and "MEDBENCH_CACHE" in str(warning)
    assert "Going on without it" in str(warning)


def test_where_the_cache_has_too_little_space_the_temporary_folder_is_taken(
    monkeypatch, temporary, said
):
    usage, disk_usage = type("Usage", (), {"free": 10_000_000}), shutil.disk_usage
    monkeypatch.setattr(
        "medbench.disk.shutil.disk_usage",
        lambda folder: usage if Path(folder).is_relative_to(cache_folder()) else disk_usage(folder),
    )
    assert working_folder(10_000_000).is_relative_to(cache_folder())
    assert working_folder(12_000_000).is_relative_to(temporary)
    (warning,) = said
    assert "12.0 MB are needed and 10.0 MB free" in str(warning.message)
    with pytest.raises(MachineError, match=r"needed and .* MB free.*nor can the cache"):
        working_folder(10**18)


def test_the_temporary_place_is_closed_to_others(temporary):
    temporary.mkdir()
    folder = folders.temporary_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(MachineError, match="is open to others"):
        folders.temporary_folder()


LIMITED = """
import resource, sys, warnings
import numpy as np
from pathlib import Path
from medbench.cache import cache_folder, keep_entry, read_entry
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from medbench.atomic_files import save_npy
path = cache_folder() / "set" / "one"
print(keep_entry(path, lambda folder: save_npy(folder / "a.npy", np.zeros(50_000))))
print(read_entry(path), sorted(p.name for p in (cache_folder() / "set").iterdir()))
"""


def test_a_limit_of_the_size_of_files_is_said_with_what_is_needed():
    ended = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True)
    assert ended.stdout.splitlines() == ["False", "None []"], ended.stderr
    assert "0.4 MB are needed" in ended.stderr and "MEDBENCH_CACHE" in ended.stderr


# --- use ------------------------------------------------------------------------------------

USES = """
import sys
from medbench.cache import cache_folder, found_entry
entry = found_entry(cache_folder() / "set" / "one")
print("used", flush=True)
sys.stdin.read()
"""


def test_what_a_process_uses_is_not_removed():
    path = entry_of(np.arange(3))
    process = subprocess.Popen(
        [sys.executable, "-c", USES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "used\n"
    assert locks.in_use(path) and not entries.discard(path) and path.exists()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not locks.in_use(path) and entries.discard(path) and not path.exists()
    process.stdin.close(), process.stdout.close()


def test_an_entry_is_used_as_long_as_somebody_has_it():
    path = entry_of(np.arange(3))
    entry = found_entry(path)
    assert locks.in_use(path)
    del entry
    assert not locks.in_use(path)
    entry = made_entry(path.parent, lambda f: files_of(np.arange(3))(f) or "two", 0)
    assert entry.path == path.with_name("two") and locks.in_use(entry.path)


def test_a_use_is_marked():
    path = entry_of(np.arange(3))
    for read in (is_sound, read_entry, found_entry):
        os.utime(path / CHECKSUMS, (1, 1))
        assert read(path)
        assert (path / CHECKSUMS).stat().st_mtime > 1


# --- working folders --------------------------------------------------------------------------

WORKS = """
import sys
from medbench.cache import cache_folder, keep_entry
def write(folder):
    (folder / "half.npy").write_bytes(b"half")
    print("begun", flush=True)
    sys.stdin.read()
keep_entry(cache_folder() / "set" / "two", write)
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


def test_a_folder_that_was_left_before_it_was_locked_is_removed():
    (cache_folder() / "work" / "1-abc").mkdir(parents=True)
    cache.remove_abandoned()
    assert not (cache_folder() / "work" / "1-abc").exists()


def test_what_was_left_in_the_temporary_folder_and_beside_a_link_is_removed(temporary):
    temporary.mkdir()
    left = [folders.temporary_folder() / "1-abc", cache_folder() / "features" / ".work" / "2-abc"]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "lock").write_text("")
        (folder / "images.npy").write_text("of a patient")
    cache.remove_abandoned()
    assert not any(folder.exists() for folder in left)


def test_a_working_folder_belongs_to_one_process():
    own = working_folder()
    assert own == working_folder() and own.is_dir()
    code = "from medbench.cache import working_folder; print(working_folder())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() != str(own)


def test_checksums_name_the_entry_they_belong_to():
    path = entry_of(np.arange(3))
    assert json.loads((path / CHECKSUMS).read_text())["entry"] == "set/one"
