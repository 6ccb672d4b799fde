"""Every metric agrees with its definition, written out here in plain loops."""

import json
import math
import typing

import numpy as np
import pytest
from sklearn.metrics import recall_score

from medbench.datasets.task import TaskType
from medbench.errors import ProtocolError
from medbench.evaluation.metrics import auroc, decide
from medbench.evaluation.scores import (
    METRICS,
    class_scores,
    expected_calibration_error,
    fold_scores,
    probability_scores,
)

pytestmark = pytest.mark.filterwarnings("error")

NAN = math.nan
EPS = float(np.finfo(np.float64).eps)
INPUTS = 50
FEWER_INPUTS = 10  # a kind, where all kinds are compared in one test

BINARY = {
    "auroc", "average_precision", "balanced_accuracy", "accuracy", "sensitivity", "specificity",
    "sensitivity_at_90_specificity", "sensitivity_at_95_specificity",
    "specificity_at_90_sensitivity", "specificity_at_95_sensitivity", "f1", "mcc", "ppv", "npv",
    "prevalence", "brier", "log_loss", "ece",
}  # fmt: skip
MULTI_CLASS = {
    "auroc", "balanced_accuracy", "accuracy", "macro_f1", "mcc", "brier", "log_loss", "ece",
}  # fmt: skip
ORDINAL = MULTI_CLASS | {"quadratic_kappa", "mae"}
MULTI_LABEL = {
    "auroc", "average_precision", "balanced_accuracy", "macro_f1", "brier", "log_loss", "ece",
}  # fmt: skip


# Definitions, in plain loops. Labels and decisions of one class are lists of 0 and 1.


def ratio(part, whole):
    return part / whole if whole else NAN


def mean(values):
    values = list(values)
    return ratio(sum(values), len(values))


def counts(labels, called):
    pairs = list(zip(labels, called, strict=True))
    return [pairs.count(pair) for pair in ((1, 1), (0, 1), (1, 0), (0, 0))]  # tp, fp, fn, tn


def area_by_pairs(labels, scores):
    positive = [s for y, s in zip(labels, scores, strict=True) if y]
    negative = [s for y, s in zip(labels, scores, strict=True) if not y]
    return mean((p > n) + 0.5 * (p == n) for p in positive for n in negative)


def precision_by_steps(labels, scores):
    """Precision at each cut, weighted by the recall that the cut adds."""
    if len(set(labels)) < 2:
        return NAN
    total, found_before = 0.0, 0
    for cut in sorted(set(scores), reverse=True):
        tp, fp, _, _ = counts(labels, [int(s >= cut) for s in scores])
        total += (tp - found_before) / sum(labels) * tp / (tp + fp)
        found_before = tp
    return total


def rates_at_every_cut(labels, scores):
    for cut in [*sorted(set(scores)), math.inf]:
        yield counts(labels, [int(s >= cut) for s in scores])


def sensitivity_at(percent, labels, scores):
    if len(set(labels)) < 2:
        return NAN
    return max(
        tp / (tp + fn)
        for tp, fp, fn, tn in rates_at_every_cut(labels, scores)
        if 100 * tn >= percent * (tn + fp)
    )


def specificity_at(percent, labels, scores):
    if len(set(labels)) < 2:
        return NAN
    return max(
        tn / (tn + fp)
        for tp, fp, fn, tn in rates_at_every_cut(labels, scores)
        if 100 * tp >= percent * (tp + fn)
    )


def correlation_of_memberships(labels, decided, n_classes):
    """Gorodkin's R_K: the correlation of two one-hot matrices."""

    def covariance(a, b):
        total = 0.0
        for k in range(n_classes):
            x, y = [int(i == k) for i in a], [int(i == k) for i in b]
            total += mean((i - mean(x)) * (j - mean(y)) for i, j in zip(x, y, strict=True))
        return total

    if len(set(labels)) < 2 or len(set(decided)) < 2:
        return NAN
    spread = covariance(labels, labels) * covariance(decided, decided)
    return covariance(labels, decided) / math.sqrt(spread)


def kappa_by_squares(labels, decided):
    if len(set(labels)) < 2:
        return NAN
    observed = mean((i - j) ** 2 for i, j in zip(labels, decided, strict=True))
    by_chance = mean((i - j) ** 2 for i in labels for j in decided)
    return 1 - observed / by_chance


