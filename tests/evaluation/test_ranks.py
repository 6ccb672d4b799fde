"""Ranks across data sets: published numbers, sources that count once, honest refusals."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare, rankdata

from medbench.errors import ProtocolError
from medbench.evaluation.ranks import critical_difference, friedman, rank_across

# Demsar (2006), table 6: AUC of C4.5 with m and cf tuned or not, on 14 data sets (in one of them
# two print as .975, yet are ranked 2 and 3)
DEMSAR = {
    "C4.5": "763 599 954 628 882 936 661 583 775 1000 940 619 972 957",
    "C4.5+m": "768 591 971 661 888 931 668 583 838 1000 962 666 981 978",
    "C4.5+cf": "771 590 968 654 886 916 609 563 866 1000 965 614 975.5 946",
    "C4.5+m+cf": "798 569 967 657 898 931 685 625 875 1000 962 669 975 970",
}


def demsar():
    models = {name: [float(v) / 1000 for v in row.split()] for name, row in DEMSAR.items()}
    scores = pd.DataFrame(models).T
    scores.columns = [f"set {k}" for k in scores.columns]
    return scores, {name: name for name in scores.columns}


def test_the_example_of_demsar_has_its_published_numbers():
    got = rank_across(*demsar())
    ranks = {each.model: each.mean_rank for each in got.ranks}
    assert ranks == pytest.approx(
        {"C4.5": 3.143, "C4.5+m": 2.000, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}, abs=5e-4
    )
    assert got.test.critical_difference == pytest.approx(1.25, abs=0.005)
    # published without the correction for ties, of which one is of four models and three of two
    uncorrected = 1 - (60 + 3 * 6) / (14 * 60)
    assert got.test.statistic * uncorrected == pytest.approx(9.28, abs=0.005)
    assert got.test.p < 0.05
    assert got.test.cliques == (("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"),)
    assert (got.n_datasets, got.n_sources, got.left_out, got.reason) == (14, 14, (), "")


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_differences_follow_the_published_quantiles(k, q):
    expected = q * np.sqrt(k * (k + 1) / (6 * 14))
    assert critical_difference(k, 14) == pytest.approx(expected, rel=5e-4)


@settings(max_examples=25, deadline=None, database=None)
@given(n=st.integers(6, 12), k=st.integers(3, 6), seed=st.integers(0, 2**32 - 1))
def test_friedman_is_that_of_scipy_where_every_source_has_one_data_set(n, k, seed):
    scores = np.random.default_rng(seed).integers(0, 6, (n, k))
    scores[0] = np.arange(k)
    expected = friedmanchisquare(*scores.T)
    assert friedman(rankdata(scores, axis=1)) == pytest.approx(tuple(expected))


def test_data_sets_of_one_source_count_once():
    scores = {"x1": {"a": 0.9, "b": 0.8}, "y": {"a": 0.7, "b": 0.8}}
    copies = scores | {f"x{k}": scores["x1"] for k in range(2, 9)}
    source_of = {name: name[0] for name in copies}
    got = rank_across(copies, source_of)
    assert got.ranks == rank_across(scores, source_of).ranks
    assert [each.mean_rank for each in got.ranks] == [1.5, 1.5]
    assert (got.n_datasets, got.n_sources) == (9, 2)


def test_below_six_sources_a_plain_sentence_stands_in_place_of_a_test():
    scores = {f"set {k}": {"a": 0.9, "b": 0.8} for k in range(12)}
    got = rank_across(scores, {name: str(int(name[4:]) % 3) for name in scores})
    assert got.test is None
    assert got.reason == "3 sources; a rank test needs at least 6"
    assert rank_across(scores, dict.fromkeys(scores, "x")).reason.startswith("1 source;")


def test_models_without_a_score_everywhere_are_named_and_do_not_move_the_ranks():
    scores, source_of = demsar()
    more = scores.copy()
    more.loc["partial"] = 1.0
    more.loc["partial", "set 3"] = np.nan
    got = rank_across(more, source_of)
    assert got.left_out == ("partial",)
    assert got.ranks == rank_across(scores, source_of).ranks
    missing = {"x": {"a": 0.5, "b": None}, "y": {"a": 0.5, "b": 0.6}}
    assert rank_across(missing, {"x": "1", "y": "2"}).left_out == ("b",)


def test_equal_scores_share_their_rank_and_lower_can_be_better():
    scores = {"x": {"a": 0.5, "b": 0.5, "c": 0.1}}
    got = {each.model: each.mean_rank for each in rank_across(scores, {"x": "x"}).ranks}
    assert got == {"a": 1.5, "b": 1.5, "c": 3}
    lower = rank_across(scores, {"x": "x"}, higher_is_better=False)
    assert [each.model for each in lower.ranks] == ["c", "a", "b"]
    assert (lower.ranks[0].low, lower.ranks[0].high) == (None, None)


def test_intervals_hold_the_mean_rank_within_what_is_possible_and_narrow_with_sources():
    rng = np.random.default_rng(0)
    widths = []
    for n in (4, 64):
        scores = pd.DataFrame(rng.random((5, n)) + 0.1 * np.arange(5)[:, None])
        scores.columns = [str(k) for k in range(n)]
        got = rank_across(scores, {str(k): str(k) for k in range(n)}).ranks
        assert all(1 <= each.low <= each.mean_rank <= each.high <= 5 for each in got)
        widths.append(np.mean([each.high - each.low for each in got]))
    assert widths[1] < 0.4 * widths[0]


def test_models_far_apart_are_in_no_common_clique():
    order = {"best": 4.0, "good": 3.0, "poor": 2.0, "worst": 1.0}
    got = rank_across({str(k): order for k in range(8)}, {str(k): str(k) for k in range(8)})
    assert got.test.critical_difference == pytest.approx(2.569 * np.sqrt(20 / 48), rel=1e-3)
    assert got.test.cliques == (("best", "good"), ("good", "poor"), ("poor", "worst"))


def test_without_a_significant_friedman_test_nothing_is_separated():
    rng = np.random.default_rng(1)
    scores = {str(k): dict(zip("abcd", rng.permutation(4), strict=True)) for k in range(8)}
    got = rank_across(scores, {name: name for name in scores})
    assert got.test.p > 0.05
    assert [set(clique) for clique in got.test.cliques] == [set("abcd")]


def test_one_ranked_model_needs_no_test():
    got = rank_across({str(k): {"a": 0.5} for k in range(6)}, {str(k): str(k) for k in range(6)})
    assert got.test is None
    assert got.reason == "1 model; a rank test needs at least 2"


def test_models_that_tie_everywhere_show_no_difference():
    assert friedman(np.full((7, 3), 2.0)) == (0, 1)


@pytest.mark.parametrize(
    ("scores", "source_of", "message"),
    [
        ({}, {}, "no data sets"),
        ({"x": {"a": 0.5}}, {}, "no source is given of data set x"),
        ({"x": {"a": np.inf}}, {"x": "x"}, "infinite"),
        ({"x": {"a": None}}, {"x": "x"}, "none of 1 models"),
        (pd.DataFrame({"x": [1, 2]}, index=["a", "a"]), {"x": "x"}, "model 'a' is named twice"),
    ],
)
def test_what_cannot_be_ranked_is_an_error(scores, source_of, message):
    with pytest.raises(ProtocolError, match=message):
        rank_across(scores, source_of)
