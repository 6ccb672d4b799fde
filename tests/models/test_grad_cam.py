"""Grad-CAM: it points where a network looks, on every backend and however models are nested."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from medbench.datasets.batch import LabelledBatch
from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.features.embeddings import Embedding
from medbench.features.feature_cache import FeatureCache
from medbench.models.cnn import Cnn
from medbench.models.contract import Context, Progress
from medbench.models.grad_cam import grad_cam, map_shape
from medbench.models.keras_support import output_layer
from medbench.models.linear_head import LinearHead
from medbench.models.space import SearchSpace
from medbench.models.transfer import transfer_family
from medbench.models.weights import Weights

keras = pytest.importorskip("keras")
SIDE = 32
MobileNet = transfer_family("mobilenet")
NONE = Weights(path=None, sha256=None, note="no pretrained weights")
CUT = "conv_pw_5_relu"
UNLIKE = 0.6
"""Rank correlation below which two maps are not the same explanation."""


class Steps(Progress):
    def __init__(self, last_step):
        self.last_step = last_step


def spots(n=24, side=SIDE, channels=1, seed=0, classes=2):
    """Synthetic: noise; class k has a bright spot in corner k, class 0 has none."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = random.normal(80, 15, (n, side, side, channels))
    third = side // 3
    for image, label in zip(images, labels, strict=True):
        if label:
            begin = 2 if label == 1 else side - third - 2
            image[begin : begin + third, begin : begin + third] += 120
    return LabelledBatch(
        images=images.clip(0, 255).astype(np.uint8),
        properties=pd.DataFrame(index=range(n)),
        labels=labels.astype(np.int64),
        groups=np.arange(n),
    )


def task(classes=2, channels=1, side=SIDE, task_type="multi-class"):
    return Task(
        classes=tuple("abc"[:classes]), image_shape=(side, side, channels), task_type=task_type
    )


def saved(family, of, train, folder, last_step=None, **overrides):
    """The network of a fitted classifier, from what it writes."""
    space = SearchSpace()
    family.search_space(space, of)
    context = Context(seed=1, threads=1, features=FeatureCache(None), weights=NONE)
    classifier = family.build({**space.defaults(), **overrides}, of, context)
    classifier.fit(train, None, Steps(last_step))
    classifier.save(folder)
    classifier.load(folder)
    return classifier.network()


def randomise(model):
    """Every kernel drawn anew, with the spread that it had; normalisation stays as it is."""
    random = np.random.default_rng(7)
    for variable in model.variables:
        values = np.asarray(keras.ops.convert_to_numpy(variable))
        if values.ndim >= 2:
            variable.assign(random.normal(0, values.std() + 1e-6, values.shape))


def alike(first, second):
    """Mean rank correlation of the maps of each image; of a map that is 0 it is 0."""
    pairs = zip(first, second, strict=True)
    return np.mean(
        [spearmanr(a.ravel(), b.ravel())[0] if np.ptp(a) and np.ptp(b) else 0.0 for a, b in pairs]
    )


