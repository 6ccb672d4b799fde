"""Comparisons: paired draws, Holm's correction, ties, refusals; checked against DeLong."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from medbench.errors import ProtocolError
from medbench.evaluation.comparisons import (
    compare_resampled,
    compare_with_leader,
    paired_difference,
)
from medbench.evaluation.intervals import fold_auroc_interval
from medbench.evaluation.resampling import FoldPredictions, auroc_replicates, resample


def make_models(skills, n=120, seed=0, n_folds=1, alike=0.7):
    """Models of these distances between the classes, on the same images, as a mapping."""
    rng = np.random.default_rng(seed)
    models = {name: [] for name in skills}
    for fold in range(n_folds):
        labels = np.arange(n) % 2
        shared = rng.normal(size=n)
        for name, skill in skills.items():
            score = skill * labels + alike**0.5 * shared + (1 - alike) ** 0.5 * rng.normal(size=n)
            p1 = norm.cdf(score)
            models[name].append(
                FoldPredictions(
                    labels=labels,
                    probabilities=np.column_stack([1 - p1, p1]),
                    groups=np.arange(n) + fold * n,
                )
            )
    return models


def delong(labels, *scores):
    """AUROCs and their covariance after DeLong et al. (1988), for one image a patient."""
    positive = [s[labels == 1][:, None] for s in scores]
    negative = [s[labels == 0][None, :] for s in scores]
    wins = [(p > n) + 0.5 * (p == n) for p, n in zip(positive, negative, strict=True)]
    of_positive = np.array([w.mean(axis=1) for w in wins])
    of_negative = np.array([w.mean(axis=0) for w in wins])
    covariance = np.cov(of_positive) / of_positive.shape[1]
    covariance = covariance + np.cov(of_negative) / of_negative.shape[1]
    return of_positive.mean(axis=1), np.atleast_2d(covariance)


def test_errors_of_an_auroc_and_of_a_paired_difference_are_those_of_delong():
    models = make_models({"a": 1.5, "b": 1.1}, n=400, seed=1)
    (a,), (b,) = models["a"], models["b"]
    areas, covariance = delong(a.labels, a.probabilities[:, 1], b.probabilities[:, 1])
    first, second = auroc_replicates([a], 2), auroc_replicates([b], 2)
    assert fold_auroc_interval([a], 2).estimate == pytest.approx(areas[0], abs=1e-12)
    assert first.std() == pytest.approx(covariance[0, 0] ** 0.5, rel=0.05)
    assert second.std() == pytest.approx(covariance[1, 1] ** 0.5, rel=0.05)
    error = (covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) ** 0.5
    assert (first - second).std() == pytest.approx(error, rel=0.05)
    got = paired_difference([a], [b], 2)
    assert got.difference == pytest.approx(areas[0] - areas[1], abs=1e-12)
    expected = 2 * norm.sf(abs(got.difference) / error)
    assert norm.isf(got.p / 2) == pytest.approx(norm.isf(expected / 2), rel=0.07)


def test_a_small_difference_between_models_alike_is_seen_though_their_intervals_overlap():
    models = make_models({"a": 1.6, "b": 1.3}, n=300, seed=2, alike=0.98)
    a, b = (fold_auroc_interval(models[name], 2) for name in "ab")
    assert a.low < b.high
    compared = compare_with_leader(models, 2)
    assert compared.leader == "a"
    assert compared.tie_group == ("a",)
    assert compared.differences[0].corrected_low > 0


def test_models_not_separated_share_the_tie_group_in_the_order_given():
    skills = {"worse": 0.2, "close": 1.5, "best": 1.6, "closer": 1.55}
    compared = compare_with_leader(make_models(skills, n=200, seed=3, n_folds=2), 2, leader="best")
    assert compared.tie_group == ("close", "best", "closer")
    assert [each.rival for each in compared.differences if each.separated] == ["worse"]
    assert compared.warning == ""


@settings(max_examples=25, deadline=None, database=None)
@given(
    skills=st.lists(st.floats(0, 3), min_size=2, max_size=6),
    n=st.sampled_from([20, 60, 120]),
    seed=st.integers(0, 2**32 - 1),
)
def test_p_holm_and_corrected_intervals_say_the_same(skills, n, seed):
    models = make_models({f"m{k}": skill for k, skill in enumerate(skills)}, n=n, seed=seed)
    compared = compare_with_leader(models, 2, replicates=50)
    m = len(skills) - 1
    ps = [each.p for each in compared.differences]
    assert ps == sorted(ps)
    expected = np.minimum(1, np.maximum.accumulate([p * (m - i) for i, p in enumerate(ps)]))
    np.testing.assert_allclose([each.p_holm for each in compared.differences], expected)
    for each in compared.differences:
        excluded = not each.corrected_low <= 0 <= each.corrected_high
        assert each.separated == excluded == (each.p_holm < 0.05)
        assert each.corrected_low <= each.low <= each.difference <= each.high
        assert each.high <= each.corrected_high
        assert (each.p < 0.05) == (not each.low <= 0 <= each.high)
    apart = [each.separated for each in compared.differences]
    assert apart == sorted(apart, reverse=True)


@settings(max_examples=15, deadline=None, database=None)
@given(seed=st.integers(0, 2**32 - 1), n_folds=st.integers(1, 3))
def test_a_difference_is_antisymmetric(seed, n_folds):
    models = make_models({"a": 1.5, "b": 1.1}, n=40, seed=seed, n_folds=n_folds)
    one = paired_difference(models["a"], models["b"], 2, names=("a", "b"), replicates=50)
    two = paired_difference(models["b"], models["a"], 2, names=("b", "a"), replicates=50)
    assert (two.difference, two.low, two.high) == pytest.approx(
        (-one.difference, -one.high, -one.low), abs=1e-12
    )
    assert two.p == pytest.approx(one.p)


def test_equal_seeds_give_equal_comparisons_and_other_seeds_others():
    models = make_models({"a": 1.5, "b": 1.1})
    first = compare_with_leader(models, 2, replicates=100)
    assert compare_with_leader(models, 2, replicates=100) == first
    assert compare_with_leader(models, 2, replicates=100, seed=1) != first


def test_a_comparison_of_what_was_resampled_is_that_of_the_predictions():
    models = make_models({"a": 1.5, "b": 1.1, "c": 1.0})
    resampled = resample(models, 2, 100)
    assert compare_resampled(resampled) == compare_with_leader(models, 2, replicates=100)
    pair = {name: resampled[name] for name in "cb"}
    assert compare_resampled(pair, leader="b").differences[0] == paired_difference(
        models["b"], models["c"], 2, names=("b", "c"), replicates=100
    )


def test_equal_predictions_are_not_separated():
    models = make_models({"a": 1.5})
    models["b"] = models["a"]
    compared = compare_with_leader(models, 2, replicates=100)
    (difference,) = compared.differences
    assert (compared.leader, compared.tie_group) == ("a", ("a", "b"))
    assert (difference.difference, difference.p, difference.separated) == (0, 1, False)
    assert (difference.corrected_low, difference.corrected_high) == (0, 0)
    assert compared.smallest_visible is None


def test_perfect_separation_beats_constant_scores_with_a_warning():
    (fold,) = make_models({"a": 1.0})["a"]
    perfect = np.column_stack([1 - fold.labels, fold.labels]).astype(float)
    models = {
        "perfect": [dataclasses.replace(fold, probabilities=perfect)],
        "constant": [dataclasses.replace(fold, probabilities=np.full_like(perfect, 0.5))],
    }
    compared = compare_with_leader(models, 2, replicates=100)
    assert compared.tie_group == ("perfect",)
    assert "no resample changes the difference to constant" in compared.warning


def test_the_smallest_visible_difference_is_what_the_first_step_needs():
    models = make_models({"a": 1.5, "b": 1.4, "c": 1.3}, n=200, seed=5)
    compared = compare_with_leader(models, 2)
    first = compared.differences[0]
    half = (first.corrected_high - first.corrected_low) / 2
    assert 0 < compared.smallest_visible <= half
    more = make_models({"a": 1.5, "b": 1.4, "c": 1.3}, n=1800, seed=5)
    ratio = compare_with_leader(more, 2).smallest_visible / compared.smallest_visible
    assert ratio == pytest.approx(1 / 3, rel=0.2)


def test_too_few_groups_give_a_reason_and_no_numbers():
    models = make_models({"a": 1.5, "b": 1.0}, n=60)
    models = {
        name: [dataclasses.replace(fold, groups=np.where(fold.labels == 1, 0, fold.groups))]
        for name, (fold,) in models.items()
    }
    compared = compare_with_leader(models, 2)
    assert compared.reason.startswith("no comparison: fold 1 of 1 has fewer than two")
    assert (compared.differences, compared.tie_group) == ((), ())
    with pytest.raises(ProtocolError, match="Use fewer folds"):
        paired_difference(models["a"], models["b"], 2)


def test_few_groups_carry_the_warning_of_their_intervals():
    assert "only 15 groups" in compare_with_leader(make_models({"a": 1, "b": 1}, n=30), 2).warning


def test_one_model_leads_itself():
    compared = compare_with_leader(make_models({"a": 1.0}), 2)
    assert (compared.leader, compared.tie_group, compared.differences) == ("a", ("a",), ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: {"labels": 1 - f.labels}, "'a' and 'b' .* their labels differ in fold 1"),
        (lambda f: {"groups": f.groups + 1}, "their groups differ in fold 1"),
        (lambda f: {"repeat": 1}, "their repeats differ in fold 1"),
    ],
)
def test_models_on_other_images_cannot_be_compared(change, message):
    models = make_models({"a": 1.5, "b": 1.0})
    models["b"] = [dataclasses.replace(f, **change(f)) for f in models["b"]]
    with pytest.raises(ProtocolError, match=message):
        compare_with_leader(models, 2)


def test_wrong_arguments_are_errors():
    models = make_models({"a": 1.5, "b": 1.0}, n=40)
    with pytest.raises(ProtocolError, match="no models"):
        compare_with_leader({}, 2)
    with pytest.raises(ProtocolError, match="'c' is none of the models: a, b"):
        compare_with_leader(models, 2, leader="c")
    with pytest.raises(ProtocolError, match="1 and 2 folds"):
        compare_with_leader({"a": models["a"], "b": models["b"] * 2}, 2)
    apart = {name: resample({name: models[name]}, 2, 20)[name] for name in "ab"}
    with pytest.raises(ProtocolError, match="they were not resampled together"):
        compare_resampled(apart)
    with pytest.raises(ProtocolError, match="no models"):
        compare_resampled({})
    with pytest.raises(ProtocolError, match="both models are named 'x'"):
        paired_difference(models["a"], models["b"], 2, names=("x", "x"))
    models["b"][0].probabilities[0] = np.nan
    with pytest.raises(ProtocolError, match="not finite"):
        compare_with_leader(models, 2)
