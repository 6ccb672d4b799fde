import json
import platform
import subprocess
import sys

import pytest

from medbench.cli import main
from medbench.execution import doctor
from medbench.features import engines
from medbench.versions import install_command

HEALTHY = {
    "keras": {"seconds": 1.0, "right": True, "gpu": False, "engine": "keras"},
    "xgboost": {"seconds": 1.0, "cuda": False, "gpu": False},
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


@pytest.fixture
def quick(monkeypatch):
    """Heavy libraries are said to be well, without a look at them."""
    monkeypatch.setattr(doctor, "_try_library", lambda what, variables: HEALTHY[what])
    monkeypatch.setattr(doctor.environment, "BACKENDS", ("keras",))
    monkeypatch.setattr(doctor, "_is_installed", lambda module: True)


def checks(capsys, *options: str) -> tuple[int, list[dict]]:
    status = main(["doctor", "--json", *options])
    sections = json.loads(capsys.readouterr().out)
    return status, [check for found in sections.values() for check in found]


def told(found: list[dict], state: str) -> str:
    return "\n".join(f"{f['about']}: {f['text']}" for f in found if f["state"] == state)


def test_every_line_says_how_it_is_and_fits_into_80_columns(quick, capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for section in ("versions", "machine", "folders", "pretrained weights", "plugins", "extras"):
        assert section in lines
    begun = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert set(begun) <= {"ok", "note", "problem"} and len(begun) > 10
    for line in lines:
        assert len(line) <= 80 or "/" in line, line  # only a path is left whole
    assert lines[-1] == "Nothing here hinders a run."


@pytest.mark.parametrize(
    ("variable", "value", "about"),
    [
        ("KERAS_BACKEND", "foo", "KERAS_BACKEND=foo: unknown"),
        ("MEDBENCH_CACHE_SIZE", "a lot", "is no size"),
        ("MEDBENCH_CACHE", "~nobody-of-that-name/cache", "Write the whole path"),
        ("MEDBENCH_DATA", "nowhere", "MEDBENCH_DATA nowhere: there is no such folder"),
        ("MEDBENCH_WEIGHTS", "nowhere", "there is no such folder"),
    ],
)
def test_a_bad_variable_is_a_problem_that_is_told_once(
    quick, capsys, monkeypatch, tmp_path, variable, value, about
):
    (tmp_path / "a-file").touch()
    monkeypatch.setenv(variable, value)
    status, found = checks(capsys)
    assert status == 1
    problems = told(found, "problem")
    assert about in problems
    assert len({line.split(": ", 1)[1] for line in problems.splitlines()}) == 1


def test_a_cache_that_cannot_be_written_is_a_note_as_runs_go_on_without_it(
    quick, capsys, monkeypatch, tmp_path
):
    (tmp_path / "a-file").touch()
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "a-file" / "cache"))
    status, found = checks(capsys)
    assert status == 0
    assert "cannot be written" in told(found, "note") and "MEDBENCH_CACHE" in told(found, "note")


def test_a_catalog_that_cannot_be_read_is_a_problem_with_its_line(quick, capsys, tmp_path):
    (tmp_path / "datasets.yaml").write_text("mine: {source: foldr}\n")
    status, found = checks(capsys)
    assert status == 1
    assert "line 1" in told(found, "problem") and "'foldr'" in told(found, "problem")


BROKEN = {
    "raise ImportError('libcudart is missing')": "ImportError: libcudart is missing",
    "import os, signal\nos.kill(os.getpid(), signal.SIGILL)": "importing it ends its process (Ill",
    "import os; os._exit(0)": "importing it ends its process (0)",
    "import time; time.sleep(30)": "no answer after 2 s",
}


@pytest.mark.parametrize("code", BROKEN)
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_broken_backend_is_a_problem_and_doctor_goes_on(install, capsys, monkeypatch, code):
    real = doctor._try_library
    install("broken", "1.0", {}, {"keras.py": code})
    monkeypatch.setattr(doctor, "_LIBRARY_SECONDS", 2.0)
    monkeypatch.setattr(doctor.environment, "BACKENDS", ("json",))
    monkeypatch.setattr(
        doctor, "_try_library", lambda what, v: real(what, v) if what == "keras" else HEALTHY[what]
    )
    status, found = checks(capsys)
    assert status == 1
    assert told(found, "problem").startswith(f"Keras: json: {BROKEN[code]}")


