"""Classifiers as ONNX: the probabilities that Keras gives, for any batch, without Keras."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from medbench.backbones import BACKBONES
from medbench.datasets.batch import LabelledBatch
from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.features import onnx_graph
from medbench.features.feature_cache import FeatureCache
from medbench.models.cnn import Cnn, build_network
from medbench.models.contract import Context, Progress
from medbench.models.onnx_export import classifiers_onnx
from medbench.models.space import SearchSpace
from medbench.models.transfer import transfer_family
from medbench.models.weights import Weights

pytest.importorskip("keras")
pytestmark = [
    # Not imported here: ONNX Runtime must be told first to tell nobody that it is used.
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime")),
        reason="onnx and onnxruntime are not both installed",
    ),
]
SIDE = 64
KINDS = ["multi-class", "multi-label"]
TUNED = {"cut": "conv_pw_9_relu", "fine_tune": "top block", "learning_rate": 1e-3}
MobileNet = transfer_family("mobilenet")
APART = """
import sys
for name in ("tensorflow", "keras", "jax", "torch", "medbench", "onnx"):
    sys.modules[name] = None
import numpy as np
import onnxruntime
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
(probabilities,) = session.run(["probabilities"], {"image": np.load("images.npy")})
np.save("probabilities.npy", probabilities)
"""


class Steps(Progress):
    def __init__(self, last_step=None):
        self.first_step = 0
        self.last_step = last_step

    def report(self, step, score=None):
        return True


def task(task_type="multi-class", channels=1, side=SIDE):
    return Task(classes=("a", "b", "c"), image_shape=(side, side, channels), task_type=task_type)


def images(n, channels=1, side=SIDE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels), np.uint8)


def synthetic(wanted, n=12, seed=0):
    """Synthetic: noise, brighter from class to class."""
    labels = np.arange(n) % 3
    pixels = images(n, wanted.image_shape[2], wanted.image_shape[0], seed)
    pixels = (pixels * ((1 + labels) / 3)[:, None, None, None]).astype(np.uint8)
    if wanted.task_type == "multi-label":
        labels = np.stack([labels == 0, labels > 0, labels > 1], axis=1)
    return LabelledBatch(
        images=pixels,
        properties=pd.DataFrame(index=range(n)),
        labels=labels.astype(np.int64),
        groups=np.arange(n),
    )


def fitted(family, wanted, folder, *, seed=0, last_step=None, **overrides):
    """The network of a classifier that was fitted, saved and loaded."""
    space = SearchSpace()
    family().search_space(space, wanted)
    context = Context(
        seed=seed,
        threads=1,
        features=FeatureCache(None),
        weights=Weights(path=None, sha256=None, note="no pretrained weights"),
    )
    classifier = family().build({**space.defaults(), **overrides}, wanted, context)
    classifier.fit(synthetic(wanted, seed=seed), None, Steps(last_step))
    folder = folder / str(seed)
    folder.mkdir()
    classifier.save(folder)
    classifier.load(folder)
    return classifier.network()


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """A fitted classifier on a frozen backbone, as it is saved."""
    folder = tmp_path_factory.mktemp("frozen")
    made = fitted(MobileNet, task(), folder, pooling="both")
    made.save(folder / "model.keras")
    return made, folder / "model.keras"


def network(wanted=None, seed=0, **params):
    """An untrained CNN with statistics of batch normalisation as if it were trained."""
    import keras

    keras.utils.set_random_seed(seed)
    wanted = wanted or task()
    defaults = {"blocks": "plain", "depth": 1, "width": 16, "dropout": 0.2, "augmentation": "none"}
    model = build_network({"side": wanted.image_shape[0], **defaults, **params}, wanted)
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            values = [random.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()]
            layer.set_weights(values)
    return model


def run(onnx_model, pixels):
    """Probabilities and fold probabilities by ONNX Runtime on a CPU."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_model, options, providers=["CPUExecutionProvider"])
    outputs = ["probabilities", "fold_probabilities"]
    return session.run(outputs, {"image": pixels})


def check_equal_to_keras(models, pixels, tolerance=1e-5):
    """The ONNX model, once its outputs are known to be those of the Keras models."""
    from onnx import checker

    onnx_model = classifiers_onnx(models, pixels.shape[1:])
    checker.check_model(onnx_model, full_check=True)
    expected = np.stack([np.asarray(model.predict_on_batch(pixels)) for model in models], axis=1)
    assert np.ptp(expected) > 0.01  # there is something to be seen
    mean, folds = run(onnx_model, pixels)
    assert mean.dtype == folds.dtype == np.float32
    np.testing.assert_allclose(folds, expected, atol=tolerance, rtol=0)
    np.testing.assert_allclose(mean, expected.mean(axis=1), atol=tolerance, rtol=0)
    return onnx_model


