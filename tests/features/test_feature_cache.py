"""Features are computed once per image, charged once, and come back in the order asked for."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import medbench.features.feature_cache as cache_module
from medbench.cache import cache_folder, folders
from medbench.cli import main
from medbench.datasets.batch import Batch
from medbench.errors import CacheWarning, FeaturesTooDearError
from medbench.features.feature_cache import Extractor, FeatureCache
from medbench.features.hog import Hog
from medbench.features.texture import Gabor, Glcm, Lbp

SECONDS_PER_IMAGE = 2.0


class Clock:
    """A clock that only moves when images are extracted."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@dataclass
class FirstPixel(Extractor):
    """The first pixel and its square; counts the images it was given."""

    clock: Clock = field(default_factory=Clock)
    key: str = "first-pixel"
    parallel: bool = False
    calls: int = 0

    def __call__(self, images):
        self.calls += len(images)
        self.clock.now += SECONDS_PER_IMAGE * len(images)
        first = images[:, 0, 0, 0].astype(np.float32)
        return np.column_stack([first, first**2])


def batch_of(values: list[int]) -> Batch:
    images = np.zeros((len(values), 4, 4, 1), np.uint8)
    images[:, 0, 0, 0] = values
    properties = pd.DataFrame({"width": 4, "height": 4, "mode": "L", "bytes": 16}, index=values)
    return Batch(images=images, properties=properties)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(cache_module, "awake_seconds", clock.perf_counter)
    return clock


def test_another_process_finds_what_one_has_computed(tmp_path, clock):
    extractor = FirstPixel(clock=clock)
    first = FeatureCache(tmp_path).get(extractor, batch_of([3, 1, 2]))
    second = FeatureCache(tmp_path).get(extractor, batch_of([3, 1, 2]))
    assert extractor.calls == 3
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["rows.npy", "keys.npy", "cost.json"])
def test_what_is_damaged_on_disk_is_computed_again(tmp_path, clock, name):
    extractor = FirstPixel(clock=clock)
    first = FeatureCache(tmp_path).get(extractor, batch_of([3, 1, 2]))
    (file,) = tmp_path.rglob(name)
    file.write_bytes(bytes(byte ^ 255 for byte in file.read_bytes()))
    second = FeatureCache(tmp_path).get(extractor, batch_of([3, 1, 2]))
    assert extractor.calls == 6
    np.testing.assert_array_equal(first, second)


def test_only_the_images_that_are_new_are_computed(tmp_path, clock):
    extractor = FirstPixel(clock=clock)
    FeatureCache(tmp_path).get(extractor, batch_of([1, 2, 3]))
    rows = FeatureCache(tmp_path).get(extractor, batch_of([4, 2, 5]))
    assert extractor.calls == 5
    np.testing.assert_array_equal(rows[:, 0], [4, 2, 5])


def test_a_warm_cache_is_charged_what_a_cold_one_would_have_cost(tmp_path, clock):
    extractor = FirstPixel(clock=clock)
    cold = FeatureCache(tmp_path)
    cold.get(extractor, batch_of([1, 2, 3]))
    warm = FeatureCache(tmp_path)
    warm.get(extractor, batch_of([1, 2, 3]))
    assert cold.cold_seconds == warm.cold_seconds == pytest.approx(3 * SECONDS_PER_IMAGE)
    assert cold.spent_seconds == pytest.approx(3 * SECONDS_PER_IMAGE)
    assert warm.spent_seconds == 0


def test_the_cost_of_an_image_is_charged_once(tmp_path, clock):
    extractor = FirstPixel(clock=clock)
    FeatureCache(tmp_path).get(extractor, batch_of([1, 2, 3, 4]))
    cache = FeatureCache(tmp_path)
    cache.get(extractor, batch_of([1, 2]))
    cache.get(extractor, batch_of([2, 1]))
    assert cache.cold_seconds == pytest.approx(2 * SECONDS_PER_IMAGE)
    cache.get(extractor, batch_of([2, 3]))
    assert cache.cold_seconds == pytest.approx(3 * SECONDS_PER_IMAGE)


def test_equal_images_are_computed_and_charged_once(clock):
    extractor = FirstPixel(clock=clock)
    cache = FeatureCache(None)
    rows = cache.get(extractor, batch_of([7, 9, 7, 7]))
    assert extractor.calls == 2
    np.testing.assert_array_equal(rows[:, 0], [7, 9, 7, 7])
    assert cache.cold_seconds == pytest.approx(2 * SECONDS_PER_IMAGE)


