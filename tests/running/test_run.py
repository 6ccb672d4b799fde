"""``medbench.run`` and ``medbench.audit``: the command line's names, defaults, errors and runs."""

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from operator import attrgetter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import medbench
from medbench.cli import _parser, main
from medbench.cli.options import given
from medbench.errors import (
    AuditError,
    ConfigurationError,
    DatasetError,
    MedBenchError,
    StoreError,
    UnknownNameError,
)
from medbench.running.options import (
    AuditOptions,
    EvaluateOptions,
    ExportOptions,
    ReproduceOptions,
    RunOptions,
)
from medbench.running.wanted import wanted_of
from medbench.store import RunStore

DEADLINE = 120
"""Seconds after which something hangs."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def small(class_folders):
    """Options of a run of a few seconds."""
    return {
        "data": class_folders(per_class=12),
        "models": "border",
        "no_sanity": True,
        "trials": 1,
        "folds": 2,
        "out": "out",
    }


def stamps():
    return {p: p.stat().st_mtime_ns for p in Path("out/cells").rglob("predictions.parquet")}


# --- one door -------------------------------------------------------------------------------------


DOORS = {
    "run": RunOptions,
    "audit": AuditOptions,
    "reproduce RUN": ReproduceOptions,
    "evaluate --run RUN": EvaluateOptions,
    "export RUN": ExportOptions,
}
"""The options of each command that Python has too."""


@pytest.mark.parametrize(("command", "options"), DOORS.items(), ids=DOORS)
def test_python_has_the_names_and_defaults_of_the_command_line(command, options):
    function = attrgetter(options.verb)(medbench)
    parameters = dict(inspect.signature(function).parameters)
    parameters.pop("self", None)
    assert parameters.popitem()[1].kind is inspect.Parameter.VAR_KEYWORD
    python = {name: parameter.default for name, parameter in parameters.items()}
    typed = given(_parser().parse_args(command.split()))
    if options is ExportOptions:
        typed["model"] = typed.pop("models")  # which is one
    assert set(python) == set(typed) == {one.name for one in fields(options)}
    assert options.of(python) == options.of(typed)
    assert not [name for name in python if f"{name}: " not in function.__doc__]


def test_one_value_alone_is_a_list_of_one_and_a_path_is_text_or_a_path(tmp_path):
    wanted = wanted_of(RunOptions.of({"models": "cnn", "no_sanity": True, "datasets": "brain-mri"}))
    assert (wanted.models, wanted.datasets) == (["cnn"], ["brain-mri"])
    several = RunOptions.of({"models": np.array(["cnn", "border"]), "datasets": {"a": 1}.keys()})
    assert (several.models, several.datasets) == (("cnn", "border"), ("a",))
    assert RunOptions.of({"out": "x/y"}) == RunOptions.of({"out": Path("x/y")})
    assert RunOptions.of({"plugin": "p.py"}) == RunOptions.of({"plugin": [Path("p.py")]})
    assert RunOptions.of({"data": "~/images"}).data == Path.home() / "images"


def test_numbers_are_taken_as_numbers_and_as_the_command_line_writes_them():
    assert RunOptions.of({"trials": "20", "jobs": np.int64(2)}) == RunOptions.of(
        {"trials": 20, "jobs": "2"}
    )
    assert RunOptions.of({"time": 90, "cell_time": "1h"}) == RunOptions.of(
        {"time": "1m 30s", "cell_time": 3600.0}
    )
    assert RunOptions.of({"cell_memory": 4_000_000_000}) == RunOptions.of({"cell_memory": "4GB"})
    assert AuditOptions.of({"fail_on_audit": True}).fail_on_audit == "serious"
    assert AuditOptions.of({"fail_on_audit": False}).fail_on_audit is None
    assert RunOptions.of({"trials": None, "jobs": None}) == RunOptions()


def test_a_run_is_the_run_of_the_command_line_and_goes_on_where_that_was(small, capsys):
    command = ["run", "--data", str(small["data"]), "--models", "border", "--no-sanity"]
    command += ["--trials", "1", "--folds", "2", "--out", "out"]
    assert main(command) == 0
    before, printed = stamps(), capsys.readouterr().out
    run = medbench.run(**small)
    assert stamps() == before and len(before) == 2
    shown = capsys.readouterr().out
    assert "2 of 2 cells are finished already" in shown
    assert "Page: out/report.html" in shown and "Page: out/report.html" in printed
    table = run.leaderboard()
    pd.testing.assert_frame_equal(table, medbench.load_run("out").leaderboard())
    assert list(table["model"]) == ["border"] and run.failed == {}


def test_a_dry_run_writes_nothing_and_is_a_run_that_is_not_there_yet(small, capsys):
    run = medbench.run(**small, dry_run=True)
    assert "2 cells to run" in capsys.readouterr().out
    assert not Path("out").exists() and run.failed == {}
    assert "there is no run here" in run._repr_html_()
    with pytest.raises(StoreError, match="there is no run here"):
        run.leaderboard()


def test_a_dry_run_says_of_which_families_the_ensemble_will_be(small, capsys):
    medbench.run(**{**small, "models": ["border", "hog-svm", "xgboost"]}, dry_run=True)
    assert "ensemble: made of hog-svm, xgboost at the end" in capsys.readouterr().out
    medbench.run(**{**small, "models": ["border", "hog-svm"]}, dry_run=True)
    assert "ensemble" not in capsys.readouterr().out


def test_a_cell_that_fails_is_a_row_and_named_with_its_reason(small):
    Path("broken.py").write_text(
        "from medbench import ModelFamily, register_model\n"
        "@register_model('broken')\n"
        "class Broken(ModelFamily):\n"
        "    '''Never builds.'''\n"
        "    def search_space(self, space, task): pass\n"
        "    def build(self, params, task, context): raise ValueError('no such <thing>')\n"
    )
    run = medbench.run(**{**small, "models": ["border", "broken"]}, plugin="broken.py")
    status = run.leaderboard().set_index("model")["status"]
    assert dict(status) == {"border": "ok", "broken": "failed"}
    assert set(run.failed) == {"set x broken x r0f0", "set x broken x r0f1"}
    assert all("no such <thing>" in reason for reason in run.failed.values())
    assert "<thing>" not in run._repr_html_()
    assert medbench.run(**small).failed == {}  # of what this call asks for
    assert len(medbench.load_run("out").failed) == 2


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ({"trials": "ten"}, ["--trials", "ten"]),
        ({"trials": "0"}, ["--trials", "0"]),
        ({"jobs": "1000000000"}, ["--jobs", "1000000000"]),
        ({"seed": "-1"}, ["--seed=-1"]),
        ({"time": "soon"}, ["--time", "soon"]),
        ({"time": "0"}, ["--time", "0"]),
        ({"total_time": "9999999h"}, ["--total-time", "9999999h"]),
        ({"cell_memory": "4"}, ["--cell-memory", "4"]),
        ({"retry": "all"}, ["--retry", "all"]),
        ({"sensitivity": "x"}, ["--sensitivity", "x"]),
        ({"sensitivity": 0.9, "specificity": 0.9}, ["--sensitivity=.9", "--specificity=.9"]),
        ({"fail_on_audit": "x"}, ["--fail-on-audit", "x"]),
        ({"sensitivity": 95}, ["--sensitivity", "95"]),
        ({"budget": "quick", "trials": 3}, ["--budget", "quick", "--trials", "3"]),
        ({"time": 60, "total_time": "1h"}, ["--time", "60s", "--total-time", "1h"]),
        ({"models": "hog-smv"}, ["--models", "hog-smv"]),
        ({"datasets": ["brain-mir"]}, ["--datasets", "brain-mir"]),
        ({"suite": "dmeo"}, ["--suite", "dmeo"]),
        ({"tuner": "optunna"}, ["--tuner", "optunna"]),
        ({"executor": "locl"}, ["--executor", "locl"]),
        ({"models": "cnn", "inflation": "border", "no_sanity": True},
         ["--models", "cnn", "--inflation", "border", "--no-sanity"]),
        ({"data": "nowhere"}, ["--data", "nowhere"]),
        ({"data_dir": Path("nowhere")}, ["--data-dir", "nowhere"]),
        ({"datasets_file": "no.yaml"}, ["--datasets-file", "no.yaml"]),
        ({"plugin": "no.py"}, ["--plugin", "no.py"]),
        ({"folds": 900, "seeds": 900, "models": "majority"},
         ["--folds", "900", "--seeds", "900", "--models", "majority"]),
        ({"datasets": "brain-mri", "out": "x"}, ["--datasets", "brain-mri", "--out", "x"]),
    ],
    ids=str,
)  # fmt: skip
def test_python_says_what_the_command_line_says(options, command, capsys, tmp_path):
    with pytest.raises(MedBenchError) as found:
        medbench.run(**options)
    try:
        assert main(["run", *command]) == 2
    except SystemExit as usage:
        assert usage.code == 2
    remedies = getattr(found.value, "__notes__", [])
    said = " ".join(capsys.readouterr().err.split())
    assert " ".join([str(found.value), *remedies]) in said
    assert not list(tmp_path.glob("results"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"models": 5}, "argument --models: 5 is no text"),
        ({"models": []}, "argument --models: expected at least one argument"),
        ({"datasets": [1]}, "argument --datasets: 1 is no text"),
        ({"trials": 2.0}, "argument --trials: 2.0 is not a whole number from 1"),
        ({"jobs": True}, "argument --jobs: True is not a whole number from 1"),
        ({"time": float("nan")}, "argument --time: nan is no duration; write 90s, 2m or 1h"),
        ({"time": float("inf")}, "argument --time: inf is above a year"),
        ({"time": [90]}, r"argument --time: \[90\] is no duration"),
        ({"cell_memory": -1}, "argument --cell-memory: -1 is no size; write 500MB or 4GB"),
        ({"no_sanity": "yes"}, "argument --no-sanity: 'yes' is neither True nor False"),
        ({"seed": -1}, "argument --seed: -1 is not a whole number from 0 to 2147483647"),
        ({"images": 1}, "argument --images: 1 is neither True nor False"),
        ({"out": 3}, "argument --out: 3 is no path"),
        ({"data": b"x"}, "argument --data: b'x' is no path"),
        ({"out": "a\0b"}, "argument --out: .* holds a null character"),
        ({"seed": "9" * 5000}, "argument --seed: '9{60}...' is not a whole number"),
    ],
    ids=str,
)
def test_what_only_python_can_give_is_refused_by_the_name_of_its_option(options, words, tmp_path):
    with pytest.raises(ConfigurationError, match=words):
        medbench.run(**options)
    assert not list(tmp_path.iterdir())


def test_a_misspelt_option_is_refused_with_the_closest_one():
    with pytest.raises(UnknownNameError, match=r"'trails' is not a keyword of medbench.run\. Did"):
        medbench.run(trails=3)
    with pytest.raises(UnknownNameError, match="Did you mean 'data_dir'"):
        medbench.audit("brain-mri", datadir="x")


def test_a_folder_in_use_is_named_with_who_uses_it_and_the_remedy(small):
    with RunStore(Path("out")).lock(), pytest.raises(StoreError) as found:
        medbench.run(**small)
    assert "another run is at work in out since" in str(found.value)
    assert f"pid {os.getpid()}" in str(found.value)
    assert found.value.__notes__ == ["--out names another folder."]


# --- where it is called ---------------------------------------------------------------------------


def test_it_runs_inside_an_event_loop_as_notebooks_have_one(small):
    async def cell():
        return medbench.run(**small)

    assert asyncio.run(cell()).failed == {}


def script(text: str, **more) -> subprocess.Popen:
    """A script without a main guard, at work in this folder."""
    Path("script.py").write_text(text)

    def as_at_a_terminal() -> None:  # a job in the background was told to ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)

    return subprocess.Popen(
        [sys.executable, "script.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=as_at_a_terminal,
        **more,
    )


def test_a_script_without_a_main_guard_runs_once(small):
    process = script(
        "import medbench\n"
        "print('the script begins', flush=True)\n"
        f"run = medbench.run(**{ {**small, 'data': str(small['data'])}!r})\n"
        "print('failed:', run.failed)\n"
    )
    out, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, errors
    assert out.count("the script begins") == 1 and "failed: {}" in out
    assert {cell.record["executor"] for cell in RunStore(Path("out")).read().cells} == {"local"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_is_refused_with_the_remedy(small):
    process = script(
        "import multiprocessing, medbench\n"
        "def child():\n"
        "    try:\n"
        "        medbench.run(models='majority')\n"
        "    except medbench.errors.MachineError as error:\n"
        "        print(error)\n"
        "one = multiprocessing.get_context('fork').Process(target=child)\n"
        "one.start(); one.join()\n"
    )
    out, _ = process.communicate(timeout=DEADLINE)
    assert "in a fork of the process that imported medbench" in out and '"spawn"' in out
    assert not Path("results").exists()


NAPPING = (Path(__file__).parents[1] / "plugins" / "nearest_centroid.py").read_text()
NAPPING = NAPPING.replace("        pixels = train", "        nap()\n        pixels = train", 1)
NAPPING += """

