"""Transfer learning: frozen trials from the cache, fine-tuning that starts exactly there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medbench import registry
from medbench.datasets.batch import LabelledBatch
from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.features.feature_cache import FeatureCache
from medbench.models.contract import Context, Progress
from medbench.models.linear_head import Standardised, fit_head
from medbench.models.space import SearchSpace
from medbench.models.transfer import TransferFamily, transfer_family
from medbench.models.weights import Weights, find_weights

pytest.importorskip("keras")
SIDE = 75
InceptionV3 = transfer_family("inceptionv3")
NONE = Weights(path=None, sha256=None, note="no pretrained weights")
CACHE = FeatureCache(None)
SHARED = Path(__file__).parents[2].parent / "shared"
TUNED = {"cut": "mixed5", "fine_tune": "top block", "learning_rate": 1e-3}


class Recorder(Progress):
    def __init__(self, last_step=None, stop_after=None):
        self.last_step = last_step
        self.stop_after = stop_after
        self.scores = []

    def report(self, step, score=None):
        self.scores.append((step, score))
        return step != self.stop_after


def synthetic(n=12, classes=2, channels=1, seed=0, labels=None, task_type="multi-class"):
    """Synthetic: noise whose grain gets coarser from class to class.

    With several labels an image, the first says that the grain is coarse, the others that it is
    not too fine.
    """
    random = np.random.default_rng(seed)
    labels = np.arange(n) % classes if labels is None else np.asarray(labels)
    images = np.empty((n, SIDE, SIDE, channels), np.uint8)
    for image, label in zip(images, labels, strict=True):
        grain = 1 + 4 * int(label)
        small = random.integers(0, 256, (-(-SIDE // grain),) * 2)
        image[:] = np.kron(small, np.ones((grain, grain)))[:SIDE, :SIDE, None]
    if task_type == "multi-label":
        labels = np.stack([labels == classes - 1] + [labels > 0] * (classes - 1), axis=1)
    return LabelledBatch(
        images=images,
        properties=pd.DataFrame(index=range(n)),
        labels=labels.astype(np.int64),
        groups=np.arange(n),
    )


def classifier(
    classes=2,
    channels=1,
    weights=NONE,
    cache=CACHE,
    side=SIDE,
    task_type="multi-class",
    **overrides,
):
    task = Task(
        classes=tuple("abc"[:classes]), image_shape=(side, side, channels), task_type=task_type
    )
    space = SearchSpace()
    InceptionV3().search_space(space, task)
    context = Context(seed=1, threads=1, features=cache, weights=weights)
    return InceptionV3().build({**space.defaults(), **overrides}, task, context)


def test_the_default_is_every_depth_of_the_backbone_pooled_by_average():
    space = SearchSpace()
    InceptionV3().search_space(space, Task(classes=("a", "b"), image_shape=(75, 75, 1)))
    assert space.defaults() == {"pooling": "avg", "C": 0.003}


def test_only_the_fine_tuned_family_trains_the_top_block_of_its_backbone():
    best = {"pooling": "both", "C": 0.05}
    task = Task(classes=("a", "b"), image_shape=(75, 75, 1))
    assert not InceptionV3().refinements(best, task)
    tried = registry.models.get("inceptionv3-finetuned")().refinements(best, task)
    assert 1 <= len(tried) <= 3
    for params in tried:
        assert {name: params[name] for name in best} == best
        assert (params["fine_tune"], params["cut"]) == ("top block", "mixed10")
        assert 1e-5 <= params["learning_rate"] <= 1e-4


def test_a_family_without_a_backbone_is_told_the_known_ones():
    class Nameless(TransferFamily):
        pass

    with pytest.raises(ModelError, match="inceptionv3"):
        Nameless().embedding(Task(classes=("a", "b"), image_shape=(75, 75, 1)), None)


@pytest.mark.parametrize("present", [[0, 1], [0, 2], [0, 1, 2], [1]])
def test_the_head_gives_logistic_regressions_probabilities(present):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    labels = np.array(present * 20)
    features = random.normal(3, 2, (len(labels), 5)) + labels[:, None]
    features[:, 4] = 7.0  # a silent channel
    probabilities = fit_head(features, labels, 3, C=0.1).predict(features)
    expected = np.zeros((len(labels), 3))
    if len(present) == 1:
        expected[:, present] = 1.0
    else:
        reference = make_pipeline(
            StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=1000)
        )
        expected[:, present] = reference.fit(features, labels).predict_proba(features)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_the_head_of_several_labels_is_a_logistic_regression_for_each():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    features = random.normal(3, 2, (60, 5))
    varied = (features[:, :2] > 4).astype(np.int64)
    labels = np.column_stack([varied, np.zeros(60, np.int64), np.ones(60, np.int64)])
    probabilities = fit_head(features, labels, 4, C=0.1).predict(features)
    for k in range(2):
        reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
        expected = reference.fit(features, labels[:, k]).predict_proba(features)[:, 1]
        np.testing.assert_allclose(probabilities[:, k], expected, atol=1e-6)
    np.testing.assert_allclose(probabilities[:, 2:], [[0, 1]] * 60, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_of_few_images_with_many_features_is_the_same_regression(classes):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    labels = np.arange(50) % classes
    features = random.normal(3, 2, (50, 300)) + labels[:, None]
    features[7] = features[8]  # of equal images the products have no inverse
    logistic = LogisticRegression(C=1e-3, class_weight="balanced", max_iter=1000, tol=1e-8)
    reference = make_pipeline(StandardScaler(), logistic).fit(features, labels)
    others = random.normal(4, 2, (20, 300))
    expected = reference.predict_proba(others)
    said = fit_head(features, labels, classes, C=1e-3).predict(others)
    np.testing.assert_allclose(said, expected, atol=1e-4)


@pytest.mark.parametrize("n_images", [30, 300])
def test_blocks_weigh_the_same_however_many_features_they_have(n_images):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    labels = np.arange(n_images) % 2
    features = random.normal(3, 2, (n_images, 100)) + labels[:, None]
    features[:, 4] = 7.0  # a silent channel, so that the first block has 4 of 99
    weights = np.sqrt(99 / 2 / np.repeat([4, 95], [5, 95]))
    scaler = StandardScaler().fit(features)
    logistic = LogisticRegression(C=1e-3, class_weight="balanced", max_iter=1000, tol=1e-8)
    logistic.fit(scaler.transform(features) * weights, labels)
    others = random.normal(4, 2, (20, 100))
    others[:, 4] = 8.0
    expected = logistic.predict_proba(scaler.transform(others) * weights)
    said = fit_head(Standardised(features, [5, 95]), labels, 2, C=1e-3).predict(others)
    np.testing.assert_allclose(said, expected, atol=1e-4)


def test_the_depths_of_a_backbone_weigh_the_same():
    """With a strong penalty the logit is a sum over depths of what each says alone."""
    train, other = synthetic(16), synthetic(6, seed=1)

    def fitted(cut=None):
        model = classifier(C=1e-9, cut=cut)
        model.fit(train, None, Recorder())
        probabilities = model.predict_proba(other)
        used = np.count_nonzero(model._head.kernel[:, 0])  # random weights leave channels silent
        return used, np.log(probabilities[:, 1] / probabilities[:, 0])

    used, together = fitted()
    alone = [fitted(cut) for cut in ("mixed3", "mixed5", "mixed7", "mixed8", "mixed10")]
    assert used == sum(n for n, _ in alone)
    expected = np.mean([logit * used / n for n, logit in alone], axis=0)
    np.testing.assert_allclose(together, expected, rtol=0.01)


def test_a_feature_of_rounding_noise_carries_no_weight():
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    features = np.stack([1e3 + 1e-4 * labels, random.normal(size=40)], axis=1)
    assert not fit_head(features, labels, 2, C=10.0).kernel[0].any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task_type", "cut", "pooling"),
    [
        ("multi-class", None, "avg"),
        ("multi-class", "mixed5", "both"),
        ("multi-label", None, "max"),
    ],
)
def test_a_saved_frozen_model_needs_neither_cache_nor_weights(tmp_path, task_type, cut, pooling):
    train, other = (
        synthetic(15, 3, 3, task_type=task_type),
        synthetic(5, 3, 3, seed=1, task_type=task_type),
    )
    model = classifier(3, 3, task_type=task_type, cut=cut, pooling=pooling)
    model.fit(train, other, Recorder())
    expected = model.predict_proba(other)
    assert expected.dtype == np.float64
    model.save(tmp_path)
    loaded = classifier(
        3, 3, cache=None, weights=None, task_type=task_type, cut=cut, pooling=pooling
    )
    loaded.load(tmp_path)
    images = other.images
    np.testing.assert_allclose(loaded.network().predict(images, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(loaded.predict_proba(other), expected, atol=1e-5)
    np.testing.assert_allclose(
        loaded.predict_proba(other.take(np.array([2]))), expected[2:3], atol=1e-5
    )


WITHOUT_KERAS = """
import sys
from pathlib import Path
for name in ("keras", "tensorflow"):
    sys.modules[name] = None
