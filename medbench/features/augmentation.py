"""Features of augmented images: what another position and exposure would give."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medbench.features.extractor import Extractor
from medbench.versions import code_version


@dataclass(frozen=True, kw_only=True)
class Augmented(Extractor):
    """What an extractor makes of an image that is turned, scaled, moved and of another contrast.

    Nothing in it is random, so that the features are kept like those of the image
    itself. Beyond the border its pixels go on.
    """

    extractor: Extractor
    """What describes the augmented image."""
    turn: float
    """Degrees."""
    scale: float
    """Above 1 enlarges."""
    down: float
    """Part of the height by which the image moves."""
    across: float
    """Part of the width by which the image moves."""
    contrast: float
    """Factor of each channel's distance from its mean."""
    parallel: ClassVar[bool] = True

    @property
    def key(self) -> str:
        """That of the inner extractor, whose code may change as well, and the augmentation."""
        how = (self.turn, self.scale, self.down, self.across, self.contrast)
        return f"{self.extractor.key} {code_version(type(self.extractor))} augmented by {how}"

    @property
    def name(self) -> str:
        """What it computes, as it is shown."""
        return f"{self.extractor.name} of augmented images"

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors, float32, shape (n_images, n_features), of uint8 (n, height, width, channels)."""
        return self.extractor(self.augment(images))

    def augment(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The augmented images themselves, uint8, shape (n_images, height, width, channels).

        Args:
            images: Of the same shape and type.
        """
        height, width = images.shape[1:3]
        angle = np.deg2rad(self.turn)
        turned = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        back = np.array(turned) / self.scale
        centre = np.array([width / 2, height / 2])
        move = np.array([self.across * width, self.down * height])
        offset = centre - back @ (centre + move)
        # What is read beyond the border, to the left, above, to the right and below.
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) @ back.T + offset
        margin = max(0, math.ceil(max(-corners.min(), (corners - (width, height)).max()))) + 1
        around = ((margin, margin), (margin, margin), (0, 0))
        data = (*back[0], offset[0] + margin, *back[1], offset[1] + margin)
        augmented = np.empty_like(images)
        for old, new in zip(images, augmented, strict=True):
            wide = np.pad(old, around, mode="edge")
            picture = Image.fromarray(wide[..., 0] if wide.shape[-1] == 1 else wide)
            moved = picture.transform(
                (width, height), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR
            )
            pixels = np.asarray(moved).reshape(new.shape)
            for channel, mean in enumerate(pixels.mean(axis=(0, 1))):
                levels = np.rint(mean + (np.arange(256) - mean) * self.contrast)
                new[..., channel] = np.clip(levels, 0, 255).astype(np.uint8)[pixels[..., channel]]
        return augmented


def augmentations(extractor: Extractor) -> list[Augmented]:
    """An extractor over images augmented in each of four different directions.

    They turn by 5 degrees and scale and move by three parts in a hundred, as far as a patient's
    position differs anyway. No mirror images: organs are none of themselves.

    Args:
        extractor: What describes the augmented images.
    """
    return [
        Augmented(
            extractor=extractor,
            turn=_TURN * turned,
            scale=1 + _PART * scaled,
            down=_PART * down,
            across=_PART * across,
            contrast=1 + _CONTRAST * stretched,
        )
        for turned, scaled, down, across, stretched in _DIRECTIONS
    ]


_TURN, _PART, _CONTRAST = 5.0, 0.03, 0.07
_DIRECTIONS = ((1, 1, 1, 1, 1), (-1, -1, -1, -1, -1), (1, -1, 1, -1, -1), (-1, 1, -1, 1, 1))
"""Signs of turn, scale, move down and across, and contrast, of each augmentation."""
N_AUGMENTATIONS = len(_DIRECTIONS)
"""Augmented images that there are of each."""
