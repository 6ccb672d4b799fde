"""The side to which images are brought where an entry says nothing.

It follows from the images alone. A side that followed from the budget too would make another data
set of the same images, with another fingerprint, for every budget, and runs of different budgets
could not be compared; families that find an image too large reduce it by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medbench.datasets.inside import AnyFile, open_file
from medbench.datasets.readers import HEAD_BYTES, reader_of
from medbench.errors import DatasetError

SIDE_OF_UNKNOWN = 128
"""Where the size of the images cannot be known before they are decoded."""
_SIDES = (32, 64, 96, 128)
"""What larger images are brought down to. With more pixels every family becomes slower by the
square, and of 128 the default budgets are still enough for several trials."""
_LARGEST_NATIVE = 224
"""Images of an archive up to this side are left as they are: the largest of MedMNIST's sizes, and
what networks with stored weights were made for."""
_SMALLEST = 16
"""Smaller images are brought up to this; below it there are no networks."""
_SAMPLE = 64
"""Files whose headers are read for the median, at even distances."""


def side_of_archive(height: int, width: int) -> int:
    """Of images that all have one size: their own, unless it is out of the common.

    Args:
        height: Of each image, in pixels.
        width: Of each image, in pixels.
    """
    shorter = min(height, width)
    return max(shorter, _SMALLEST) if shorter <= _LARGEST_NATIVE else _brought_down(shorter)


def side_of_files(paths: Sequence[AnyFile], *, rows: int = 1) -> int:
    """Of files: the median of their shorter sides, brought down to 32, 64, 96 or 128.

    Of at most 64 files the headers are read. Where none can be, it is 128.

    Args:
        paths: The files.
        rows: How many of their slices are below each other in one picture.
    """
    sample = np.unique(np.linspace(0, len(paths) - 1, min(_SAMPLE, len(paths))).astype(int))
    sides = [side for i in sample.tolist() if (side := _shorter_side(paths[i]))]
    return _brought_down(int(np.median(sides)) * rows) if sides else SIDE_OF_UNKNOWN


def _brought_down(side: int) -> int:
    """The largest of the common sides that is not above it; smaller images are left as they are."""
    return max((common for common in _SIDES if common <= side), default=max(side, _SMALLEST))


def _shorter_side(path: AnyFile) -> int | None:
    """In pixels; None where the header cannot be read, which decoding will tell."""
    try:
        with open_file(path) as file:
            reader = reader_of(file.read(HEAD_BYTES))
            file.seek(0)
            return reader.shorter_side(file, origin=Path(str(path)).name)
    except (OSError, DatasetError):
        return None
