"""Families that learn one label are fitted once a class."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from medbench.datasets.batch import LabelledBatch
from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.models.contract import Classifier, Progress
from medbench.models.per_label import PerLabel

TASK = Task(classes=("a", "b", "c"), image_shape=(4, 4, 1), task_type="multi-label")


class Remembers(Classifier):
    """Predicts the frequency of the positive class; counts as many steps as it has seen ones."""

    columns = 2

    def __init__(self, task):
        assert task.task_type == "binary"

    def fit(self, train, validation, progress):
        assert train.labels.ndim == 1 and (validation is None or validation.labels.ndim == 1)
        self.frequency = train.labels.mean()
        self.best_step = int(train.labels.sum())
        progress.report(1, 0.9)

    def predict_proba(self, batch):
        return np.tile([1 - self.frequency, self.frequency], (len(batch), 1))[:, : self.columns]

    def save(self, folder):
        (folder / "state.txt").write_text(f"{self.frequency} {self.best_step}")

    def load(self, folder):
        frequency, step = (folder / "state.txt").read_text().split()
        self.frequency, self.best_step = float(frequency), int(step)


@pytest.fixture
def batch():
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    properties = pd.DataFrame({"width": 4, "height": 4, "mode": "L", "bytes": 16}, index=range(4))
    images = np.arange(64, dtype=np.uint8).reshape(4, 4, 4, 1)
    return LabelledBatch(images=images, properties=properties, labels=labels, groups=np.arange(4))


@pytest.mark.parametrize(("write", "read"), [("save", "load"), ("checkpoint", "resume")])
def test_every_class_has_its_own_classifier_and_they_are_saved_together(
    batch, tmp_path, write, read
):
    reported = []

    class Reported(Progress):
        def report(self, step, score=None):
            reported.append((step, score))
            return True

    classifier = PerLabel(TASK, Remembers)
    classifier.fit(batch, batch, Reported())
    expected = np.tile([0.75, 0.75, 0.0], (4, 1))
    assert np.array_equal(classifier.predict_proba(batch), expected)
    assert classifier.best_step == 3  # the median of 3, 3 and 0
    assert reported == [(1, None)] * 3  # no single class's score stands for all
    getattr(classifier, write)(tmp_path)
    loaded = PerLabel(TASK, Remembers)
    getattr(loaded, read)(tmp_path)
    assert np.array_equal(loaded.predict_proba(batch), expected) and loaded.best_step == 3


def test_probabilities_of_another_shape_are_refused(batch, monkeypatch):
    monkeypatch.setattr(Remembers, "columns", 1)
    classifier = PerLabel(TASK, Remembers)
    classifier.fit(batch, None, Progress())
    with pytest.raises(ModelError, match=r"must be \(4, 2\)"):
        classifier.predict_proba(batch.unlabelled())