def surprise(probability):
    return -math.log(min(max(probability, EPS), 1 - EPS))


def gap_by_bins(confidences, outcomes):
    total = 0.0
    for m in range(15):
        inside = [
            (p, y)
            for p, y in zip(confidences, outcomes, strict=True)
            if m / 15 < p <= (m + 1) / 15 or (m == 0 and p == 0)
        ]
        if inside:
            gap = mean(p for p, _ in inside) - mean(y for _, y in inside)
            total += len(inside) / len(confidences) * abs(gap)
    return total


def f1_by_counts(labels, called):
    tp, fp, fn, _ = counts(labels, called)
    return ratio(2 * tp, 2 * tp + fp + fn)


def two_sided_recall(labels, called):
    tp, fp, fn, tn = counts(labels, called)
    return (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2


def predictive_values(sensitivity, specificity, prevalence):
    ppv = ratio(
        sensitivity * prevalence,
        sensitivity * prevalence + (1 - specificity) * (1 - prevalence),
    )
    npv = ratio(
        specificity * (1 - prevalence),
        specificity * (1 - prevalence) + (1 - sensitivity) * prevalence,
    )
    return ppv, npv


def binary_by_definition(labels, probabilities, threshold, prevalence=None):
    labels, p1 = labels.tolist(), probabilities[:, 1].tolist()
    called = [int(p >= threshold) for p in p1]
    tp, fp, fn, tn = counts(labels, called)
    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    prevalence = mean(labels) if prevalence is None else prevalence
    ppv, npv = predictive_values(sensitivity, specificity, prevalence)
    return {
        "auroc": area_by_pairs(labels, p1),
        "average_precision": precision_by_steps(labels, p1),
        "balanced_accuracy": two_sided_recall(labels, called),
        "accuracy": (tp + tn) / len(labels),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "sensitivity_at_90_specificity": sensitivity_at(90, labels, p1),
        "sensitivity_at_95_specificity": sensitivity_at(95, labels, p1),
        "specificity_at_90_sensitivity": specificity_at(90, labels, p1),
        "specificity_at_95_sensitivity": specificity_at(95, labels, p1),
        "f1": f1_by_counts(labels, called),
        "mcc": correlation_of_memberships(labels, called, 2),
        "ppv": ppv,
        "npv": npv,
        "prevalence": prevalence,
        "brier": mean((p - y) ** 2 for p, y in zip(p1, labels, strict=True)),
        "log_loss": mean(surprise(p if y else 1 - p) for p, y in zip(p1, labels, strict=True)),
        "ece": gap_by_bins(p1, labels),
    }


def multi_class_by_definition(labels, probabilities, threshold=None):
    labels, rows = labels.tolist(), probabilities.tolist()
    n_classes = len(rows[0])
    decided = [row.index(max(row)) for row in rows]
    right = [int(y == d) for y, d in zip(labels, decided, strict=True)]
    one = {k: [int(y == k) for y in labels] for k in range(n_classes)}
    varying = [k for k in one if 0 < sum(one[k]) < len(labels)]
    called = {k: [int(d == k) for d in decided] for k in range(n_classes)}
    recalls = [mean(r for r, y in zip(right, labels, strict=True) if y == k) for k in varying]
    return {
        "auroc": mean(area_by_pairs(one[k], [row[k] for row in rows]) for k in varying),
        "balanced_accuracy": mean(recalls),
        "accuracy": mean(right),
        "macro_f1": mean(f1_by_counts(one[k], called[k]) for k in varying),
        "mcc": correlation_of_memberships(labels, decided, n_classes),
        "brier": mean(
            sum((row[k] - (y == k)) ** 2 for k in range(n_classes))
            for row, y in zip(rows, labels, strict=True)
        ),
        "log_loss": mean(surprise(row[y]) for row, y in zip(rows, labels, strict=True)),
        "ece": gap_by_bins([max(row) for row in rows], right),
    }


def ordinal_by_definition(labels, probabilities, threshold=None):
    decided = [row.index(max(row)) for row in probabilities.tolist()]
    return {
        **multi_class_by_definition(labels, probabilities),
        "quadratic_kappa": kappa_by_squares(labels.tolist(), decided),
        "mae": mean(abs(y - d) for y, d in zip(labels.tolist(), decided, strict=True)),
    }


def multi_label_by_definition(labels, probabilities, thresholds):
    columns = list(zip(labels.T.tolist(), probabilities.T.tolist(), thresholds, strict=True))
    varying = [(y, p, [int(s >= t) for s in p]) for y, p, t in columns if len(set(y)) == 2]
    cells = [(y, p) for ys, ps, _ in columns for y, p in zip(ys, ps, strict=True)]
    return {
        "auroc": mean(area_by_pairs(y, p) for y, p, _ in varying),
        "average_precision": mean(precision_by_steps(y, p) for y, p, _ in varying),
        "balanced_accuracy": mean(two_sided_recall(y, called) for y, _, called in varying),
        "macro_f1": mean(f1_by_counts(y, called) for y, _, called in varying),
        "brier": mean((p - y) ** 2 for y, p in cells),
        "log_loss": mean(surprise(p if y else 1 - p) for y, p in cells),
        "ece": mean(gap_by_bins(p, y) for y, p, _ in columns),
    }


def class_by_definition(labels, called, scores):
    tp, fp, fn, tn = counts(labels, called)
    return {
        "recall": ratio(tp, tp + fn),
        "specificity": ratio(tn, tn + fp),
        "precision": ratio(tp, tp + fp),
        "auroc": area_by_pairs(labels, scores),
        "average_precision": precision_by_steps(labels, scores),
    }


# Inputs: sizes down to one image, ties, probabilities of exactly 0 and 1.


def two_columns(p1):
    p1 = np.asarray(p1, dtype=float)
    return np.column_stack([1 - p1, p1])


def coarsened(probabilities, rng):
    """Sometimes as they are, sometimes with many ties, sometimes all 0 and 1."""
    steps = rng.choice([0, 1, 4, 10])
    return np.round(probabilities * steps) / steps if steps else probabilities


def size_of_part(rng):
    return int(rng.choice([1, 2, 3, 5, 10, 20, 40, 60]))


def random_binary(seed):
    rng = np.random.default_rng([1, seed])
    n = size_of_part(rng)
    labels = (rng.random(n) < rng.choice([0.1, 0.5, 0.9])).astype(np.int64)
    p1 = coarsened(np.clip(rng.normal(0.3 + 0.3 * labels, 0.25), 0, 1), rng)
    threshold = float(rng.choice([-0.1, 0.0, 0.25, 0.5, 0.7, 1.0, 1.1, rng.choice(p1)]))
    return labels, two_columns(p1), threshold


def random_classes(seed):
    rng = np.random.default_rng([2, seed])
    n, n_classes = size_of_part(rng), int(rng.integers(3, 6))
    labels = rng.choice(n_classes, n, p=rng.dirichlet(np.ones(n_classes)))
    probabilities = rng.dirichlet(np.full(n_classes, rng.choice([0.1, 1.0])), n)
    probabilities[np.arange(n), labels] += rng.choice([0, 1])
    if rng.random() < 0.5:
        probabilities = np.round(probabilities * 4) + 1e-300  # ties, and no empty row
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True), None


