"""The contract of model families fails where a family has one thing wrong."""

from __future__ import annotations

import itertools
import pickle
import re

import numpy as np
import pytest

from medbench.models.contract import Classifier, ModelFamily, complete_probabilities
from medbench.testing import ModelContract, check_model

fits = itertools.count(1)


class Means(Classifier):
    """Distance to the mean image of each class, counted as two steps."""

    flaw = ""

    def __init__(self, n_classes):
        self.n_classes = n_classes
        self.max_steps = 1 if self.flaw == "says too few steps" else 2

    def fit(self, train, validation, progress):
        pixels = train.images.reshape(len(train), -1) / 255
        self.present = np.unique(train.labels)
        self.means = np.stack([pixels[train.labels == c].mean(axis=0) for c in self.present])
        if self.flaw == "random":
            self.means += 0.1 * next(fits)
        last = 3 if self.flaw == "deaf" else progress.last_step or 2
        for step in range(1, last + 1):
            self.best_step = step
            if not self.report(progress, step) and self.flaw != "deaf":
                return

    def report(self, progress, step):
        try:
            return progress.report(step, 17.0 if self.flaw == "impossible score" else 0.5)
        except Exception:
            if self.flaw == "swallows":
                return False
            raise

    def predict_proba(self, batch):
        pixels = batch.images.reshape(len(batch), -1) / 255
        if self.flaw == "looks around":
            pixels = pixels - pixels.mean(axis=0)
        distances = ((pixels[:, None] - self.means) ** 2).mean(axis=2)
        weights = np.exp(-100 * (distances - distances.min(1, keepdims=True)))
        if self.flaw != "not normalised":
            weights /= weights.sum(axis=1, keepdims=True)
        if self.flaw == "turned round":
            weights = weights[:, ::-1]
        if self.flaw == "drops a class":
            return weights
        if self.flaw == "single precision":
            return weights.astype(np.float32)
        return complete_probabilities(weights, self.present, self.n_classes)

    def save(self, folder):
        if self.flaw == "pickles":
            (folder / "means").write_bytes(pickle.dumps((self.present, self.means)))
        elif self.flaw == "saves objects":
            np.savez(folder / "means.npz", means=np.array([self.means, None], dtype=object))
        elif self.flaw != "saves nothing":
            np.savez(folder / "means.npz", present=self.present, means=self.means)

    def load(self, folder):
        saved = np.load(folder / "means.npz")
        self.present = saved["present"]
        self.means = saved["means"] * (0.5 if self.flaw == "forgets" else 1)


class MeansOfLabels(Means):
    """Of several labels an image, with what is no probability in the column of each."""

    def fit(self, train, validation, progress):
        self.several = train.labels.ndim == 2
        if not self.several:
            super().fit(train, validation, progress)

    def predict_proba(self, batch):
        wrong = np.full((len(batch), self.n_classes), 1.5)
        return wrong if self.several else super().predict_proba(batch)


class Family(ModelFamily):
    """Nearest mean."""

    classifier = Means

    def search_space(self, space, task):
        space.real("sharpness", 0.1, 10.0)

    def build(self, params, task, context):
        return self.classifier(len(task.classes))


def classifies(flaw):
    """A family whose classifiers have a flaw."""
    return {"classifier": type("Wrong", (Means,), {"flaw": flaw})}


def endless(self, space, task):
    space.real("sharpness", 0.1, float("inf"), default=1.0)


def refines(self, params, task):
    return [{"sharpness": 5.0, "fine": True}]


WRONG = [
    ("space", "use finite numbers", {"search_space": endless}),
    ("space", "return a subclass of Classifier", {"build": lambda *_: object()}),
    ("probabilities", "no distributions", classifies("not normalised")),
    ("probabilities", "convert it to float64", classifies("single precision")),
    ("probabilities", "report the validation AUROC", classifies("impossible score")),
    ("task_types", "not between 0 and 1", {"classifier": MeansOfLabels, "multi_label": True}),
    ("missing_class", "one column a class", classifies("drops a class")),
    ("determinism", "seed everything random", classifies("random")),
    ("save_and_load", "save wrote no file", classifies("saves nothing")),
    ("save_and_load", "save all of its fitted state", classifies("forgets")),
    ("batch_sizes", "compute nothing over the images of a batch", classifies("looks around")),
    ("refit", "run exactly that many", classifies("deaf")),
    ("steps", "in the singular", {"step_name": ""}),
    ("steps", "set it to the most steps", classifies("says too few steps")),
    ("stop", "stop when the answer is False", classifies("deaf")),
    ("pruning", "do not catch it", classifies("swallows")),
    ("learns", "check the order of the columns", classifies("turned round")),
    ("no_pickle", "means, which is a pickle", classifies("pickles")),
    ("no_pickle", "means.npz, which is a pickle", classifies("saves objects")),
]


def test_a_sound_family_keeps_the_contract():
    assert check_model(Family) == ()


@pytest.mark.parametrize(("name", "message", "changes"), WRONG)
def test_a_wrong_family_is_told_what_to_do(told, name, message, changes):
    wrong = type("WrongFamily", (Family,), changes)
    assert re.search(message, told(ModelContract, f"test_{name}", family=wrong))


def test_there_is_a_wrong_family_for_every_demand():
    assert {f"test_{name}" for name, *_ in WRONG} == set(ModelContract.names())


def test_parameters_that_the_family_does_not_know_are_named(told):
    said = told(ModelContract, "test_space", family=Family, params={"epochs": 2})
    assert "params names ['epochs']" in said


def test_a_constant_family_says_so_and_one_without_steps_is_not_asked_for_them():
    class Constant(Means):
        def fit(self, train, validation, progress):
            self.present, self.means = np.arange(self.n_classes), np.zeros(self.n_classes)

        def predict_proba(self, batch):
            return np.full((len(batch), self.n_classes), 1 / self.n_classes)

    family = type("ConstantFamily", (Family,), {"classifier": Constant})
    assert check_model(family, learns=False) == ("test_stop", "test_pruning", "test_learns")
    with pytest.raises(AssertionError, match=r"AUROC of class 'none' is 0\.50"):
        check_model(family)


def test_each_task_is_fitted_once_for_all_tests_together():
    fitted = []

    class Counted(Means):
        def fit(self, train, validation, progress):
            fitted.append(len(train))
            super().fit(train, validation, progress)

    ModelContract.check(family=type("CountedFamily", (Family,), {"classifier": Counted}))
    # two kinds of images, one of them twice, once without validation, once stopped and once
    # pruned, a class missing, ordered classes, and three labels one by one
    assert len(fitted) == 7 + 1 + 3