def looking_at(kernel, *, units=1, activation="sigmoid", side=SIDE, channels=1, nested=False):
    """A model whose activation map is the image in blocks of 4, and whose head is ``kernel``."""
    inputs = keras.Input((side, side, channels), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.AveragePooling2D(4)(x)
    whole = keras.Model(inputs, x)
    below = keras.Input(x.shape[1:])
    pooled = keras.layers.GlobalAveragePooling2D()(below)
    head = keras.layers.Dense(units, activation=activation, name="probabilities")
    above = keras.Model(below, head(pooled))
    head.set_weights([np.asarray(kernel, np.float32), np.zeros(units, np.float32)])
    if not nested:
        return keras.Model(inputs, above(x))
    top = keras.Sequential([keras.Model(below, keras.layers.ReLU()(below)), above])
    outer = keras.Input((side, side, channels), dtype="uint8", name="outer")
    return keras.Model(outer, top(whole(outer)))


def square(side=SIDE, channels=1):
    image = np.zeros((1, side, side, channels), np.uint8)
    image[0, 4:12, 20:28] = 200
    return image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("nested", [False, True])
def test_the_map_points_at_the_place_that_the_output_is_made_of(channels, nested):
    model = looking_at(np.ones((channels, 1)), channels=channels, nested=nested)
    maps = grad_cam(model, square(channels=channels), [0])
    assert maps.shape == (1, SIDE, SIDE)
    assert maps.dtype == np.float32
    assert (maps.min(), maps.max()) == (0, 1)
    y, x = np.unravel_index(maps[0].argmax(), maps[0].shape)
    assert 4 <= y < 12
    assert 20 <= x < 28


def test_what_speaks_against_a_class_is_cut_off():
    maps = grad_cam(looking_at([[-1.0]]), square(), [0])
    assert not maps.any()
    assert not grad_cam(looking_at([[0.0]]), square(), [0]).any()


def test_of_two_exclusive_classes_the_difference_of_the_logits_is_explained():
    both_up = looking_at([[1.0, 3.0]], units=2, activation="softmax")
    maps = grad_cam(both_up, np.repeat(square(), 2, axis=0), [0, 1])
    assert not maps[0].any()  # class 0 rises too, but less
    assert maps[1].max() == 1
    apart = looking_at([[1.0, 3.0]], units=2, activation="sigmoid")
    assert grad_cam(apart, square(), [0]).max() == 1


def test_the_gradient_is_that_of_the_logit_not_of_a_saturated_probability():
    model = looking_at([[1e4]])
    assert float(model.predict_on_batch(square())[0, 0]) == 1
    assert grad_cam(model, square(), [0]).max() == 1


@pytest.mark.parametrize("task_type", ["multi-class", "multi-label"])
def test_the_logits_are_those_that_the_probabilities_come_from(task_type):
    """The sum that is differentiated equals the model's own output, however it is drawn."""
    from medbench.models import grad_cam as module

    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 1), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    # It is drawn as in training, and explained as in inference.
    x = keras.layers.RandomTranslation(0.5, 0.5)(x, training=True)
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    attention = keras.layers.GlobalAveragePooling2D()(x)  # pools, but is not what the head sees
    x = keras.layers.Multiply()([x, keras.layers.Reshape((1, 1, 4))(attention)])
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.5)(x)
    model = keras.Model(inputs, output_layer(task(3, side=16, task_type=task_type))(x))
    model.layers[-1].kernel.assign(np.random.default_rng(0).normal(0, 9, (4, 3)))
    images = spots(4, side=16, classes=3).images
    sums = []

    def record(function, shape):
        value, activation = function(keras.ops.zeros(shape))
        sums.append(float(value))
        return keras.ops.zeros(shape), activation

    for k in range(3):
        directions = np.eye(3, dtype=np.float32)[np.full(4, k)]
        module._differentiated(model, module._parts(model), images, directions, record)
    probabilities = model.predict_on_batch(images).astype(np.float64)
    if task_type == "multi-label":
        expected = np.log(probabilities / (1 - probabilities)).sum(axis=0)
        np.testing.assert_allclose(sums, expected, atol=1e-3)
    else:
        expected = np.log(probabilities).sum(axis=0)
        np.testing.assert_allclose(np.diff(sums), np.diff(expected), atol=1e-3)


def test_a_trained_networks_maps_change_with_its_weights_and_only_with_them(tmp_path):
    """The check of Adebayo et al. (2018), Sanity checks for saliency maps, NeurIPS."""
    other, train = (spots(n, side=16, seed=n) for n in (12, 48))
    shown = other.images[other.labels == 1]
    model = saved(Cnn(), task(side=16), train, tmp_path, 6, augmentation="none", blocks="plain")
    assert map_shape(model) == (4, 4)
    of_class = np.ones(len(shown), np.int64)
    maps = grad_cam(model, shown, of_class)
    assert alike(maps, grad_cam(model, shown, of_class)) == pytest.approx(1)
    assert alike(maps, grad_cam(model, shown, 1 - of_class)) < UNLIKE
    randomise(model)
    assert alike(maps, grad_cam(model, shown, of_class)) < UNLIKE


