"""What computes embeddings: ONNX Runtime, OpenVINO, or the Keras model itself.

As they come, both engines tell their makers over the network that and how they are used, and
leave an identifier in the home folder. Images of patients are worked on here, so both are told
not to before they are imported.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.cores import available_threads
from medbench.errors import ConfigurationError, ModelError, unknown_name

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""A forward pass: rows of one batch of images."""

ENGINES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "onnxruntime": ("onnx", "onnxruntime"),
        "openvino": ("onnx", "openvino"),
        "keras": ("keras",),
    }
)
"""The engines and the modules that each needs, the fastest on a processor first.

The order is that of the images embedded in a second of processor time, here as multiples of what
Keras does on TensorFlow (AMD EPYC, float32, batches of 16, real weights; ONNX Runtime 1.32,
OpenVINO 2026.4, TensorFlow 2.21; medians of six rounds in which the engines took turns, with a
spread of about 10 %; the machine had other work, hence processor time), on one thread / on two:

====================  ============  =========
backbone, pixels      ONNX Runtime   OpenVINO
====================  ============  =========
InceptionV3, 128         1.6 / 1.6  1.4 / 1.5
InceptionV3, 299         1.3 / 1.2  1.2 / 1.2
SqueezeNet, 128          2.1 / 2.1  1.7 / 1.7
SqueezeNet, 224          1.7 / 1.6  1.5 / 1.5
MobileNet, 128           2.1 / 2.0  1.9 / 2.1
MobileNet, 224           1.8 / 1.8  1.8 / 2.1
====================  ============  =========

Of Keras on JAX, ONNX Runtime does 1.8 (SqueezeNet) to 8 times (MobileNet), of Keras on PyTorch 3
to 6 times as many (one thread, 128 pixels).
"""
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Where the drivers of NVIDIA, of AMD and of Windows below Linux show themselves."""


def installed() -> list[str]:
    """The engines that can be used here, the fastest on a processor first."""
    return [
        engine
        for engine, modules in ENGINES.items()
        if all(importlib.util.find_spec(module) for module in modules)
    ]


def fastest_installed() -> str:
    """The engine to take where none is asked for: Keras on a GPU, else the first installed."""
    if any(Path(device).exists() for device in _GPU_DEVICES) and _keras_has_gpu():
        return "keras"
    return (installed() or ["keras"])[0]


def _keras_has_gpu() -> bool:
    import keras

    if keras.backend.backend() == "torch":
        import torch

        return bool(torch.cuda.is_available())
    try:
        return bool(keras.distribution.list_devices("gpu"))
    except RuntimeError:  # what JAX says where there is none
        return False


def require(engine: str) -> None:
    """Check that an engine can be used.

    Raises:
        UnknownNameError: There is none of that name.
        ConfigurationError: It is not installed.
    """
    if engine not in ENGINES:
        raise unknown_name("embedding engine", engine, ENGINES)
    if engine not in installed():
        raise ConfigurationError(
            f"embedding engine {engine!r}: not installed. pip install {' '.join(ENGINES[engine])}"
        )


def threads() -> int:
    """Threads an engine may use: ``OMP_NUM_THREADS``, else the cores this process may use."""
    allotted = os.environ.get("OMP_NUM_THREADS", "")
    if allotted.isdecimal() and int(allotted) > 0:
        return int(allotted)
    return available_threads()


def open_onnx(engine: str, model: bytes, threads: int) -> Run:
    """Make an ONNX model of one input and one output ready to run.

    Args:
        engine: "onnxruntime" or "openvino".
        model: The content of an ONNX file.
        threads: Number of threads to use, which rest between two calls.
    """
    return {"onnxruntime": _onnxruntime, "openvino": _openvino}[engine](model, threads)


def onnxruntime_session(model: bytes, threads: int) -> Any:
    """An ONNX Runtime session on the processor, with its reports to the maker switched off.

    Raises:
        ModelError: It cannot be opened.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):  # they share no other base
            raise
        raise ModelError(f"ONNX Runtime cannot open this model ({error}).") from error


def _onnxruntime(model: bytes, threads: int) -> Run:
    session = onnxruntime_session(model, threads)
    name = session.get_inputs()[0].name

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {name: images})[0])

    return run


def _openvino(model: bytes, threads: int) -> Run:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # not to be had
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        # Two processes that both pin their thread to the first core would halve each other.
        "ENABLE_CPU_PINNING": False,
        # Else processors that can compute in 16 bits do.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(core.read_model(model), "CPU", settings)

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.array(compiled(images)[0])  # a copy: the next call writes there again

    return run