def random_labels(seed):
    rng = np.random.default_rng([3, seed])
    n, n_classes = size_of_part(rng), int(rng.integers(2, 5))
    labels = (rng.random((n, n_classes)) < rng.random(n_classes)).astype(np.int64)
    probabilities = coarsened(np.clip(rng.normal(0.3 + 0.3 * labels, 0.25), 0, 1), rng)
    return labels, probabilities, np.round(rng.random(n_classes), 1).tolist()


def agree(found, expected):
    assert {name: value for name, value in found.items() if type(value) is not float} == {}
    assert found == pytest.approx(expected, abs=1e-10, nan_ok=True)


@pytest.mark.parametrize(
    ("task_type", "draw", "definition"),
    [
        ("binary", random_binary, binary_by_definition),
        ("multi-class", random_classes, multi_class_by_definition),
        ("ordinal", random_classes, ordinal_by_definition),
        ("multi-label", random_labels, multi_label_by_definition),
    ],
)
def test_all_metrics_equal_their_definitions_on_random_parts(task_type, draw, definition):
    defined = set()
    for seed in range(INPUTS):
        labels, probabilities, threshold = draw(seed)
        found = fold_scores(labels, probabilities, task_type=task_type, threshold=threshold)
        agree(found, definition(labels, probabilities, threshold))
        defined |= {name for name, value in found.items() if not math.isnan(value)}
    assert defined == set(found)  # nothing agreed only because both are always NaN