import numpy as np
from medbench import registry
from medbench.datasets.batch import LabelledBatch
from medbench.datasets.task import Task
from medbench.features.feature_cache import FeatureCache
from medbench.models.contract import Context, Progress
from medbench.models.transfer import transfer_family
import pandas as pd
images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 1), np.uint8)
batch = LabelledBatch(images=images, properties=pd.DataFrame(index=range(8)),
                      labels=np.arange(8) % 2, groups=np.arange(8))
task = Task(classes=("a", "b"), image_shape=(64, 64, 1))
params = {"pooling": "avg", "C": 0.003}
made, loaded = (
    transfer_family("squeezenet")().build(
        params, task, Context(seed=0, threads=1, features=FeatureCache(None))
    )
    for _ in range(2)
)
made.fit(batch, None, Progress())
made.save(Path(sys.argv[1]))
loaded.load(Path(sys.argv[1]))
np.testing.assert_allclose(loaded.predict_proba(batch), made.predict_proba(batch), atol=1e-5)
"""


def test_once_a_backbone_is_in_the_cache_nothing_needs_keras(tmp_path):
    import keras

    from medbench.features import embeddings, engines

    if engines.fastest_installed() == "keras":
        pytest.skip("Keras computes the embeddings here")
    task = Task(classes=("a", "b"), image_shape=(64, 64, 1))
    embedding = transfer_family("squeezenet")().embedding(task, None)
    embeddings._onnx.cache_clear()  # made by another test, whose cache folder is gone
    embedding.as_onnx()
    assert not embedding.needs_keras()
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    command = [sys.executable, "-c", WITHOUT_KERAS, str(tmp_path)]
    subprocess.run(command, check=True, env=environment)


@pytest.mark.slow
def test_small_images_are_enlarged_inside_the_saved_model(tmp_path):
    small = synthetic(6)
    small = LabelledBatch(
        images=np.ascontiguousarray(small.images[:, :28, :28]),
        properties=small.properties,
        labels=small.labels,
        groups=small.groups,
    )
    model = classifier(side=28)
    model.fit(small, None, Recorder())
    model.save(tmp_path)
    loaded = classifier(side=28)
    loaded.load(tmp_path)
    np.testing.assert_allclose(loaded.predict_proba(small), model.predict_proba(small), atol=1e-5)


@pytest.mark.slow
def test_a_second_trial_touches_no_pixels():
    train = synthetic()
    cache = FeatureCache(None)
    classifier(cache=cache).fit(train, None, Recorder())
    spent = cache.spent_seconds
    second = classifier(cache=cache, cut="mixed8", pooling="max", C=1.0)
    second.fit(train, None, Recorder())
    second.predict_proba(train)
    assert cache.spent_seconds == spent > 0


@pytest.mark.slow
@pytest.mark.parametrize("task_type", ["multi-class", "multi-label"])
def test_fine_tuning_of_zero_epochs_is_the_frozen_classifier(task_type):
    train = synthetic(task_type=task_type)
    frozen = classifier(task_type=task_type, cut=TUNED["cut"])
    frozen.fit(train, None, Recorder())
    tuned = classifier(task_type=task_type, **TUNED)
    recorder = Recorder(last_step=0)
    tuned.fit(train, None, recorder)
    assert recorder.scores == []
    assert tuned.best_step == 0
    np.testing.assert_allclose(tuned.predict_proba(train), frozen.predict_proba(train), atol=1e-5)


def test_fine_tuning_trains_the_convolutions_of_the_block_and_no_normalisation():
    """A clone of a frozen network is frozen too, layer by layer, whatever it says of itself."""
    import keras

    from medbench.models.transfer import _trainable_copy

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="convolution")(inputs)
    outputs = keras.layers.BatchNormalization(name="normalisation")(x)
    frozen = keras.Model(inputs, outputs)
    frozen.trainable = False
    copy = _trainable_copy(frozen)
    assert len(copy.get_layer("convolution").trainable_variables) == 2
    assert copy.get_layer("normalisation").trainable_variables == []
    assert frozen.trainable_variables == []


@pytest.mark.slow
def test_fine_tuning_is_reproducible_saved_whole_and_leaves_the_backbone_alone(tmp_path):
    train = synthetic()
    before = classifier(cache=FeatureCache(None))
    before.fit(train, None, Recorder())
    expected = before.predict_proba(train)

    def tuned():
        model, recorder = classifier(**TUNED), Recorder(last_step=2)
        model.fit(train, None, recorder)
        assert [step for step, _ in recorder.scores] == [1, 2]
        return model

    first = tuned()
    probabilities = first.predict_proba(train)
    assert np.abs(probabilities - expected).max() > 1e-4  # it did train
    np.testing.assert_array_equal(tuned().predict_proba(train), probabilities)
    after = classifier(cache=FeatureCache(None))
    after.fit(train, None, Recorder())
    np.testing.assert_array_equal(after.predict_proba(train), expected)
    first.save(tmp_path)
    loaded = classifier(**TUNED)
    loaded.load(tmp_path)
    assert loaded.best_step == 2
    np.testing.assert_allclose(loaded.predict_proba(train), probabilities, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("task_type", ["multi-class", "multi-label"])
def test_fine_tuning_stops_when_told_and_is_never_worse_on_validation(task_type):
    from medbench.evaluation.metrics import auroc

    train, validation = (
        synthetic(16, task_type=task_type),
        synthetic(10, seed=1, task_type=task_type),
    )
    frozen = classifier(task_type=task_type, cut=TUNED["cut"])
    frozen.fit(train, validation, Recorder())
    start = auroc(validation.labels, frozen.predict_proba(validation), 2)
    model, recorder = classifier(task_type=task_type, **TUNED), Recorder(stop_after=2)
    model.fit(train, validation, recorder)
    assert [step for step, _ in recorder.scores] == [1, 2]
    assert model.best_step in (0, 1, 2)
    assert auroc(validation.labels, model.predict_proba(validation), 2) >= start


def test_predicting_or_saving_before_fitting_is_refused(tmp_path):
    with pytest.raises(ModelError, match="neither fitted nor loaded"):
        classifier().predict_proba(synthetic(1))
    with pytest.raises(ModelError, match="nothing to save"):
        classifier(**TUNED).save(tmp_path)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real images and weights are not here")
def test_real_weights_separate_brain_images_of_unseen_patients():
    from PIL import Image
    from sklearn.model_selection import StratifiedGroupKFold

    from medbench.evaluation.metrics import auroc

    table = pd.read_csv(SHARED / "data/brain-mri-groups.csv").sample(80, random_state=0)
    images = [
        np.asarray(Image.open(SHARED / "data/brain-mri" / name).convert("RGB").resize((96, 96)))
        for name in table.file
    ]
    data = LabelledBatch(
        images=np.stack(images),
        properties=pd.DataFrame(index=range(len(table))),
        labels=(table.label == "yes").to_numpy(np.int64),
        groups=pd.factorize(table.group_id)[0].astype(np.int64),
    )
    weights = find_weights("inceptionv3", SHARED / "weights", lambda line: None)
    assert weights.path is not None
    folds = StratifiedGroupKFold(4, shuffle=True, random_state=0)
    scores = []
    for inside, outside in folds.split(data.labels, data.labels, data.groups):
        model = classifier(channels=3, weights=weights, side=96)
        model.fit(data.take(inside), None, Recorder())
        held = data.take(outside)
        scores.append(auroc(held.labels, model.predict_proba(held), 2))
    # 0.92 on all 253 images; random weights about 0.83.
    assert np.mean(scores) > 0.8
