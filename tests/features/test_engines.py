"""The engines give one result, keep to their threads, and tell nobody about it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medbench.errors import ConfigurationError, UnknownNameError
from medbench.features import engines

MODEL = """
import numpy as np
from onnx import TensorProto, helper
value = helper.make_tensor_value_info
nodes = [
    helper.make_node("Cast", ["image"], ["x"], to=TensorProto.FLOAT),
    helper.make_node("ReduceMean", ["x"], ["row"], axes=[1, 2], keepdims=0),
]
model = helper.make_model(
    helper.make_graph(
        nodes,
        "mean",
        [value("image", TensorProto.UINT8, [4, 8, 8, 1])],
        [value("row", TensorProto.FLOAT, [4, 1])],
    ),
    opset_imports=[helper.make_opsetid("", 17)],
    ir_version=10,
).SerializeToString()
"""
NATIVE = ["onnxruntime", "openvino"]


def needs(engine: str) -> None:
    """Skips without importing: that would wake what the engines are to be kept from."""
    if engine not in engines.installed():
        pytest.skip(f"{engine} is not installed")


def output_of(script: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def mean_model() -> bytes:
    scope: dict = {}
    exec(MODEL, scope)
    return scope["model"]


@pytest.mark.parametrize("engine", NATIVE)
def test_an_engine_runs_an_onnx_model_and_keeps_no_result_in_place(engine):
    needs(engine)
    run = engines.open_onnx(engine, mean_model(), threads=1)
    dark, bright = np.zeros((4, 8, 8, 1), np.uint8), np.full((4, 8, 8, 1), 200, np.uint8)
    first = run(dark)
    second = run(bright)
    assert first.dtype == second.dtype == np.float32
    np.testing.assert_array_equal(first, np.zeros((4, 1)))
    np.testing.assert_array_equal(second, np.full((4, 1), 200))


@pytest.mark.parametrize("engine", NATIVE)
def test_an_engine_leaves_no_identifier_and_no_usage_data_in_the_home_folder(engine, tmp_path):
    needs(engine)
    script = MODEL + (
        "from medbench.features import engines\n"
        f"run = engines.open_onnx({engine!r}, model, threads=1)\n"
        "print(run(np.full((4, 8, 8, 1), 7, np.uint8)).sum())\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CI", "ORT_DISABLE_TELEMETRY"):
        environment.pop(name, None)
    assert float(output_of(script, environment)) == 28
    assert list(tmp_path.rglob("*")) == []


def test_the_fastest_installed_engine_is_taken_and_keras_where_none_is(monkeypatch):
    monkeypatch.setattr(engines, "_GPU_DEVICES", ())
    found = {"onnx", "onnxruntime", "openvino", "keras"}
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: name in found or None)
    assert engines.installed() == ["onnxruntime", "openvino", "keras"]
    assert engines.fastest_installed() == "onnxruntime"
    found.remove("onnxruntime")
    assert engines.fastest_installed() == "openvino"
    found.remove("onnx")
    assert engines.installed() == ["keras"]
    found.clear()
    assert engines.fastest_installed() == "keras"


@pytest.mark.parametrize(("seen", "engine"), [(True, "keras"), (False, "onnxruntime")])
def test_keras_is_taken_where_it_sees_a_gpu(monkeypatch, tmp_path, seen, engine):
    monkeypatch.setattr(engines, "_GPU_DEVICES", (str(tmp_path),))
    monkeypatch.setattr(engines, "_keras_has_gpu", lambda: seen)
    monkeypatch.setattr(engines, "installed", lambda: ["onnxruntime", "keras"])
    assert engines.fastest_installed() == engine


def test_an_engine_that_is_unknown_or_not_installed_is_refused(monkeypatch):
    with pytest.raises(UnknownNameError, match="onnxruntime"):
        engines.require("onxruntime")
    monkeypatch.setattr(engines, "installed", lambda: ["keras"])
    with pytest.raises(ConfigurationError, match="pip install onnx openvino"):
        engines.require("openvino")
    engines.require("keras")


@pytest.mark.parametrize(("value", "threads"), [("3", 3), ("", None), ("0", None), ("two", None)])
def test_threads_are_those_allotted_else_all_cores(monkeypatch, value, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert engines.threads() == (threads or cores)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads by /proc")
@pytest.mark.parametrize("threads", [1, 2])
def test_onnx_runtime_starts_no_more_threads_than_it_may_use(threads):
    needs("onnxruntime")
    script = MODEL + (
        "import os, onnxruntime\n"
        "from medbench.features import engines\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        f"run = engines.open_onnx('onnxruntime', model, threads={threads})\n"
        "run(np.zeros((4, 8, 8, 1), np.uint8))\n"
        "print(len(os.listdir('/proc/self/task')) - before)\n"
    )
    environment = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    assert int(output_of(script, environment)) == threads - 1  # the caller computes too