def nap():
    import os, time
    open("begun", "w").close()
    while os.path.exists(os.environ["NAP"]):
        time.sleep(0.01)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to one process")
def test_ctrl_c_ends_what_was_started_and_the_same_call_goes_on(small):
    Path("plugin.py").write_text(NAPPING)
    nap = Path("nap")
    nap.write_text("")
    options = {**small, "data": str(small["data"]), "models": ["border", "nearest-centroid"]}
    process = script(
        "import medbench, os\n"
        f"options = dict({options!r}, plugin='plugin.py')\n"
        "try:\n"
        "    medbench.run(**options)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n"
        "os.remove(os.environ['NAP'])\n"
        "print('failed:', medbench.run(**options).failed)\n",
        env={**os.environ, "NAP": str(nap.resolve())},
    )
    until = time.monotonic() + DEADLINE
    while not list(Path("out").rglob("nearest-centroid/*/key.json")):  # border is finished by then
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.05)
    kept = stamps()
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, errors
    assert "interrupted" in out and "failed: {}" in out
    assert kept and {path: stamps()[path] for path in kept} == kept
    assert len(stamps()) == 4


# --- audit ----------------------------------------------------------------------------------------


def test_an_audit_gives_its_findings_and_writes_them(class_folders, capsys):
    root = class_folders(per_class=12)
    (root / "b" / "copy.png").write_bytes((root / "a" / "00.png").read_bytes())
    found = medbench.audit(data=root)
    assert list(found) == ["set"] and found["set"].worst == "serious"
    assert found["set"].n_images == 25 and found["set"].findings[0].check == "label-conflicts"
    assert "carries different labels" in capsys.readouterr().out
    assert Path("results/audit/set/audit.md").exists()
    with pytest.raises(AuditError, match="set"):
        medbench.audit(data=root, fail_on_audit=True)


def test_an_audit_of_several_says_what_cannot_be_read_after_the_others(class_folders, capsys):
    with pytest.raises(DatasetError, match="brain-mri"):
        medbench.audit(["brain-mri"], data=class_folders(per_class=12))
    assert "24 images in 24 groups" in capsys.readouterr().out


def test_an_audit_of_nothing_is_refused():
    for nothing in (None, []):
        with pytest.raises(ConfigurationError, match="no data set is named"):
            medbench.audit(nothing)


def test_a_run_that_its_audit_stops_has_written_nothing(small):
    (small["data"] / "b" / "copy.png").write_bytes((small["data"] / "a" / "00.png").read_bytes())
    with pytest.raises(AuditError, match="nothing was trained or written"):
        medbench.run(**small, fail_on_audit="serious")
    assert not Path("out/run.json").exists()