def test_a_transfer_models_maps_change_with_its_weights(monkeypatch):
    shown = spots(12, side=64, channels=3).images[1::2]
    params = {"cut": CUT, "pooling": "both", "C": 1.0}
    context = Context(seed=1, threads=1, features=FeatureCache(None), weights=NONE)
    classifier = MobileNet().build(params, task(channels=3, side=64), context)
    # A small backbone and a head that nobody fitted: JAX compiles the real ones for a minute.
    monkeypatch.setattr(Embedding, "body", lambda self: body)
    keras.utils.set_random_seed(0)
    pixels = keras.Input((64, 64, 3))
    x = keras.layers.Conv2D(8, 5, strides=4, padding="same", activation="relu")(pixels)
    last = keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu", name=CUT)
    body = keras.Model(pixels, last(x))
    kernel = np.random.default_rng(0).normal(size=(32, 1)) * [[-1, 1]]
    classifier._head = LinearHead(
        mean=np.zeros(32), scale=np.ones(32), kernel=kernel, bias=np.zeros(2)
    )
    model = classifier.network()
    assert map_shape(model) == (8, 8)
    maps = grad_cam(model, shown, np.ones(len(shown), np.int64))
    assert alike(maps, grad_cam(model, shown, np.ones(len(shown), np.int64))) == pytest.approx(1)
    randomise(model)
    assert alike(maps, grad_cam(model, shown, np.ones(len(shown), np.int64))) < UNLIKE


@pytest.mark.slow  # on JAX
def test_a_fine_tuned_model_with_several_labels_is_explained_label_by_label(tmp_path):
    train = spots(16, side=64, classes=3)
    labels = np.stack([train.labels == 1, train.labels == 2], axis=1).astype(np.int64)
    train = LabelledBatch(
        images=train.images, properties=train.properties, labels=labels, groups=train.groups
    )
    model = saved(
        MobileNet(),
        task(side=64, task_type="multi-label"),
        train,
        tmp_path,
        1,
        fine_tune="top block",
        learning_rate=1e-4,
        cut=CUT,
    )
    first, second = (grad_cam(model, train.images[:6], np.full(6, k)) for k in (0, 1))
    assert first.shape == (6, 64, 64)
    assert not np.allclose(first, second)


def test_more_images_than_a_pass_takes_and_none_at_all():
    model = looking_at([[1.0]])
    maps = grad_cam(model, np.repeat(square(), 20, axis=0), np.zeros(20, np.int64))
    assert maps.shape == (20, SIDE, SIDE)
    np.testing.assert_allclose(maps[19], maps[0], atol=1e-6)
    assert grad_cam(model, square()[:0], []).shape == (0, SIDE, SIDE)


@pytest.mark.parametrize(
    ("images", "classes", "said"),
    [
        (square(16), [0], "takes uint8 images of shape"),
        (square().astype(np.float32), [0], "float32"),
        (square(), [1], "classes are 0 to 0"),
        (square(), [-1], "classes are 0 to 0"),
        (square(), [0, 0], "one class each"),
    ],
)
def test_images_and_classes_that_do_not_fit_are_refused(images, classes, said):
    with pytest.raises(ModelError, match=said):
        grad_cam(looking_at([[1.0]]), images, classes)


def test_a_model_without_a_map_or_with_another_end_is_refused():
    inputs = keras.Input((SIDE, SIDE, 1), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    linear = keras.Model(inputs, keras.layers.Dense(2)(pooled))
    with pytest.raises(ModelError, match="ends in a dense layer with softmax or sigmoid"):
        grad_cam(linear, square(), [0])
    vector = keras.Input((5,))
    flat = keras.Model(vector, keras.layers.Dense(2, activation="softmax")(vector))
    with pytest.raises(ModelError, match="pools an activation map"):
        map_shape(flat)


def test_a_backend_that_does_not_differentiate_is_named(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(ModelError, match=r"'numpy'.*KERAS_BACKEND"):
        grad_cam(looking_at([[1.0]]), square(), [0])