def test_class_scores_equal_their_definitions_on_random_parts():
    for seed in range(FEWER_INPUTS):
        for task_type, draw in (
            ("binary", random_binary),
            ("multi-class", random_classes),
            ("multi-label", random_labels),
        ):
            labels, probabilities, threshold = draw(seed)
            found = class_scores(labels, probabilities, task_type=task_type, threshold=threshold)
            for k, scores in enumerate(probabilities.T.tolist()):
                if task_type == "binary":
                    called = [int(p >= threshold) for p in probabilities[:, 1]]
                    called = called if k else [1 - c for c in called]
                elif task_type == "multi-class":
                    called = (probabilities.argmax(axis=1) == k).astype(int).tolist()
                else:
                    called = [int(p >= threshold[k]) for p in scores]
                shown = labels[:, k] if task_type == "multi-label" else (labels == k).astype(int)
                expected = class_by_definition(shown.tolist(), called, scores)
                agree({name: float(values[k]) for name, values in found.items()}, expected)
            assert {values.dtype.name for values in found.values()} == {"float64"}


def test_auroc_is_that_of_the_leaderboard_and_balanced_accuracy_that_of_scikit_learn():
    cases = (
        ("binary", random_binary),
        ("ordinal", random_classes),
        ("multi-label", random_labels),
    )
    compared = 0
    for task_type, draw in cases:
        for seed in range(FEWER_INPUTS):
            labels, probabilities, threshold = draw(seed)
            found = fold_scores(labels, probabilities, task_type=task_type, threshold=threshold)
            if not math.isnan(found["auroc"]):
                assert found["auroc"] == auroc(labels, probabilities, probabilities.shape[1])
                decided = decide(probabilities, threshold)
                pairs = [(labels, decided)]
                if task_type == "multi-label":
                    varies = [k for k, one in enumerate(labels.T) if len(set(one)) > 1]
                    pairs = [(labels[:, k], decided[:, k]) for k in varies]
                recalls = [
                    recall_score(true, called, labels=np.unique(true), average="macro")
                    for true, called in pairs
                ]
                assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
                compared += 1
    assert compared > FEWER_INPUTS


def test_a_rare_class_weighs_as_much_as_a_common_one():
    labels = np.array([0] * 8 + [1] * 2)
    p1 = np.array([0.1] * 6 + [0.9] * 2 + [0.9, 0.1])
    probabilities = np.column_stack([1 - p1, p1])
    found = fold_scores(labels, probabilities, task_type="binary", threshold=0.5)
    assert found["balanced_accuracy"] == pytest.approx((6 / 8 + 1 / 2) / 2)


def test_scores_of_probabilities_are_those_among_all_scores():
    for task_type, draw in (
        ("binary", random_binary),
        ("multi-class", random_classes),
        ("ordinal", random_classes),
        ("multi-label", random_labels),
    ):
        for seed in range(FEWER_INPUTS):
            labels, probabilities, threshold = draw(seed)
            found = probability_scores(labels, probabilities, task_type=task_type)
            every = fold_scores(labels, probabilities, task_type=task_type, threshold=threshold)
            assert found == {name: every[name] for name in ("brier", "log_loss", "ece")}
    with pytest.raises(ProtocolError, match="not finite"):
        probability_scores(np.array([0, 1]), two_columns([0.5, NAN]), task_type="binary")


# Degenerate parts


def binary(labels, p1, threshold=0.5, **options):
    labels, probabilities = np.array(labels), two_columns(p1)
    found = fold_scores(labels, probabilities, task_type="binary", threshold=threshold, **options)
    agree(found, binary_by_definition(labels, probabilities, threshold, **options))
    return found


def undefined(found):
    return {name for name, value in found.items() if math.isnan(value)}


