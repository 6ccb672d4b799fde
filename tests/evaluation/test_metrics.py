"""Metrics agree with their definitions, and refuse what has no value."""

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    roc_auc_score,
)

from medbench.errors import ProtocolError
from medbench.evaluation.metrics import (
    Cuts,
    auroc,
    class_aurocs,
    confusion,
    decide,
)


def two_columns(p1):
    p1 = np.asarray(p1, dtype=float)
    return np.column_stack([1 - p1, p1])


def test_binary_auroc_is_the_share_of_pairs_in_the_right_order():
    labels = np.array([0, 0, 1, 1])
    # pairs (negative, positive): .1<.3 right, .1<.5 right, .3=.3 half, .3<.5 right
    assert auroc(labels, two_columns([0.1, 0.3, 0.3, 0.5]), 2) == 3.5 / 4


def test_a_constant_prediction_has_an_auroc_of_one_half():
    labels = np.array([0, 1, 1, 2, 0])
    assert auroc(labels, np.full((5, 3), 1 / 3), 3) == 0.5
    assert auroc(np.array([0, 1, 1]), two_columns([0.2, 0.2, 0.2]), 2) == 0.5


def test_multi_class_auroc_equals_macro_one_versus_rest_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 10)
    probabilities = rng.dirichlet(np.ones(4), 40)
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert auroc(labels, probabilities, 4) == pytest.approx(expected, abs=1e-12)


def test_a_class_without_images_is_left_out_of_the_macro_average():
    rng = np.random.default_rng(1)
    labels = np.array([0, 2, 0, 2, 2])
    probabilities = rng.dirichlet(np.ones(3), 5)
    each = [roc_auc_score(labels == k, probabilities[:, k]) for k in (0, 2)]
    assert auroc(labels, probabilities, 3) == pytest.approx(np.mean(each))


@pytest.mark.parametrize(
    ("labels", "probabilities", "n_classes", "message"),
    [
        ([1, 1, 1], two_columns([0.1, 0.2, 0.3]), 2, "undefined: all 3 images are of class 1"),
        ([0, 1, 1], two_columns([0.1, np.nan, 0.3]), 2, "1 of 3 images are not finite"),
        ([0, 1, 2], two_columns([0.1, 0.2, 0.3]), 2, "whole numbers from 0 to 1"),
        ([0, -1, 1], two_columns([0.1, 0.2, 0.3]), 2, "whole numbers from 0 to 1"),
        ([0.0, 0.5, 1.0], two_columns([0.1, 0.2, 0.3]), 2, "whole numbers"),
        ([0, 1], two_columns([0.1, 0.2, 0.3]), 2, r"shape \(3, 2\); expected \(2, 2\)"),
        ([0, 1], two_columns([0.1, 0.2]), 3, r"expected \(2, 3\)"),
        ([], np.empty((0, 2)), 2, "not empty"),
        ([0, 0], np.ones((2, 1)), 1, "at least 2 classes"),
    ],
)
def test_what_has_no_auroc_is_an_error_that_says_why(labels, probabilities, n_classes, message):
    with pytest.raises(ProtocolError, match=message):
        auroc(np.array(labels), probabilities, n_classes)


def test_a_score_at_the_threshold_is_positive():
    assert decide(two_columns([0.29, 0.3, 0.31]), 0.3).tolist() == [0, 1, 1]


def test_without_a_threshold_the_most_probable_class_is_decided():
    probabilities = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]])
    assert decide(probabilities, None).tolist() == [1, 0]


def test_a_threshold_for_three_classes_is_an_error():
    with pytest.raises(ProtocolError, match="applies to 2 classes, not to 3"):
        decide(np.full((4, 3), 1 / 3), 0.5)


def test_confusion_keeps_the_row_and_column_of_a_class_that_does_not_occur():
    counts = confusion(np.array([0, 0, 2]), np.array([0, 2, 2]), 4)
    assert counts.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def several_labels(n=60, n_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, n_classes)) < np.linspace(0.1, 0.6, n_classes)).astype(np.int64)
    return labels, np.clip(0.3 * labels + 0.7 * rng.random((n, n_classes)), 0, 1)


def test_auroc_of_several_labels_equals_the_macro_average_of_scikit_learn():
    labels, probabilities = several_labels()
    expected = roc_auc_score(labels, probabilities, average="macro")
    assert auroc(labels, probabilities, 4) == pytest.approx(expected, abs=1e-12)
    each = class_aurocs(labels, probabilities, 4)
    assert each == pytest.approx(roc_auc_score(labels, probabilities, average=None), abs=1e-12)


def test_a_label_that_all_or_no_images_have_is_left_out():
    labels, probabilities = several_labels()
    labels[:, 1], labels[:, 2] = 1, 0
    expected = roc_auc_score(labels[:, [0, 3]], probabilities[:, [0, 3]], average="macro")
    assert auroc(labels, probabilities, 4) == pytest.approx(expected, abs=1e-12)
    assert np.isnan(class_aurocs(labels, probabilities, 4)[1:3]).all()
    with pytest.raises(ProtocolError, match="undefined"):
        auroc(np.zeros((5, 4), int), np.full((5, 4), 0.5), 4)


def test_two_labels_that_may_both_be_present_are_both_scored():
    labels, probabilities = several_labels(n_classes=2)
    expected = roc_auc_score(labels, probabilities, average="macro")
    assert auroc(labels, probabilities, 2) == pytest.approx(expected, abs=1e-12)


def test_labels_of_several_classes_other_than_0_and_1_are_refused():
    labels, probabilities = several_labels()
    labels[3, 1] = 2
    with pytest.raises(ProtocolError, match="from 0 to 1"):
        auroc(labels, probabilities, 4)


def test_areas_and_average_precisions_are_those_of_scikit_learn_to_the_last_bit():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(4, 300))
        positive = np.append([True, False], rng.random(n) < 0.3)
        scores = np.round(rng.random(n + 2), int(rng.integers(1, 17)))
        cuts = Cuts.of(positive, scores)
        assert cuts.area == roc_auc_score(positive, scores)
        assert cuts.average_precision == average_precision_score(positive, scores)
        other = cuts.other_side
        assert other.average_precision == average_precision_score(~positive, -scores)


def test_confusion_counts_as_scikit_learn_does():
    labels, decided = np.random.default_rng(4).integers(0, 5, (2, 200))
    assert (confusion(labels, decided, 5) == confusion_matrix(labels, decided)).all()
