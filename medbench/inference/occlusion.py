"""Occlusion: which regions of an image a prediction rests on, for a model of any family."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

PATCH = 3 / 16
"""Height and width of a patch as a share of those of the image."""
POSITIONS = 13
"""Places of the patch along each side: 169 predictions, and one of the image as it is."""
_BATCH = 64
"""Images of a prediction."""
_CLIP = 1e-5
"""Probabilities nearer to 0 or 1 are rounded to this: beyond, float32 has no digits left."""
_NO_FALL = 1e-3
"""Up to here, in logits, a prediction also changes with the images that are in its batch."""


def occlusion(
    predict: Callable[[NDArray[np.uint8]], NDArray[np.float64]],
    image: NDArray[np.uint8],
    class_index: int,
    *,
    patch: float = PATCH,
    positions: int = POSITIONS,
) -> NDArray[np.float32]:
    """Heat map of what speaks for a class: how far its logit falls where the image is covered.

    A square of the image's mean colour is moved over it in a grid. A pixel's value is the mean
    fall over the squares that cover it; where the logit rises instead, something spoke against
    the class, and 0 is told. What a model reads from everywhere at once, no square can take away.

    Blurring softly instead, after Fong & Vedaldi (2017), ICCV, draws no outline, but leaves more
    of a finding: maps then peaked in it less often (``docs/explanations.md``).

    Args:
        predict: Probabilities, shape (n_images, n_classes), of uint8 images, shape (n_images,
            height, width, channels).
        image: uint8, shape (height, width, channels).
        class_index: The class to explain.
        patch: Height and width of the square as a share of those of the image.
        positions: Places of the square along each side.

    Returns:
        float32, shape (height, width), from 0 to 1; the highest value is 1, unless no square
        lets the logit fall and all is 0.

    Raises:
        ValueError: An argument is outside its range, or the squares would leave gaps.

    Source: Zeiler & Fergus (2014), "Visualizing and understanding convolutional networks", ECCV.
    """
    if image.ndim != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"image must be uint8 of shape (height, width, channels); this one is {image.dtype} "
            f"of shape {image.shape}."
        )
    if not 0 < patch <= 1 or patch * (positions - 1) < 1:
        raise ValueError(
            f"patch must be above 0 and at most 1, and positions at least 1 / patch + 1, so that "
            f"no pixel is left out; they are {patch} and {positions}."
        )
    covers = _covers(image.shape[0], image.shape[1], patch, positions)
    before = _logit(predict(image[None]), class_index)
    after = [
        _logit(predict(_occluded(image, covers[begin : begin + _BATCH])), class_index)
        for begin in range(0, len(covers), _BATCH)
    ]
    falls = before - np.concatenate(after)
    if np.abs(falls).max() <= _NO_FALL:
        return np.zeros(image.shape[:2], np.float32)
    heat = np.maximum(np.tensordot(falls, covers, axes=1) / covers.sum(axis=0), 0)
    scaled: NDArray[np.float32] = (heat / (heat.max() or 1)).astype(np.float32)
    return scaled


def _covers(height: int, width: int, patch: float, positions: int) -> NDArray[np.bool_]:
    """Which pixels each square covers, shape (positions ** 2, height, width).

    The outermost ones are centred on the border, which so is covered nearly as often as the middle.
    """
    down, across = (_spans(side, patch, positions) for side in (height, width))
    return (down[:, None, :, None] & across[None, :, None, :]).reshape(-1, height, width)


def _spans(side: int, patch: float, positions: int) -> NDArray[np.bool_]:
    """Which of the pixels in a row each place of the square covers, shape (positions, side)."""
    centres = np.linspace(0, side - 1, positions)[:, None]
    spans: NDArray[np.bool_] = np.abs(np.arange(side) - centres) <= patch * side / 2
    return spans


def _occluded(image: NDArray[np.uint8], covers: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image under each square, uint8, shape (n_squares, height, width, channels)."""
    mean = np.rint(image.mean(axis=(0, 1))).astype(np.uint8)
    occluded: NDArray[np.uint8] = np.where(covers[..., None], mean, image)
    return occluded


def _logit(probabilities: NDArray[np.float64], class_index: int) -> NDArray[np.float64]:
    of_class = np.clip(np.asarray(probabilities, np.float64)[:, class_index], _CLIP, 1 - _CLIP)
    logit: NDArray[np.float64] = np.log(of_class / (1 - of_class))
    return logit
