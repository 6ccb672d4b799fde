"""A new image that is unlike those of development is noticed, and one that is like them is not."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from medbench.datasets.sources.phantoms import PhantomSource
from medbench.errors import ProtocolError, StoreError
from medbench.features import out_of_distribution
from medbench.features.out_of_distribution import OutOfDistribution, fit_out_of_distribution

EACH = 2


def phantoms(patients: int, *, seed: int = 0, modality: str = "chest", size: int = 32):
    """Images, and the patient of each."""
    source = PhantomSource(
        modality=modality,
        patients=patients,
        images_per_patient=EACH,
        image_size=size,
        seed=seed,
    )
    images = np.stack([source.draw(i) for i in range(patients * EACH)])[..., None]
    return images, np.repeat(np.arange(patients), EACH)


@pytest.fixture(scope="module")
def detector() -> OutOfDistribution:
    return fit_out_of_distribution(*phantoms(120))


@pytest.fixture(scope="module")
def new() -> np.ndarray:
    return phantoms(20, seed=1)[0]


def blurred(images: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(images, (0, 2, 2, 0))


def middle(images: np.ndarray) -> np.ndarray:
    return images[:, 8:-8, 8:-8].repeat(2, axis=1).repeat(2, axis=2)


def photographs(images: np.ndarray) -> np.ndarray:
    from skimage import data
    from skimage.transform import resize

    pictures = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    return np.stack(
        [
            np.uint8(255 * resize(p.mean(axis=2) / 255, (32, 32, 1), anti_aliasing=True))
            for p in pictures
        ]
    )


def noise(images: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)


ALTERED = {
    "noise": noise,
    "photographs": photographs,
    "heads": lambda images: phantoms(10, modality="mr")[0],
    "inverted": lambda images: 255 - images,
    "turned": lambda images: np.rot90(images, 1, (1, 2)),
    "upside down": lambda images: images[:, ::-1],
    "blurred": blurred,
    "middle only": middle,
    "black": np.zeros_like,
    "white": lambda images: np.full_like(images, 255),
}


def test_few_new_patients_are_flagged(detector):
    scores = detector.score(phantoms(100, seed=2)[0])
    assert scores.dtype == np.float64
    assert np.mean(scores > 1) <= 0.05
    assert np.median(scores) > 0.3  # a threshold far above everything would flag nothing either
    assert detector.expected_share == 0.01


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
def test_images_of_something_else_are_flagged(detector, new, alter):
    scores = detector.score(np.ascontiguousarray(alter(new)))
    assert np.mean(scores > 1) >= 0.9


def test_a_colour_photograph_and_a_tinted_film_are_flagged_where_films_are_stored_in_colour():
    images, groups = phantoms(40)
    colour = images.repeat(3, axis=3)
    detector = fit_out_of_distribution(colour, groups)
    others = phantoms(20, seed=1)[0].repeat(3, axis=3)
    assert np.mean(detector.score(others) > 1) <= 0.1
    tinted = np.uint8(others * np.array([1.0, 0.7, 0.4]))
    assert (detector.score(tinted) > 1).all()


def test_copies_within_a_patient_do_not_bring_the_threshold_down():
    images, groups = phantoms(30)
    single = fit_out_of_distribution(images[::EACH], groups[::EACH])
    copied = fit_out_of_distribution(images[::EACH].repeat(3, axis=0), groups[::EACH].repeat(3))
    assert copied.nearest_limit > 0.5 * single.nearest_limit
    assert copied.rarity_limit > 0.5 * single.rarity_limit
    strangers = phantoms(30, seed=3)[0]
    assert np.mean(copied.score(strangers) > 1) < 0.25


def test_one_image_scores_as_it_does_among_others(detector, new):
    together = detector.score(new)
    alone = [detector.score(new[i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(alone, together[:5], rtol=1e-5)
    assert detector.score(new[:0]).shape == (0,)


def test_a_saved_detector_scores_alike_and_is_small(detector, new, tmp_path):
    path = tmp_path / "new" / "folder" / "unlike.npz"
    detector.save(path)
    loaded = OutOfDistribution.load(path)
    np.testing.assert_array_equal(loaded.score(new), detector.score(new))
    assert (loaded.groups, loaded.image_shape) == (120, (32, 32, 1))
    assert path.stat().st_size < 1_000_000
    assert [file.name for file in path.parent.iterdir()] == ["unlike.npz"]


def test_neither_pixels_nor_whole_descriptors_are_stored(detector, tmp_path):
    n_features = len(detector.centre)
    assert detector.references.shape == (240, 240 // 4 + 1)
    assert detector.references.shape[1] < n_features / 4


def test_a_damaged_file_is_named(detector, tmp_path):
    path = tmp_path / "unlike.npz"
    detector.save(path)
    whole = path.read_bytes()
    for damaged in (b"", b"not a zip", whole[: len(whole) // 2], whole[:5000] + whole[6000:]):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"unlike\.npz: cannot be read"):
            OutOfDistribution.load(path)
    path.unlink()
    with pytest.raises(StoreError, match=r"unlike\.npz: cannot be read"):
        OutOfDistribution.load(path)


def test_a_flipped_byte_is_refused_or_harmless(detector, new, tmp_path):
    path = tmp_path / "unlike.npz"
    detector.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    places = [
        *range(0, 128, 3),
        *rng.integers(0, len(whole), 40),
        *range(len(whole) - 600, len(whole), 7),
    ]
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            loaded = OutOfDistribution.load(path)
        except StoreError:
            continue
        np.testing.assert_array_equal(loaded.score(new[:2]), detector.score(new[:2]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": np.int64(99)},
        {"centre": np.zeros(3, np.float32)},
        {"limits": np.zeros(2)},
        {"limits": np.full(2, np.nan)},
        {"image_shape": np.array([32, 32])},
        {"image_shape": np.array([32, 32, 3])},
        {"references": np.zeros((4, 2), np.float32)},
        {"references": np.zeros((0, 61), np.float32)},
        {"references": np.full((4, 61), np.nan, np.float32)},
        {"references": np.zeros((4, 61))},
        {"scale": np.array({}, dtype=object)},
        {"groups": np.array([1, 2])},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_arrays_that_do_not_fit_are_refused(detector, tmp_path, wrong):
    path = tmp_path / "unlike.npz"
    detector.save(path)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, **wrong})
    with pytest.raises(StoreError, match=r"unlike\.npz: cannot be read"):
        OutOfDistribution.load(path)


def test_a_file_that_cannot_be_written_is_named(detector, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreError, match="taken"):
        detector.save(tmp_path / "taken" / "unlike.npz")


def test_the_same_images_give_the_same_detector(detector):
    again = fit_out_of_distribution(*phantoms(120))
    for field in dataclasses.fields(OutOfDistribution):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(detector, field.name))


@pytest.mark.parametrize("size", (3, 8, 28, 61))
@pytest.mark.parametrize("channels", (1, 3))
@pytest.mark.parametrize(("n", "n_groups"), ((2, 2), (12, 3)))
def test_few_images_of_any_size_are_enough(size, channels, n, n_groups, tmp_path):
    rng = np.random.default_rng(size)
    images = rng.integers(0, 256, (n, size, size + 2, channels), dtype=np.uint8)
    detector = fit_out_of_distribution(images, np.arange(n) % n_groups)
    detector.save(tmp_path / "unlike.npz")
    scores = OutOfDistribution.load(tmp_path / "unlike.npz").score(images)
    assert (scores <= 1).all()
    assert detector.expected_share == 1 / (n_groups + 1)
    assert detector.score(np.zeros_like(images[:1]))[0] > 1


def test_constant_images_are_like_each_other_and_unlike_any_other():
    images = np.full((12, 28, 28, 1), 40, np.uint8)
    detector = fit_out_of_distribution(images, np.arange(12))
    assert detector.score(images) == pytest.approx(0, abs=1e-3)
    assert detector.score(images + 60).min() > 1


def test_a_single_patient_and_wrong_arrays_are_refused(detector, new):
    with pytest.raises(ProtocolError, match=r"from 1 group.*Name the patient"):
        fit_out_of_distribution(new, np.zeros(len(new), int))
    with pytest.raises(ProtocolError, match=r"from 0 group"):
        fit_out_of_distribution(new[:0], np.zeros(0, int))
    with pytest.raises(ProtocolError, match="do not name 40 images"):
        fit_out_of_distribution(new, np.zeros(3, int))
    with pytest.raises(ProtocolError, match="not float64"):
        fit_out_of_distribution(new / 255, np.arange(len(new)))
    with pytest.raises(ProtocolError, match="of shape"):
        detector.score(new[..., 0])
    with pytest.raises(ProtocolError, match="32 x 32 pixels in colour cannot be compared"):
        detector.score(new.repeat(3, axis=3))


def test_of_many_images_whole_patients_are_drawn(monkeypatch):
    monkeypatch.setattr(out_of_distribution, "_MOST_REFERENCES", 100)
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(200), 4))
    chosen = out_of_distribution._draw(groups, seed=0)
    assert (np.diff(chosen) > 0).all()
    sizes = np.bincount(groups[chosen])
    assert set(sizes) <= {0, 4}
    assert len(chosen) == 100
    assert not np.array_equal(chosen, out_of_distribution._draw(groups, seed=1))


def test_of_a_few_large_patients_each_gives_a_share(monkeypatch):
    monkeypatch.setattr(out_of_distribution, "_MOST_REFERENCES", 100)
    for n_groups, expected in ((1, 100), (2, 50), (8, 12), (30, 10)):
        groups = np.arange(6000) % n_groups
        sizes = np.bincount(groups[out_of_distribution._draw(groups, seed=0)])
        assert set(sizes[sizes > 0]) == {expected}
        assert np.sum(sizes > 0) == min(n_groups, 10)


def test_a_large_set_is_read_only_where_it_is_needed(monkeypatch, tmp_path):
    monkeypatch.setattr(out_of_distribution, "_MOST_REFERENCES", 40)
    images = np.lib.format.open_memmap(
        tmp_path / "images.npy", mode="w+", dtype=np.uint8, shape=(60_000, 32, 32, 1)
    )
    tracemalloc.start()
    fit_out_of_distribution(images, np.arange(60_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.nbytes / 2


def test_scoring_loads_neither_scikit_learn_nor_scipy(detector, new, tmp_path):
    detector.save(tmp_path / "unlike.npz")
    code = (
        "import sys, pathlib, numpy\n"
        "from medbench.features.out_of_distribution import OutOfDistribution\n"
        f"d = OutOfDistribution.load(pathlib.Path({str(tmp_path / 'unlike.npz')!r}))\n"
        "d.score(numpy.zeros((1, 32, 32, 1), numpy.uint8))\n"
        "assert not {'sklearn', 'scipy', 'tensorflow'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