@pytest.mark.parametrize(
    ("blocks", "augmentation", "task_type", "channels", "side", "depth"),
    [
        ("plain", "none", "multi-class", 1, 32, 2),
        ("residual", "strong", "multi-class", 3, 64, 1),  # shrunk to 32 pixels
        ("residual", "light", "multi-label", 1, 50, 1),
        ("plain", "light", "multi-label", 3, 161, 1),  # with the pooling of large images
    ],
)
def test_a_cnn_gives_keras_probabilities(blocks, augmentation, task_type, channels, side, depth):
    wanted = task(task_type, channels, side)
    params = {"blocks": blocks, "augmentation": augmentation, "depth": depth}
    if side == 64:
        params["side"] = 32
    models = [network(wanted, seed, **params) for seed in (0, 1)]
    check_equal_to_keras(models, images(5, channels, side))


def test_a_trained_cnn_gives_keras_probabilities(tmp_path):
    wanted = task(side=16)
    model = fitted(Cnn, wanted, tmp_path, last_step=1, blocks="plain")
    check_equal_to_keras([model, network(wanted)], images(5, side=16))


def test_a_frozen_backbone_gives_keras_probabilities(frozen):
    check_equal_to_keras([frozen[0]], images(5))


@pytest.mark.parametrize(
    ("task_type", "pooling", "channels", "side"),
    [
        ("multi-label", "max", 3, 40),  # enlarged
        pytest.param("multi-class", "avg", 3, 80, marks=pytest.mark.slow),
    ],
)
def test_another_frozen_backbone_gives_keras_probabilities(
    tmp_path, task_type, pooling, channels, side
):
    model = fitted(MobileNet, task(task_type, channels, side), tmp_path, pooling=pooling)
    check_equal_to_keras([model], images(5, channels, side))


@pytest.mark.parametrize(
    ("task_type", "channels"),
    [("multi-class", 1), pytest.param("multi-label", 3, marks=pytest.mark.slow)],
)
def test_a_fine_tuned_backbone_gives_keras_probabilities(tmp_path, frozen, task_type, channels):
    params = {**TUNED, "cut": "conv_pw_5_relu", "pooling": "both"}
    model = fitted(MobileNet, task(task_type, channels), tmp_path, last_step=1, **params)
    beside = [frozen[0]] if channels == 1 else []
    check_equal_to_keras([model, *beside], images(5, channels))


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_keras_probabilities_at_its_deepest_cut(tmp_path, name):
    family = transfer_family(name)
    cut = BACKBONES[name].cuts[-1].layer
    params = {**TUNED, "cut": cut, "pooling": "both"}
    model = fitted(family, task(side=96), tmp_path, last_step=0, **params)
    check_equal_to_keras([model], images(4, side=96))


def test_probabilities_are_the_mean_over_the_models_and_rows_sum_to_one():
    mean, folds = run(classifiers_onnx([network(seed=s) for s in range(3)], (64, 64, 1)), images(4))
    assert folds.shape == (4, 3, 3)
    np.testing.assert_allclose(folds.mean(axis=1), mean, atol=1e-6)
    np.testing.assert_allclose(folds.sum(axis=2), 1, atol=1e-6)


def test_probabilities_do_not_depend_on_the_size_of_the_batch(frozen):
    onnx_model = classifiers_onnx([frozen[0], network()], (SIDE, SIDE, 1))
    pixels = images(16)
    mean, folds = run(onnx_model, pixels)
    for size in (1, 3):
        some, some_folds = run(onnx_model, pixels[:size])
        np.testing.assert_allclose(some, mean[:size], atol=1e-6)
        np.testing.assert_allclose(some_folds, folds[:size], atol=1e-6)


def test_the_file_runs_where_there_is_only_onnx_runtime(tmp_path):
    onnx_model, pixels = classifiers_onnx([network()], (SIDE, SIDE, 1)), images(3)
    (tmp_path / "model.onnx").write_bytes(onnx_model)
    np.save(tmp_path / "images.npy", pixels)
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", APART], cwd=tmp_path, env=environment, check=True)
    np.testing.assert_array_equal(
        np.load(tmp_path / "probabilities.npy"), run(onnx_model, pixels)[0]
    )


def test_several_heads_on_one_backbone_store_and_compute_it_once(frozen):
    import keras
    import onnx

    models = [frozen[0]]
    for seed in range(2):
        models.append(keras.saving.load_model(frozen[1], compile=False))
        dense = models[-1].get_layer("head").get_layer("probabilities")
        random = np.random.default_rng(seed)
        dense.set_weights(
            [weight + random.normal(0, 0.1, weight.shape) for weight in dense.weights]
        )
    one, three = (classifiers_onnx(models[:n], (SIDE, SIDE, 1)) for n in (1, 3))
    assert len(three) < 1.05 * len(one)
    operators = [
        [n.op_type for n in onnx.load_from_string(data).graph.node] for data in (one, three)
    ]
    for shared in ("BatchNormalization", "Cast", "GlobalAveragePool", "Resize"):
        assert operators[1].count(shared) == operators[0].count(shared)
    assert operators[1].count("Softmax") == 3
    _, folds = run(three, images(4))
    assert np.ptp(folds, axis=1).min() > 1e-3  # the heads are three


