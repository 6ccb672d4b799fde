import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from medbench.cli import main
from medbench.store import RunStore


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_families_are_listed_with_where_they_come_from(example_plugin, capsys, tmp_path):
    plugin = Path(__file__).parents[1] / "plugins" / "nearest_centroid.py"
    assert main(["models", "list", "--plugin", str(plugin)]) == 0
    shown = capsys.readouterr()
    origins = {line.split()[0]: line for line in shown.out.splitlines() if line.strip()}
    assert "built in" in origins["hog-svm"]
    assert "medbench-brightness" in origins["brightness"]
    assert "nearest_centroid.py" in origins["nearest-centroid"]
    assert shown.err == ""
    assert main(["models", "info", "brightness"]) == 0
    shown = capsys.readouterr().out
    assert "From: medbench-brightness 1.2.0" in shown and "share" in shown


def test_a_broken_package_is_one_line_of_warning_beside_the_list(install, capsys):
    install("theirs", "0.3", {"models": {"mine": "theirs:Mine"}}, {"theirs.py": "import nothing"})
    assert main(["models", "list"]) == 0
    shown = capsys.readouterr()
    assert "majority" in shown.out and "mine" not in shown.out
    (line,) = shown.err.splitlines()
    assert line.startswith("medbench: warning: model family 'mine' of theirs 0.3 cannot be used")
    assert main(["models", "info", "mine"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("medbench: error: model family 'mine' of theirs 0.3")


def test_an_installed_family_source_and_tuner_run_in_cells_of_their_own(example_plugin, tmp_path):
    Path("datasets.yaml").write_text("noise: {source: squares, image_size: 24}\n")
    arguments = ["run", "--datasets", "noise", "--models", "brightness", "--no-sanity"]
    arguments += ["--tuner", "random", "--trials", "2", "--folds", "2", "--out", "out"]
    assert main(arguments) == 0
    table = pd.read_csv("out/leaderboard.csv").set_index("model")
    assert table["status"].to_dict() == {"brightness": "ok"}
    assert table.loc["brightness", "auroc"] > 0.9
    records = [cell.record for cell in RunStore(Path("out")).read().cells]
    assert {record["tuner"] for record in records} == {"random"}


def test_listing_names_imports_no_plugin(example_plugin):
    code = (
        "import sys\n"
        "from medbench import registry\n"
        "assert 'importlib.metadata' not in sys.modules\n"
        "assert registry.models.get('majority').name == 'majority'\n"
        "assert 'importlib.metadata' not in sys.modules, 'a built-in name needs no search'\n"
        "print('brightness' in registry.models.names(), 'medbench_brightness' in sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "True False\n", result.stderr


def test_a_family_whose_own_code_fails_is_a_line_and_no_traceback(capsys):
    Path("broken.py").write_text(
        "from medbench import ModelFamily, register_model\n"
        "class Base(ModelFamily):\n"
        "    def build(self, params, task, context): ...\n"
        "@register_model('no-constructor')\n"
        "class A(Base):\n"
        "    def __init__(self): raise ValueError('not today')\n"
        "    def search_space(self, space, task): ...\n"
        "@register_model('leaves')\n"
        "class C(Base):\n"
        "    def __init__(self): raise SystemExit(0)\n"
        "    def search_space(self, space, task): ...\n"
        "@register_model('no-space')\n"
        "class B(Base):\n"
        "    def search_space(self, space, task): raise SystemExit(0)\n"
    )
    assert main(["models", "list", "--plugin", "broken.py"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "majority" in shown and "cannot be used: ValueError: not" in shown
    assert "cannot be used: SystemExit" in shown
    for name, reason in (("no-constructor", "ValueError: not today"), ("no-space", "SystemExit")):
        assert main(["models", "info", name, "--plugin", "broken.py"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"medbench: error: model family {name!r}: its own code fails: ")
        assert reason in line
