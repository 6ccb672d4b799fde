"""A temperature mends over-confidence, and changes no decision and no ranking."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from medbench.evaluation.calibration import FEWEST_GROUPS, Calibration, fit_calibration

UNCHANGED = Calibration(temperatures=(1.0,), reason="not calibrated")


def over_confident(n: int, n_classes: int, factor: float, seed: int = 0):
    """Labels drawn from known probabilities, and those probabilities made ``factor`` bolder."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, n_classes))
    labels = np.array([rng.choice(n_classes, p=p) for p in softmax(logits, axis=1)])
    return labels, softmax(logits * factor, axis=1)


def log_loss(labels, probabilities) -> float:
    return float(-np.mean(np.log(probabilities[np.arange(len(labels)), labels])))


@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize("factor", [3.0, 1.0, 0.5])
def test_a_known_over_or_under_confidence_is_recovered(n_classes, factor):
    labels, probabilities = over_confident(4000, n_classes, factor)
    fitted = fit_calibration(labels, probabilities, np.arange(4000))
    assert fitted.reason == ""
    assert fitted.temperatures == pytest.approx((factor,), rel=0.1)
    calibrated = fitted.apply(probabilities, multi_label=False)
    assert log_loss(labels, calibrated) <= log_loss(labels, probabilities)
    np.testing.assert_allclose(calibrated.sum(axis=1), 1)


PROBABILITIES = st.integers(2, 5).flatmap(
    lambda n_classes: arrays(
        np.float64,
        st.tuples(st.integers(1, 30), st.just(n_classes)),
        elements=st.floats(0, 1, allow_subnormal=False),
    ).filter(lambda rows: (rows.sum(axis=1) > 0.01).all())
)
TEMPERATURES = st.floats(0.05, 20)


@given(PROBABILITIES, TEMPERATURES)
@settings(max_examples=150, deadline=None, database=None)
def test_the_most_probable_class_stays_the_most_probable(rows, temperature):
    given_ = rows / rows.sum(axis=1, keepdims=True)
    calibrated = Calibration(temperatures=(temperature,)).apply(given_, multi_label=False)
    assert np.isfinite(calibrated).all() and calibrated.shape == given_.shape
    np.testing.assert_allclose(calibrated.sum(axis=1), 1)
    chosen = calibrated[np.arange(len(given_)), given_.argmax(axis=1)]
    assert (chosen >= calibrated.max(axis=1) * (1 - 1e-9)).all()  # up to ties of rounding


@given(
    arrays(np.float64, st.integers(2, 40), elements=st.integers(0, 1000).map(lambda i: i / 1000)),
    TEMPERATURES,
    st.booleans(),
)
@settings(max_examples=150, deadline=None, database=None)
def test_images_keep_their_order_by_the_probability_of_a_class(positive, temperature, multi_label):
    given_ = np.column_stack([1 - positive, positive])
    calibration = Calibration(temperatures=(temperature,) * (2 if multi_label else 1))
    after = calibration.apply(given_, multi_label=multi_label)[:, 1]
    order = np.argsort(positive, kind="stable")
    assert (np.diff(after[order]) >= -1e-15).all()
    # and hence the AUROC is the same, unless the temperature is so low that scores meet at 0 or 1
    if temperature >= 1:
        assert len(np.unique(after)) == len(np.unique(positive))


@pytest.mark.parametrize(
    ("groups_of", "calibrated"), [(FEWEST_GROUPS - 1, False), (FEWEST_GROUPS, True)]
)
def test_fewer_than_fifty_patients_of_the_smaller_class_change_nothing(groups_of, calibrated):
    rng = np.random.default_rng(0)
    groups = np.concatenate([np.repeat(np.arange(groups_of), 4), 1000 + np.arange(300)])
    labels = np.repeat([1, 0], [4 * groups_of, 300])  # many images, few patients
    positive = np.clip(labels * 0.2 + rng.random(len(labels)), 0.01, 0.99)
    probabilities = np.column_stack([1 - positive, positive])
    fitted = fit_calibration(labels, probabilities, groups)
    assert (fitted.temperatures != (1.0,)) == calibrated
    if not calibrated:
        assert fitted.reason == (
            "not calibrated: the smaller class has 49 groups to fit it on, and fewer than 50 "
            "are noise"
        )
        assert fitted.apply(probabilities, multi_label=False) is probabilities


