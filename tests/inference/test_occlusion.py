"""Occlusion: it points where a prediction comes from, and says nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from medbench import registry
from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.task import Task
from medbench.features.feature_cache import FeatureCache
from medbench.inference.occlusion import POSITIONS, occlusion
from medbench.models.contract import Context, Progress
from medbench.models.space import SearchSpace

SIDE = 32
PLACE = np.s_[4:12, 20:28]
"""Where the models below look."""


def noise(channels=1, height=SIDE, width=SIDE, seed=0):
    image = np.random.default_rng(seed).normal(60, 10, (height, width, channels))
    image[PLACE] += 120
    return image.clip(0, 255).astype(np.uint8)


def brightness_there(images):
    """The probability of class 1 rises with the brightness in PLACE, and only there."""
    logit = (images[(slice(None), *PLACE)].mean(axis=(1, 2, 3)) - 100) / 20
    present = 1 / (1 + np.exp(-logit))
    return np.column_stack([1 - present, present])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_map_points_at_the_place_that_the_prediction_comes_from(channels):
    heat = occlusion(brightness_there, noise(channels), 1)
    assert heat.shape == (SIDE, SIDE)
    assert heat.dtype == np.float32
    assert (heat.min(), heat.max()) == (0, 1)
    inside = np.zeros((SIDE, SIDE), bool)
    inside[PLACE] = True
    assert inside.flat[heat.argmax()]
    assert heat[inside].mean() > 5 * heat[~inside].mean()


def test_the_two_classes_have_different_maps():
    image = noise()
    assert not occlusion(brightness_there, image, 0).any()  # its logit only rises
    dark = 255 - image
    assert occlusion(brightness_there, dark, 0).max() == 1
    assert not occlusion(brightness_there, dark, 1).any()


def test_each_of_several_labels_has_the_map_of_its_own_place():
    def predict(images):
        right, left = (brightness_there(each)[:, 1] for each in (images, images[:, :, ::-1]))
        return np.column_stack([right, left, np.full(len(images), 0.3)])

    image = np.maximum(noise(), noise()[:, ::-1])
    first, second, none = (occlusion(predict, image, k) for k in range(3))
    np.testing.assert_allclose(first, second[:, ::-1], atol=1e-6)
    assert np.argmax(first.max(axis=0)) > SIDE // 2 > np.argmax(second.max(axis=0))
    assert not none.any()


@pytest.mark.parametrize("jitter", [0.0, 1e-5])
def test_predictions_that_hardly_differ_give_an_empty_map(jitter):
    random = np.random.default_rng(0)

    def equal(images):
        first = 0.6 + jitter * random.random(len(images))
        return np.column_stack([first, 1 - first])

    assert not occlusion(equal, noise(), 0).any()


def test_certainty_beyond_the_digits_of_a_probability_is_no_obstacle():
    heat = occlusion(lambda images: (brightness_there(images) > 0.5).astype(float), noise(), 1)
    assert np.isfinite(heat).all()


def test_a_few_hundred_predictions_are_asked_for_and_the_image_is_left_alone():
    asked = []

    def predict(images):
        assert images.dtype == np.uint8
        asked.append(len(images))
        return brightness_there(images)

    image = noise()
    before = image.copy()
    occlusion(predict, image, 1)
    assert sum(asked) == POSITIONS**2 + 1
    assert len(asked) <= 5
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("shape", [(28, 90), (90, 28), (13, 29)])
def test_no_pixel_is_left_out_whatever_the_shape(shape):
    image = np.arange(np.prod(shape), dtype=np.int64).reshape(*shape, 1).astype(np.uint8)

    def falls_everywhere(images):
        p = np.where((images == image).all(axis=(1, 2, 3)), 0.9, 0.1)
        return np.column_stack([1 - p, p])

    np.testing.assert_allclose(occlusion(falls_everywhere, image, 1), 1)


@pytest.mark.parametrize(
    ("image", "options", "said"),
    [
        (noise()[..., 0], {}, "height, width, channels"),
        (noise().astype(float), {}, "float64"),
        (noise(), {"patch": 0.0}, "above 0"),
        (noise(), {"patch": 0.1, "positions": 5}, "no pixel is left out"),
    ],
)
def test_arguments_out_of_range_are_refused(image, options, said):
    with pytest.raises(ValueError, match=said):
        occlusion(brightness_there, image, 1, **options)


def spots(n, seed=0):
    """Synthetic: noise; class 1 has a bright spot in PLACE."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    images = random.normal(80, 15, (n, SIDE, SIDE, 1))
    images[labels == 1, 4:12, 20:28] += 100
    return LabelledBatch(
        images=images.clip(0, 255).astype(np.uint8),
        properties=pd.DataFrame(index=range(n)),
        labels=labels.astype(np.int64),
        groups=np.arange(n),
    )


def test_a_classical_familys_map_points_at_the_finding_and_changes_with_what_it_learnt():
    """The check of Adebayo et al. (2018), Sanity checks for saliency maps, NeurIPS."""
    train, task = spots(40), Task(classes=("a", "b"), image_shape=(SIDE, SIDE, 1))
    family, space = registry.models.get("hog-svm")(), SearchSpace()
    family.search_space(space, task)
    params = {**space.defaults(), "side": 64, "cells": 8}
    cache = FeatureCache(None)

    def heat_of(labels):
        context = Context(seed=1, threads=1, features=cache)
        model = family.build(params, task, context)
        learnt = LabelledBatch(
            images=train.images, properties=train.properties, labels=labels, groups=train.groups
        )
        model.fit(learnt, None, Progress())

        def predict(images):
            return model.predict_proba(
                Batch(images=images, properties=pd.DataFrame(index=range(len(images))))
            )

        return occlusion(predict, train.images[1], 1)

    heat = heat_of(train.labels)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert 2 <= y < 14
    assert 18 <= x < 30
    assert spearmanr(heat.ravel(), heat_of(train.labels).ravel())[0] == pytest.approx(1)
    permuted = heat_of(np.random.default_rng(0).permutation(train.labels))
    assert not permuted.any() or spearmanr(heat.ravel(), permuted.ravel())[0] < 0.6
