"""Embeddings: every cut and pooling in one row, the same whatever company, engine or route."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medbench.backbones import BACKBONES
from medbench.datasets.batch import Batch
from medbench.errors import ConfigurationError, ModelError, UnknownNameError
from medbench.features import embeddings, engines
from medbench.features.embeddings import Embedding
from medbench.features.feature_cache import FeatureCache

pytest.importorskip("keras")
SHAPE = (64, 64, 1)
WIDTH = 2 * (256 + 384 + 512 + 512)
REAL_WEIGHTS = {
    "inceptionv3": "inception_v3_notop.weights.h5",
    "mobilenet": "mobilenet_v1_1.0_224_imagenet_to_conv_pw_12.npz",
    "squeezenet": "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "efficientnet-lite0": "efficientnet_lite0_imagenet.npz",
}
QUICK = ["mobilenet", "squeezenet"]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES if name not in QUICK]
USABLE = [engine for engine in engines.ENGINES if engine in engines.installed()]
NATIVE = [
    pytest.param(
        engine,
        marks=pytest.mark.skipif(engine not in USABLE, reason=f"{engine} is not installed"),
    )
    for engine in engines.ENGINES
    if engine != "keras"
]


def embedding(shape=SHAPE, path=None, sha256=None, backbone="squeezenet", **engine):
    return Embedding(
        backbone=backbone, image_shape=shape, weights_path=path, weights_sha256=sha256, **engine
    )


def images(n, shape=SHAPE):
    return np.random.default_rng(0).integers(0, 256, (n, *shape), dtype=np.uint8)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_row_holds_every_cut_and_pooling_once(backbone):
    extractor = embedding(backbone=backbone)
    cuts = BACKBONES[backbone].cuts
    slices = [extractor.columns(cut.layer, pool) for cut in cuts for pool in ("avg", "max")]
    assert [s.start for s in slices[1:]] == [s.stop for s in slices[:-1]]
    assert slices[0].start == 0
    assert slices[-1].stop == 2 * sum(cut.channels for cut in cuts)


def test_unknown_cuts_poolings_backbones_and_engines_list_the_known_ones():
    with pytest.raises(UnknownNameError, match="fire7_concat"):
        embedding().columns("fire99_concat", "avg")
    with pytest.raises(UnknownNameError, match="avg, max"):
        embedding().columns("fire7_concat", "median")
    with pytest.raises(UnknownNameError, match="inceptionv3"):
        embedding(backbone="inceptionv9")
    with pytest.raises(UnknownNameError, match="onnxruntime"):
        embedding(engine="onxruntime")


def test_an_engine_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr(engines, "installed", lambda: ["keras"])
    with pytest.raises(ConfigurationError, match="pip install"):
        embedding(engine="onnxruntime")


def test_the_key_tells_weights_input_sizes_backbones_and_engines_apart(monkeypatch):
    monkeypatch.setattr(engines, "installed", lambda: ["onnxruntime", "openvino", "keras"])
    keys = {
        embedding().key,
        embedding((80, 80, 1)).key,
        embedding(backbone="mobilenet").key,
        embedding(engine="openvino").key,
        embedding(engine="keras").key,
        embedding(path=Path("w.h5"), sha256="a" * 64).key,
        embedding(path=Path("w.h5"), sha256="b" * 64).key,
    }
    assert len(keys) == 7
    assert "random-seed0" in embedding().key
    # A weights file is known by its content, not by its place.
    assert embedding(path=Path("x"), sha256="a" * 64).key in keys


@pytest.mark.parametrize("engine", USABLE)
def test_a_row_does_not_depend_on_its_company_and_maxima_exceed_averages(engine):
    extractor = embedding(engine=engine)
    batch = images(19)
    rows = extractor(batch)
    assert rows.shape == (19, WIDTH)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(extractor(batch[17:18]), rows[17:18])
    for cut in BACKBONES["squeezenet"].cuts:
        average = rows[:, extractor.columns(cut.layer, "avg")]
        maximum = rows[:, extractor.columns(cut.layer, "max")]
        assert (maximum >= average * (1 - 1e-5)).all()
        assert (maximum > average).any()
    assert extractor(batch[:0]).shape == (0, WIDTH)


@pytest.mark.parametrize("engine", NATIVE)
@pytest.mark.parametrize("backbone", [*QUICK, *SLOW])
def test_every_engine_gives_the_rows_of_keras(backbone, engine):
    # An odd and oblong size, for the padding; random networks give small numbers.
    shape = (77, 91, 3)
    batch = images(3, shape)
    expected = embedding(shape, backbone=backbone, engine="keras")(batch)
    rows = embedding(shape, backbone=backbone, engine=engine)(batch)
    extractor = embedding(shape, backbone=backbone)
    for cut in BACKBONES[backbone].cuts:
        for pooling in ("avg", "max"):
            columns = extractor.columns(cut.layer, pooling)
            size = np.abs(expected[:, columns]).max()
            assert size > 0
            np.testing.assert_allclose(
                rows[:, columns], expected[:, columns], rtol=1e-3, atol=1e-4 * size
            )


@pytest.mark.parametrize("engine", NATIVE)
@pytest.mark.parametrize("shape", [(28, 28, 1), (20, 30, 3)])
def test_every_engine_enlarges_small_images_as_keras_does(shape, engine):
    batch = images(2, shape)
    expected = embedding(shape, engine="keras")(batch)
    rows = embedding(shape, engine=engine)(batch)
    np.testing.assert_allclose(rows, expected, rtol=1e-3, atol=1e-4 * expected.max())


@pytest.mark.real
@pytest.mark.parametrize("engine", NATIVE)
@pytest.mark.parametrize(
    ("backbone", "side"),
    [
        pytest.param("inceptionv3", 28, marks=pytest.mark.slow),
        ("mobilenet", 128),
        ("squeezenet", 128),
        ("efficientnet-lite0", 128),
    ],
)
def test_every_engine_gives_the_rows_of_keras_on_real_films(
    backbone, side, engine, real_data, real_weights
):
    files = sorted((real_data / "covid-cxr").rglob("*.jpg"))[::60]
    films = [Image.open(file).convert("L").resize((side, side)) for file in files]
    batch = np.stack([np.asarray(film) for film in films])[..., None]
    path = real_weights / REAL_WEIGHTS[backbone]
    rows = {
        name: embedding((side, side, 1), path, "0" * 64, backbone, engine=name)(batch)
        for name in (engine, "keras")
    }
    assert len(batch) > 10
    assert rows["keras"].std() > 0.1
    np.testing.assert_allclose(rows[engine], rows["keras"], rtol=1e-3, atol=1e-3)


def test_grey_and_the_same_in_three_channels_give_one_row():
    grey = images(2)
    colour = np.repeat(grey, 3, axis=3)
    np.testing.assert_allclose(
        embedding()(grey), embedding((64, 64, 3))(colour), rtol=1e-4, atol=1e-9
    )


def test_random_weights_are_the_same_after_the_backbone_was_forgotten():
    batch = Batch(images=images(3), properties=pd.DataFrame(index=range(3)))
    first = FeatureCache(None).get(embedding(), batch)
    embeddings._body.cache_clear()
    embeddings._runner.cache_clear()
    np.testing.assert_array_equal(FeatureCache(None).get(embedding(), batch), first)


def test_images_of_another_shape_are_refused():
    with pytest.raises(ModelError, match=r"\(64, 64, 1\)"):
        embedding()(images(1, (80, 80, 1)))


def test_a_layer_that_cannot_be_written_as_onnx_is_named():
    pytest.importorskip("onnx")
    from keras import Input, Model, layers

    from medbench.features.onnx_graph import pooled_onnx

    inputs = Input((8, 8, 3))
    body = Model(inputs, layers.SeparableConv2D(4, 3, name="odd")(inputs))
    with pytest.raises(ModelError, match=r"'odd' of kind SeparableConv2D.*engine=\"keras\""):
        pooled_onnx(Model(inputs, layers.Rescaling(1.0)(inputs)), body, (8, 8, 3), 2)
    body = Model(inputs, layers.Conv2D(4, 3, activation="selu", name="odd")(inputs))
    with pytest.raises(ModelError, match="activation 'selu' of layer 'odd'"):
        pooled_onnx(Model(inputs, layers.Rescaling(1.0)(inputs)), body, (8, 8, 3), 2)
