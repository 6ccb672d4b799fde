"""The README says what is true: its commands are understood, its example is the tested one."""

import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from medbench import registry
from medbench.cli import _parser
from medbench.execution.suite import Suite
from medbench.tuning.budget import BUDGETS, Budget

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```\w*\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = re.findall(r"python -m medbench ([^`\n]*)", "\n".join(BLOCKS))


def test_the_two_commands_come_first_and_ci_runs_the_second():
    first, second = BLOCKS[0].strip(), BLOCKS[1].strip()
    assert first.endswith("&& python -m medbench run")
    assert second in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command):
    options = _parser().parse_args(shlex.split(command))
    models = getattr(options, "models", None) or []
    for name in [models] if isinstance(models, str) else models:
        assert name in {"best", *registry.models.names()}


def test_the_example_in_python_runs_reads_and_predicts(tmp_path, monkeypatch, capsys):
    """As it stands, on the demo's images, under a budget of a trial on two folds."""
    (example,) = (block for block in BLOCKS if "medbench.run(" in block)
    assert len([line for line in example.splitlines() if line]) <= 10
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(BUDGETS, "smoke", Budget(trials=1, seconds=None))
    monkeypatch.setattr("medbench.running.wanted.SANITY", ("majority",))
    suite = Suite(datasets=("phantoms-mr",), models=("hog-svm",), folds=2)
    monkeypatch.setattr("medbench.running.wanted.load_suite", lambda *_, **__: ("demo", suite))
    Image.new("L", (64, 64), 90).save("film.png")
    exec(compile(example, "README.md", "exec"), names := {})  # what a reader would paste
    assert set(names["scores"]["model"]) == {"majority", "hog-svm", "xgboost", "ensemble"}
    assert names["run"].failed == {} and names["model"].info.family != "majority"
    assert "film.png" in capsys.readouterr().out


def test_the_example_of_a_model_is_the_one_that_is_tested():
    plugin = (ROOT / "tests" / "plugins" / "nearest_centroid.py").read_text().strip()
    assert plugin in [block.strip() for block in BLOCKS]


def test_the_table_of_models_is_complete():
    for name in registry.models.names():
        assert f"| `{name}` |" in README


def test_constraints_are_names_and_versions_only():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+", line), line
