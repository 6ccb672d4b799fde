"""Every built-in family keeps the contract that plugin authors are held to."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from medbench import registry
from medbench.execution.environment import keras_backend
from medbench.testing import ModelContract, check_model

SETTINGS = {
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
    "inceptionv3-finetuned": {"image_size": 75},
    "mobilenet": {"image_size": 64},
    "squeezenet": {"image_size": 64},
    "efficientnet-lite0": {"image_size": 64},
}
"""What makes the fits of some families quick: the size of images, values of parameters."""
SLOW = {
    "inceptionv3",
    "inceptionv3-finetuned",
    "densenet121",
    "efficientnetb0",
    "resnet50",
    "efficientnet-lite0",
}
"""Of the families that differ only in their backbone, those with a large one."""
FINE_TUNED = {
    "image_size": 75,
    "params": {"cut": "mixed5", "fine_tune": "top block", "learning_rate": 1e-3},
}
BLIND = {"majority", "file-properties"}
"""Families that see nothing in which the images of the checks differ: their file properties are
all alike. That the latter learns from those that differ is tested in ``test_sanity.py``."""


@pytest.fixture(
    scope="class",
    params=[
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in registry.models.names()
    ],
)
def name(request):
    return request.param


class TestEveryFamily(ModelContract):
    """Found in the registry, so that a new one cannot be forgotten."""

    @pytest.fixture(autouse=True)
    def registered(self, name):
        self.family = registry.models.get(name)
        for module in self.family.requires:
            pytest.importorskip(module)
        other = keras_backend() not in (None, "tensorflow")
        if other and "keras" not in self.family.requires:
            pytest.skip("computes the same whatever Keras runs on, and is tested beside TensorFlow")
        if other and name == "squeezenet":
            pytest.skip(
                "mobilenet with other layers, of which test_embeddings.py looks at the rows"
            )
        self.learns = name not in BLIND
        for setting, value in SETTINGS.get(name, {}).items():
            setattr(self, setting, value)
        if name == "cnn":
            self.family = short_cnn()


@functools.cache
def short_cnn():
    return type("ShortCnn", (registry.models.get("cnn"),), {"max_steps": 6})


def test_the_example_of_the_readme_keeps_the_contract():
    registry.load_plugin(Path(__file__).parents[1] / "plugins" / "nearest_centroid.py")
    check_model(registry.models.get("nearest-centroid"))


@pytest.mark.slow
def test_a_fine_tuned_backbone_keeps_the_contract():
    pytest.importorskip("keras")

    check_model(registry.models.get("inceptionv3-finetuned"), **FINE_TUNED)
