"""Training by epochs: the weights of examples and the schedule that a refit follows again."""

import numpy as np
import pytest

from medbench.models.keras_support import Training, balanced_weights


def test_exclusive_classes_weigh_alike_and_images_of_several_labels_too():
    np.testing.assert_allclose(balanced_weights(np.array([0, 0, 0, 2])), [2 / 3] * 3 + [2])
    assert balanced_weights(np.eye(3, dtype=np.int64)).tolist() == [1, 1, 1]


def test_the_rate_rises_then_falls_to_nothing_over_the_epochs_that_were_planned():
    curve = Training(
        max_steps=40, batch_size=1, learning_rate=0.1, schedule="cosine", patience=1, seed=0
    )
    rates = [curve.rate(epoch) for epoch in range(41)]
    assert 0 < rates[0] < 0.02
    assert rates[: np.argmax(rates) + 1] == sorted(rates[: np.argmax(rates) + 1])
    assert max(rates) == pytest.approx(0.1, rel=0.1)
    assert rates[20] == pytest.approx(0.05)
    assert rates[40] == 0
