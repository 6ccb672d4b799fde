"""Intervals: right point estimate, right replicates, right unit, right refusals."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from medbench.errors import ProtocolError
from medbench.evaluation import resampling
from medbench.evaluation.intervals import fold_auroc_interval, mean_auroc
from medbench.evaluation.resampling import FoldPredictions, auroc_replicates, resample
from medbench.evaluation.weighted_auroc import WeightedAuroc


def make_fold(n=60, n_classes=2, seed=0, groups=None, decimals=None, repeat=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    logits = rng.normal(size=(n, n_classes)) + np.eye(n_classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if decimals is not None:
        probabilities = probabilities.round(decimals)
    groups = np.arange(n) if groups is None else groups
    return FoldPredictions(labels=labels, probabilities=probabilities, groups=groups, repeat=repeat)


@settings(max_examples=50, deadline=None, database=None)
@given(
    n_classes=st.integers(2, 4),
    n=st.integers(8, 60),
    decimals=st.integers(0, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_weighted_auroc_equals_scikit_learn_with_sample_weights(n_classes, n, decimals, seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n)])
    probabilities = rng.dirichlet(np.ones(n_classes), len(labels)).round(decimals)
    weights = rng.integers(0, 4, (3, len(labels)))
    weights[:, :n_classes] += 1
    classes = [1] if n_classes == 2 else range(n_classes)
    expected = [
        np.mean([roc_auc_score(labels == k, probabilities[:, k], sample_weight=w) for k in classes])
        for w in weights
    ]
    got = WeightedAuroc(labels, probabilities, n_classes)(weights)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [3000, 20_000])
def test_sums_that_single_precision_cannot_hold_are_exact_all_the_same(n):
    rng = np.random.default_rng(n)
    labels = rng.integers(0, 2, n)
    p1 = np.round(rng.random(n) + 0.1 * labels, 3)
    weights = rng.integers(1, 4, (3, n))
    got = WeightedAuroc(labels, np.column_stack([-p1, p1]), 2)(weights.astype(np.float32))
    for each, found in zip(weights, got, strict=True):
        # whole numbers in Python have no limit
        by_score = np.zeros((2, 1101), dtype=np.int64)
        np.add.at(by_score, (labels, np.round(1000 * p1).astype(np.int64)), each)
        negative, positive = by_score.astype(object)
        below = np.cumsum(negative) - negative
        won = (positive * (2 * below + negative)).sum()
        assert found == won / (2 * negative.sum() * positive.sum())


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_estimate_is_the_mean_of_the_folds_and_never_pooled(n_classes):
    folds = [make_fold(30, n_classes, seed) for seed in range(3)]
    # one fold's scores are shifted, which pooling would punish and averaging must not notice
    shifted = FoldPredictions(
        labels=folds[0].labels, probabilities=folds[0].probabilities + 5, groups=folds[0].groups
    )
    each = [
        roc_auc_score(f.labels, f.probabilities[:, 1])
        if n_classes == 2
        else roc_auc_score(f.labels, f.probabilities, multi_class="ovr")
        for f in folds
    ]
    got = fold_auroc_interval([shifted, *folds[1:]], n_classes, replicates=50)
    assert got.estimate == pytest.approx(np.mean(each), abs=1e-12)
    assert got.low < got.estimate < got.high


def test_equal_input_and_seed_give_equal_bounds_and_another_seed_others():
    folds = [make_fold(40, seed=1, decimals=1), make_fold(40, seed=2)]
    first = fold_auroc_interval(folds, 2, replicates=200)
    assert fold_auroc_interval(folds, 2, replicates=200) == first
    assert fold_auroc_interval(folds, 2, replicates=200, seed=1) != first


def test_replicates_agree_with_a_plain_bootstrap_of_one_group_less():
    rng = np.random.default_rng(3)
    n = 90
    groups = np.arange(n) // 3
    labels = (groups % 2).astype(int)
    p1 = rng.random(n) * 0.7 + 0.3 * labels * rng.random(30)[groups]
    fold = FoldPredictions(
        labels=labels, probabilities=np.column_stack([1 - p1, p1]), groups=groups
    )
    plain = []
    for _ in range(700):
        drawn = np.concatenate(
            [rng.choice(np.unique(groups[labels == k]), size=14) for k in (0, 1)]
        )
        rows = np.concatenate([np.flatnonzero(groups == g) for g in drawn])
        plain.append(roc_auc_score(labels[rows], p1[rows]))
    got = auroc_replicates([fold], 2)
    assert got.std() == pytest.approx(np.std(plain), rel=0.1)
    assert got.mean() == pytest.approx(np.mean(plain), abs=0.01)


@settings(max_examples=30, deadline=None, database=None)
@given(
    n_classes=st.integers(2, 3),
    n_folds=st.integers(1, 3),
    decimals=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_interval_contains_the_estimate_and_stays_within_0_and_1(
    n_classes, n_folds, decimals, seed
):
    folds = [make_fold(24, n_classes, seed + k, decimals=decimals) for k in range(n_folds)]
    got = fold_auroc_interval(folds, n_classes, replicates=50)
    assert 0 <= got.low <= got.estimate <= got.high <= 1


@settings(max_examples=20, deadline=None, database=None)
@given(seed=st.integers(0, 2**32 - 1), shift=st.integers(1, 1000))
def test_neither_the_order_of_images_nor_the_names_of_groups_matter(seed, shift):
    fold = make_fold(40, seed=seed, groups=np.arange(40) // 4 * 2 + np.arange(40) % 2)
    order = np.random.default_rng(seed).permutation(40)
    shuffled = FoldPredictions(
        labels=fold.labels[order],
        probabilities=fold.probabilities[order],
        groups=fold.groups[order] * 3 + shift,
    )
    np.testing.assert_allclose(
        auroc_replicates([shuffled], 2, 50), auroc_replicates([fold], 2, 50), rtol=0, atol=1e-12
    )
    renamed = FoldPredictions(
        labels=fold.labels, probabilities=fold.probabilities, groups=-fold.groups
    )
    # names in another order shuffle the draws, which leaves nothing but the noise of the seed
    first, second = fold_auroc_interval([fold], 2), fold_auroc_interval([renamed], 2)
    assert first.high - first.low == pytest.approx(second.high - second.low, rel=0.15)


def test_two_models_on_the_same_folds_get_the_same_draws():
    folds = [make_fold(40, seed=1), make_fold(40, seed=2)]
    same_ranking = [
        FoldPredictions(labels=f.labels, probabilities=f.probabilities**3, groups=f.groups)
        for f in folds
    ]
    np.testing.assert_array_equal(
        auroc_replicates(folds, 2, 100), auroc_replicates(same_ranking, 2, 100)
    )
    assert not np.array_equal(auroc_replicates(folds, 2, 100), auroc_replicates(folds[:1], 2, 100))


def weighted_macro(fold, weights):
    """Macro one-versus-rest AUROC by scikit-learn."""
    return np.mean(
        [
            roc_auc_score(fold.labels == k, scores, sample_weight=weights)
            for k, scores in enumerate(fold.probabilities.T)
        ]
    )


def several_models(n_models=3, n_classes=3, n_folds=2):
    """Models on the same folds, of which the last has ties."""
    return {
        f"m{m}": [
            dataclasses.replace(
                make_fold(
                    50, n_classes, seed=10 * m + k, decimals=1 if m == n_models - 1 else None
                ),
                groups=np.arange(50) // 2 // n_classes * n_classes + np.arange(50) % n_classes,
            )
            for k in range(n_folds)
        ]
        for m in range(n_models)
    }


def test_models_drawn_together_are_what_each_is_alone():
    models = several_models()
    together = resample(models, 3, 300)
    assert list(together) == list(models)
    for name, folds in models.items():
        alone = resample({name: folds}, 3, 300)[name]
        np.testing.assert_array_equal(together[name].replicates, alone.replicates)
        np.testing.assert_array_equal(together[name].influence, alone.influence)
        assert together[name].auroc == alone.auroc == mean_auroc(folds, 3)
    assert len({id(each.plan) for each in together.values()}) == 1


def test_replicates_of_many_chunks_are_those_of_their_counts(monkeypatch):
    monkeypatch.setattr(resampling, "_CHUNK_WEIGHTS", 700)
    models = several_models()
    found = resample(models, 3, 45)
    plan = found["m0"].plan
    rows = 700 // max(plan.n_groups, 50)
    assert rows < 45 and 45 % rows
    rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(0).spawn(2)]
    counts = np.concatenate([plan.draw(min(rows, 45 - b), rngs) for b in range(0, 45, rows)])
    for name, folds in models.items():
        expected = np.mean(
            [
                [weighted_macro(fold, each[group_of_image]) for each in counts]
                for fold, group_of_image in zip(folds, plan.group_of_image, strict=True)
            ],
            axis=0,
        )
        np.testing.assert_allclose(found[name].replicates, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_influence_is_the_derivative_by_the_weight_of_a_group(n_classes):
    fold = make_fold(30, n_classes, seed=8, decimals=1, groups=np.arange(30) // 2)
    resampled = resample({"m": [fold]}, n_classes, 2)["m"]
    plan, got = resampled.plan, resampled.influence
    statistic = WeightedAuroc(fold.labels, fold.probabilities, n_classes)
    step = 1e-6
    weights = 1 + step * (plan.group_of_image[0] == np.arange(15)[:, None])
    nudged = (statistic(weights) - statistic(np.ones((1, 30)))) / step
    np.testing.assert_allclose(got, nudged, rtol=0, atol=1e-6)


def test_the_standard_error_is_that_of_the_influence():
    fold = make_fold(300, seed=9, groups=np.arange(300) // 4 * 2 + np.arange(300) % 2)
    resampled = resample({"m": [fold]}, 2)["m"]
    expected = np.sqrt((resampled.influence**2).sum())
    assert resampled.replicates.std() == pytest.approx(expected, rel=0.1)
    assert 74 < resampled.plan.degrees_of_freedom(resampled.influence) <= 148


def test_copies_of_an_image_in_one_group_do_not_narrow_the_interval():
    once = make_fold(40, seed=4)
    copied = FoldPredictions(
        labels=np.repeat(once.labels, 5),
        probabilities=np.repeat(once.probabilities, 5, axis=0),
        groups=np.repeat(once.groups, 5),
    )
    as_patients = FoldPredictions(
        labels=copied.labels, probabilities=copied.probabilities, groups=np.arange(200)
    )
    reference = fold_auroc_interval([once], 2)
    same = fold_auroc_interval([copied], 2)
    narrow = fold_auroc_interval([as_patients], 2)
    assert (same.low, same.high) == pytest.approx((reference.low, reference.high))
    assert narrow.high - narrow.low < 0.7 * (reference.high - reference.low)


def test_repeats_of_the_same_patients_do_not_narrow_the_interval():
    folds = [make_fold(60, seed=5, repeat=r) for r in range(4)]
    single = fold_auroc_interval(folds[:1], 2)
    repeated = fold_auroc_interval(folds, 2)
    as_new = fold_auroc_interval([make_fold(60, seed=5) for _ in range(4)], 2)
    width = single.high - single.low
    assert repeated.high - repeated.low == pytest.approx(width)
    assert as_new.high - as_new.low < 0.7 * width


def test_repeats_with_other_folds_move_together():
    whole = make_fold(120, seed=5)

    def part(rows, repeat):
        return FoldPredictions(
            labels=whole.labels[rows],
            probabilities=whole.probabilities[rows],
            groups=whole.groups[rows],
            repeat=repeat,
        )

    halves = [part(np.arange(60), 0), part(np.arange(60, 120), 0)]
    others = [part(np.arange(120) // 2 % 2 == k, 1) for k in (0, 1)]
    once, twice = auroc_replicates(halves, 2), auroc_replicates([*halves, *others], 2)
    assert twice.std() == pytest.approx(once.std(), rel=0.1)
    assert np.corrcoef(once, twice)[0, 1] > 0.95


def test_a_group_of_several_classes_is_drawn_as_a_whole():
    # every group holds one image of each class, so no replicate can lose a class
    fold = make_fold(40, seed=6, groups=np.repeat(np.arange(20), 2))
    got = fold_auroc_interval([fold], 2, replicates=300)
    assert got.low < got.estimate < got.high


def test_a_fold_with_one_class_is_an_error():
    one = FoldPredictions(
        labels=np.zeros(5, int), probabilities=np.full((5, 2), 0.5), groups=np.arange(5)
    )
    with pytest.raises(ProtocolError, match="all 5 images are of class 0"):
        fold_auroc_interval([make_fold(), one], 2)


def test_a_class_with_a_single_patient_has_an_estimate_but_no_interval():
    groups = np.arange(60)
    groups[1::2] = 1000
    got = fold_auroc_interval([make_fold(), make_fold(groups=groups)], 2)
    assert 0.5 < got.estimate < 1
    assert got.low is None
    assert got.high is None
    assert "fold 2 of 2 has fewer than two interchangeable groups of class 1" in got.reason


def test_single_groups_of_every_kind_do_not_pass_for_certainty():
    # class 0 in groups 0 and 2, class 1 in groups 1 and 2: two each, yet nothing can be exchanged
    fold = FoldPredictions(
        labels=np.array([0, 1, 0, 1]),
        probabilities=np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]]),
        groups=np.array([0, 1, 2, 2]),
    )
    assert fold_auroc_interval([fold], 2).low is None


@pytest.mark.parametrize(
    ("folds", "replicates", "message"),
    [
        ([], 10, "there are no folds"),
        ([make_fold()], 1, "replicates is 1"),
        ([make_fold(groups=np.arange(59))], 10, r"groups have shape \(59,\)"),
    ],
)
def test_wrong_arguments_are_errors(folds, replicates, message):
    with pytest.raises(ProtocolError, match=message):
        fold_auroc_interval(folds, 2, replicates=replicates)


def test_the_interval_of_several_labels_covers_the_estimate_and_varies_by_group():
    rng = np.random.default_rng(3)
    labels = (rng.random((200, 3)) < [0.05, 0.3, 0.5]).astype(np.int64)
    probabilities = np.clip(0.3 * labels + 0.7 * rng.random((200, 3)), 0, 1)
    groups = np.arange(200) // 2
    fold = FoldPredictions(labels=labels, probabilities=probabilities, groups=groups)
    interval = fold_auroc_interval([fold], 3, replicates=300)
    assert interval.low < interval.estimate < interval.high
    lonely = FoldPredictions(
        labels=np.where(np.arange(200)[:, None] == 0, 1, labels * [0, 1, 1]),
        probabilities=probabilities,
        groups=groups,
    )
    assert "fewer than two" in fold_auroc_interval([lonely], 3, replicates=10).reason


def test_a_label_lost_from_a_replicate_is_left_out_of_its_mean():
    labels = np.array([[1, 0], [0, 1], [0, 1], [0, 0]])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.3], [0.3, 0.5]])
    statistic = WeightedAuroc(labels, probabilities, 2)
    without_first = statistic(np.array([[0, 1, 1, 2], [0, 0, 0, 3]]))
    expected = roc_auc_score([1, 1, 0], [0.8, 0.3, 0.5])
    assert without_first[0] == pytest.approx(expected) and np.isnan(without_first[1])


def test_few_groups_of_a_class_are_warned_of_and_enough_are_not():
    groups = np.arange(120) // 8 * 2 + np.arange(120) % 2
    few = fold_auroc_interval([make_fold(120, groups=groups)], 2, 100)
    assert few.warning.startswith("only 15 groups of class 0")
    assert fold_auroc_interval([make_fold(120)], 2, 100).warning == ""
    # two folds of ten patients a class are twenty patients, two repeats of them are not
    halves = [make_fold(20, seed=s) for s in (1, 2)]
    assert fold_auroc_interval(halves, 2, 100).warning == ""
    repeated = [make_fold(20, seed=s, repeat=s) for s in (0, 1)]
    assert fold_auroc_interval(repeated, 2, 100).warning.startswith("only 10 groups")


def test_groups_that_nothing_replaces_are_warned_of():
    # 480 (then 300) patients of one class each and 50 of a set of classes that nobody else shows
    pairs = [(a, b) for a in range(12) for b in range(a)][:50]
    single = np.arange(480) % 12
    labels = np.concatenate([single, np.ravel(pairs)])
    groups = np.concatenate([np.arange(480), 480 + np.repeat(np.arange(50), 2)])
    probabilities = np.random.default_rng(0).random((len(labels), 12))
    fold = FoldPredictions(labels=labels, probabilities=probabilities, groups=groups)
    assert fold_auroc_interval([fold], 12, 10).warning == ""
    some = np.flatnonzero((groups >= 480) | (groups < 300))
    fold = FoldPredictions(
        labels=labels[some], probabilities=probabilities[some], groups=groups[some]
    )
    assert "50 of 350 groups show a set" in fold_auroc_interval([fold], 12, 10).warning


def test_perfect_separation_has_no_width_and_says_so():
    labels = np.arange(60) % 2
    fold = FoldPredictions(
        labels=labels, probabilities=np.column_stack([1 - labels, labels]), groups=np.arange(60)
    )
    got = fold_auroc_interval([fold], 2, 100)
    assert (got.estimate, got.low, got.high) == (1, 1, 1)
    assert "separated perfectly" in got.warning


def test_constant_scores_are_known_to_be_worth_one_half():
    fold = FoldPredictions(
        labels=np.arange(60) % 2, probabilities=np.full((60, 2), 0.5), groups=np.arange(60)
    )
    got = fold_auroc_interval([fold], 2, 100)
    assert (got.estimate, got.low, got.high, got.warning) == (0.5, 0.5, 0.5, "")


def test_a_score_that_is_no_number_is_an_error():
    fold = make_fold(20)
    fold.probabilities[3] = np.nan
    with pytest.raises(ProtocolError, match="1 of 20 images are not finite"):
        auroc_replicates([fold], 2, 10)