def test_each_label_of_several_has_its_own_temperature_or_none():
    rng = np.random.default_rng(1)
    n = 3000
    logits = rng.normal(0, 2, (n, 3))
    labels = (rng.random((n, 3)) < expit(logits)).astype(np.int64)
    labels[:, 2] = 0
    labels[:20, 2] = 1  # too rare
    probabilities = expit(logits * [3, 0.5, 3])
    fitted = fit_calibration(labels, probabilities, np.arange(n))
    assert fitted.temperatures[:2] == pytest.approx((3, 0.5), rel=0.1)
    assert fitted.temperatures[2] == 1
    assert fitted.reason.startswith("not calibrated for 1 of 3 labels, which fewer than 50")
    after = fitted.apply(probabilities, multi_label=True)
    np.testing.assert_allclose(
        after[:, :2], expit(logits[:, :2] * [3, 0.5] / fitted.temperatures[:2])
    )
    np.testing.assert_allclose(after[:, 2], probabilities[:, 2])


@pytest.mark.parametrize("multi_label", [False, True])
def test_certain_predictions_stay_finite_also_where_they_are_wrong(multi_label):
    n = 400
    labels = np.arange(n) % 2
    positive = np.where(np.arange(n) % 10 < 3, 1 - labels, labels).astype(float)
    probabilities = np.column_stack([1 - positive, positive])
    several = np.column_stack([1 - labels, labels])
    fitted = fit_calibration(several if multi_label else labels, probabilities, np.arange(n))
    after = fitted.apply(probabilities, multi_label=multi_label)
    assert np.isfinite(after).all() and (after >= 0).all() and (after <= 1).all()
    assert np.isfinite(fitted.temperatures).all() and min(fitted.temperatures) > 1


def test_the_temperature_is_the_one_that_a_search_over_all_of_them_finds():
    labels, probabilities = over_confident(800, 4, 2.2, seed=5)
    grid = np.exp(np.linspace(-3, 3, 6001))
    losses = [
        -log_softmax(np.log(probabilities) / t, axis=1)[np.arange(800), labels].mean() for t in grid
    ]
    fitted = fit_calibration(labels, probabilities, np.arange(800))
    assert fitted.temperatures[0] == pytest.approx(grid[int(np.argmin(losses))], rel=2e-3)


class AsGiven(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose probabilities are its input."""

    def __init__(self, n_classes):
        self.n_classes = n_classes
        self.classes_ = np.arange(n_classes)

    def fit(self, probabilities, labels):
        raise AssertionError("it is frozen")

    def predict_proba(self, probabilities):
        return probabilities

    def predict(self, probabilities):
        return probabilities.argmax(axis=1)


@pytest.mark.skipif(
    "temperature" not in CalibratedClassifierCV._parameter_constraints["method"][0].options,
    reason="this scikit-learn has no temperature scaling",
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_probabilities_are_those_of_temperature_scaling_in_scikit_learn(n_classes):
    labels, probabilities = over_confident(1000, n_classes, 2.5, seed=2)
    frozen = FrozenEstimator(AsGiven(n_classes))
    theirs = CalibratedClassifierCV(frozen, method="temperature", ensemble=False)
    theirs.fit(probabilities, labels)
    ours = fit_calibration(labels, probabilities, np.arange(1000))
    np.testing.assert_allclose(
        ours.apply(probabilities, multi_label=False), theirs.predict_proba(probabilities), atol=1e-4
    )


@pytest.mark.parametrize(
    "calibration",
    [UNCHANGED, Calibration(temperatures=(2.5,)), Calibration(temperatures=(0.3, 1.0), reason="r")],
)
def test_a_calibration_is_read_back_as_it_was_recorded(calibration):
    record = json.loads(json.dumps(calibration.as_record()))
    assert Calibration.from_record(record) == calibration


def test_a_cell_without_a_calibration_is_not_calibrated():
    assert Calibration.from_record(None) == UNCHANGED
