import json
import subprocess
import sys

import pytest

from medbench.errors import ConfigurationError
from medbench.execution.environment import (
    child_environment,
    describe_environment,
    keras_backend,
)


def test_threads_are_set_before_anything_is_imported():
    environment = child_environment(1)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        assert environment[name] == "1"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"


def test_no_cell_takes_all_memory_of_a_gpu_unless_told_to(monkeypatch):
    environment = child_environment(1)
    assert environment["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert environment["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    assert child_environment(1)["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"


def test_the_backend_asked_for_is_taken_or_refused(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(ConfigurationError, match="theano: unknown"):
        keras_backend()
    monkeypatch.delenv("KERAS_BACKEND")
    assert child_environment(2)["KERAS_BACKEND"] == keras_backend()


def test_the_record_is_json_and_names_no_place():
    text = json.dumps(describe_environment(2, 3))
    assert '"threads": 2, "jobs": 3' in text
    assert "scikit-learn" in text
    assert "/" not in text.replace("https://", "") or "home" not in text


HEAVY = ("tensorflow", "keras", "xgboost", "matplotlib", "seaborn", "torch", "jax", "sklearn")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["run", "--help"], ["models", "list"], ["datasets", "list"]],
)
def test_light_verbs_import_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from medbench.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "LOADED []" in result.stdout, result.stdout + result.stderr