def test_without_a_backend_deep_families_are_left_out_which_is_no_problem(
    quick, capsys, monkeypatch
):
    monkeypatch.setattr(doctor.environment, "BACKENDS", ())
    status, found = checks(capsys)
    assert status == 0
    assert "no backend: deep families are left out. pip install" in told(found, "note")


def test_a_gpu_that_the_libraries_do_not_see_is_noted(quick, install, capsys, monkeypatch):
    site = install("driver", "1.0", {}, {"nvidia-smi": "#!/bin/sh\necho H200, 141 GiB, 570.1\n"})
    (site / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(site), prepend=":")
    status, found = checks(capsys)
    assert status == 0
    assert "GPU: H200, 141 GiB, 570.1" in told(found, "ok")
    assert "keras imports and computes in 1.0 s, but sees no GPU" in told(found, "note")
    assert "It will not use the GPU" in told(found, "note")


def test_plugins_are_listed_and_a_broken_one_is_a_note(quick, example_plugin, install, capsys):
    code = "print('hello')\nimport nothing_of_that_name"
    install("theirs", "0.3", {"tuners": {"mine": "theirs:Mine"}}, {"theirs.py": code})
    status, found = checks(capsys)
    assert status == 0
    assert "brightness: model family of medbench-brightness 1.2.0" in told(found, "ok")
    assert "tuner 'mine' of theirs 0.3 cannot be used: ModuleNotFound" in told(found, "note")


def test_what_a_missing_extra_would_give_and_a_missing_package(quick, capsys, monkeypatch):
    requires = [
        "numpy>=2",
        "pandas>=99",
        "no-such-library>=3",
        "pillow; extra == 'cpu'",
        "no-such-library; extra == 'torch'",
        "no-such-library; extra == 'jax' and sys_platform == 'nowhere'",
    ]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: requires)
    described = {"Provides-Extra": ["cpu", "torch", "jax"]}
    monkeypatch.setattr(
        doctor.metadata, "metadata", lambda name: type("M", (), {"get_all": described.get})
    )
    status, found = checks(capsys)
    assert status == 1
    assert told(found, "problem") == (
        'no-such-library: not installed: pip install "no-such-library>=3"'
    )
    notes = told(found, "note")
    assert (
        f"torch: PyTorch instead of TensorFlow under the deep families: {install_command('torch')}"
        in notes
    )
    assert "pandas: " in notes and "outside of what MedBench is made for" in notes
    assert "cpu: installed" in told(found, "ok")


def test_the_report_names_no_user_no_machine_and_no_folder(quick, install, monkeypatch, tmp_path):
    home = tmp_path / "home" / "jane"
    (home / "data").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USER", "jane")
    monkeypatch.setattr(platform, "node", lambda: "ward7")
    monkeypatch.setenv("MEDBENCH_CACHE", str(home / "cache"))
    monkeypatch.setenv("MEDBENCH_DATA", str(tmp_path / "secret"))
    raised = "raise OSError('/srv/jane/lib.so on ward7: no such file')"
    install("theirs", "0.3", {"models": {"mine": "theirs:Mine"}}, {"theirs.py": raised})
    shown = "\n".join(
        doctor.anonymous(check.text)
        for _, found in doctor.examine(data_dir=home / "data")
        for check in found
    )
    for secret in ("jane", "ward7", "/srv", str(tmp_path)):
        assert secret not in shown
    assert "~/cache" in shown and ".../lib.so on ...: no such file" in shown
    known = engines.ENGINES
    assert any(name in shown for name in known)


def test_addresses_and_relations_are_no_folders():
    for text in ("https://example.org/a/b.h5", "results/demo", "1/2", "and/or", "a / b"):
        assert doctor.anonymous(text) == text


@pytest.mark.slow
def test_the_libraries_that_are_installed_here_work():
    pytest.importorskip("keras")
    result = subprocess.run(
        [sys.executable, "-m", "medbench", "doctor", "--json"], capture_output=True, text=True
    )
    found = {f["about"]: f for f in json.loads(result.stdout)["libraries"]}
    assert result.returncode == 0, result.stdout
    assert "imports and computes in" in found["Keras"]["text"]
    assert "computes them" in found["embeddings"]["text"]
