"""Pictures of a few values only, as masks and label maps are: told by their pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOST_VALUES = 4
"""Values of a picture that is no image: background and up to three structures."""
_SAMPLE = 20
"""Rows and columns looked at first, which settle nearly all pictures."""
_NEAR, _APART = 16, 128
"""Grey levels: how far JPEG moves the two values of a mask, and how far apart they are."""
_LEAST_NEAR = 0.97
"""Share of the pixels that are near the two; the others lie at its edges."""
_MOST_BETWEEN = 0.15
"""As much of a few pixels may be edges by chance."""
_LEAST_EACH = 0.005
"""Share that each of the two has at least: a few bright spots on black are no mask."""


def is_mask_like(pixels: NDArray[np.uint8]) -> bool:
    """Whether a picture has a few values only, or two but for what JPEG made of their edges.

    A picture of one value shows nothing at all, and is no mask.

    Args:
        pixels: At full size: uint8, shape (height, width) of grey, or (height, width, 3) of RGB.
    """
    return _may_have_few(pixels) and _has_few(pixels)


def _may_have_few(pixels: NDArray[np.uint8]) -> bool:
    """A quick look at a few hundred pixels, which settles nearly all pictures."""
    height, width = pixels.shape[:2]
    sample = pixels[:: -(-height // _SAMPLE), :: -(-width // _SAMPLE)].tobytes()
    low, high = min(sample), max(sample)
    near = bytes([*range(low, min(low + _NEAR, 255) + 1), *range(max(high - _NEAR, 0), high + 1)])
    between = len(sample.translate(None, near))
    return between <= _MOST_BETWEEN * len(sample) or len(set(sample)) <= 3 * _MOST_VALUES


def _has_few(pixels: NDArray[np.uint8]) -> bool:
    """See ``is_mask_like``."""
    channels = [pixels] if pixels.ndim == 2 else [pixels[..., k] for k in range(3)]
    counts = np.array([np.bincount(one.ravel(), minlength=256) for one in channels])
    n_values = (counts > 0).sum(axis=1)
    if (n_values <= _MOST_VALUES).all():
        return bool((n_values > 1).any())
    shares = counts.sum(axis=0) / counts.sum()
    low, high = np.flatnonzero(shares)[[0, -1]]
    dark, bright = shares[: low + _NEAR + 1].sum(), shares[high - _NEAR :].sum()
    two = high - low >= _APART and min(dark, bright) >= _LEAST_EACH
    return bool(two and dark + bright >= _LEAST_NEAR)
