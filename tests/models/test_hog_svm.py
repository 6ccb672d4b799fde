"""HOG and SVM: grouped calibration, its fallbacks, and what is saved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from medbench.datasets.batch import LabelledBatch
from medbench.features.feature_cache import FeatureCache
from medbench.models import hog_svm
from medbench.models.contract import Context, Progress
from medbench.models.hog_svm import HogSvm, calibration_splits
from medbench.models.space import SearchSpace
from medbench.testing import synthetic_data


def built(data, **params):
    space = SearchSpace()
    HogSvm().search_space(space, data.task)
    context = Context(seed=3, threads=1, features=FeatureCache(None))
    return HogSvm().build({**space.defaults(), **params}, data.task, context)


def regrouped(batch, groups):
    return LabelledBatch(
        images=batch.images, properties=batch.properties, labels=batch.labels, groups=groups
    )


@pytest.fixture(scope="module")
def data():
    return synthetic_data(n_classes=3, channels=1, image_size=32)


@settings(max_examples=60, deadline=None, database=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=4, max_size=50),
    seed=st.integers(0, 99),
)
def test_no_patient_is_on_both_sides_of_a_calibration_split(rows, seed):
    labels = np.unique([label for label, _group in rows], return_inverse=True)[1]
    groups = np.array([group for _label, group in rows])
    splits = calibration_splits(labels, groups, seed=seed)
    for fitted_on, predicted in splits:
        assert not set(groups[fitted_on]) & set(groups[predicted])
        assert set(labels[fitted_on]) == set(labels)
    if splits:
        assert sorted(np.concatenate([predicted for _, predicted in splits])) == list(
            range(len(rows))
        )


def test_three_folds_are_used_where_every_class_has_enough_patients():
    labels = np.arange(60) % 2
    assert len(calibration_splits(labels, np.arange(60), seed=0)) == 3


def test_a_class_with_one_patient_still_gets_probabilities_in_the_right_order(data):
    groups = np.where(data.train.labels == 1, 1000, data.train.groups)
    assert not calibration_splits(data.train.labels, groups, seed=3)
    classifier = built(data)
    classifier.fit(regrouped(data.train, groups), None, Progress())
    probabilities = classifier.predict_proba(data.validation)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert roc_auc_score(data.validation.labels, probabilities, multi_class="ovr") > 0.9


def test_a_class_with_one_patient_survives_save_and_load(data, tmp_path):
    groups = np.where(data.train.labels == 1, 1000, data.train.groups)
    classifier = built(data)
    classifier.fit(regrouped(data.train, groups), None, Progress())
    classifier.save(tmp_path)
    restored = built(data)
    restored.load(tmp_path)
    np.testing.assert_array_equal(
        classifier.predict_proba(data.validation), restored.predict_proba(data.validation)
    )


def test_training_on_one_class_gives_that_class(data, tmp_path):
    classifier = built(data)
    classifier.fit(data.train.take(np.flatnonzero(data.train.labels == 2)), None, Progress())
    classifier.save(tmp_path)
    restored = built(data)
    restored.load(tmp_path)
    expected = np.tile([0.0, 0.0, 1.0], (len(data.validation), 1))
    np.testing.assert_array_equal(restored.predict_proba(data.validation), expected)


@pytest.mark.parametrize(
    "params",
    [
        {"kernel": "linear", "class_weight": "none"},
        {"pca": True, "components": 8},
        {"pca": True, "components": 256, "kernel": "linear"},
        {"side": 64, "cells": 16, "orientations": 12},
        {"normalisation": "block", "side": 128, "cells": 8},
    ],
    ids=lambda params: "-".join(str(value) for value in params.values()),
)
def test_every_kind_of_configuration_learns(data, params):
    classifier = built(data, **params)
    classifier.fit(data.train, None, Progress())
    probabilities = classifier.predict_proba(data.validation)
    assert roc_auc_score(data.validation.labels, probabilities, multi_class="ovr") > 0.8


def test_only_active_parameters_are_in_the_default_configuration(data):
    space = SearchSpace()
    HogSvm().search_space(space, data.task)
    assert {"kernel", "gamma"} <= set(space.defaults())
    assert "components" not in space.defaults()


def test_trials_with_the_same_histograms_share_them(data):
    space = SearchSpace()
    HogSvm().search_space(space, data.task)
    context = Context(seed=3, threads=1, features=FeatureCache(None))
    for C in (0.1, 10.0):
        trial = HogSvm().build({**space.defaults(), "C": C}, data.task, context)
        trial.fit(data.train, None, Progress())
        spent = context.features.spent_seconds
        trial.fit(data.train, None, Progress())
        assert context.features.spent_seconds == spent
    assert context.features.spent_seconds == pytest.approx(context.features.cold_seconds)


def test_the_rows_of_the_calibration_splits_are_not_saved(data, tmp_path):
    classifier = built(data)
    classifier.fit(data.train, None, Progress())
    classifier.save(tmp_path)
    restored = built(data)
    restored.load(tmp_path)
    assert restored._model.named_steps["classify"].cv == 3


def test_of_many_images_a_machine_takes_a_sample_in_proportion_without_losing_a_class():
    labels = np.repeat([0, 1, 2], [700, 299, 1])
    sample = hog_svm._sample(labels, 100, 0)
    assert len(sample) == 100 and len(set(sample.tolist())) == 100
    counts = np.bincount(labels[sample])
    assert counts[2] == 1 and abs(counts[0] - 70) <= 1
    assert np.array_equal(sample, hog_svm._sample(labels, 100, 0))
    assert not np.array_equal(sample, hog_svm._sample(labels, 100, 1))
    assert hog_svm._sample(labels[:100], 100, 0).tolist() == list(range(100))


@pytest.mark.parametrize(("pca", "learnt"), [(False, 30), (True, 54)])
def test_of_images_with_many_numbers_a_machine_takes_fewer(monkeypatch, data, pca, learnt):
    assert len(data.train) == 54
    options = {"components": 8} if pca else {}
    classifier = built(data, pca=pca, augmentation="none", **options)
    n_numbers = classifier._extractor(data.train.pixels(np.arange(1))).shape[1]
    monkeypatch.setattr(hog_svm, "_MOST_PRODUCTS", 30**2 * n_numbers)
    classifier.fit(data.train, None, Progress())
    assert classifier._model.named_steps["scale"].n_samples_seen_ == learnt


def test_of_few_images_a_machine_learns_with_augmentation_and_of_many_as_without(monkeypatch, data):
    plain = built(data, augmentation="none")
    plain.fit(data.train, None, Progress())
    augmented = built(data)
    augmented.fit(data.train, None, Progress())
    assert augmented._model.named_steps["scale"].n_samples_seen_ == 5 * len(data.train)
    n_numbers = augmented._extractor(data.train.pixels(np.arange(1))).shape[1]
    for n_augmented in (2, 0):
        most = (1 + n_augmented) * len(data.train)
        monkeypatch.setattr(hog_svm, "_MOST_AUGMENTED", most**2 * n_numbers)
        augmented.fit(data.train, None, Progress())
        assert augmented._model.named_steps["scale"].n_samples_seen_ == most
    np.testing.assert_array_equal(
        augmented.predict_proba(data.validation), plain.predict_proba(data.validation)
    )


def test_a_machine_saved_by_an_earlier_version_predicts_as_it_did(data, tmp_path):
    plain = built(data, augmentation="none")
    plain.fit(data.train, None, Progress())
    plain.save(tmp_path)
    (tmp_path / "state.json").write_text('{"present": [0, 1, 2]}')
    space = SearchSpace()
    HogSvm().search_space(space, data.task)
    earlier = {name: value for name, value in space.defaults().items() if name != "augmentation"}
    context = Context(seed=3, threads=1, features=FeatureCache(None))
    restored = HogSvm().build(earlier, data.task, context)
    restored.load(tmp_path)
    np.testing.assert_array_equal(
        restored.predict_proba(data.validation), plain.predict_proba(data.validation)
    )
