"""The coverage benchmark counts what it says, in sizes that show only that it works."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COVERAGE = Path(__file__).parents[1] / "benchmarks" / "coverage"


@pytest.mark.slow
def test_the_quick_run_measures_every_setting_and_writes_what_it_found(tmp_path):
    file = tmp_path / "found.json"
    command = [sys.executable, str(COVERAGE), "--quick", "--json", str(file)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert json.loads(file.read_text())
