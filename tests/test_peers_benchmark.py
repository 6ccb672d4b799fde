"""The benchmark against a practitioner's script takes both sides on the same folds."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

PEERS = Path(__file__).parents[1] / "benchmarks" / "peers"


@pytest.fixture
def peers(monkeypatch):
    """Imports a module of the benchmark, for this test only."""
    monkeypatch.syspath_prepend(PEERS)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == PEERS:
            del sys.modules[name]


def test_the_first_estimate_is_read_from_what_a_run_says(peers):
    first_estimate = peers("runs").first_estimate
    assert first_estimate("cnn: about 4 of 20 trials\nabout 12m 05s for the whole run\n") == 725
    assert first_estimate("about 2h 03m for the whole run\n[1/5] done\n") == 7380
    assert first_estimate("[1/5] about to begin\n") is None


def pair(ours, other, seconds=(20.0, 20.0)):
    sides = zip(("ours", "other"), seconds, (ours, other), strict=True)
    return {side: {"seconds": took, "auroc": auroc} for side, took, auroc in sides}


def test_a_pair_is_met_only_where_both_time_and_score_are(peers):
    rows = peers("shown").pair_rows
    good = {"films 0": pair(0.9, 0.9, (26.0, 20.0)), "films 1": pair(0.896, 0.9, (24.0, 20.0))}
    ((name, _, _, ratio, *_, met),) = rows(good, ["films"])
    assert (name, ratio, met) == ("films (2 seeds)", "1.25", "yes")
    assert rows({"films 0": pair(0.9, 0.9, (27.0, 20.0))}, ["films"])[0][-1] == "no"
    assert rows({"films 0": pair(0.89, 0.9)}, ["films"])[0][-1] == "no"


@pytest.mark.slow
def test_the_quick_run_pairs_both_sides_and_keeps_what_it_has(tmp_path):
    pytest.importorskip("tensorflow")
    file = tmp_path / "peers.json"
    command = [sys.executable, str(PEERS), "--quick", "--only", "tiny", "--seeds", "0"]
    for said in ("tiny 0 ...", "tiny 0: kept"):
        done = subprocess.run(
            [*command, "--json", str(file)], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stderr
    (found,) = json.loads(file.read_text())["pairs"].values()
    assert len(found["ours"]["folds"]) == len(found["other"]["folds"]) == 2
