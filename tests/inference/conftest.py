"""Runs that many tests classify with; made once, and shared by the processes of a test run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from medbench.cli import main
from medbench.datasets.catalog import load_catalog

ENTRIES = """
small:
  source: phantoms
  patients: 24
  images_per_patient: 2
  image_size: 32
  difficulty: 0
elsewhere:
  source: phantoms
  patients: 16
  images_per_patient: 2
  image_size: 48
  difficulty: 0.2
  seed: 7
"""


def _made_once(folder: Path, name: str, arguments: list[str]) -> Path:
    run = folder / name
    with FileLock(folder / f"{name}.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDBENCH_CACHE", str(folder / "cache"))
        if not (run / "report.html").exists():
            entries = folder / "entries.yaml"
            entries.write_text(ENTRIES)
            given = ["run", "--datasets-file", str(entries), "--datasets", "small", "--no-images"]
            assert main([*given, "--folds", "2", *arguments, "--out", str(run)]) == 0
    return run


@pytest.fixture(scope="session")
def kept_run(shared_folder) -> Path:
    """A finished run of the classical families; not to be changed."""
    arguments = ["--models", "hog-svm", "xgboost", "thumbnail", "--no-sanity", "--trials", "1"]
    return _made_once(shared_folder, "classical", arguments)


@pytest.fixture(scope="session")
def kept_deep_run(shared_folder) -> Path:
    """A finished run of networks, hardly trained; not to be changed."""
    pytest.importorskip("tensorflow")
    arguments = ["--models", "cnn", "squeezenet", "--no-sanity", "--trials", "1", "--time", "2s"]
    return _made_once(shared_folder, "deep", arguments)


@pytest.fixture
def run(kept_run, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(kept_run, tmp_path / "run"))


@pytest.fixture
def deep_run(kept_deep_run, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(kept_deep_run, tmp_path / "deep"))


@pytest.fixture
def entries(tmp_path) -> Path:
    """The file that registers the data sets of these runs."""
    path = tmp_path / "entries.yaml"
    path.write_text(ENTRIES)
    return path


@pytest.fixture
def pixels(entries) -> np.ndarray:
    """Images that the models did not see, uint8, shape (8, 32, 32, 1)."""
    listing = load_catalog(datasets_file=entries).get("elsewhere").listing()
    images = [np.asarray(listing.read(i)).reshape(48, 48) for i in (0, 4, 8, 12, 16, 20, 24, 28)]
    small = [np.asarray(Image.fromarray(image).resize((32, 32))) for image in images]
    return np.stack(small)[..., None]


@pytest.fixture
def films(pixels, tmp_path) -> Path:
    """The same images as files."""
    folder = tmp_path / "films"
    folder.mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image[..., 0]).save(folder / f"{i}.png")
    return folder