def test_other_settings_do_not_share_rows(tmp_path, clock):
    cache = FeatureCache(tmp_path)
    one, other = FirstPixel(clock=clock), FirstPixel(clock=clock, key="first-pixel-2")
    cache.get(one, batch_of([1, 2]))
    cache.get(other, batch_of([1, 2]))
    assert other.calls == 2


def test_the_same_bytes_in_another_shape_are_another_image(clock):
    flat = np.arange(32, dtype=np.uint8).reshape(2, 2, 8, 1)
    properties = pd.DataFrame({"width": [8, 8], "height": 2, "mode": "L", "bytes": 16})
    cache = FeatureCache(None)
    extractor = FirstPixel(clock=clock)
    cache.get(extractor, Batch(images=flat, properties=properties))
    cache.get(extractor, Batch(images=flat.reshape(2, 8, 2, 1), properties=properties))
    assert extractor.calls == 4


@settings(max_examples=40, deadline=None, database=None)
@given(
    requests=st.lists(
        st.lists(st.integers(0, 12), min_size=1, max_size=10), min_size=1, max_size=5
    ),
    on_disk=st.booleans(),
)
def test_rows_come_in_the_order_of_the_images(tmp_path_factory, requests, on_disk):
    folder = tmp_path_factory.mktemp("cache") if on_disk else None
    cache = FeatureCache(folder)
    extractor = FirstPixel()
    for number, values in enumerate(requests):
        if on_disk and number % 2:
            cache = FeatureCache(folder)
        rows = cache.get(extractor, batch_of(values))
        np.testing.assert_array_equal(rows[:, 0], values)
        np.testing.assert_array_equal(rows[:, 1], np.square(values))
    assert extractor.calls == len({value for values in requests for value in values})


def test_a_chunk_that_is_still_being_written_is_not_read(tmp_path, clock):
    extractor = FirstPixel(clock=clock)
    FeatureCache(tmp_path).get(extractor, batch_of([1, 2]))
    (chunk,) = next(tmp_path.iterdir()).iterdir()
    chunk.rename(chunk.with_name(f".{chunk.name}"))
    FeatureCache(tmp_path).get(extractor, batch_of([1, 2]))
    assert extractor.calls == 4


@pytest.mark.parametrize("extractor", (Hog(), Lbp(), Glcm(), Gabor()), ids=lambda e: e.key)
def test_several_threads_give_the_rows_of_one(extractor):
    images = np.random.default_rng(0).integers(0, 256, (70, 24, 24, 1), dtype=np.uint8)
    properties = pd.DataFrame({"width": 24, "height": 24, "mode": "L", "bytes": 576}, range(70))
    batch = Batch(images=images, properties=properties)
    assert extractor.parallel
    rows = FeatureCache(None, threads=2).get(extractor, batch)
    np.testing.assert_array_equal(rows, extractor(images))


# --- damage and trouble ------------------------------------------------------------------------


