"""An array of any type of numbers is a picture too, or a volume."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.grey_levels import spread
from medbench.datasets.readers.base import Header, OpenedImage, check_size
from medbench.errors import DatasetError

_VOLUME = 4
"""Axes of an array of several slices."""


class OpenedArray(OpenedImage):
    """uint8 is taken as it is, bool as black and white, and other numbers by their own range.

    All slices of a volume share one range.
    """

    sliced = False

    def __init__(self, values: NDArray[Any], *, origin: str, pixel_limit: int) -> None:
        """Look at the shape.

        Args:
            values: Shape (height, width), or (height, width, channels) with 1 or 3 channels; of a
                volume (slices, height, width, channels).
            origin: Name of the image in messages.
            pixel_limit: Largest width x height.

        Raises:
            DatasetError: Another shape, or too large.
        """
        n_channels = values.shape[-1] if values.ndim > 2 else 1
        if values.ndim not in (2, 3, _VOLUME) or n_channels not in (1, 3) or values.size == 0:
            raise DatasetError(
                f"{origin}: an array of shape {values.shape} is not an image. Give (height, "
                "width), or (height, width, channels) with 1 or 3 channels; of a volume (slices, "
                "height, width, channels)."
            )
        slices = values if values.ndim == _VOLUME else values[None]
        check_size(slices.shape[2], slices.shape[1], origin, pixel_limit)
        n_slices = len(slices)
        super().__init__(
            origin=origin,
            header=Header(n_slices=n_slices),
            mode=values.dtype.name,
            n_bytes=values.nbytes,
            what="one picture" if n_slices == 1 else f"a volume of {n_slices} slices",
        )
        self.sliced = n_slices > 1
        if self.sliced:  # nobody says where the axes point
            self.planes = ("plane across axis 1", "plane across axis 2", "plane across axis 3")
        self._values = slices[..., 0] if values.ndim > 2 and n_channels == 1 else slices

    @cached_property
    def _levels(self) -> NDArray[np.uint8]:
        """All slices."""
        values = self._values
        if values.dtype == np.bool_:
            return values.astype(np.uint8) * np.uint8(255)
        if values.dtype != np.uint8:
            if values.dtype.kind not in "iuf":
                raise DatasetError(
                    f"{self.origin}: pixels of dtype {values.dtype} cannot be read. "
                    "Store uint8, uint16 or float32."
                )
            values = spread(values, self.origin)
        return values

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """See ``OpenedImage.pixels``."""
        return np.ascontiguousarray(self._levels[index])