NEEDS_BOTH_CLASSES = {
    "auroc", "average_precision", "balanced_accuracy", "mcc", "ppv", "npv",
    "sensitivity_at_90_specificity", "sensitivity_at_95_specificity",
    "specificity_at_90_sensitivity", "specificity_at_95_sensitivity",
}  # fmt: skip


def test_a_part_without_positives_leaves_undefined_what_needs_them():
    found = binary([0, 0, 0], [0.1, 0.2, 0.6])
    assert undefined(found) == NEEDS_BOTH_CLASSES | {"sensitivity"}
    assert found["specificity"] == pytest.approx(2 / 3)
    assert found["f1"] == 0  # one false alarm, nothing to find
    assert undefined(binary([0, 0], [0.1, 0.2])) == NEEDS_BOTH_CLASSES | {"sensitivity", "f1"}


def test_a_part_without_negatives_leaves_undefined_what_needs_them():
    found = binary([1, 1, 1], [0.1, 0.6, 0.7])
    assert undefined(found) == NEEDS_BOTH_CLASSES | {"specificity"}
    assert found["sensitivity"] == pytest.approx(2 / 3)


def test_of_one_image_only_the_quality_of_its_probability_and_the_decision_are_known():
    found = binary([1], [0.8])
    assert undefined(found) == NEEDS_BOTH_CLASSES | {"specificity"}
    assert found["brier"] == pytest.approx(0.04)
    assert found["log_loss"] == pytest.approx(-math.log(0.8))
    assert found["ece"] == pytest.approx(0.2)


def test_two_images_in_the_right_order_give_perfect_scores():
    found = binary([0, 1], [0.3, 0.7])
    assert not undefined(found)
    perfect = set(found) - {"prevalence", "brier", "log_loss", "ece"}
    assert {found[name] for name in perfect} == {1.0}


def test_two_images_in_the_wrong_order_give_a_true_zero():
    found = binary([1, 0], [0.3, 0.7])
    zero = {"auroc", "accuracy", "sensitivity", "specificity", "f1", "ppv", "npv"}
    assert {found[name] for name in zero} == {0.0}
    assert found["mcc"] == -1


def test_constant_scores_separate_nothing():
    found = binary([0, 1, 0, 0], [0.2] * 4, 0.2)
    assert found["auroc"] == 0.5
    assert found["average_precision"] == 0.25
    assert found["sensitivity_at_90_specificity"] == 0
    assert found["specificity_at_95_sensitivity"] == 0
    assert undefined(found) == {"mcc", "npv"}


def test_ties_between_the_classes_count_one_half_and_cannot_be_cut_apart():
    found = binary([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9])
    assert found["auroc"] == 3.5 / 4
    assert found["sensitivity_at_90_specificity"] == 0.5
    assert found["specificity_at_90_sensitivity"] == 0.5


def test_a_threshold_above_all_scores_leaves_ppv_and_mcc_undefined():
    found = binary([0, 1, 1], [0.1, 0.2, 0.3], 0.9)
    assert undefined(found) == {"ppv", "mcc"}
    assert (found["sensitivity"], found["specificity"], found["f1"]) == (0, 1, 0)


def test_a_threshold_below_all_scores_leaves_npv_and_mcc_undefined():
    found = binary([0, 1, 1], [0.1, 0.2, 0.3], 0.05)
    assert undefined(found) == {"npv", "mcc"}
    assert (found["sensitivity"], found["specificity"]) == (1, 0)


def test_probabilities_of_exactly_0_and_1_have_a_finite_log_loss():
    wrong = binary([0, 1], [1.0, 0.0])
    assert wrong["log_loss"] == pytest.approx(-math.log(EPS))
    assert wrong["ece"] == wrong["brier"] == 1
    assert binary([0, 1], [0.0, 1.0])["log_loss"] == pytest.approx(0, abs=1e-12)
    classes = fold_scores(
        np.array([0, 1]), np.eye(3)[[1, 1]], task_type="multi-class", threshold=None
    )
    assert classes["log_loss"] == pytest.approx(-math.log(EPS) / 2)


def test_one_in_ten_false_alarms_is_a_specificity_of_90_percent_in_spite_of_rounding():
    for n in (10, 30, 70, 190):
        alarms = n // 10
        labels = [0] * n + [1] * 2
        p1 = [0.1] * (n - alarms) + [0.6] * alarms + [0.6, 0.05]
        assert binary(labels, p1)["sensitivity_at_90_specificity"] == 0.5
        assert binary(labels, p1)["sensitivity_at_95_specificity"] == 0


