"""The environment of a cell's process, and the record of versions and machine."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import medbench
from medbench.errors import ConfigurationError
from medbench.versions import distribution_versions

BACKENDS = ("tensorflow", "jax", "torch")
"""Keras backends, in the order in which an installed one is taken."""
RECORDED = (
    "numpy", "scipy", "pandas", "scikit-learn", "scikit-image", "pillow", "optuna", "keras",
    "keras-tuner", "tensorflow", "tensorflow-cpu", "jax", "torch", "xgboost", "xgboost-cpu",
    "onnx", "onnxruntime", "openvino", "matplotlib", "seaborn", "skops", "pyarrow",
)  # fmt: skip
"""Distributions whose versions a run records."""


def keras_backend() -> str | None:
    """The backend that cells use: ``KERAS_BACKEND``, else the first installed one.

    Raises:
        ConfigurationError: ``KERAS_BACKEND`` names one that is unknown or not installed.
    """
    wanted = os.environ.get("KERAS_BACKEND")
    if wanted:
        if wanted not in BACKENDS:
            raise ConfigurationError(
                f"KERAS_BACKEND={wanted}: unknown. Use one of {', '.join(BACKENDS)}."
            )
        if importlib.util.find_spec(wanted) is None:
            raise ConfigurationError(f"KERAS_BACKEND={wanted}: not installed. pip install {wanted}")
        return wanted
    return next((name for name in BACKENDS if importlib.util.find_spec(name)), None)


def child_environment(threads: int) -> dict[str, str]:
    """Environment variables of a cell's process; they must be set before anything is imported.

    Without them OpenMP, TensorFlow and BLAS each take every core and spin against each other, and
    TensorFlow and JAX each take nearly all memory of a GPU that other cells may share.
    """
    count = str(threads)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "NUMEXPR_NUM_THREADS": count,
        "OMP_WAIT_POLICY": "PASSIVE",
        "TF_NUM_INTRAOP_THREADS": count,
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_FORCE_GPU_ALLOW_GROWTH": os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH", "true"),
        "XLA_PYTHON_CLIENT_PREALLOCATE": os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "false"),
        "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1"),
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "MPLBACKEND": "Agg",
    }
    environment.pop("MEDBENCH_DATA", None)  # a cell is given all the images that it may see
    backend = keras_backend()
    if backend is not None:
        environment["KERAS_BACKEND"] = backend
    return environment


def describe_environment(threads: int, jobs: int = 1) -> dict[str, Any]:
    """Versions, machine and commit, for the record; no host name, user name or path."""
    return {
        "medbench": medbench.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "jobs": jobs,
        "keras_backend": keras_backend(),
        "packages": distribution_versions(RECORDED),
    }


def processor() -> str:
    """What the processor calls itself; "" where it does not."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def commit() -> dict[str, Any] | None:
    """Commit and dirtiness of the checkout MedBench runs from; None where it is installed."""
    checkout = Path(medbench.__file__).resolve().parents[1]
    if not (checkout / ".git").exists():
        return None
    try:
        head = _git(checkout, "rev-parse", "HEAD")
        changed = _git(checkout, "status", "--porcelain", "--", "medbench")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"hash": head, "dirty": bool(changed)}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=10
    ).stdout.strip()
