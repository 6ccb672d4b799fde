"""An array of any type of numbers is a picture too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.grey_levels import spread
from medbench.datasets.readers.base import Header, OpenedImage, check_size
from medbench.errors import DatasetError


class OpenedArray(OpenedImage):
    """uint8 is taken as it is, bool as black and white, and other numbers by their own range."""

    sliced = False

    def __init__(self, values: NDArray[Any], *, origin: str, pixel_limit: int) -> None:
        """Look at the shape.

        Args:
            values: Shape (height, width) or (height, width, channels) with 1 or 3 channels.
            origin: Name of the image in messages.
            pixel_limit: Largest width x height.

        Raises:
            DatasetError: Another shape, or too large.
        """
        n_channels = values.shape[2] if values.ndim == 3 else 1
        if values.ndim not in (2, 3) or n_channels not in (1, 3) or values.size == 0:
            raise DatasetError(
                f"{origin}: an array of shape {values.shape} is not an image. Give (height, "
                "width), or (height, width, channels) with 1 or 3 channels."
            )
        check_size(values.shape[1], values.shape[0], origin, pixel_limit)
        super().__init__(
            origin=origin,
            header=Header(),
            mode=values.dtype.name,
            n_bytes=values.nbytes,
            what="one picture",
        )
        self._values = values[..., 0] if values.ndim == 3 and n_channels == 1 else values

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """See ``OpenedImage.pixels``; an array is one slice."""
        values = self._values
        if values.dtype == np.bool_:
            values = values.astype(np.uint8) * np.uint8(255)
        if values.dtype != np.uint8:
            if values.dtype.kind not in "iuf":
                raise DatasetError(
                    f"{self.origin}: pixels of dtype {values.dtype} cannot be read. "
                    "Store uint8, uint16 or float32."
                )
            values = spread(values, self.origin)
        return np.ascontiguousarray(values)
