"""The benchmark of heat maps explains what it says, in sizes that show only that it works."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXPLANATIONS = Path(__file__).parents[1] / "benchmarks" / "explanations"


@pytest.mark.slow
def test_the_quick_run_explains_and_writes_what_it_found(tmp_path):
    pytest.importorskip("tensorflow")
    file = tmp_path / "found.json"
    command = [sys.executable, str(EXPLANATIONS), "--quick", "--only", "xgboost", "cnn"]
    done = subprocess.run([*command, "--json", str(file)], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert {row["model"] for row in json.loads(file.read_text())["rows"]} == {"xgboost", "cnn"}
