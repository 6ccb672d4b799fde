"""What all extractors promise, and what each one measures."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from medbench.features.augmentation import Augmented, augmentations
from medbench.features.feature_cache import Extractor
from medbench.features.grey import reduced_grey, resize, to_grey
from medbench.features.hog import Hog, HogPyramid
from medbench.features.intensity import Intensity
from medbench.features.pixels import Pixels
from medbench.features.texture import Gabor, Glcm, Lbp

EXTRACTORS = (
    Hog(), HogPyramid(), Lbp(), Glcm(), Gabor(), Intensity(), Pixels(),
    augmentations(HogPyramid())[0],
)  # fmt: skip
SIZES = ((16, 16), (17, 23), (28, 28), (150, 61), (160, 200))


def random_images(n: int, height: int, width: int, channels: int) -> np.ndarray:
    generator = np.random.default_rng(n + height + width + channels)
    return generator.integers(0, 256, (n, height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("extractor", EXTRACTORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("channels", (1, 3))
def test_any_size_gives_finite_rows_that_do_not_depend_on_the_batch(extractor, size, channels):
    images = random_images(3, *size, channels)
    rows = extractor(images)
    assert rows.dtype == np.float32
    assert rows.ndim == 2
    assert len(rows) == 3
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(rows[[1]], extractor(images[[1]]), atol=1e-5)
    assert not np.allclose(rows[0], rows[1])


@pytest.mark.parametrize("extractor", EXTRACTORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("value", (0, 7, 255))
def test_constant_images_are_finite_and_without_warnings(extractor, value):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = extractor(np.full((2, 20, 20, 3), value, np.uint8))
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(rows[0], rows[1])


def test_every_setting_is_in_the_key():
    variants: list[Extractor] = [
        *EXTRACTORS,
        *augmentations(HogPyramid())[1:],
        augmentations(Pixels())[0],
        Hog(side=64),
        Hog(cells=4),
        Hog(orientations=6),
        HogPyramid(side=32),
        HogPyramid(cells=8),
        HogPyramid(orientations=6),
        Lbp(side=64),
        Lbp(radii=(1,)),
        Lbp(grid=2),
        Glcm(side=64),
        Glcm(levels=16),
        Glcm(distances=(1,)),
        Gabor(side=32),
        Gabor(orientations=2),
        Gabor(grid=2),
        Intensity(bins=16),
        Pixels(side=8),
    ]
    keys = [variant.key for variant in variants]
    assert len(set(keys)) == len(keys)
    assert Hog().key == Hog(side=128).key


def test_grey_of_equal_channels_is_that_channel():
    channel = random_images(2, 9, 9, 1)
    colour = np.repeat(channel, 3, axis=3)
    np.testing.assert_allclose(to_grey(colour), to_grey(channel), atol=1e-3)


def test_reduced_pixels_are_means_and_small_images_are_not_enlarged():
    planes = to_grey(random_images(2, 32, 16, 1))
    means = planes.reshape(2, 8, 4, 4, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(resize(planes, 8, 4), means, atol=1e-3)
    assert reduced_grey(random_images(1, 200, 100, 1), 50).shape == (1, 50, 25)
    assert reduced_grey(random_images(1, 20, 10, 1), 50).shape == (1, 20, 10)


@pytest.mark.parametrize("size", ((128, 128), (61, 150), (17, 23), (5, 9), (3, 3)))
@pytest.mark.parametrize("orientations", (6, 9))
def test_hog_is_that_of_scikit_image(size, orientations):
    from skimage.feature import hog

    images = random_images(2, *size, 1)
    cell = min(max(4, min(size) // 8), min(size))
    block = min(2, min(size) // cell)
    expected = [
        hog(
            plane.astype(np.float32),
            orientations=orientations,
            pixels_per_cell=(cell, cell),
            cells_per_block=(block, block),
            block_norm="L2-Hys",
        )
        for plane in images[..., 0]
    ]
    extractor = Hog(side=256, cells=8, orientations=orientations)
    np.testing.assert_allclose(extractor(images), expected, rtol=1e-5, atol=1e-6)


def test_hog_does_not_see_a_brighter_exposure():
    images = random_images(2, 64, 64, 1) // 3
    np.testing.assert_allclose(Hog()(images), Hog()(images + 100), atol=1e-5)


def test_hog_of_an_upright_edge_points_across_it():
    image = np.zeros((1, 64, 64, 1), np.uint8)
    image[:, :, 36:] = 200
    by_direction = Hog(orientations=4)(image).reshape(-1, 4).sum(axis=0)
    turned = Hog(orientations=4)(image.transpose(0, 2, 1, 3)).reshape(-1, 4).sum(axis=0)
    assert by_direction.argmax() != turned.argmax()
    assert by_direction.max() > 0.99 * by_direction.sum()


def test_hog_has_the_same_grid_for_images_of_different_size():
    assert Hog()(random_images(1, 128, 128, 1)).shape == Hog()(random_images(1, 64, 64, 1)).shape


def test_a_pyramid_of_gradients_sees_contrast_and_every_scale_of_it():
    rows, columns = np.indices((64, 64))
    blob = np.exp(-((rows - 20) ** 2 + (columns - 44) ** 2) / 200)
    images = np.stack([blob * 60, blob * 120]).astype(np.uint8)[..., None]
    weak, strong = HogPyramid(cells=4)(images).reshape(2, 4, 4, 4, 5)
    assert (strong.max(axis=(1, 2, 3)) > weak.max(axis=(1, 2, 3))).all()
    strongest = strong[..., -1].reshape(4, -1).argmax(axis=1)
    assert set(strongest) <= {2, 3, 6, 7}, "the upper right quarter"


def test_a_pyramid_shares_what_lies_between_cells_among_all_of_them():
    image = np.zeros((1, 64, 64, 1), np.uint8)
    image[:, 28:36, 28:36] = 200
    finest = HogPyramid(cells=4)(image).reshape(4, 4, 4, 5)[0, ..., -1]
    np.testing.assert_allclose(finest[1:3, 1:3], finest[1, 1], rtol=1e-5)
    moved = HogPyramid(cells=4)(np.roll(image, 4, axis=1)).reshape(4, 4, 4, 5)[0, ..., -1]
    assert (moved[1, 1:3] > 0.5 * moved[2, 1:3]).all()
    assert (moved[1, 1:3] < moved[2, 1:3]).all()


def test_a_pyramid_does_not_see_a_brighter_exposure():
    images = random_images(2, 40, 30, 1) // 3
    np.testing.assert_allclose(HogPyramid()(images), HogPyramid()(images + 100), atol=1e-5)


def test_lbp_histograms_are_shares_of_pixels():
    rows = Lbp(radii=(1,), grid=2)(random_images(2, 30, 30, 1))
    assert rows.shape == (2, 10 + 4 * 10)
    np.testing.assert_allclose(rows[:, :10].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows[:, 10:].reshape(2, 4, 10).sum(axis=2), 1, atol=1e-5)


def test_lbp_does_not_see_contrast():
    images = random_images(2, 30, 30, 1) // 2
    np.testing.assert_array_equal(Lbp()(images), Lbp()(images * 2))


def test_glcm_tells_fine_from_coarse_checks():
    rows, columns = np.indices((32, 32))
    fine = ((rows + columns) % 2 * 255).astype(np.uint8)
    coarse = ((rows // 8 + columns // 8) % 2 * 255).astype(np.uint8)
    contrast = Glcm(distances=(1,))(np.stack([fine, coarse])[..., None])[:, 0]
    assert contrast[0] > 3 * contrast[1] > 0


def test_glcm_is_that_of_scikit_image_whatever_the_company():
    from skimage.feature import graycomatrix, graycoprops

    images = random_images(20, 30, 21, 1)
    matrix = graycomatrix(
        images[17, ..., 0] // 8, (1, 2), np.arange(4) * np.pi / 4, 32, symmetric=True, normed=True
    )
    names = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "entropy")
    values = np.stack([graycoprops(matrix, name) for name in names])
    expected = np.concatenate([values.mean(axis=2).ravel(), values.std(axis=2).ravel()])
    row = Glcm(distances=(1, 2))(images)[17]
    np.testing.assert_allclose(row, expected, rtol=1e-6)


@pytest.mark.parametrize("size", ((30, 21), (128, 100), (4, 4)))
def test_lbp_is_that_of_scikit_image(size):
    from skimage.feature import local_binary_pattern

    images = random_images(3, *size, 1)
    expected = [
        [
            np.bincount(
                local_binary_pattern(plane, 8, radius, method="uniform").ravel().astype(int),
                minlength=10,
            )
            / plane.size
            for radius in (1, 2)
        ]
        for plane in images[..., 0]
    ]
    rows = Lbp(grid=1)(images).reshape(3, 2, 2, 10)
    np.testing.assert_allclose(rows[:, :, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(rows[:, :, 0], rows[:, :, 1])


def test_lbp_of_a_flat_image_is_flat_whatever_its_grey():
    flat = np.full((1, 20, 20, 1), 173, np.uint8)
    inside = Lbp(radii=(1,), grid=5)(flat)[0, 10:].reshape(5, 5, 10)[1:-1, 1:-1]
    np.testing.assert_array_equal(inside[..., 8], 1)


def test_gabor_answers_to_the_direction_of_stripes():
    phase = 2 * np.pi * 0.16 * np.arange(48)
    upright = np.tile(127 + 100 * np.sin(phase), (48, 1)).astype(np.uint8)
    images = np.stack([upright, upright.T])[..., None]
    energies = Gabor(grid=1)(images).reshape(2, 3, 4, 3)[..., 0]
    assert np.unravel_index(energies[0].argmax(), (3, 4)) == (1, 0)
    assert np.unravel_index(energies[1].argmax(), (3, 4)) == (1, 2)


def test_a_constant_image_has_no_gabor_energy():
    assert Gabor()(np.full((1, 32, 32, 1), 90, np.uint8)).max() < 1e-9


def test_intensity_agrees_with_scipy():
    from scipy import stats

    image = random_images(1, 40, 30, 1)
    row = Intensity(bins=8)(image)[0]
    values = image.ravel() / 255
    expected = [values.mean(), values.std(), stats.skew(values), stats.kurtosis(values)]
    np.testing.assert_allclose(row[8:12], expected, atol=1e-5)
    percentiles = np.percentile(values, (1, 5, 25, 50, 75, 95, 99), method="inverted_cdf")
    np.testing.assert_allclose(row[12:], percentiles, atol=1e-6)
    np.testing.assert_allclose(row[:8], np.bincount(image.ravel() // 32) / image.size, atol=1e-6)


def test_intensity_does_not_know_where_a_pixel_is():
    image = random_images(1, 20, 20, 3)
    shuffled = np.random.default_rng(0).permutation(image.reshape(-1, 3)).reshape(image.shape)
    np.testing.assert_array_equal(Intensity()(image), Intensity()(shuffled))


def test_pixels_keep_every_channel():
    image = np.zeros((1, 20, 20, 3), np.uint8)
    image[..., 1] = 255
    np.testing.assert_allclose(Pixels(side=2)(image)[0], [0, 1, 0] * 4, atol=1e-6)


def test_an_augmented_image_is_turned_scaled_moved_and_of_another_contrast():
    class Whole(Extractor):
        def __call__(self, images):
            return images.reshape(len(images), -1).astype(np.float32)

    def augmented(image, **how):
        none = {"turn": 0, "scale": 1, "down": 0, "across": 0, "contrast": 1}
        return Augmented(extractor=Whole(), **{**none, **how})(image).reshape(image.shape[1:])

    image = random_images(1, 20, 20, 3)
    np.testing.assert_array_equal(augmented(image), image[0])
    np.testing.assert_array_equal(augmented(image, down=0.1)[2:], image[0, :-2])
    np.testing.assert_array_equal(augmented(image, across=-0.1)[:, :-2], image[0, :, 2:])
    np.testing.assert_allclose(augmented(image, turn=180), image[0, ::-1, ::-1], atol=1)
    ramp = np.tile(np.arange(0, 200, 10, dtype=np.uint8)[None, :, None, None], (1, 1, 20, 1))
    assert np.ptp(augmented(ramp, scale=2)) == pytest.approx(np.ptp(ramp) / 2, abs=1)
    flatter = augmented(image, contrast=0.5)
    np.testing.assert_allclose(flatter.mean(axis=(0, 1)), image[0].mean(axis=(0, 1)), atol=0.5)
    np.testing.assert_allclose(flatter.std(axis=(0, 1)), image[0].std(axis=(0, 1)) / 2, rtol=0.02)
