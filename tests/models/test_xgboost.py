"""XGBoost: steps, early stopping, going on from an earlier fit, and which features it reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medbench.evaluation.metrics import auroc
from medbench.features.feature_cache import FeatureCache
from medbench.models.contract import Context, Progress
from medbench.models.space import SearchSpace
from medbench.models.xgboost import XGBoost, has_cuda
from medbench.testing import synthetic_data

xgboost = pytest.importorskip("xgboost")

QUICK = {
    "hog": False,
    "energies": False,
    "lbp": False,
    "glcm": False,
    "gabor": False,
    "pixels": True,
    "max_depth": 2,
    "learning_rate": 0.3,
}


class Recorder(Progress):
    def __init__(self, *, first_step=0, last_step=None):
        self.first_step = first_step
        self.last_step = last_step
        self.reports = []

    def report(self, step, score=None):
        self.reports.append((step, score))
        return True


@pytest.fixture(scope="module")
def data():
    return synthetic_data(n_classes=2, channels=1, image_size=32)


@pytest.fixture(scope="module")
def three():
    return synthetic_data(n_classes=3, channels=1, image_size=32)


def built(data, *, cache=None, seed=0, **params):
    space = SearchSpace()
    XGBoost().search_space(space, data.task)
    context = Context(seed=seed, threads=1, features=cache or FeatureCache(None))
    return XGBoost().build({**space.defaults(), **QUICK, **params}, data.task, context)


def test_rounds_and_validation_auroc_are_reported(three):
    progress = Recorder(last_step=5)
    classifier = built(three)
    classifier.fit(three.train, three.validation, progress)
    assert [step for step, _score in progress.reports] == [1, 2, 3, 4, 5]
    assert 1 <= classifier.best_step <= 5
    if classifier.best_step == 5:
        final = auroc(three.validation.labels, classifier.predict_proba(three.validation), 3)
        assert progress.reports[-1][1] == pytest.approx(final)
    assert all(0.5 < score <= 1 for _step, score in progress.reports)


def test_a_fit_ends_some_rounds_after_the_best_one(data):
    labels = np.random.default_rng(0).permutation(data.train.labels)
    noise = type(data.train)(
        images=data.train.images,
        properties=data.train.properties,
        labels=labels,
        groups=data.train.groups,
    )
    progress = Recorder()
    classifier = built(data)
    classifier.fit(noise, data.validation, progress)
    assert len(progress.reports) == classifier.best_step + 25
    assert classifier.best_step < 100


def test_predictions_use_the_best_round_not_the_last(data):
    first = built(data)
    first.fit(data.train, data.validation, Recorder())
    same = built(data)
    same.fit(data.train, None, Recorder(last_step=first.best_step))
    np.testing.assert_allclose(
        first.predict_proba(data.validation), same.predict_proba(data.validation), atol=1e-6
    )


def test_a_later_fit_goes_on_where_the_first_one_ended(data, tmp_path):
    first = built(data, learning_rate=0.02)
    first.fit(data.train, data.validation, Recorder(last_step=3))
    first.save(tmp_path)
    second = built(data, learning_rate=0.02)
    second.load(tmp_path)
    progress = Recorder(first_step=3, last_step=8)
    second.fit(data.train, data.validation, progress)
    assert [step for step, _score in progress.reports] == [4, 5, 6, 7, 8]
    assert second.best_step > 3
    assert first.best_step == 3


def test_what_is_saved_has_the_rounds_that_predict_and_a_checkpoint_has_all(three, tmp_path):
    classifier = built(three, learning_rate=1.0)
    classifier.fit(three.train, three.validation, Recorder())
    rounds = {}
    for write in ("save", "checkpoint"):
        (folder := tmp_path / write).mkdir()
        getattr(classifier, write)(folder)
        booster = xgboost.Booster(model_file=folder / "booster.ubj")
        rounds[write] = booster.num_boosted_rounds()
    assert rounds["save"] == classifier.best_step < rounds["checkpoint"]


def test_a_fit_from_the_beginning_forgets_the_one_before(data):
    classifier = built(data)
    classifier.fit(data.train, data.validation, Recorder(last_step=4))
    before = classifier.predict_proba(data.validation)
    classifier.fit(data.train, data.validation, Recorder(last_step=4))
    np.testing.assert_array_equal(before, classifier.predict_proba(data.validation))


def test_feature_groups_that_are_switched_off_are_not_computed(data, tmp_path):
    classifier = built(data, cache=FeatureCache(tmp_path), pixels=False)
    classifier.fit(data.train, None, Recorder(last_step=1))
    assert all(folder.name.startswith("Intensity") for folder in tmp_path.iterdir())


def test_every_feature_group_can_be_used(three, tmp_path):
    everything = dict.fromkeys(("hog", "energies", "lbp", "glcm", "gabor", "pixels"), True)
    classifier = built(three, cache=FeatureCache(tmp_path), **everything)
    classifier.fit(three.train, three.validation, Recorder(last_step=2))
    names = {folder.name.split("_")[0].lower() for folder in tmp_path.iterdir()}
    assert names == {"hog", "hogpyramid", "lbp", "glcm", "gabor", "pixels", "intensity"}


def test_a_booster_of_an_earlier_version_sees_what_it_saw(data):
    now = built(data, augmentation="none")
    earlier = XGBoost().build(
        {
            name: now._params[name]
            for name in now._params
            if name not in ("energies", "augmentation")
        },
        data.task,
        now._context,
    )
    for classifier in (now, earlier):
        classifier.fit(data.train, data.validation, Recorder(last_step=2))
    np.testing.assert_array_equal(
        now.predict_proba(data.validation), earlier.predict_proba(data.validation)
    )


def test_balanced_weights_raise_the_rare_class(data):
    rare = np.flatnonzero(data.train.labels == 1)[:4]
    common = np.flatnonzero(data.train.labels == 0)
    skewed = data.train.take(np.concatenate([common, rare]))
    means = {}
    for class_weight in ("balanced", "none"):
        classifier = built(data, class_weight=class_weight, min_child_weight=0.3)
        classifier.fit(skewed, None, Recorder(last_step=3))
        means[class_weight] = classifier.predict_proba(data.validation)[:, 1].mean()
    assert means["balanced"] > means["none"]


def test_the_real_device_is_recorded(data, tmp_path):
    classifier = built(data)
    classifier.fit(data.train, None, Recorder(last_step=1))
    classifier.save(tmp_path)
    device = json.loads((tmp_path / "state.json").read_text())["device"]
    assert device.startswith("cuda") if has_cuda() else device == "cpu"


def test_training_on_one_class_gives_that_class(three, tmp_path):
    classifier = built(three)
    only = three.train.take(np.flatnonzero(three.train.labels == 1))
    classifier.fit(only, three.validation, Recorder())
    classifier.save(tmp_path)
    restored = built(three)
    restored.load(tmp_path)
    expected = np.tile([0.0, 1.0, 0.0], (len(three.validation), 1))
    np.testing.assert_array_equal(restored.predict_proba(three.validation), expected)


def test_the_score_is_unknown_where_validation_has_one_class(data):
    progress = Recorder(last_step=2)
    only = data.validation.take(np.flatnonzero(data.validation.labels == 1))
    built(data).fit(data.train, only, progress)
    assert progress.reports == [(1, None), (2, None)]


def test_images_of_a_class_that_was_never_seen_count_in_the_score(three):
    seen = three.train.take(np.flatnonzero(three.train.labels != 2))
    progress = Recorder(last_step=3)
    classifier = built(three, augmentation="none")
    classifier.fit(seen, three.validation, progress)
    without = three.validation.take(np.flatnonzero(three.validation.labels != 2))
    scores = [
        auroc(part.labels, classifier.predict_proba(part), 3)
        for part in (three.validation, without)
    ]
    assert progress.reports[classifier.best_step - 1][1] == pytest.approx(scores[0])
    assert scores[0] < scores[1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_error_where_the_booster_is_saved(data, tmp_path):
    """XGBoost's own ``save_model`` says nothing of it."""
    classifier = built(data)
    classifier.fit(data.train, data.validation, Recorder(last_step=2))
    (tmp_path / "booster.ubj").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        classifier.save(tmp_path)


def test_of_few_images_trees_learn_with_augmentation_and_of_many_as_without(
    monkeypatch, data, tmp_path
):
    def fitted(**params):
        classifier = built(data, **params)
        classifier.fit(data.train, data.validation, Recorder(last_step=4))
        return classifier

    def said(classifier):
        return classifier.predict_proba(data.validation)

    plain, augmented = fitted(augmentation="none"), fitted()
    assert not np.array_equal(said(augmented), said(plain))
    augmented.save(tmp_path)
    restored = built(data)
    restored.load(tmp_path)
    np.testing.assert_allclose(said(restored), said(augmented), atol=1e-6)
    monkeypatch.setattr("medbench.models.xgboost._MOST_AUGMENTED", 2 * len(data.train) - 1)
    np.testing.assert_array_equal(said(fitted()), said(plain))
