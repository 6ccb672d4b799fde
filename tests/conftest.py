"""What all tests share: a cache of their own, and the real images where they are."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Two processes of threads that spin against each other are slower than one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
from PIL import Image

from medbench import registry

_REGISTRIES = (registry.models, registry.sources, registry.tuners)
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _own_places(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache, data folder, weights or working folder."""
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    for name in ("MEDBENCH_DATA", "MEDBENCH_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_plugin_stays():
    """A plugin that one test loads is unknown to the next."""
    before = [(kind, dict(kind._registered)) for kind in _REGISTRIES]
    yield
    for kind, registered in before:
        kind._registered.clear()
        kind._registered.update(registered)
    for module in [m for m in sys.modules if m.startswith("medbench_plugin_")]:
        del sys.modules[module]


@pytest.fixture
def real_data() -> Path:
    """The folder of real images; the test is skipped where it is not there."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the real images (shared/data beside the project) are not here")
    return folder


@pytest.fixture
def real_weights() -> Path:
    """The folder of real weights; the test is skipped where it is not there."""
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip("the real weights (shared/weights beside the project) are not here")
    return folder


@pytest.fixture
def class_folders(tmp_path):
    """Makes a folder of class folders with small synthetic images; a bright square marks "b"."""

    def make(per_class: int = 8, classes=("a", "b"), size: int = 24, name: str = "set") -> Path:
        rng = np.random.default_rng(0)
        root = tmp_path / name
        for index, label in enumerate(classes):
            (root / label).mkdir(parents=True)
            for i in range(per_class):
                pixels = rng.integers(0, 120, (size, size), dtype=np.uint8)
                pixels[4:10, 4 : 4 + 6 * index] = 220
                Image.fromarray(pixels).save(root / label / f"{i:02d}.png")
        return root

    return make
