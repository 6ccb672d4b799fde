"""What a heavy library can do here, tried in a process of its own that may die of it.

``python -m medbench.execution.library_check keras`` (or ``xgboost``) prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def keras_report() -> dict[str, Any]:
    """Import Keras' backend and convolve ones by ones.

    Returns:
        ``seconds`` (import and computation), ``right`` (whether the sums are), ``gpu`` (whether
        it sees one) and ``engine`` (what computes embeddings here).
    """
    began = time.perf_counter()
    import keras
    import numpy as np

    image, kernel = np.ones((1, 8, 8, 1), np.float32), np.ones((3, 3, 1, 1), np.float32)
    result = keras.ops.convert_to_numpy(keras.ops.conv(image, kernel))
    seconds = time.perf_counter() - began
    from medbench.features.engines import fastest_installed
    from medbench.models.keras_backend import has_gpu

    return {
        "seconds": seconds,
        "right": bool(np.allclose(result, kernel.size)),
        "gpu": has_gpu(),
        "engine": fastest_installed(),
    }


def xgboost_report() -> dict[str, Any]:
    """Import XGBoost, which loads its library.

    Returns:
        ``seconds`` (import), ``cuda`` (whether it was built with it) and ``gpu`` (whether it will
        use one).
    """
    began = time.perf_counter()
    import xgboost

    seconds = time.perf_counter() - began
    from medbench.models.xgboost import has_cuda

    return {"seconds": seconds, "cuda": xgboost.build_info()["USE_CUDA"], "gpu": has_cuda()}


def main(what: str) -> None:
    """Print the report of ``what``."""
    report = {"keras": keras_report, "xgboost": xgboost_report}[what]()
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
    os._exit(0)  # TensorFlow's threads can hang in their own clean-up
