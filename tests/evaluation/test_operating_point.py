"""The threshold of Youden: it is the best one, it is finite, and it sits in the middle of a gap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medbench.errors import ProtocolError
from medbench.evaluation.operating_point import youden


def index(labels, scores, threshold):
    called = scores >= threshold
    return called[labels == 1].mean() - called[labels == 0].mean()


def test_separated_classes_are_cut_in_the_middle_of_the_gap():
    assert youden(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9])) == pytest.approx(0.4)


def test_a_hand_made_example():
    labels = np.array([0, 0, 0, 1, 0, 1, 1])
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    # at .4: 3/3 - 1/4 = .75; at .6: 2/3 - 0 = .67
    assert youden(labels, scores) == pytest.approx(0.35)


def test_of_equally_good_thresholds_the_most_specific_is_taken():
    labels = np.array([1, 0, 1, 0])
    scores = np.array([0.2, 0.4, 0.6, 0.1])
    # at .6 and at .2 the index is .5
    assert youden(labels, scores) == pytest.approx(0.5)


def test_a_constant_score_gives_that_score():
    assert youden(np.array([0, 1, 1]), np.full(3, 0.3)) == 0.3


def test_scores_that_are_worse_than_chance_still_give_a_finite_threshold():
    assert youden(np.array([1, 1, 0, 0]), np.array([0.1, 0.2, 0.6, 0.9])) == 0.1


def test_neighbouring_floating_point_numbers_stay_apart():
    low = 0.3
    high = np.nextafter(low, 1)
    threshold = youden(np.array([0, 1]), np.array([low, high]))
    assert low < threshold <= high


@settings(max_examples=60, deadline=None, database=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=40).filter(
        lambda rows: len({label for label, _ in rows}) == 2
    )
)
def test_no_other_threshold_is_better(rows):
    labels = np.array([int(label) for label, _ in rows])
    scores = np.array([score / 20 for _, score in rows])
    threshold = youden(labels, scores)
    assert np.isfinite(threshold)
    best = max(index(labels, scores, t) for t in scores)
    assert index(labels, scores, threshold) == pytest.approx(best)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([1, 1], [0.1, 0.2], r"needs labels 0 and 1, both of them; got \[1\]"),
        ([0, 1, 2], [0.1, 0.2, 0.3], r"got \[0, 1, 2\]"),
        ([0, 1], [0.1, np.nan], "1 scores are not finite"),
        ([0, 1], [0.1, 0.2, 0.3], "must have one shape"),
    ],
)
def test_what_has_no_operating_point_is_an_error_that_says_why(labels, scores, message):
    with pytest.raises(ProtocolError, match=message):
        youden(np.array(labels), np.array(scores))
