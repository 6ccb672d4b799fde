"""Pretrained weights that come as a package by pip: a file of PyTorch, read without unpickling.

A pickle can run any code. Where the file is known by its hash, so is where each array lies in it.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medbench.backbones import WeightsPackage
from medbench.opening import WEIGHTS, read_regular

_TYPE = np.dtype("<f4")
"""Of all arrays."""
_UNIX = 3
"""The system that is said to have made an archive, so that it is the same wherever it is made."""


class PackageError(Exception):
    """The weights of a package cannot be had; its text is the reason, in a few words."""


def read_package(package: WeightsPackage) -> bytes:
    """The content of the file in a package, whose code is not run.

    Raises:
        PackageError: The package is not installed, or its file is not the known one.
    """
    module, _, inside = package.file.partition("/")
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise PackageError(f"the package {package.name} is not installed")
    path = Path(found.submodule_search_locations[0]) / inside
    try:
        content = read_regular(path, WEIGHTS)
    except OSError as error:
        raise PackageError(f"{path} cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(content).hexdigest() != package.sha256:
        raise PackageError(
            f"{path} is not the file of {package.name} {package.version}, by its SHA-256, so "
            "nothing was read from it"
        )
    return content


def write_npz(package: WeightsPackage, path: Path) -> None:
    """Write the arrays in a package's file as ``.npz``: the same bytes each time.

    Args:
        package: The package.
        path: What to write; arrays are called and turned as in PyTorch.

    Raises:
        PackageError: See ``read_package``.
        OSError: It cannot be written.
    """
    content = read_package(package)
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in _arrays(content, Path(__file__).parent / package.table).items():
            member = zipfile.ZipInfo(f"{name}.npy")
            member.create_system = _UNIX
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _arrays(content: bytes, table: Path) -> dict[str, NDArray[np.float32]]:
    """The arrays of a file by name, with the axes that PyTorch gives them.

    The table has the shape as the numbers lie in the file, which is TensorFlow's order of axes, and
    the place of the first one; ``benchmarks/weights_table.py`` made it.
    """
    arrays = {}
    with table.open(newline="") as rows:
        for row in csv.DictReader(rows):
            name, shape = row["name"], tuple(map(int, row["shape"].split("x")))
            count = int(np.prod(shape))
            stored = np.frombuffer(content, _TYPE, count, int(row["offset"])).reshape(shape)
            if len(shape) == 4:
                stored = stored.transpose((2, 3, 0, 1) if "_depthwise_" in name else (3, 2, 0, 1))
            arrays[name] = np.ascontiguousarray(stored if len(shape) == 4 else stored.T)
    return arrays
