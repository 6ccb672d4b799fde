"""Cells work in the cache where there is space, else in the temporary folder, else nowhere."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medbench.cache import cache_folder, folders
from medbench.datasets.batch import image_key
from medbench.datasets.prepared import prepare
from medbench.datasets.sources.folder import FolderSource
from medbench.errors import CacheWarning, MachineError
from medbench.execution.executor import Resources
from medbench.execution.parts import DevelopmentPart, HeldOutPart, read_development
from medbench.execution.plan import Setup
from medbench.execution.run import _Handed
from medbench.execution.working_folders import WorkingFolders
from medbench.store import RunStore

IMAGES = np.random.default_rng(0).integers(0, 256, (100, 20, 20, 1), dtype=np.uint8)


@pytest.fixture
def work():
    table = pd.DataFrame({"width": 20, "height": 20, "mode": "L", "bytes": 400}, range(100))
    table = table.assign(key=[image_key(image) for image in IMAGES])
    rows = np.arange(80)
    development = DevelopmentPart(
        images=IMAGES, table=table, rows=rows, labels=rows % 2, groups=rows, validation=None
    )
    held_out = HeldOutPart(images=IMAGES, table=table, rows=np.arange(80, 100))
    return SimpleNamespace(development=development, held_out=held_out)


@pytest.fixture
def free(monkeypatch, tmp_path):
    """Sets the free space of the cache's disk, and of that of the temporary folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    folders._said.clear()

    def set_to(cache, temporary):
        def usage(folder):
            of_cache = Path(folder).is_relative_to(cache_folder())
            return SimpleNamespace(free=cache if of_cache else temporary)

        monkeypatch.setattr(shutil, "disk_usage", usage)

    return set_to


def test_parts_lie_in_the_cache_and_go_with_the_work(work):
    working_folders = WorkingFolders(Resources(threads=1), [work])
    with working_folders.development(work) as folder, working_folders.held_out(work) as held_out:
        assert folder.is_relative_to(cache_folder()) and held_out.is_relative_to(cache_folder())
        np.testing.assert_array_equal(read_development(folder)[0].images, IMAGES[:80])
    assert not folder.exists() and not held_out.exists()
    working_folders.close()


def test_where_the_cache_has_no_space_parts_lie_in_the_temporary_folder(work, free, tmp_path):
    free(cache=79_999, temporary=80_000)
    with pytest.warns(CacheWarning, match=r"0\.1 MB are needed and 0\.1 MB free"):
        working_folders = WorkingFolders(Resources(threads=1, jobs=2), [work])
    with working_folders.development(work) as folder:
        assert folder.is_relative_to(tmp_path / "tmp")
        assert folder.is_relative_to(working_folders.hidden)  # from what others work on
    working_folders.close()
    assert not list((tmp_path / "tmp").rglob("*.npy"))


def test_where_there_is_no_space_anywhere_nothing_begins(work, free, tmp_path):
    free(cache=1_000_000, temporary=2_000_000)
    with (
        pytest.warns(CacheWarning),
        pytest.raises(MachineError, match=r"4\.0 MB are needed and 2\.0 MB free.*MEDBENCH_CACHE"),
    ):
        WorkingFolders(Resources(threads=1, jobs=100), [work])


def test_a_prepared_set_that_could_not_be_kept_is_closed_to_families_too(
    class_folders, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    folders._said.clear()
    source = FolderSource(path=str(class_folders()), image_size=32)
    with pytest.warns(CacheWarning):
        data = prepare("mine", source, cache=cache_folder() / "prepared", threads=1)
    setup = Setup(cache=cache_folder(), threads=1)
    closed = _Handed(RunStore(tmp_path / "run"), setup)._closed_for(data)
    assert str(data.entry.path) in closed and data.entry.path.is_relative_to(tmp_path / "tmp")
