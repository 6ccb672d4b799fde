"""A look at an image file as MedBench sees it, before it is resized for any model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.decode import read_slice
from medbench.datasets.readers import open_image
from medbench.datasets.volume_rule import one_volume
from medbench.errors import DatasetError
from medbench.opening import IMAGE, read_regular


def read_image(
    path: str | Path, slice_number: int | None = None, *, volume_number: int | None = None
) -> NDArray[np.uint8]:
    """What MedBench sees in an image file, at full size.

    Args:
        path: A file of any format that is registered; its content tells which. How each is read:
            ``docs/formats.md``.
        slice_number: Which slice, frame, plane or page, counted from 1; None will do where there
            is only one.
        volume_number: Which volume (time, direction or contrast), likewise.

    Returns:
        uint8, shape (height, width) of grey, also where it is stored as colour; (height, width, 3)
        of RGB.

    Raises:
        SliceError: There are several slices and none is named, or not so many.
        DatasetError: It cannot be read, or has several volumes likewise; the message names the
            file and the remedy.
    """
    opened = open_image(file_content(path), origin=str(path))
    return read_slice(one_volume(opened, volume_number), slice_number).pixels


def file_content(path: str | Path) -> bytes:
    """The bytes of a file.

    Raises:
        DatasetError: It cannot be read; the message names it.
    """
    try:
        return read_regular(path, IMAGE)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except ValueError as error:  # a null character in a name
        raise DatasetError(f"{str(path)!r}: cannot be the name of a file ({error}).") from error
