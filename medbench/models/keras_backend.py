"""What each Keras backend needs before its first operation: threads, reproducibility, memory."""

from __future__ import annotations

import os

from medbench.cache import cache_folder

_WORTH_KEEPING_SECONDS = 0.1
"""Programs that took JAX longer to compile are kept in the cache folder."""
_XLA_DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
_CUBLAS_DETERMINISTIC = ":4096:8"
"""Workspaces with which NVIDIA's cuBLAS gives the same bits each time."""

_prepared = False


def prepare(threads: int) -> str:
    """Set up the backend, once a process: threads, reproducible operations, modest GPU memory.

    What each backend takes:

    - TensorFlow: the number of threads only before its first operation; operations are
      deterministic, or refused where there is no such kernel.
    - JAX: the number of threads (XLA reads ``NPROC``) and the choice of deterministic kernels on
      a GPU likewise only before its first operation; on a CPU its kernels are deterministic.
    - PyTorch: the number of threads at any time; where a GPU has no deterministic kernel it
      warns, since Keras' own layers use some of those.

    A later call with another number of threads changes nothing.

    Returns:
        Where Keras computes, for the record: ``"gpu:0"`` or ``"cpu"``.
    """
    global _prepared
    if not _prepared:
        _prepared = True
        _set_up(threads)
    return "gpu:0" if has_gpu() else "cpu"


def _set_up(threads: int) -> None:
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        _set_up_tensorflow(threads)
    elif backend == "jax":
        _set_up_jax(threads)
    elif backend == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", _CUBLAS_DETERMINISTIC)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.set_num_threads(threads)


def _set_up_tensorflow(threads: int) -> None:
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        # Whoever imported us has used TensorFlow already: its settings hold.
        return


def _set_up_jax(threads: int) -> None:
    import jax

    os.environ["NPROC"] = str(threads)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_XLA_DETERMINISTIC}".strip()
    # Compiling one training step can take longer than a whole fit, and every fold of every trial
    # asks for the same. JAX itself keeps programs of other machines apart, but not of threads.
    kept = cache_folder() / "jax" / f"{threads}-threads"
    jax.config.update("jax_compilation_cache_dir", str(kept))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING_SECONDS)


def has_gpu() -> bool:
    """Whether Keras' backend sees a GPU."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    if backend == "jax":
        import jax

        return any(device.platform == "gpu" for device in jax.devices())
    if backend == "torch":
        import torch

        return bool(torch.cuda.is_available())
    return False