def test_the_best_sensitivity_on_a_straight_piece_of_the_curve_is_found():
    # the curve from (0, 0) to (1, 1) is straight through (1/20, 1/20), (2/20, 2/20), ...
    p1 = np.repeat(np.linspace(0, 1, 20), 2)
    found = binary([0, 1] * 20, p1)
    assert found["sensitivity_at_90_specificity"] == pytest.approx(0.1)
    assert found["specificity_at_95_sensitivity"] == pytest.approx(0.05)


def test_predictive_values_at_the_prevalence_of_the_part_are_the_shares_counted_in_it():
    found = binary([1, 1, 1, 0, 0], [0.9, 0.8, 0.1, 0.7, 0.2])
    assert (found["ppv"], found["npv"]) == pytest.approx((2 / 3, 1 / 2))
    assert found["prevalence"] == 0.6


def test_predictive_values_follow_a_stated_prevalence_and_nothing_else_does():
    labels, p1 = [1] * 10 + [0] * 10, [0.9] * 9 + [0.1] + [0.1] * 9 + [0.9]
    here, rare = binary(labels, p1), binary(labels, p1, prevalence=0.01)
    assert rare["ppv"] == pytest.approx(0.9 * 0.01 / (0.9 * 0.01 + 0.1 * 0.99))
    assert rare["npv"] == pytest.approx(0.9 * 0.99 / (0.9 * 0.99 + 0.1 * 0.01))
    assert rare["prevalence"] == 0.01
    changed = {name for name in here if here[name] != rare[name]}
    assert changed == {"ppv", "npv", "prevalence"}


def test_class_0_of_a_binary_task_is_seen_from_the_other_side_even_where_p0_rounds_to_1():
    labels, p1 = np.array([0, 1, 0, 1]), np.array([1e-30, 1e-20, 1e-25, 0.9])
    found = class_scores(labels, two_columns(p1), task_type="binary", threshold=0.5)
    assert found["auroc"].tolist() == [1, 1]
    assert found["average_precision"].tolist() == [1, 1]
    assert found["recall"].tolist() == [1, 0.5]
    assert found["specificity"].tolist() == [0.5, 1]