def flipped(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def truncated(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def filled_with_zeros(file):
    file.write_bytes(bytes(file.stat().st_size))


def without_checksums(file):
    truncated(file)
    (file.parent / "sha256.json").unlink(missing_ok=True)


def gone(file):
    file.unlink()


def the_folder_is_a_file(file):
    folder = file.parent
    shutil.rmtree(folder)
    folder.write_text("what is this")


DAMAGES = (flipped, truncated, filled_with_zeros, without_checksums, gone, the_folder_is_a_file)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", ["rows.npy", "keys.npy", "cost.json", "sha256.json"])
def test_no_damage_changes_a_number(tmp_path, clock, damage, name):
    extractor = FirstPixel(clock=clock)
    first = FeatureCache(tmp_path).get(extractor, batch_of([3, 1, 2]))
    (file,) = tmp_path.rglob(name)
    damage(file)
    for calls in (6, 6):  # and what was computed again is kept
        cache = FeatureCache(tmp_path)
        np.testing.assert_array_equal(cache.get(extractor, batch_of([3, 1, 2])), first)
        assert extractor.calls == calls
        assert cache.cold_seconds == pytest.approx(3 * SECONDS_PER_IMAGE)


def test_rows_in_the_place_of_others_are_not_taken_for_them(tmp_path, clock):
    one, other = FirstPixel(clock=clock), FirstPixel(clock=clock, key="other")
    expected = FeatureCache(tmp_path).get(one, batch_of([1, 2]))
    FeatureCache(tmp_path).get(other, batch_of([1, 2]))
    first, second = sorted(tmp_path.glob("*/*"))
    aside = tmp_path / "aside"
    first.rename(aside), second.rename(first), aside.rename(second)
    np.testing.assert_array_equal(FeatureCache(tmp_path).get(one, batch_of([1, 2])), expected)
    assert one.calls == 4


def test_files_of_one_entry_in_another_are_not_taken_for_its_own(tmp_path, clock):
    extractor = FirstPixel(clock=clock)
    expected = FeatureCache(tmp_path).get(extractor, batch_of([1, 2, 3, 4]))[:2]
    shutil.rmtree(next(tmp_path.glob("*/*")))
    FeatureCache(tmp_path).get(extractor, batch_of([1, 2]))
    FeatureCache(tmp_path).get(extractor, batch_of([3, 4]))
    first, second = (folder / "rows.npy" for folder in tmp_path.glob("*/*"))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes()), second.write_bytes(content)
    rows = FeatureCache(tmp_path).get(extractor, batch_of([1, 2]))
    np.testing.assert_array_equal(rows, expected)
    assert extractor.calls == 10


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_where_nothing_can_be_written_rows_are_computed(tmp_path, clock, monkeypatch, number):
    def refuse(path, array):
        path.write_bytes(b"half")
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(cache_module, "save_npy", refuse)
    folders._said.clear()
    extractor, cache = FirstPixel(clock=clock), FeatureCache(tmp_path)
    with pytest.warns(CacheWarning, match=os.strerror(number)) as said:
        for values in ([1, 2], [3, 1]):
            np.testing.assert_array_equal(cache.get(extractor, batch_of(values))[:, 0], values)
    assert len(said) == 1 and extractor.calls == 3
    monkeypatch.undo()
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.processes
def test_what_workers_cannot_write_is_said_once_and_changes_no_number(
    class_folders, tmp_path, monkeypatch, capsys
):
    root = class_folders()
    options = ["--models", "hog-svm", "--no-sanity", "--trials", "1", "--folds", "2"]
    run = ["run", "--data", str(root), *options, "--out"]
    assert main([*run, str(tmp_path / "with")]) == 0
    assert "warning" not in capsys.readouterr().err
    shutil.rmtree(cache_folder() / "features")
    (cache_folder() / "features").write_text("a file where a folder should be")
    folders._said.clear()
    assert main([*run, str(tmp_path / "without")]) == 0
    shown = capsys.readouterr().err
    assert shown.count("the cache cannot be written (Not a directory)") == 1
    assert "features" in shown and "MEDBENCH_CACHE" in shown
    one, other = (
        np.concatenate(
            [
                pd.read_parquet(file).select_dtypes("number").to_numpy()
                for file in sorted((tmp_path / name).rglob("predictions.parquet"))
            ]
        )
        for name in ("with", "without")
    )
    np.testing.assert_array_equal(one, other)


def values_of(n: int) -> Batch:
    """Images that all differ."""
    images = np.zeros((n, 4, 4, 1), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.arange(n) % 256, np.arange(n) // 256
    properties = pd.DataFrame({"width": 4, "height": 4, "mode": "L", "bytes": 16}, index=range(n))
    return Batch(images=images, properties=properties)


def test_features_that_are_too_dear_are_refused_after_a_few_images(tmp_path, clock):
    extractor, cache = FirstPixel(clock=clock), FeatureCache(tmp_path, bound=1999.0)
    with pytest.raises(FeaturesTooDearError, match="840 images takes about 1,680 s"):
        cache.get(extractor, values_of(1000))
    tried = extractor.calls
    assert tried < 200 and cache.cold_seconds == tried * SECONDS_PER_IMAGE
    cache.bound = None
    cache.get(extractor, values_of(1000))
    assert extractor.calls == 1000 and cache.cold_seconds == 2000


def test_the_bound_is_on_what_features_would_have_cost(tmp_path, clock):
    FeatureCache(tmp_path).get(FirstPixel(clock=clock), values_of(20))
    extractor, cache = FirstPixel(clock=clock), FeatureCache(tmp_path, bound=30.0)
    with pytest.raises(FeaturesTooDearError):
        cache.get(extractor, values_of(20))
    assert extractor.calls == 0 and cache.cold_seconds == 0
    cache.get(extractor, values_of(15))
    assert cache.cold_seconds == 30
    cache.get(extractor, values_of(15))  # paid for
    with pytest.raises(FeaturesTooDearError, match=r"5 images takes about 10 s.*took 30 s before"):
        cache.get(extractor, values_of(20))


def test_features_within_the_bound_are_as_without_one(clock):
    extractor, cache = FirstPixel(clock=clock), FeatureCache(None, bound=2000.0)
    bounded = cache.get(extractor, values_of(1000))
    np.testing.assert_array_equal(
        bounded, FeatureCache(None).get(FirstPixel(clock=clock), values_of(1000))
    )
    assert extractor.calls == 1000 and cache.cold_seconds == cache.spent_seconds == 2000