def test_a_frozen_head_is_at_least_as_exact_as_in_keras(tmp_path):
    """Little spread around a large mean: multiplied out, as Keras has it, 1e-3 would be lost."""
    import keras
    from keras import layers

    random = np.random.default_rng(0)
    standardise = layers.BatchNormalization(center=False, scale=False, epsilon=1e-30)
    inputs = keras.Input((8, 8, 1), dtype="uint8", name="image")
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(3e-9, offset=3e-6)(inputs))
    model = keras.Model(inputs, layers.Dense(2, activation="sigmoid")(standardise(x)))
    pixels = images(50, side=8)
    features = (pixels.astype(np.float64) * 3e-9 + 3e-6).mean(axis=(1, 2))
    mean, variance = features.mean(axis=0), features.var(axis=0)
    assert variance < 1e-15
    standardise.set_weights([mean, variance])
    kernel, bias = random.normal(size=(1, 2)), np.zeros(2)
    model.layers[-1].set_weights([kernel, bias])
    expected = 1 / (1 + np.exp(-(features - mean) / np.sqrt(variance) @ kernel))
    assert np.ptp(expected) > 0.1
    got = run(classifiers_onnx([model], (8, 8, 1)), pixels)[0]
    keras_error = np.abs(np.asarray(model.predict_on_batch(pixels)) - expected).max()
    assert np.abs(got - expected).max() <= keras_error + 1e-6


def test_a_network_of_mixed_precision_is_written_in_float32():
    import keras

    exact = network(seed=3, blocks="residual", augmentation="light")
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = network(seed=4, blocks="residual", augmentation="light")
    finally:
        keras.config.set_dtype_policy(policy)
    mixed.set_weights(exact.get_weights())
    assert mixed.layers[2].compute_dtype == "float16"
    expected, got = (run(classifiers_onnx([m], (64, 64, 1)), images(4))[0] for m in (exact, mixed))
    np.testing.assert_array_equal(got, expected)


def test_what_cannot_be_written_is_named_with_a_remedy():
    from keras import Input, Model, layers

    def refused(layer, message):
        inputs = Input((8, 8, 1), dtype="uint8", name="image")
        x = layers.GlobalAveragePooling2D()(layer(layers.Rescaling(1.0)(inputs)))
        model = Model(inputs, layers.Dense(2, name="probabilities")(x))
        with pytest.raises(ModelError, match=message + r".*model\.keras"):
            classifiers_onnx([model], (8, 8, 1))

    refused(layers.SeparableConv2D(4, 3, name="odd"), "layer 'odd' of kind SeparableConv2D")
    refused(layers.Conv2D(4, 3, dilation_rate=2, name="odd"), "dilated convolution 'odd'")
    refused(layers.Conv2D(4, 3, activation="selu", name="odd"), "'selu' of layer 'odd'")
    refused(layers.BatchNormalization(axis=1, name="odd"), "axis 1.*'odd'")
    refused(layers.Reshape((4, 16, 1), name="odd"), r"layer 'odd' from \(8, 8, 1\)")
    refused(layers.Resizing(4, 4, antialias=True, name="odd"), "resizing 'odd'")
    refused(layers.ReLU(negative_slope=0.1, name="odd"), "slope.*'odd'")


def test_models_of_another_task_and_no_models_are_refused():
    two = Task(classes=("a", "b"), image_shape=(SIDE, SIDE, 1))
    with pytest.raises(ModelError, match="no classifier"):
        classifiers_onnx([], (SIDE, SIDE, 1))
    with pytest.raises(ModelError, match=r"classifier 1 .*\(2,\).*\(3,\)"):
        classifiers_onnx([network(), network(two)], (SIDE, SIDE, 1))
    with pytest.raises(ModelError, match=r"\(64, 64, 1\).*\(64, 64, 3\)"):
        classifiers_onnx([network()], (SIDE, SIDE, 3))


def test_more_weights_than_one_file_holds_are_refused(monkeypatch):
    model = network()
    size = 4 * model.count_params()
    monkeypatch.setattr(onnx_graph, "_MOST_BYTES", 1.5 * size)
    classifiers_onnx([model, model], (SIDE, SIDE, 1))  # the same weights count once
    with pytest.raises(ModelError, match=r"GiB of weights.*fewer models"):
        classifiers_onnx([model, network(seed=1)], (SIDE, SIDE, 1))
