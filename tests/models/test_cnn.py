"""The convolutional network: what ``test_contract.py`` does not ask of every family."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medbench.datasets.batch import LabelledBatch
from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.evaluation.metrics import auroc
from medbench.features.feature_cache import FeatureCache
from medbench.models.cnn import Cnn, build_network, side_choices, stage_count
from medbench.models.contract import Context, Progress
from medbench.models.space import SearchSpace

pytest.importorskip("keras")
SIDE = 16
FAST = {
    "depth": 1,
    "width": 16,
    "blocks": "plain",
    "augmentation": "light",
    "batch_size": 16,
    "epochs": 16,
}


class Recorder(Progress):
    def __init__(self, last_step=None, first_step=0, stop_after=None):
        self.last_step = last_step
        self.first_step = first_step
        self.stop_after = stop_after
        self.scores = []

    def report(self, step, score=None):
        self.scores.append((step, score))
        return step != self.stop_after


def synthetic(n=40, classes=2, channels=1, seed=0, labels=None):
    """Synthetic: class 0 has a bright left half, class 1 a bright right half, and so on."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes if labels is None else np.asarray(labels)
    images = random.normal(90, 30, (n, SIDE, SIDE, channels))
    part = SIDE // classes
    for image, label in zip(images, labels, strict=True):
        image[:, label * part : (label + 1) * part] += 60
    return LabelledBatch(
        images=images.clip(0, 255).astype(np.uint8),
        properties=pd.DataFrame(index=range(n)),
        labels=labels.astype(np.int64),
        groups=np.arange(n) // 2,
    )


def several_labels(n=48, seed=0):
    """Synthetic: label k brightens the k-th third of the image; also none or all of them."""
    random = np.random.default_rng(seed)
    labels = (np.arange(n)[:, None] >> np.arange(3)) % 2
    images = random.normal(90, 30, (n, SIDE, SIDE, 1))
    images += 60 * np.repeat(labels, [5, 5, 6], axis=1)[:, None, :, None]
    return LabelledBatch(
        images=images.clip(0, 255).astype(np.uint8),
        properties=pd.DataFrame(index=range(n)),
        labels=labels.astype(np.int64),
        groups=np.arange(n) // 2,
    )


def task(classes=2, channels=1, side=SIDE, task_type="multi-class"):
    return Task(
        classes=tuple("abc"[:classes]), image_shape=(side, side, channels), task_type=task_type
    )


def params(**overrides):
    space = SearchSpace()
    Cnn().search_space(space, task())
    return {**space.defaults(), **FAST, **overrides}


def classifier(of=None, seed=1, **overrides):
    context = Context(seed=seed, threads=1, features=FeatureCache(None))
    return Cnn().build(params(**overrides), of or task(), context)


def fitted(train, validation=None, last_step=2, of=None, **overrides):
    model = classifier(of, **overrides)
    model.fit(train, validation, Recorder(last_step))
    return model


@pytest.mark.parametrize("side", [16, 28, 64, 128, 224, 299])
def test_the_last_activation_map_is_small_for_every_image_size(side):
    model = build_network(params(side=side), task(side=side))
    pooled = next(layer for layer in model.layers if "global_average" in layer.name)
    assert 4 <= pooled.input.shape[1] <= 10


def test_more_pixels_never_mean_fewer_stages():
    counts = [stage_count(side) for side in range(1, 100)]
    assert counts == sorted(counts)
    assert counts[0] == 1


@pytest.mark.parametrize(
    ("side", "sides"),
    [(12, [12]), (28, [28]), (64, [32, 64]), (128, [32, 42, 64]), (2000, [250])],
)
def test_images_are_shrunk_to_sides_that_show_something_and_are_not_dear(side, sides):
    assert side_choices(side) == sides


