"""Embeddings: every cut and pooling in one row, the same whatever company an image has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medbench.datasets.batch import Batch
from medbench.errors import ModelError, UnknownNameError
from medbench.features.cache import FeatureCache
from medbench.features.embeddings import BACKBONES, Embedding, input_size

pytest.importorskip("keras")
SHAPE = (75, 75, 1)
WIDTH = 2 * (768 * 3 + 1280 + 2048)


def embedding(shape=SHAPE, path=None, sha256=None):
    return Embedding(
        backbone="inception_v3", image_shape=shape, weights_path=path, weights_sha256=sha256
    )


def images(n, shape=SHAPE):
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


def test_a_row_holds_every_cut_and_pooling_once():
    extractor = embedding()
    slices = [
        extractor.columns(cut.layer, pooling)
        for cut in BACKBONES["inception_v3"].cuts
        for pooling in ("avg", "max")
    ]
    assert [s.start for s in slices[1:]] == [s.stop for s in slices[:-1]]
    assert (slices[0].start, slices[-1].stop) == (0, WIDTH)


def test_unknown_cuts_and_poolings_list_the_known_ones():
    with pytest.raises(UnknownNameError, match="mixed5"):
        embedding().columns("mixed99", "avg")
    with pytest.raises(UnknownNameError, match="avg, max"):
        embedding().columns("mixed5", "median")


def test_the_key_tells_weights_and_input_sizes_apart():
    keys = {
        embedding().key,
        embedding((80, 80, 1)).key,
        embedding(path=Path("w.h5"), sha256="a" * 64).key,
        embedding(path=Path("w.h5"), sha256="b" * 64).key,
    }
    assert len(keys) == 4
    assert "random-seed0" in embedding().key
    # A weights file is known by its content, not by its place.
    assert embedding(path=Path("x"), sha256="a" * 64).key in keys


def test_small_images_are_enlarged_and_large_ones_kept():
    assert input_size("inception_v3", (28, 28, 1)) == (96, 96)
    assert input_size("inception_v3", (30, 60, 3)) == (96, 192)
    assert input_size("inception_v3", (75, 75, 1)) == (75, 75)
    assert input_size("inception_v3", (299, 299, 3)) == (299, 299)


@pytest.mark.slow
def test_a_row_does_not_depend_on_its_company_and_maxima_exceed_averages():
    extractor = embedding()
    batch = images(19)
    rows = extractor(batch)
    assert rows.shape == (19, WIDTH)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(extractor(batch[17:18]), rows[17:18])
    for cut in BACKBONES["inception_v3"].cuts:
        average = rows[:, extractor.columns(cut.layer, "avg")]
        maximum = rows[:, extractor.columns(cut.layer, "max")]
        # Deep down 75 pixels are one, so that both poolings agree but for rounding.
        assert (maximum >= average * (1 - 1e-5)).all()
    shallow = [rows[:, extractor.columns("mixed3", pooling)] for pooling in ("avg", "max")]
    assert (shallow[1] > shallow[0]).any()
    assert extractor(batch[:0]).shape == (0, WIDTH)


@pytest.mark.slow
def test_grey_and_the_same_in_three_channels_give_one_row():
    grey = images(2)
    colour = np.repeat(grey, 3, axis=3)
    np.testing.assert_allclose(
        embedding()(grey), embedding((75, 75, 3))(colour), rtol=1e-4, atol=1e-9
    )


@pytest.mark.slow
def test_random_weights_are_the_same_after_the_backbone_was_forgotten():
    from medbench.features import embeddings

    batch = Batch(images=images(3), properties=pd.DataFrame(index=range(3)))
    first = FeatureCache(None).get(embedding(), batch)
    embeddings._networks.cache_clear()
    np.testing.assert_array_equal(FeatureCache(None).get(embedding(), batch), first)


def test_images_of_another_shape_are_refused():
    with pytest.raises(ModelError, match=r"\(75, 75, 1\)"):
        embedding()(images(1, (80, 80, 1)))


@pytest.mark.slow
def test_a_weights_file_that_does_not_fit_is_named(tmp_path):
    import h5py

    path = tmp_path / "inception_v3_notop.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_group("layers")
    with pytest.raises(ModelError, match="inception_v3_notop"):
        embedding(path=path, sha256="0" * 64)(images(1))
