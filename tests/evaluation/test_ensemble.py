"""Weights of an ensemble: who gets them, and what is estimated of them."""

import numpy as np
import pytest

from medbench.evaluation.ensemble import select, weighted_mean


def members_of(labels, *skills, seed=0):
    """Probabilities of two classes by models that know this much of the labels and are noisy."""
    rng = np.random.default_rng(seed)
    logits = [skill * (2 * labels - 1) + rng.normal(0, 1, len(labels)) for skill in skills]
    p = 1 / (1 + np.exp(-np.array(logits)))
    return np.stack([1 - p, p], axis=-1)


LABELS = np.tile([0, 1], 60)
PARTS = list(np.arange(120).reshape(3, 40))


def test_weights_go_to_those_who_know_something():
    chosen = select(LABELS, members_of(LABELS, 2.0, 2.0, 0.0), PARTS)
    assert chosen.weights.sum() == pytest.approx(1)
    assert (chosen.weights[:2] > 0.2).all() and chosen.weights[2] <= 0.2
    alone = select(LABELS, members_of(LABELS, 8.0, 0.0), PARTS)
    assert alone.weights[0] > 0.8


def test_an_image_is_judged_by_weights_in_whose_choice_it_had_no_part():
    members = members_of(LABELS, 1.0, 0.8, 0.3)
    before = select(LABELS, members, PARTS)
    others = LABELS.copy()
    others[PARTS[0]] = 1 - others[PARTS[0]]
    after = select(others, members, PARTS)
    np.testing.assert_array_equal(after.oof[PARTS[0]], before.oof[PARTS[0]])
    assert (after.oof[PARTS[1]] != before.oof[PARTS[1]]).any()
    without = select(LABELS, members, PARTS[1:])
    assert np.isnan(without.oof[PARTS[0]]).all() and np.isfinite(without.oof[40:]).all()


def test_the_mean_is_one_of_logits():
    members = np.array([[[0.2, 0.8]], [[0.5, 0.5]]])
    mean = weighted_mean(members, np.array([0.5, 0.5]), multi_label=False)
    np.testing.assert_allclose(mean, [[1 / 3, 2 / 3]])
    labels = weighted_mean(members, np.array([0.5, 0.5]), multi_label=True)
    np.testing.assert_allclose(labels, [[1 / 3, 2 / 3]])  # each label by itself
    three = np.array([[[0.1, 0.3, 0.6]], [[0.3, 0.1, 0.6]]])
    mean = weighted_mean(three, np.array([0.5, 0.5]), multi_label=False)
    assert mean.sum() == pytest.approx(1) and mean[0, 0] == pytest.approx(mean[0, 1])


def test_one_that_is_sure_outvotes_the_others_by_a_bounded_amount():
    members = np.array([[[1.0, 0.0]], [[0.01, 0.99]]])
    mean = weighted_mean(members, np.array([0.1, 0.9]), multi_label=False)
    assert np.isfinite(mean).all() and mean[0, 1] > 0.9


def test_several_labels_have_one_weight_a_member():
    rng = np.random.default_rng(0)
    labels = (rng.random((120, 3)) < 0.4).astype(np.int64)
    good = np.clip(0.15 + 0.7 * labels + rng.normal(0, 0.1, labels.shape), 0.01, 0.99)
    chosen = select(labels, np.stack([rng.random(labels.shape), good]), PARTS)
    assert chosen.weights[1] > 0.8 and chosen.oof.shape == labels.shape
    assert ((chosen.oof > 0.5) == labels).mean() > 0.95