def test_a_shrunken_image_is_the_mean_of_its_pixels():
    model = build_network(params(side=32, augmentation="none"), task(side=64))
    even = np.random.default_rng(0).integers(5, 250, (4, 32, 32, 1)).repeat(2, 1).repeat(2, 2)
    grained = even + np.tile([[[5], [-5]], [[-5], [5]]], (32, 32, 1))
    expected = model.predict_on_batch(even.astype(np.uint8))
    said = model.predict_on_batch(grained.astype(np.uint8))
    np.testing.assert_allclose(said, expected, atol=1e-5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Probabilities of a network after two epochs, and the folder it was saved to."""
    model, folder = fitted(synthetic()), tmp_path_factory.mktemp("trained")
    model.save(folder)
    return model.predict_proba(synthetic()), folder


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A network that has learnt, its reports, and the folder with its checkpoint."""
    model, recorder = classifier(augmentation="none", learning_rate=1e-2), Recorder(last_step=6)
    model.fit(synthetic(60), synthetic(30, seed=1), recorder)
    folder = tmp_path_factory.mktemp("learnt")
    model.checkpoint(folder)
    return model.best_step, dict(recorder.scores), folder


def test_a_seed_gives_the_same_bits_whatever_was_fitted_before(trained):
    train, (expected, _) = synthetic(), trained
    other = fitted(train, seed=3).predict_proba(train)
    assert not np.array_equal(other, expected)
    np.testing.assert_array_equal(fitted(train).predict_proba(train), expected)


def test_classifiers_that_share_a_compiled_network_do_not_share_what_they_learnt(tmp_path):
    first, second = fitted(synthetic(), last_step=1), fitted(synthetic(seed=5), last_step=1, seed=9)
    images = synthetic(8, seed=2)
    of_first, of_second = first.predict_proba(images), second.predict_proba(images)
    assert not np.array_equal(of_first, of_second)
    np.testing.assert_array_equal(first.predict_proba(images), of_first)
    first.checkpoint(tmp_path)
    second.fit(synthetic(), None, Recorder(1))
    restored = classifier()
    restored.resume(tmp_path)
    np.testing.assert_array_equal(restored.predict_proba(images), of_first)


def test_a_configuration_that_is_offered_more_epochs_than_it_plans_ends_with_its_own():
    model, recorder = classifier(epochs=6), Recorder(last_step=9)
    assert model.max_steps == 6
    model.fit(synthetic(8), synthetic(4, seed=1), recorder)
    assert [step for step, _ in recorder.scores] == list(range(1, 7))


def test_a_continued_training_equals_an_undisturbed_one(tmp_path, trained):
    train, (whole, _) = synthetic(), trained
    fitted(train, last_step=1).checkpoint(tmp_path)
    model = classifier()
    model.resume(tmp_path)
    recorder = Recorder(last_step=2, first_step=1)
    model.fit(train, None, recorder)
    assert recorder.scores == [(2, None)]
    assert model.best_step == 2
    np.testing.assert_array_equal(model.predict_proba(train), whole)


def test_it_learns_and_keeps_the_best_epoch(learnt):
    best_step, scores, _ = learnt
    assert max(scores.values()) > 0.9
    assert scores[best_step] == max(scores.values())


def test_a_warm_start_never_loses_the_state_it_came_with(learnt):
    best_step, _, folder = learnt
    train, validation = synthetic(60), synthetic(30, seed=1)
    model = classifier(augmentation="none", learning_rate=1e-2)
    model.resume(folder)
    before = model.predict_proba(validation)
    # Labels that contradict what was learnt make every further epoch worse.
    model.fit(train.with_labels(1 - train.labels), validation, Recorder(last_step=8, first_step=6))
    assert model.best_step == best_step
    np.testing.assert_allclose(model.predict_proba(validation), before, atol=1e-6)


def test_several_labels_of_an_image_are_learnt_side_by_side(tmp_path):
    train, validation = several_labels(), several_labels(24, seed=1)
    of = task(3, task_type="multi-label")
    model = classifier(of, augmentation="none", learning_rate=1e-2)
    recorder = Recorder(last_step=8)
    model.fit(train, validation, recorder)
    probabilities = model.predict_proba(validation)
    assert probabilities.dtype == np.float64
    assert auroc(validation.labels, probabilities, 3) == max(s for _, s in recorder.scores) > 0.9
    all_of_them, none = validation.labels.all(axis=1), ~validation.labels.any(axis=1)
    assert probabilities[all_of_them].sum(axis=1).min() > 1
    assert probabilities[none].sum(axis=1).max() < 1
    model.checkpoint(tmp_path)
    loaded = classifier(of, augmentation="none", learning_rate=1e-2)
    loaded.resume(tmp_path)
    np.testing.assert_allclose(loaded.predict_proba(validation), probabilities, atol=1e-6)
    # A label that does not vary in validation is left out of the score.
    validation.labels[:, :2] = [0, 1]
    again = Recorder(last_step=9, first_step=8)
    loaded.fit(train, validation, again)
    third = loaded.predict_proba(validation)[:, 2]
    assert again.scores[0][1] <= roc_auc_score(validation.labels[:, 2], third)


def test_labels_of_which_none_varies_in_validation_have_no_score():
    validation, recorder = several_labels(8, seed=1), Recorder(last_step=1)
    validation.labels[:] = [0, 1, 1]
    classifier(task(3, task_type="multi-label")).fit(several_labels(8), validation, recorder)
    assert recorder.scores == [(1, None)]


def test_a_missing_class_and_fewer_images_than_a_batch_are_no_obstacle():
    train, recorder = synthetic(5, labels=[0, 2, 0, 2, 0], classes=3), Recorder(last_step=1)
    model = classifier(task(3), batch_size=64)
    model.fit(train, synthetic(4, labels=[0, 0, 0, 0]), recorder)
    assert np.isfinite(model.predict_proba(train)).all()
    assert recorder.scores == [(1, None)]  # of one class there is none


def test_a_diverged_training_says_what_to_try():
    with pytest.raises(ModelError, match="Try a learning rate below"):
        fitted(synthetic(), learning_rate=float("inf"))


def test_a_model_of_another_task_is_refused(trained, tmp_path):
    _, folder = trained
    with pytest.raises(ModelError, match=r"tells 2 classes.* and 3"):
        classifier(task(3)).load(folder)
    with pytest.raises(ModelError, match="no saved model"):
        classifier().load(tmp_path / "nowhere")


def test_predicting_before_fitting_is_refused():
    with pytest.raises(ModelError, match="neither fitted nor loaded"):
        classifier().predict_proba(synthetic(1))


def test_memory_does_not_grow_with_every_fit():
    import gc

    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("graphs that stay in memory are TensorFlow's")

    def graphs():
        gc.collect()
        return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())

    fitted(synthetic(), last_step=1)
    before = graphs()
    fitted(synthetic(), last_step=1)
    assert graphs() <= before


def test_jax_compiles_a_training_step_also_with_augmentation_in_it():
    from keras import backend, optimizers

    from medbench.models.keras_support import compile_model

    model = build_network(params(augmentation="strong"), task())
    compile_model(model, optimizers.SGD(), task())
    assert model.jit_compile == (backend.backend() == "jax")
