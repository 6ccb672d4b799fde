"""Each sanity family sees what it is named for, and nothing else of an image."""

import numpy as np
import pandas as pd
import pytest

from medbench import registry
from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.evaluation.metrics import auroc
from medbench.features.border import Border
from medbench.features.feature_cache import FeatureCache
from medbench.models.contract import Context, Progress
from medbench.models.space import SearchSpace
from medbench.testing import synthetic_data

SIDE = 60
SANITY_FAMILIES = ("file-properties", "intensity", "border", "thumbnail")


def noise(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(60, 120, (n, SIDE, SIDE, 1), dtype=np.uint8)


def labelled(images: np.ndarray, labels: np.ndarray, **properties) -> LabelledBatch:
    n = len(images)
    columns = {"width": SIDE, "height": SIDE, "mode": "L", "bytes": 1000, **properties}
    frame = pd.DataFrame(columns, index=range(n))
    return LabelledBatch(images=images, properties=frame, labels=labels, groups=np.arange(n))


def as_they_are(images, labels):
    return labelled(images, labels)


def marker_in_a_corner(images, labels):
    images[labels == 1, 1:5, 1:5] = 255
    return labelled(images, labels)


def lesion_in_the_middle(images, labels):
    """A patch in both classes, so that histograms are alike: only its place tells."""
    images[labels == 1, 32:46, 32:46] = 230
    images[labels == 0, 14:28, 14:28] = 230
    return labelled(images, labels)


def brighter_all_over(images, labels):
    images[labels == 1] += 15
    return labelled(images, labels)


def larger_files(images, labels):
    return labelled(images, labels, bytes=1000 + 300 * labels + np.arange(len(labels)) % 7)


def wider_originals(images, labels):
    return labelled(images, labels, width=SIDE + 20 * labels)


def other_modes(images, labels):
    return labelled(images, labels, mode=np.where(labels == 1, "RGBA", "L"))


SEEN = {
    as_they_are: set(),
    marker_in_a_corner: {"intensity", "border", "thumbnail"},
    lesion_in_the_middle: {"thumbnail"},
    brighter_all_over: {"intensity", "border", "thumbnail"},
    larger_files: {"file-properties"},
    wider_originals: {"file-properties"},
    other_modes: {"file-properties"},
}
"""What makes the classes differ, and the sanity families that see it."""


def fitted(name: str, train: LabelledBatch, n_classes: int = 2):
    family = registry.models.get(name)()
    task = Task(classes=("a", "b", "c")[:n_classes], image_shape=train.images.shape[1:])
    context = Context(seed=0, threads=1, features=FeatureCache(None), weights=None)
    classifier = family.build({}, task, context)
    classifier.fit(train, None, Progress())
    return classifier


def score(name: str, train: LabelledBatch, test: LabelledBatch, n_classes: int = 2) -> float:
    classifier = fitted(name, train, n_classes)
    shown = Batch(images=test.images, properties=test.properties)
    return auroc(test.labels, classifier.predict_proba(shown), n_classes)


@pytest.mark.parametrize("what", SEEN, ids=lambda what: what.__name__)
@pytest.mark.parametrize("name", SANITY_FAMILIES)
def test_a_sanity_family_sees_what_it_is_named_for_and_nothing_else(name, what):
    labels = np.arange(80) % 2
    train, test = what(noise(80, 1), labels), what(noise(80, 2), labels)
    reached = score(name, train, test)
    if name in SEEN[what]:
        assert reached > 0.95
    else:  # eighty images: .5 +- .13 is what chance gives 95 times in 100
        assert 0.3 < reached < 0.7


@pytest.mark.parametrize("n_classes", [2, 3])
def test_file_properties_that_follow_the_class_are_learnt(n_classes):
    """The contract's check that a family learns, on images whose properties differ."""
    data = synthetic_data(n_classes=n_classes, channels=1, image_size=32)

    def told(batch: LabelledBatch) -> LabelledBatch:
        noisy = np.random.default_rng(len(batch)).normal(0, 20, len(batch))
        return LabelledBatch(
            images=batch.images,
            properties=batch.properties.assign(bytes=1000 + 100 * batch.labels + noisy),
            labels=batch.labels,
            groups=batch.groups,
        )

    assert score("file-properties", data.train, data.validation, n_classes) == 0.5
    assert score("file-properties", told(data.train), told(data.validation), n_classes) > 0.9


def test_a_mode_that_training_never_showed_can_be_predicted():
    labels = np.arange(40) % 2
    classifier = fitted("file-properties", other_modes(noise(40, 1), labels))
    strange = labelled(noise(3, 2), labels[:3], mode="HSV")
    assert np.isfinite(classifier.predict_proba(strange)).all()


def test_the_border_is_the_outer_tenth_at_every_size():
    for side in (28, 40, 100, 224):
        images = np.full((2, side, side, 1), 100, np.uint8)
        inner = side // 5
        images[1, inner:-inner, inner:-inner] = 255
        features = Border()(images)
        assert features.shape == (2, 40 * 40 - 32 * 32) and features.dtype == np.float32
        np.testing.assert_allclose(features[0], 100 / 255, atol=1e-6)
        np.testing.assert_array_equal(features[0], features[1])


@pytest.mark.parametrize("name", SANITY_FAMILIES)
def test_a_sanity_family_has_nothing_to_tune_and_is_a_sanity_row(name):
    family = registry.models.get(name)()
    space = SearchSpace()
    family.search_space(space, Task(classes=("a", "b"), image_shape=(8, 8, 1)))
    assert len(space) == 0 and family.sanity and family.reference


@pytest.mark.parametrize("name", SANITY_FAMILIES)
def test_what_was_never_fitted_neither_predicts_nor_is_saved(name, tmp_path):
    family = registry.models.get(name)()
    context = Context(seed=0, threads=1, features=FeatureCache(None), weights=None)
    classifier = family.build({}, Task(classes=("a", "b"), image_shape=(SIDE, SIDE, 1)), context)
    with pytest.raises(ModelError, match="before predicting"):
        classifier.predict_proba(labelled(noise(2, 0), np.array([0, 1])))
    with pytest.raises(ModelError, match="before saving"):
        classifier.save(tmp_path)


@pytest.mark.parametrize("name", SANITY_FAMILIES)
def test_threads_change_nothing_that_a_sanity_family_predicts(name):
    labels = np.arange(60) % 2
    train, test = larger_files(noise(60, 1), labels), larger_files(noise(60, 2), labels)
    train.images[labels == 1] += 3
    results = []
    for threads in (1, 4):
        family = registry.models.get(name)()
        context = Context(seed=5, threads=threads, features=FeatureCache(None), weights=None)
        task = Task(classes=("a", "b"), image_shape=train.images.shape[1:])
        classifier = family.build({}, task, context)
        classifier.fit(train, None, Progress())
        results.append(classifier.predict_proba(test))
    np.testing.assert_array_equal(*results)
