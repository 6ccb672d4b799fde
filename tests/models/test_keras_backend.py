"""Keras' backends: each takes the number of threads that a cell was given."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

keras = pytest.importorskip("keras")
BACKEND = keras.backend.backend()
LINUX = Path("/proc/self/task").is_dir()

START = """
import keras, numpy, sys
from pathlib import Path
from medbench.models.keras_backend import prepare
assert prepare(int(sys.argv[1])) in ("cpu", "gpu:0")
keras.ops.conv(numpy.ones((1, 9, 9, 1), "float32"), numpy.ones((3, 3, 1, 1), "float32"))
"""
# XLA tells nobody how many threads it computes with; Linux does.
THREADS = {
    "tensorflow": "import tensorflow as tf\n"
    "print(tf.config.threading.get_intra_op_parallelism_threads())",
    "torch": "import torch\nprint(torch.get_num_threads())",
    "jax": "names = [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]\n"
    "print(names.count('tf_XLAEigen'))",
}


def said(code, *arguments):
    command = [sys.executable, "-c", START + code, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.skipif(BACKEND == "jax" and not LINUX, reason="only Linux names a thread")
def test_a_backend_takes_the_number_of_threads_it_is_given():
    assert said(THREADS[BACKEND], "3") == "3"


@pytest.mark.skipif(BACKEND != "jax", reason="no other backend compiles what it runs")
def test_a_program_compiled_once_is_kept_for_other_processes():
    code = "print(len(list((Path(sys.argv[2]) / 'jax' / '3-threads').glob('*-cache'))))"
    compile_something = "keras.ops.qr(numpy.ones((9, 9), 'float32')); keras.random.normal((3, 3))\n"
    assert int(said(compile_something + code, "3", os.environ["MEDBENCH_CACHE"])) > 0
