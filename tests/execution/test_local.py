"""The local executor gives the same numbers however its processes start."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from medbench import registry
from medbench.cli import main
from medbench.execution.local import LocalExecutor
from medbench.store import RunStore


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
@pytest.mark.processes
@pytest.mark.parametrize(
    "models", [("thumbnail", "xgboost"), pytest.param(("cnn",), marks=pytest.mark.slow)]
)
def test_what_is_forked_and_what_is_spawned_say_the_same(
    class_folders, tmp_path, monkeypatch, models
):
    pytest.importorskip("keras" if models == ("cnn",) else "xgboost")
    monkeypatch.chdir(tmp_path)
    root, found = class_folders(per_class=16), {}
    for way in ("fork", "spawn"):
        monkeypatch.setitem(
            registry.executors._registered, way, partial(LocalExecutor, start_method=way)
        )
        arguments = ["run", "--data", str(root), "--models", *models, "--no-sanity", "--folds", "2"]
        assert main([*arguments, "--trials", "1", "--executor", way, "--out", way]) == 0
        found[way] = {cell.id: cell for cell in RunStore(Path(way)).read().cells}
    assert len(found["fork"]) == 2 * len(models)
    for cell, forked in found["fork"].items():
        spawned = found["spawn"][cell]
        for column in ("p0", "p1"):
            np.testing.assert_array_equal(forked.predictions[column], spawned.predictions[column])
        for name in ("params", "threshold", "calibration", "inner_score"):
            assert forked.record[name] == spawned.record[name]


def test_a_row_says_that_its_cell_had_no_process_of_its_own(class_folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["run", "--data", str(class_folders()), "--models", "majority", "--no-sanity"]
    arguments += ["--folds", "2", "--trials", "1", "--out", "out"]
    assert main([*arguments, "--executor", "inline"]) == 0
    for cell in RunStore(Path("out")).read().cells:
        assert cell.record["executor"] == "inline"
        assert "without a firewall" in cell.record["note"]
    assert "without a firewall" in Path("out/leaderboard.md").read_text()
    assert main([*arguments, "--executor", "somewhere"]) == 2
