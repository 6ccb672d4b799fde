"""What a cell may use: as asked for, else by budget and machine; what cannot be kept is refused."""

import json
import sys
from pathlib import Path

import pytest

from medbench.cli import main
from medbench.execution import cell_limits
from medbench.execution.limits import Limits, Overrun
from medbench.execution.plan import Setup
from medbench.running.values import size

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is watched on Linux only")


@pytest.fixture
def setup(tmp_path, monkeypatch):
    """Makes a setup on a machine of 10 GB."""
    monkeypatch.setattr(cell_limits, "total_memory", lambda: 10_000_000_000)

    def make(**given):
        return Setup(**{"cache": tmp_path, "threads": 1, "executor": "local", **given})

    return make


def test_what_is_asked_for_is_taken(setup):
    limits = cell_limits.limits_of([], setup(cell_seconds=60.0, cell_memory=2_000_000_000))
    assert limits == Limits(seconds=60.0, memory=2_000_000_000)
    assert "60 s (--cell-time)" in str(limits) and "2.0 GB of memory" in str(limits)


def test_cells_at_a_time_share_the_memory(setup):
    assert cell_limits.limits_of([], setup()).memory == 8_000_000_000
    assert cell_limits.limits_of([], setup(jobs=4)).memory == 2_000_000_000
    assert cell_limits.limits_of([], setup(jobs=400)).memory == cell_limits.LEAST_MEMORY


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cell_seconds": 1.0}, "at least 10s"),
        ({"cell_seconds": 1e12}, "at most 8760h"),
        ({"cell_memory": 1_000_000}, "at least 300.0 MB"),
        ({"cell_memory": 11_000_000_000}, "at most the 10.0 GB"),
        ({"cell_seconds": 60.0, "executor": "inline"}, "--cell-time.*'inline' has no process"),
        ({"cell_memory": 10**9, "executor": "inline"}, "--cell-memory.*'inline' has no process"),
    ],
)
def test_what_cannot_be_kept_is_refused(setup, given, words):
    with pytest.raises(cell_limits.ConfigurationError, match=words):
        cell_limits.limits_of([], setup(**given))


def test_where_memory_cannot_be_watched_nothing_is_promised(setup, monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    assert cell_limits.limits_of([], setup()).memory is None
    with pytest.raises(cell_limits.ConfigurationError, match="Linux only"):
        cell_limits.limits_of([], setup(cell_memory=10**9))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4GB", 4_000_000_000),
        ("500mb", 500_000_000),
        ("400M", 400_000_000),
        ("1.5 GB", 1_500_000_000),
        ("1TB", 10**12),
    ],
)
def test_a_size_has_a_unit(text, expected):
    assert size(text) == expected


@pytest.mark.parametrize(
    "option",
    ["--cell-memory=4", "--cell-memory=0GB", "--cell-memory=-1GB", "--cell-memory=GB",
     "--cell-memory=1e3GB", "--cell-memory=" + "9" * 500 + "GB", "--cell-time=0",
     "--cell-time=-5m", "--cell-time=soon"],
)  # fmt: skip
def test_what_is_no_size_or_duration_is_refused(option, capsys):
    with pytest.raises(SystemExit):
        main(["run", option])
    assert option.partition("=")[0] in capsys.readouterr().err


def test_an_overrun_is_told_in_words():
    time = Overrun(limit="--cell-time", allowed=3600.0, used=4211.0)
    assert str(time) == "took 4,211 s, more than its limit of 3,600 s (--cell-time)"
    close = Overrun(limit="--cell-time", allowed=15.0, used=15.2)
    assert str(close) == "took more than its limit of 15 s (--cell-time)"
    memory = Overrun(limit="--cell-memory", allowed=4_000_000_000, used=5_200_000_000)
    assert str(memory) == "used 5.2 GB, more than its limit of 4.0 GB (--cell-memory)"


def test_a_limit_below_the_budget_is_refused_before_anything_is_trained(
    class_folders, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    asked = ["run", "--data", str(class_folders()), "--models", "majority", "--no-sanity"]
    asked += ["--folds", "2", "--executor", "local", "--out", "out"]
    assert main([*asked, "--time", "2m", "--cell-time", "1m"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "less than the 120 s that the budget gives" in said
    assert not Path("out/cells").exists()


def test_a_dry_run_says_the_limits(class_folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = ["run", "--data", str(class_folders(per_class=8)), "--models", "majority"]
    asked += ["--no-sanity", "--folds", "2", "--dry-run"]
    assert main([*asked, "--time", "2m"]) == 0
    assert "longer than 4,816 s (--cell-time)" in " ".join(capsys.readouterr().out.split())
    assert main([*asked, "--trials", "2"]) == 0
    assert "longer than 604,800 s (--cell-time)" in " ".join(capsys.readouterr().out.split())


@linux
@pytest.mark.processes
def test_a_passed_limit_is_a_row_with_its_numbers_and_other_cells_go_on(
    class_folders, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cell_limits, "LEAST_SECONDS", 1.0)
    Path("slow.py").write_text(
        "import time\n"
        "from medbench import ModelFamily, register_model\n"
        "@register_model('slow')\n"
        "class Slow(ModelFamily):\n"
        "    '''Never ends.'''\n"
        "    def search_space(self, space, task): space.real('a', 0.0, 1.0)\n"
        "    def build(self, params, task, context): time.sleep(600)\n"
    )
    asked = ["run", "--data", str(class_folders()), "--models", "slow", "majority", "--no-sanity"]
    asked += ["--folds", "2", "--jobs", "2", "--trials", "1", "--plugin", "slow.py", "--out", "out"]
    assert main([*asked, "--cell-time", "8s"]) == 1
    for path in Path("out/cells").glob("*/slow/*/cell.json"):
        record = json.loads(path.read_text())
        assert record["status"] == "failed" and "--cell-time" in record["reason"]
        assert record["overrun"]["limit"] == "--cell-time"
        assert record["overrun"]["allowed"] == 8.0 < record["overrun"]["used"]
    assert len(list(Path("out/cells").glob("*/slow/*/cell.json"))) == 2
    for path in Path("out/cells").glob("*/majority/*/cell.json"):
        assert json.loads(path.read_text())["status"] == "ok"
    assert "more than its limit of 8.0 s" in Path("out/leaderboard.md").read_text()
