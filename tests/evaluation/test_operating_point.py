"""Thresholds: the best by the rule that was asked for, finite, in the middle of a gap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medbench.errors import ProtocolError
from medbench.evaluation.operating_point import YOUDEN, OperatingPoint


def index(labels, scores, threshold):
    called = scores >= threshold
    return called[labels == 1].mean() - called[labels == 0].mean()


def test_separated_classes_are_cut_in_the_middle_of_the_gap():
    assert YOUDEN.threshold(
        np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9])
    ) == pytest.approx(0.4)


def test_a_hand_made_example():
    labels = np.array([0, 0, 0, 1, 0, 1, 1])
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    # at .4: 3/3 - 1/4 = .75; at .6: 2/3 - 0 = .67
    assert YOUDEN.threshold(labels, scores) == pytest.approx(0.35)


def test_of_equally_good_thresholds_the_most_specific_is_taken():
    labels = np.array([1, 0, 1, 0])
    scores = np.array([0.2, 0.4, 0.6, 0.1])
    # at .6 and at .2 the index is .5
    assert YOUDEN.threshold(labels, scores) == pytest.approx(0.5)


def test_a_constant_score_gives_that_score():
    assert YOUDEN.threshold(np.array([0, 1, 1]), np.full(3, 0.3)) == 0.3


def test_scores_that_are_worse_than_chance_still_give_a_finite_threshold():
    assert YOUDEN.threshold(np.array([1, 1, 0, 0]), np.array([0.1, 0.2, 0.6, 0.9])) == 0.1


def test_neighbouring_floating_point_numbers_stay_apart():
    low = 0.3
    high = np.nextafter(low, 1)
    threshold = YOUDEN.threshold(np.array([0, 1]), np.array([low, high]))
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
    threshold = YOUDEN.threshold(labels, scores)
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
        YOUDEN.threshold(np.array(labels), np.array(scores))


def reached(labels, scores, threshold):
    """Sensitivity and specificity of ``score >= threshold``."""
    called = scores >= threshold
    return called[labels == 1].mean(), 1 - called[labels == 0].mean()


LABELLED = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=40).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


@settings(max_examples=100, deadline=None, database=None)
@given(LABELLED, st.sampled_from([0.2, 0.5, 0.9, 0.95, 1.0]))
def test_a_wanted_sensitivity_is_reached_with_the_best_specificity(rows, wanted):
    labels, scores = np.array(rows, dtype=np.int64).T
    threshold = OperatingPoint(rule="sensitivity", at_least=wanted).threshold(labels, scores)
    sensitivity, specificity = reached(labels, scores, threshold)
    assert sensitivity >= wanted - 1e-12
    others = [reached(labels, scores, t) for t in scores]
    assert specificity == pytest.approx(max(sp for se, sp in others if se >= wanted - 1e-12))


@settings(max_examples=100, deadline=None, database=None)
@given(LABELLED, st.sampled_from([0.2, 0.5, 0.9, 0.95, 1.0]))
def test_a_wanted_specificity_is_reached_with_the_best_sensitivity(rows, wanted):
    labels, scores = np.array(rows, dtype=np.int64).T
    threshold = OperatingPoint(rule="specificity", at_least=wanted).threshold(labels, scores)
    sensitivity, specificity = reached(labels, scores, threshold)
    enough = wanted - 1e-12  # 1 - 4/5 is a little less than 1/5
    able = [se for se, sp in (reached(labels, scores, t) for t in scores) if sp >= enough]
    if able:
        assert specificity >= enough
        assert sensitivity == pytest.approx(max(able))
    else:  # only calling nothing positive would do, and that needs no model
        assert threshold <= scores.max() and threshold > max(
            scores[scores < scores.max()], default=-1
        )


def test_a_sensitivity_of_95_percent_by_hand():
    labels = np.repeat([1, 0], 20)
    scores = np.concatenate([np.arange(20) + 0.5, np.arange(20.0)]) / 20
    point = OperatingPoint(rule="sensitivity", at_least=0.95)
    # one of twenty may be missed: the second lowest positive score is .075, the next below .05
    assert point.threshold(labels, scores) == pytest.approx((0.075 + 0.05) / 2)


@pytest.mark.parametrize("text", ["youden", "sensitivity 0.95", "specificity 0.9", "sensitivity 1"])
def test_an_operating_point_is_read_back_as_it_was_written(text):
    assert str(OperatingPoint.parse(text)) == text


@pytest.mark.parametrize("wanted", [0, -0.1, 1.01, 95, float("nan"), None])
def test_what_cannot_be_reached_is_refused_with_what_can(wanted):
    with pytest.raises(ProtocolError, match=r"above 0 and up to 1, such as 0\.95"):
        OperatingPoint(rule="sensitivity", at_least=wanted)


@pytest.mark.parametrize("text", ["", "youden 0.9", "sensitivity", "sensitivity high", "f1 0.9"])
def test_a_text_that_is_no_operating_point_is_refused(text):
    with pytest.raises(ProtocolError, match=r"operating point|above 0 and up to 1"):
        OperatingPoint.parse(text)
