"""The suite, run once undisturbed for all processes of a test run."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def suite(shared_folder, request):
    """The suite, undisturbed; a small one where slow tests are left out; skipped where processes
    cannot be looked at."""
    if not Path("/proc").is_dir():
        pytest.skip("looks for processes in /proc")
    pytest.importorskip("xgboost")
    small = request.config.option.markexpr == "not slow"
    return importlib.import_module("disturbed_runs").Suite(shared_folder / "suite", small=small)


@pytest.fixture
def folders(tmp_path):
    """Where a fault is endured."""
    return importlib.import_module("disturbed_runs").RunFolders(tmp_path / "run")


@pytest.fixture
def paid(record_property):
    """Takes the toll of a fault down, for the table at the end, and wants it to be nothing."""

    def take(toll, moments: int = 1) -> None:
        record_property("toll", json.dumps({**toll.as_record(), "moments": moments}))
        assert toll.sentences() == []

    return take
