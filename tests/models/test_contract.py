"""Every built-in family keeps the contract that plugin authors are held to."""

from __future__ import annotations

import pytest

from medbench import registry
from medbench.models.contract import Classifier, ModelFamily, complete_probabilities
from medbench.testing import MODEL_CHECKS, check_model

# name -> what the checks are called with: the image size, overrides that make a fit quick.
# A new built-in family is added here, and nowhere else.
FAMILIES = {
    "majority": {},
    "file-properties": {},
    "intensity": {},
    "border": {},
    "thumbnail": {},
    "hog-svm": {},
    "xgboost": {
        "params": {"learning_rate": 0.3, "max_depth": 2, "glcm": False, "gabor": False},
    },
    "cnn": {
        "image_size": 12,
        "params": {
            "blocks": "plain",
            "width": 16,
            "augmentation": "none",
            "batch_size": 16,
            "learning_rate": 1e-2,
        },
    },
    "inceptionv3": {"image_size": 75},
    "mobilenet": {"image_size": 64},
    "densenet121": {},
    "efficientnetb0": {},
    "resnet50": {},
    "squeezenet": {"image_size": 64},
}
SLOW = {"inceptionv3", "densenet121", "efficientnetb0", "resnet50"}
"""Of the families that differ only in their backbone, those with a large one."""
FINE_TUNED = {
    "image_size": 75,
    "params": {"cut": "mixed5", "fine_tune": "top block", "learning_rate": 1e-3},
}
BLIND = {"majority", "file-properties"}
"""Families that see nothing in which the images of the checks differ: their file properties are
all alike. That the latter learns from those that differ is tested in ``test_probes.py``."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in FAMILIES],
)
def test_a_family_keeps_the_contract(name):
    family_class = registry.models.get(name)
    for module in family_class.requires:
        pytest.importorskip(module)
    if name == "cnn":
        family_class = type("ShortCnn", (family_class,), {"max_steps": 6})
    check_model(family_class, **FAMILIES[name], learns=name not in BLIND)


@pytest.mark.slow
def test_a_fine_tuned_backbone_keeps_the_contract():
    pytest.importorskip("keras")
    check_model(registry.models.get("inceptionv3"), **FINE_TUNED)


def test_every_family_is_checked():
    assert set(FAMILIES) == set(registry.models.names())


def test_a_constant_model_does_not_pass_for_one_that_learns():
    with pytest.raises(AssertionError, match=r"AUROC of class 'none' is 0\.50"):
        check_model(registry.models.get("majority"))


def test_a_check_that_is_called_alone_fits_what_it_needs_and_all_together_fit_each_task_once(
    monkeypatch,
):
    fitted = []
    monkeypatch.setattr(Flawed, "flaw", "")
    monkeypatch.setattr(
        FlawedClassifier, "fit", lambda self, train, *others: fitted.append(len(train))
    )
    monkeypatch.setattr(FlawedClassifier, "present", [0, 1], raising=False)
    MODEL_CHECKS["probabilities"](Flawed)
    assert len(fitted) == 2
    fitted.clear()
    check_model(Flawed, learns=False)
    # two kinds of images, one of them twice and once without validation, a class missing,
    # ordered classes, and three labels one by one
    assert len(fitted) == 5 + 1 + 3


class Flawed(ModelFamily):
    """Majority with one flaw at a time."""

    flaw = ""

    def search_space(self, space, task):
        if self.flaw == "infinite":
            space.real("C", 1.0, float("inf"), default=2.0)

    def build(self, params, task, context):
        return FlawedClassifier(self.flaw, len(task.classes))


class FlawedClassifier(Classifier):
    fits = 0

    def __init__(self, flaw, n_classes):
        self.flaw = flaw
        self.n_classes = n_classes
        self.present = None
        self.shift = 0.0

    def fit(self, train, validation, progress):
        FlawedClassifier.fits += 1
        self.present = sorted(set(train.labels.tolist()))
        self.shift = 0.1 * FlawedClassifier.fits if self.flaw == "random" else 0.0
        self.best_step = 1
        if self.flaw == "swallows":
            try:
                progress.report(1, 0.5)
            except Exception:  # the flaw under test
                return
        elif self.flaw == "deaf":
            for step in (1, 2, 3):
                progress.report(step, 0.5)
        elif self.flaw == "impossible score":
            progress.report(1, 17.0)

    def predict_proba(self, batch):
        n = len(self.present) if self.flaw == "drops a class" else self.n_classes
        if self.flaw == "looks around":
            n_bright = float(batch.images.mean() / 1000)
            return complete_probabilities([[n_bright, 1 - n_bright]] * len(batch), [0, 1], n)
        scores = [1.0 + self.shift] + [1.0] * (n - 1)
        total = 1.0 if self.flaw == "not normalised" else sum(scores)
        return complete_probabilities([[s / total for s in scores]] * len(batch), range(n), n)

    def save(self, folder):
        if self.flaw != "saves nothing":
            (folder / "state.txt").write_text(str(self.present))

    def load(self, folder):
        self.present = [0, 1]
        self.shift = 0.05 if self.flaw == "forgets" else 0.0


@pytest.mark.parametrize(
    ("flaw", "check", "message"),
    [
        ("infinite", "space", "use finite numbers"),
        ("not normalised", "probabilities", "no distributions"),
        ("drops a class", "missing class", "one column a class"),
        ("random", "determinism", "seed everything random"),
        ("saves nothing", "save and load", "save wrote no file"),
        ("forgets", "save and load", "save all of its fitted state"),
        ("looks around", "batch sizes", "compute nothing over the images of a batch"),
        ("deaf", "refit", "run exactly that many"),
        ("deaf", "stop", "stop when the answer is False"),
        ("swallows", "pruning", "do not catch it"),
        ("impossible score", "probabilities", "report the validation AUROC"),
    ],
)
def test_a_flawed_family_is_told_what_to_do(monkeypatch, flaw, check, message):
    monkeypatch.setattr(Flawed, "flaw", flaw)
    monkeypatch.setattr(Flawed, "max_steps", 5)
    with pytest.raises(AssertionError, match=message):
        MODEL_CHECKS[check](Flawed)
