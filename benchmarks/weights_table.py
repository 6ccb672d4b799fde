"""``python benchmarks/weights_table.py FILE.pth ARRAYS.npz``: where a file of PyTorch has arrays.

Nothing is unpickled: the numbers of each array are looked for in the bytes of the file. What is
printed is the table of ``medbench/models/packaged_weights.py``: by the name of each array its shape
as the numbers lie, and the byte where they begin.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

ORDERS = {4: ((2, 3, 1, 0), (2, 3, 0, 1)), 2: ((1, 0),), 1: ((0,),)}
"""Axes of PyTorch's arrays as TensorFlow has them, by their number; depthwise kernels come last."""


def main(file: str, arrays: str) -> None:
    """Print the table.

    Raises:
        ValueError: An array is not there just once.
    """
    content = Path(file).read_bytes()
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(("name", "shape", "offset"))
    with np.load(arrays, allow_pickle=False) as known:
        for name in known.files:
            order = ORDERS[known[name].ndim]["_depthwise_" in name]
            stored = np.ascontiguousarray(known[name].transpose(order))
            numbers = stored.astype("<f4", copy=False).tobytes()
            if content.count(numbers) != 1:
                raise ValueError(f"{file}: {name} is there {content.count(numbers)} times")
            table.writerow((name, "x".join(map(str, stored.shape)), content.index(numbers)))


if __name__ == "__main__":
    main(*sys.argv[1:])
