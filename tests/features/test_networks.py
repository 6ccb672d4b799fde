"""Backbones: fed as they were trained, cut where nothing goes around, and never half loaded."""

from __future__ import annotations

import functools
import re

import h5py
import numpy as np
import pytest

from medbench.backbones import BACKBONES
from medbench.errors import ModelError, UnknownNameError
from medbench.features.networks import build_body, input_size

keras = pytest.importorskip("keras")
LARGE = {"densenet121", "efficientnetb0", "resnet50"}
"""No suite names these; the slow tests of models fit, save and export them."""
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in BACKBONES
]
SQUEEZENET, MOBILENET = BACKBONES["squeezenet"], BACKBONES["mobilenet"]
LITE = BACKBONES["efficientnet-lite0"]
SIZE = (64, 64)
CLASSES = 7
once = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="names of layers do not depend on the backend, and networks are built slowly on JAX",
)
"""Of what MobileNet, whose files are read on every backend, is not needed for."""


@functools.cache
def random_body(backbone):
    """A network with random weights; not to be changed."""
    return build_body(backbone, SIZE, None)


def arrays_of(layer):
    return [np.asarray(keras.ops.convert_to_numpy(weight)) for weight in layer.weights]


def write_hdf5(path, layers):
    """A weights file as Keras 1 and 2 wrote them, of arrays by layer."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, values in layers.items():
            group = file.create_group(name)
            names = [f"{name}_{i}:0" for i in range(len(values))]
            group.attrs["weight_names"] = [n.encode() for n in names]
            for weight, value in zip(names, values, strict=True):
                group[weight] = value


def squeezenet_layers(random, top=False):
    layers = {"input_1": []}
    for layer in random_body(SQUEEZENET).layers:
        if layer.weights:
            values = [random.normal(size=w.shape).astype(np.float32) for w in layer.weights]
            layers[layer.name.replace("_", "/")] = values
    if top:
        layers["conv10"] = [np.zeros((1, 1, 512, CLASSES)), np.zeros(CLASSES)]
    return layers


def mobilenet_arrays(random):
    arrays = {}
    for layer in random_body(MOBILENET).layers:
        depthwise = "depthwise_" * type(layer).__name__.startswith("Depthwise")
        for weight in layer.weights:
            value = random.normal(size=weight.shape).astype(np.float32)
            arrays[f"{layer.name}/{depthwise}{weight.name}"] = value
    return arrays


@once
@pytest.mark.parametrize("name", NAMES)
def test_every_cut_has_its_channels_and_nothing_goes_around_the_layer_below_it(name):
    backbone = BACKBONES[name]
    enlarged = input_size(name, (*SIZE, 3)) != SIZE
    body = build_body(backbone, (75, 75), None) if enlarged else random_body(backbone)
    assert not body.trainable
    layers = [layer.name for layer in body.layers]
    assert layers[-1] == backbone.cuts[-1].layer
    depths = [layers.index(cut.layer) for cut in backbone.cuts]
    assert depths == sorted(depths)
    assert 3 <= len(backbone.cuts) <= 5
    for cut in backbone.cuts:
        below, output = body.get_layer(cut.below).output, body.get_layer(cut.layer).output
        assert output.shape[-1] == cut.channels
        block = keras.Model(below, output)  # refused where a path goes around
        assert any(layer.weights for layer in block.layers)


def test_an_unknown_cut_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match="fire7_concat"):
        SQUEEZENET.cut("fire99")


def test_small_images_are_enlarged_and_large_ones_kept():
    assert input_size("inceptionv3", (28, 28, 1)) == (96, 96)
    assert input_size("inceptionv3", (30, 60, 3)) == (96, 192)
    assert input_size("inceptionv3", (75, 75, 1)) == (75, 75)
    assert input_size("inceptionv3", (299, 299, 3)) == (299, 299)
    assert input_size("mobilenet", (28, 28, 1)) == (96, 96)
    assert input_size("mobilenet", (64, 64, 1)) == (64, 64)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("inceptionv3", "inception_v3"),
        ("mobilenet", "mobilenet"),
        ("densenet121", "densenet"),
        ("resnet50", "resnet50"),
        ("squeezenet", "resnet50"),  # trained by the same tools
    ],
)
def test_pixels_are_prepared_as_keras_says(name, module):
    backbone = BACKBONES[name]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3)).astype(np.float32)
    expected = getattr(keras.applications, module).preprocess_input(pixels.copy())
    ours = (pixels - np.array(backbone.mean)) / np.array(backbone.deviation)
    if backbone.weights.bgr:
        ours = ours[..., ::-1]
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_efficientnet_is_fed_as_keras_feeds_it_with_its_imagenet_file(tmp_path, monkeypatch):
    """Keras adds a layer where it loads that file itself; here its part is in the preparation."""
    from keras.src.applications import efficientnet
    from keras.src.legacy.saving import legacy_h5_format

    backbone = BACKBONES["efficientnetb0"]
    options = {"include_top": False, "input_shape": (*SIZE, 3)}
    saved = keras.applications.EfficientNetB0(weights=None, **options)
    # What the file holds: the mean and the deviation of ImageNet as mean and variance.
    normalisation = next(x for x in saved.layers if type(x).__name__ == "Normalization")
    held = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 1)
    normalisation.set_weights([np.array(values) for values in held])
    path = tmp_path / "efficientnetb0_notop.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, saved)
    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *a, **k: str(path))
    official = keras.applications.EfficientNetB0(weights="imagenet", **options)
    ours = build_body(backbone, SIZE, path)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3)).astype(np.float32)
    outputs = []
    for model, x in (
        (official, pixels),
        (ours, (pixels - np.array(backbone.mean)) / np.array(backbone.deviation)),
    ):
        stem = keras.Model(model.inputs, model.get_layer("stem_conv").output)
        outputs.append(np.asarray(stem.predict_on_batch(x.astype(np.float32))))
    assert outputs[0].std() > 0.1
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)


@once
@pytest.mark.parametrize("top", [False, True])
def test_squeezenet_reads_its_file_by_name_and_turns_the_colours_around(tmp_path, top):
    layers = squeezenet_layers(np.random.default_rng(1), top)
    write_hdf5(tmp_path / "squeezenet.h5", layers)
    body = build_body(SQUEEZENET, SIZE, tmp_path / "squeezenet.h5")
    read = 0
    for name, values in layers.items():
        if name in ("input_1", "conv10"):
            continue
        kernel, bias = arrays_of(body.get_layer(name.replace("/", "_")))
        expected = values[0][:, :, ::-1] if name == "conv1" else values[0]
        np.testing.assert_array_equal(kernel, expected)
        np.testing.assert_array_equal(bias, values[1])
        read += 1
    assert read == 25


@once
def test_squeezenet_refuses_a_file_that_lacks_a_layer(tmp_path):
    layers = squeezenet_layers(np.random.default_rng(1))
    del layers["fire9/expand3x3"]
    write_hdf5(tmp_path / "squeezenet.h5", layers)
    with pytest.raises(ModelError, match=r"squeezenet\.h5.*no fire9_expand3x3/kernel.*that folder"):
        build_body(SQUEEZENET, SIZE, tmp_path / "squeezenet.h5")


def test_mobilenet_reads_arrays_by_name_and_needs_none_of_block_13(tmp_path):
    arrays = mobilenet_arrays(np.random.default_rng(1))
    assert "conv_dw_12/depthwise_kernel" in arrays
    assert not any("13" in name for name in arrays)
    np.savez(tmp_path / "mobilenet.npz", **arrays)
    body = build_body(MOBILENET, SIZE, tmp_path / "mobilenet.npz")
    for layer in body.layers:
        for weight, value in zip(layer.weights, arrays_of(layer), strict=True):
            names = (f"{layer.name}/{weight.name}", f"{layer.name}/depthwise_{weight.name}")
            expected = next(arrays[name] for name in names if name in arrays)
            np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("conv_pw_12_bn/gamma", None, "no conv_pw_12_bn/gamma"),
        ("conv1/kernel", np.zeros((3, 3, 1, 32)), r"shape \(3, 3, 1, 32\), not \(3, 3, 3, 32\)"),
        ("conv1/kernel", np.array([{"an": "object"}]), "do not fit MobileNet"),
    ],
)
def test_mobilenet_refuses_arrays_that_do_not_fit(tmp_path, name, value, reason):
    arrays = mobilenet_arrays(np.random.default_rng(1))
    del arrays[name]
    if value is not None:
        arrays[name] = value
    np.savez(tmp_path / "mobilenet.npz", **arrays)
    with pytest.raises(ModelError, match=rf"mobilenet\.npz.*{reason}"):
        build_body(MOBILENET, SIZE, tmp_path / "mobilenet.npz")


def test_mobilenet_reads_keras_own_file_with_its_last_block(tmp_path):
    whole = keras.applications.MobileNet(
        include_top=False, weights=None, input_shape=(*SIZE, 3), name="saved"
    )
    layers = {layer.name: arrays_of(layer) for layer in whole.layers}
    write_hdf5(tmp_path / "mobilenet_1_0_224_tf_no_top.h5", layers)
    body = build_body(MOBILENET, SIZE, tmp_path / "mobilenet_1_0_224_tf_no_top.h5")
    for name in ("conv1", "conv_dw_12", "conv_pw_12"):
        np.testing.assert_array_equal(arrays_of(body.get_layer(name))[0], layers[name][0])


def test_a_file_that_lacks_a_convolution_is_refused(tmp_path):
    path = tmp_path / "mobilenet_1_0_no_top.weights.h5"
    options = {"include_top": False, "weights": None, "input_shape": (*SIZE, 3)}
    keras.applications.MobileNet(**options).save_weights(path)
    with h5py.File(path, "a") as file:
        del file["layers/conv2d"]
    with pytest.raises(ModelError, match=r"no_top\.weights\.h5: .*out of that folder"):
        build_body(MOBILENET, SIZE, path)


@once
def test_convolutions_that_keras_passed_over_in_silence_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.Model, "load_weights", lambda self, path: None)
    with pytest.raises(ModelError, match=r"some\.h5: holds nothing for 25 of the 25 convolutions"):
        build_body(MOBILENET, SIZE, tmp_path / "some.h5")


@once
def test_a_file_that_broke_off_is_refused_with_its_name(tmp_path):
    write_hdf5(tmp_path / "whole.h5", squeezenet_layers(np.random.default_rng(1)))
    path = tmp_path / "squeezenet.h5"
    path.write_bytes((tmp_path / "whole.h5").read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"squeezenet\.h5.*truncated"):
        build_body(SQUEEZENET, SIZE, path)


@once
def test_efficientnet_lite_takes_pytorch_kernels_with_their_axes_turned(tmp_path):
    random = np.random.default_rng(1)
    turns = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
    turns |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    arrays, expected = {}, {}
    for layer in random_body(LITE).layers:
        # "blocks4_expand_conv" is "_blocks.4._expand_conv" there
        module = re.sub(r"^blocks(\d+)_", r"_blocks.\1._", layer.name)
        module = module if module.startswith("_") else f"_{module}"
        for weight in layer.weights:
            value = random.normal(size=weight.shape).astype(np.float32)
            expected[layer.name, weight.name] = value
            if value.ndim == 4:
                axes = (2, 3, 0, 1) if "depthwise" in module else (3, 2, 0, 1)
                value = value.transpose(axes)
            arrays[f"{module}.{turns[weight.name]}"] = value
    np.savez(tmp_path / "efficientnet_lite0.npz", **arrays)
    body = build_body(LITE, SIZE, tmp_path / "efficientnet_lite0.npz")
    for layer in body.layers:
        for weight, value in zip(layer.weights, arrays_of(layer), strict=True):
            np.testing.assert_array_equal(value, expected[layer.name, weight.name])
    assert len(expected) == 5 * 46  # kernels, and four vectors of each batch normalisation
    del arrays["_blocks.4._bn1.running_var"]
    np.savez(tmp_path / "efficientnet_lite0.npz", **arrays)
    with pytest.raises(ModelError, match=r"lite0\.npz.*no blocks4_bn1/moving_variance"):
        build_body(LITE, SIZE, tmp_path / "efficientnet_lite0.npz")


@once
@pytest.mark.real
def test_both_real_files_of_squeezenet_give_one_network(real_weights):
    name = "squeezenet_weights_tf_dim_ordering_tf_kernels"
    bodies = [
        build_body(SQUEEZENET, SIZE, real_weights / f"{name}{part}.h5") for part in ("", "_notop")
    ]
    for one, other in zip(*(body.get_weights() for body in bodies), strict=True):
        np.testing.assert_array_equal(one, other)
