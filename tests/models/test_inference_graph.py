"""What is stored and passed on says the same however it is called, and calling changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

from medbench.errors import ModelError
from medbench.features.feature_cache import FeatureCache
from medbench.models.cnn import Cnn
from medbench.models.contract import Context, Progress
from medbench.models.inference_graph import inference_graph
from medbench.models.space import SearchSpace
from medbench.testing import synthetic_data

keras = pytest.importorskip("keras")
DATA = synthetic_data(n_classes=3, channels=1, image_size=16)
IMAGES = DATA.validation.images


class Once(Progress):
    last_step = 1


def augmenting_cnn():
    space = SearchSpace()
    Cnn().search_space(space, DATA.task)
    params = {**space.defaults(), "augmentation": "strong", "dropout": 0.5, "blocks": "plain"}
    return Cnn().build(params, DATA.task, Context(seed=1, threads=1, features=FeatureCache(None)))


@pytest.fixture(scope="module")
def trained():
    classifier = augmenting_cnn()
    classifier.fit(DATA.train, None, Once())
    return classifier


def check_steady(model, expected):
    """A function of images that does not change: not by the call, nor from call to call."""
    before = [np.array(value) for value in map(keras.ops.convert_to_numpy, model.variables)]
    for _ in range(2):
        said = keras.ops.convert_to_numpy(model(IMAGES))
        np.testing.assert_allclose(said, expected, atol=1e-6, rtol=0)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, atol=1e-6, rtol=0)
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


def nested():
    """Resizing before dropout, a model in a model in a sequence, drawn as in training."""
    keras.utils.set_random_seed(0)
    below = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu")(below)
    x = keras.layers.BatchNormalization()(x, training=True)
    block = keras.Model(below, keras.layers.Dropout(0.5)(x))
    top = keras.Sequential([block, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    inputs = keras.Input((16, 16, 1), dtype="uint8", name="image")
    x = keras.layers.RandomFlip()(inputs)  # makes fractions of whole numbers, so it must stay
    return keras.Model(inputs, top(keras.layers.Resizing(8, 8)(keras.layers.Rescaling(1 / 99)(x))))


def test_a_stored_network_is_a_plain_function(trained, tmp_path):
    expected = trained.predict_proba(DATA.validation)
    trained.save(tmp_path)
    model = keras.saving.load_model(tmp_path / "model.keras")
    check_steady(model, expected)
    assert not model.trainable_variables
    assert not model.optimizer.variables[2:]  # a counter and a rate, no state of any weight


def test_models_in_models_are_drawn_for_inference_and_the_original_is_left_alone(tmp_path):
    model = nested()
    n_trainable, expected = len(model.trainable_variables), model.predict(IMAGES, verbose=0)
    graph = inference_graph(model)
    graph.save(tmp_path / "model.keras")
    for drawn in (graph, keras.saving.load_model(tmp_path / "model.keras"), inference_graph(graph)):
        check_steady(drawn, expected)
    assert len(model.trainable_variables) == n_trainable
    said = keras.ops.convert_to_numpy(model(IMAGES))
    assert np.abs(said - expected).max() > 1e-3  # as Keras does by itself; else there is no need


def test_a_saved_model_of_tensorflow_is_a_plain_function(trained, tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("SavedModel is TensorFlow's format")
    import tensorflow as tf

    trained.network().export(tmp_path, verbose=False)
    served = tf.saved_model.load(str(tmp_path))
    expected = trained.predict_proba(DATA.validation)
    for _ in range(2):
        np.testing.assert_allclose(served.serve(IMAGES).numpy(), expected, atol=1e-6, rtol=0)


def test_a_network_that_was_stored_as_it_was_trained_is_read_for_inference(trained, tmp_path):
    """As runs of earlier versions hold them: with augmentation and the optimiser's state."""
    trained.checkpoint(tmp_path)
    stored = keras.saving.load_model(tmp_path / "model.keras")
    assert any("random" in layer.name for layer in stored.layers)
    loaded = augmenting_cnn()
    loaded.load(tmp_path)
    expected = trained.predict_proba(DATA.validation)
    np.testing.assert_allclose(loaded.predict_proba(DATA.validation), expected, atol=1e-6)
    check_steady(loaded.network(), expected)


def test_what_predicts_only_cannot_be_trained_on(trained, tmp_path):
    trained.save(tmp_path)
    loaded = augmenting_cnn()
    loaded.load(tmp_path)
    with pytest.raises(ModelError, match="neither fitted nor loaded"):
        loaded.checkpoint(tmp_path)
