"""Pictures of a few values only, as masks and label maps are: told by their pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOST_VALUES = 4
"""Values of a picture that is no image: background and up to three structures."""
_DARK, _BRIGHT = bytes(range(32)), bytes(range(224, 256))
"""Where JPEG leaves nearly all pixels of a mask that is black and white."""
_LEAST_EXTREME, _LEAST_PURE = 0.985, 0.92
"""Share of the pixels in these ranges then, and of those no more than 8 grey levels from black or
white: the others lie at edges. Hard bone windows of a head have up to .982 and .06, hands .979 and
.897; ellipses of 64 pixels in JPEG of quality 50 have .99 and .925."""
_PURE = 9
_LEAST_EACH = 0.005
"""Share that each of the two has at least: a few bright spots on black are no mask."""
_SAMPLE = 20
"""Rows and columns looked at first, which settle nearly all pictures."""
_MOST_BETWEEN = 0.15
"""As much of a few pixels may be edges by chance."""


def is_mask_like(pixels: NDArray[np.uint8]) -> bool:
    """Whether a picture has a few values only, or is black and white but for what JPEG made of it.

    A picture of one value shows nothing at all, and is no mask.

    Args:
        pixels: At full size: uint8, shape (height, width) of grey, or (height, width, 3) of RGB.
    """
    return _may_have_few(pixels) and _has_few(pixels)


def _may_have_few(pixels: NDArray[np.uint8]) -> bool:
    """A quick look at a few hundred pixels, as bytes: half of the time of NumPy for so few."""
    height, width = pixels.shape[:2]
    sample = pixels[:: height // _SAMPLE + 1, :: width // _SAMPLE + 1].tobytes()
    not_dark = sample.translate(None, _DARK)
    between = len(not_dark.translate(None, _BRIGHT))
    if between < len(not_dark) and between <= _MOST_BETWEEN * len(sample):
        return True
    return len(set(sample[::3])) <= 3 * _MOST_VALUES


def _has_few(pixels: NDArray[np.uint8]) -> bool:
    """See ``is_mask_like``."""
    channels = [pixels] if pixels.ndim == 2 else [pixels[..., k] for k in range(3)]
    counts = np.array([np.bincount(one.ravel(), minlength=256) for one in channels])
    n_values = (counts > 0).sum(axis=1)
    if (n_values <= _MOST_VALUES).all():
        return bool((n_values > 1).any())
    shares = counts.sum(axis=0) / counts.sum()
    dark, bright = shares[: len(_DARK)].sum(), shares[-len(_BRIGHT) :].sum()
    pure = shares[:_PURE].sum() + shares[-_PURE:].sum()
    extreme = dark + bright >= _LEAST_EXTREME and pure >= _LEAST_PURE
    return bool(extreme and min(dark, bright) >= _LEAST_EACH)