def test_a_class_absent_from_the_part_is_left_out_of_every_average_and_is_nan_by_itself():
    labels = np.array([0, 0, 2, 2])
    probabilities = np.array([[0.6, 0.1, 0.3], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.4, 0.2, 0.4]])
    found = fold_scores(labels, probabilities, task_type="ordinal", threshold=None)
    agree(found, ordinal_by_definition(labels, probabilities))
    assert found["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    classes = class_scores(labels, probabilities, task_type="ordinal", threshold=None)
    for name in ("recall", "auroc", "average_precision"):
        assert np.isnan(classes[name]).tolist() == [False, True, False]
    assert classes["precision"][1] == 0  # decided once, wrongly
    assert classes["specificity"][1] == 3 / 4


def test_a_class_that_is_never_decided_has_no_precision_and_an_f1_of_0():
    labels, probabilities = np.array([0, 1, 2]), np.array([[0.5, 0.3, 0.2]] * 3)
    classes = class_scores(labels, probabilities, task_type="multi-class", threshold=None)
    assert classes["precision"].tolist() == pytest.approx([1 / 3, NAN, NAN], nan_ok=True)
    assert classes["recall"].tolist() == [1, 0, 0]
    found = fold_scores(labels, probabilities, task_type="multi-class", threshold=None)
    assert found["macro_f1"] == pytest.approx(0.5 / 3)
    assert undefined(found) == {"mcc"}


def test_a_part_of_one_class_of_several_has_accuracy_and_error_but_no_comparison_of_classes():
    labels, probabilities = np.array([1, 1]), np.array([[0.2, 0.7, 0.1], [0.2, 0.2, 0.6]])
    found = fold_scores(labels, probabilities, task_type="ordinal", threshold=None)
    assert undefined(found) == {"auroc", "balanced_accuracy", "macro_f1", "mcc", "quadratic_kappa"}
    assert (found["accuracy"], found["mae"]) == (0.5, 0.5)


def test_kappa_counts_a_miss_by_two_steps_four_times():
    labels = np.array([0, 1, 2, 2])
    near, far = np.eye(3)[[0, 1, 2, 1]], np.eye(3)[[0, 1, 2, 0]]
    near = fold_scores(labels, near, task_type="ordinal", threshold=None)
    far = fold_scores(labels, far, task_type="ordinal", threshold=None)
    assert near["quadratic_kappa"] == pytest.approx(1 - (1 / 4) / (20 / 16))
    assert far["quadratic_kappa"] == pytest.approx(1 - (4 / 4) / (26 / 16))
    assert (near["mae"], far["mae"]) == (0.25, 0.5)


def test_the_brier_score_of_several_classes_sums_the_squares_over_the_classes():
    found = fold_scores(
        np.array([0]), np.array([[0.0, 1.0, 0.0]]), task_type="multi-class", threshold=None
    )
    assert found["brier"] == 2


def test_rows_that_sum_to_one_only_in_single_precision_are_scored_without_a_warning():
    labels, probabilities, _ = random_classes(3)
    probabilities = probabilities.astype(np.float32).astype(np.float64) * (1 - 4e-7)
    found = fold_scores(labels, probabilities, task_type="multi-class", threshold=None)
    assert found == pytest.approx(
        multi_class_by_definition(labels, probabilities), abs=1e-5, nan_ok=True
    )


def test_a_label_that_is_never_present_is_left_out_of_the_averages_but_still_calibrated():
    labels, probabilities, thresholds = random_labels(5)
    labels, probabilities = np.tile(labels, (4, 1)), np.tile(probabilities, (4, 1))
    labels, probabilities = np.c_[labels[:, :2], 0 * labels[:, 0]], probabilities[:, [0, 1, 0]]
    thresholds = [0.4, 0.6, 0.5]
    found = fold_scores(labels, probabilities, task_type="multi-label", threshold=thresholds)
    agree(found, multi_label_by_definition(labels, probabilities, thresholds))
    kept = fold_scores(
        labels[:, :2], probabilities[:, :2], task_type="multi-label", threshold=thresholds[:2]
    )
    for name in ("auroc", "average_precision", "balanced_accuracy", "macro_f1"):
        assert found[name] == pytest.approx(kept[name], nan_ok=True)
    assert found["brier"] != kept["brier"]
    classes = class_scores(labels, probabilities, task_type="multi-label", threshold=thresholds)
    assert all(math.isnan(classes[name][2]) for name in ("recall", "auroc", "average_precision"))
    assert not math.isnan(classes["specificity"][2])


def test_several_labels_of_which_none_varies_have_no_averages():
    labels = np.array([[1, 0], [1, 0]])
    found = fold_scores(labels, np.full((2, 2), 0.5), task_type="multi-label", threshold=[0.5, 0.5])
    assert undefined(found) == {"auroc", "average_precision", "balanced_accuracy", "macro_f1"}


def test_a_confidence_on_the_border_of_two_bins_belongs_to_the_lower_one():
    # 3/15 is the upper border of the third bin: both fall into it and their errors cancel
    assert expected_calibration_error(np.array([3 / 15, 2.5 / 15]), np.array([0, 1])) == (
        pytest.approx(abs(1 - 5.5 / 15) / 2)
    )
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([0, 1])) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": two_columns([0.1, np.nan, 0.3])}, "1 of 3 images are not finite"),
        ({"probabilities": two_columns([0.1, np.inf, 0.3])}, "not finite"),
        ({"probabilities": two_columns([0.1, 1.5, 0.3])}, "between 0 and 1"),
        ({"probabilities": np.full((3, 2), 0.4)}, "3 of 3 images do not sum to one"),
        ({"probabilities": np.array([0.1, 0.2, 0.3])}, r"shape \(3,\)"),
        ({"labels": np.array([0, 1, 2])}, "whole numbers from 0 to 1"),
        ({"labels": np.array([0.0, 1.0, 1.0])}, "whole numbers"),
        ({"labels": np.array([0, 1])}, "expected"),
        ({"labels": np.array([[0, 1]] * 3)}, r"shape \(3, 2\) do not fit a binary task"),
        (
            {"task_type": "multi-class", "threshold": None},
            "2 classes do not fit a multi-class task",
        ),
        ({"task_type": "multi-label", "threshold": [0.5, 0.5]}, "do not fit a multi-label task"),
        ({"task_type": "multiclass"}, "Types: binary, multi-class, ordinal, multi-label"),
        ({"threshold": None}, "None does not fit a binary task; expected one number"),
        ({"threshold": [0.5, 0.5]}, "expected one number"),
        ({"threshold": NAN}, "not a number"),
    ],
)
@pytest.mark.parametrize("score", [fold_scores, class_scores])
def test_what_cannot_be_scored_is_an_error_that_says_why(score, change, message):
    part = {
        "labels": np.array([0, 1, 1]),
        "probabilities": two_columns([0.1, 0.2, 0.3]),
        "task_type": "binary",
        "threshold": 0.5,
        **change,
    }
    with pytest.raises(ProtocolError, match=message):
        score(part.pop("labels"), part.pop("probabilities"), **part)


