"""What Pillow does not see in a PPM file: more than 8 bits of colour."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from medbench.datasets.readers.samples import Samples

_BYTE = 255
_COMMENT = re.compile(rb"#[^\r\n]*")


def wide_colour(image: ImageFile.ImageFile, content: bytes) -> Callable[[], Samples] | None:
    """What gives all bits of colour with more than 8, of which Pillow keeps 8; None of others.

    It raises ValueError where the file is damaged or truncated.

    Args:
        image: Opened, and not decoded yet.
        content: The whole file.
    """
    if image.format != "PPM" or image.mode != "RGB":
        return None
    codec, _, offset, layout = image.tile[0]
    top = int(layout[-1]) if isinstance(layout, tuple) else _BYTE
    if top <= _BYTE:
        return None
    shape = (image.height, image.width, 3)

    def samples() -> Samples:
        if codec == "ppm_plain":
            values = _written_out(content[offset:], math.prod(shape), top)
        else:
            values = np.frombuffer(content, ">u2", math.prod(shape), offset)
        return Samples(values=values.astype(np.uint16).reshape(shape), top=top)

    return samples


def _written_out(text: bytes, n: int, top: int) -> NDArray[np.int64]:
    """The first ``n`` of numbers in digits, between which there may be comments."""
    values = np.fromstring(_COMMENT.sub(b"", text), np.int64, sep=" ")[:n]
    if len(values) < n or values.min() < 0 or values.max() > top:
        raise ValueError(f"not {n} numbers from 0 to {top}")
    return values
