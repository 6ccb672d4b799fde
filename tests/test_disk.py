"""A full disk is an error before anything is written, with what is needed and what is free."""

import errno
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from medbench.atomic_files import save_npy, write_npy
from medbench.disk import check_space, take_space
from medbench.errors import StoreError
from medbench.store.chunks import ChunkStore


def no_call(monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)


def unsupported(monkeypatch):
    def refuse(descriptor, begin, n_bytes):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)


def as_it_is(monkeypatch):
    pass


@pytest.mark.parametrize("how", [as_it_is, no_call, unsupported], ids=lambda how: how.__name__)
def test_the_space_of_a_file_is_taken_before_it_is_written(tmp_path, monkeypatch, how):
    how(monkeypatch)
    path = tmp_path / "images"
    with path.open("wb") as file:
        file.write(b"head")
        file.flush()
        take_space(file, 3_000_000)
        assert path.stat().st_blocks * 512 >= 3_000_000  # nothing of it is a hole
        file.write(b"tail")
    content = path.read_bytes()
    assert len(content) == 3_000_000 and content.rstrip(b"\0") == b"headtail"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_what_has_no_room_is_said_with_what_is_needed_and_free(tmp_path, monkeypatch, number):
    def refuse(descriptor, begin, n_bytes):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    path = tmp_path / "images"
    with path.open("wb") as file, pytest.raises(OSError, match=r"MB are needed") as error:
        take_space(file, 1_500_000)
    assert error.value.errno == number and error.value.filename == str(path)
    said = error.value.strerror
    assert said.startswith(os.strerror(number)) and "1.5 MB are needed and" in said
    with pytest.raises(StoreError, match=r"array\.npy.*MB are needed and .* MB free"):
        write_npy(tmp_path / "array.npy", np.zeros(1000))
    assert [file.name for file in tmp_path.iterdir()] == ["images"]


def test_other_trouble_stays_what_it_is(tmp_path, monkeypatch):
    def refuse(descriptor, begin, n_bytes):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with (tmp_path / "a").open("wb") as file, pytest.raises(OSError) as error:
        take_space(file, 10)
    assert error.value.errno == errno.EIO and "needed" not in str(error.value)


def test_a_disk_is_asked_before_much_is_written(tmp_path):
    check_space(tmp_path, 0)
    with pytest.raises(OSError, match=r"1,000,000,000,000.0 MB are needed and .* MB free") as error:
        check_space(tmp_path, 10**18)
    assert error.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    "array",
    [
        np.arange(7),
        np.zeros((0, 3)),
        np.float64(2),
        np.array(["a", "bc"]),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.zeros(2, dtype=[(f"a field with a long name {n}", "i4") for n in range(9)]),
    ],
    ids=lambda array: f"{array.dtype.kind}{array.shape}",
)
def test_an_array_is_written_as_numpy_writes_it(tmp_path, array):
    save_npy(tmp_path / "ours.npy", array)
    np.save(tmp_path / "theirs.npy", array)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


LIMITED = """
import resource, sys
import numpy as np
from pathlib import Path
from medbench.datasets.stored_images import ImageFile
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    ImageFile(Path(sys.argv[1]), (100, 100, 100, 1))
except OSError as error:
    print(error.strerror)
"""


def test_images_that_do_not_fit_are_refused_before_the_first_is_written(tmp_path):
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "images.npy")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert "1.0 MB are needed and" in ended.stdout, ended.stderr


def test_a_model_that_has_no_room_is_said_with_what_is_needed_and_free(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "state").write_bytes(bytes(500_000))
    free = shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: free)
    target = tmp_path / "run" / "model"
    with pytest.raises(StoreError, match=r"model: cannot .*0\.5 MB are needed and 0\.1 MB free"):
        ChunkStore(tmp_path / "chunks").keep(tmp_path / "model", target)
    assert list(target.parent.iterdir()) == []