def test_operating_points_that_do_not_fit_other_kinds_are_errors():
    labels, probabilities = np.array([0, 1, 2]), np.full((3, 3), 1 / 3)
    with pytest.raises(ProtocolError, match="expected None"):
        fold_scores(labels, probabilities, task_type="ordinal", threshold=0.5)
    labels = np.eye(3, dtype=int)
    for threshold in (None, 0.5, [0.5, 0.5]):
        with pytest.raises(ProtocolError, match="a sequence of 3 numbers"):
            fold_scores(labels, probabilities, task_type="multi-label", threshold=threshold)
    with pytest.raises(ProtocolError, match="not a number"):
        fold_scores(labels, probabilities, task_type="multi-label", threshold=[0.5, 0.5, NAN])


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, 2, NAN])
def test_a_prevalence_that_is_no_share_is_an_error(prevalence):
    with pytest.raises(ProtocolError, match="between 0 and 1"):
        fold_scores(
            np.array([0, 1]),
            two_columns([0.1, 0.2]),
            task_type="binary",
            threshold=0.5,
            prevalence=prevalence,
        )


def test_a_prevalence_of_a_task_that_is_not_binary_is_an_error():
    with pytest.raises(ProtocolError, match="applies to a binary task"):
        fold_scores(
            np.array([0, 1, 2]), np.eye(3), task_type="ordinal", threshold=None, prevalence=0.1
        )


def test_every_kind_has_its_metrics_and_each_has_a_name_for_reports():
    names = {
        "binary": (random_binary, BINARY),
        "multi-class": (random_classes, MULTI_CLASS),
        "ordinal": (random_classes, ORDINAL),
        "multi-label": (random_labels, MULTI_LABEL),
    }
    assert set(names) == set(typing.get_args(TaskType))
    used = set()
    for task_type, (draw, expected) in names.items():
        labels, probabilities, threshold = draw(0)
        found = fold_scores(labels, probabilities, task_type=task_type, threshold=threshold)
        assert set(found) == expected
        assert list(found) == [name for name in METRICS if name in found]
        json.dumps(found)
        used |= set(found)
        used |= set(class_scores(labels, probabilities, task_type=task_type, threshold=threshold))
    assert used == set(METRICS)
    assert METRICS["sensitivity_at_95_specificity"].name == "sensitivity at 95% specificity"
    assert len({metric.name for metric in METRICS.values()}) == len(METRICS)


def test_the_metrics_that_should_fall_are_the_errors():
    falling = {name for name, metric in METRICS.items() if metric.higher_is_better is False}
    assert falling == {"brier", "log_loss", "ece", "mae"}
    assert METRICS["prevalence"].higher_is_better is None


def test_scoring_changes_neither_labels_nor_probabilities():
    for task_type, draw in (
        ("binary", random_binary),
        ("ordinal", random_classes),
        ("multi-label", random_labels),
    ):
        labels, probabilities, threshold = draw(7)
        before = labels.copy(), probabilities.copy()
        fold_scores(labels, probabilities, task_type=task_type, threshold=threshold)
        class_scores(labels, probabilities, task_type=task_type, threshold=threshold)
        assert (labels == before[0]).all() and (probabilities == before[1]).all()
