"""Images as models see them: pixels and file properties, with labels and groups where allowed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PROPERTIES = ("width", "height", "mode", "bytes")
"""Columns of ``Batch.properties``: original size in pixels, Pillow mode, size of the file."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some images of one data set."""

    images: NDArray[np.uint8]
    """Prepared pixels, uint8, shape (n_images, height, width, channels)."""
    properties: pd.DataFrame
    """File properties, one row an image, columns ``PROPERTIES``; only sanity rows use them."""

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def keys(self) -> NDArray[np.bytes_]:
        """A hash of each image's pixels, dtype S32, shape (n_images,); names cached features."""
        return np.array(
            [
                hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest()
                for image in self.images
            ],
            dtype="S32",
        )

    def take(self, indices: NDArray[np.int64]) -> Any:
        """The same kind of batch with only the images at ``indices``."""
        return self._take(indices)

    def _take(self, indices: NDArray[np.int64], **more: Any) -> Any:
        taken = type(self)(
            images=self.images[indices], properties=self.properties.iloc[indices], **more
        )
        taken.__dict__["keys"] = self.keys[indices]  # hash every image once, not once a fold
        return taken


@dataclass(frozen=True, kw_only=True)
class LabelledBatch(Batch):
    """Images of the development part: those a model may learn from."""

    labels: NDArray[np.int64]
    """Class index of each image, shape (n_images,); of a multi-label task 0 or 1 for each class,
    shape (n_images, n_classes)."""
    groups: NDArray[np.int64]
    """Patient (or lesion, or scan) of each image as an opaque number, shape (n_images,)."""

    def take(self, indices: NDArray[np.int64]) -> LabelledBatch:
        """The same kind of batch with only the images at ``indices``."""
        taken: LabelledBatch = self._take(
            indices, labels=self.labels[indices], groups=self.groups[indices]
        )
        return taken
