"""Images as models see them: pixels and file properties, with labels and groups where allowed."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.stored_images import StoredImages

PROPERTIES = ("width", "height", "mode", "bytes")
"""Columns of ``Batch.properties``: original width and height in pixels, mode as the format calls it
(see ``OpenedImage``), and size of the file in bytes."""


def image_key(pixels: NDArray[np.uint8]) -> str:
    """A hash of an image's prepared pixels, 32 hexadecimal digits; names cached features.

    Args:
        pixels: uint8, shape (height, width, channels).
    """
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).hexdigest()


class Batch:
    """Some images of one data set; ``len`` is their number."""

    def __init__(
        self,
        *,
        images: NDArray[np.uint8] | StoredImages,
        properties: pd.DataFrame,
        keys: NDArray[np.bytes_] | None = None,
    ) -> None:
        """Put one together.

        Args:
            images: Prepared pixels, uint8, shape (n_images, height, width, channels); in memory,
                or in a file of which only what is used is read.
            properties: File properties, one row an image, columns ``PROPERTIES``.
            keys: ``image_key`` of each image, where it is known; dtype S32, shape (n_images,).
        """
        self._stored = images
        self.properties = properties
        """File properties, one row an image, columns ``PROPERTIES``; only sanity rows use them."""
        if keys is not None:
            self.__dict__["keys"] = keys

    def __len__(self) -> int:
        return len(self._stored)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height and width of an image in pixels, and its channels (1 or 3)."""
        height, width, channels = self._stored.shape[1:]
        return height, width, channels

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """Prepared pixels, uint8, shape (n_images, height, width, channels), read when used.

        Raises:
            OSError: They lie in a file that cannot be read.
        """
        return np.asarray(self._stored)

    def pixels(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Prepared pixels of some images; of a large data set only those are read.

        Args:
            indices: Which images, int64, shape (n_chosen,), counted from 0.

        Returns:
            uint8, shape (n_chosen, height, width, channels).

        Raises:
            OSError: They lie in a file that cannot be read.
        """
        found: NDArray[np.uint8] = self._stored[indices]
        return found

    @cached_property
    def keys(self) -> NDArray[np.bytes_]:
        """``image_key`` of each image, dtype S32, shape (n_images,)."""
        return np.array([image_key(self._stored[i]) for i in range(len(self))], dtype="S32")

    def take(self, indices: NDArray[np.int64]) -> Self:
        """The same kind of batch with only some of the images.

        Nothing is read of stored images whose keys are known.

        Args:
            indices: Which images, int64, shape (n_chosen,), counted from 0, in the order wanted.
        """
        taken = type(self).__new__(type(self))
        stored = self._stored
        taken._stored = (
            stored.take(indices) if isinstance(stored, StoredImages) else stored[indices]
        )
        taken.properties = self.properties.iloc[indices]
        taken.__dict__["keys"] = self.keys[indices]  # hash every image once, not once a fold
        return taken


class LabelledBatch(Batch):
    """Images of the development part: those a model may learn from; ``len`` is their number."""

    def __init__(
        self,
        *,
        images: NDArray[np.uint8] | StoredImages,
        properties: pd.DataFrame,
        labels: NDArray[np.int64],
        groups: NDArray[np.int64],
        keys: NDArray[np.bytes_] | None = None,
    ) -> None:
        """Put one together; ``images``, ``properties`` and ``keys`` as in ``Batch``.

        Args:
            images: As in ``Batch``.
            properties: As in ``Batch``.
            labels: int64, shape (n_images,), or (n_images, n_classes) of a multi-label task.
            groups: int64, shape (n_images,).
            keys: As in ``Batch``.
        """
        super().__init__(images=images, properties=properties, keys=keys)
        self.labels = labels
        """Class index of each image, int64, shape (n_images,); of a multi-label task 0 or 1 for
        each class, shape (n_images, n_classes)."""
        self.groups = groups
        """Patient (or lesion, or scan) of each image as an opaque number, int64, shape
        (n_images,)."""

    def take(self, indices: NDArray[np.int64]) -> Self:
        """The same kind of batch with only some of the images.

        Nothing is read of stored images whose keys are known.

        Args:
            indices: Which images, int64, shape (n_chosen,), counted from 0, in the order wanted.
        """
        taken = super().take(indices)
        taken.labels, taken.groups = self.labels[indices], self.groups[indices]
        return taken

    def with_labels(self, labels: NDArray[np.int64]) -> Self:
        """The same images with other labels.

        Args:
            labels: int64, shape (n_images,), or (n_images, n_classes) of a multi-label task.
        """
        other = self.take(np.arange(len(self)))
        other.labels = labels
        return other

    def unlabelled(self) -> Batch:
        """The same images without labels and groups, as a classifier is asked to predict them."""
        return Batch(images=self._stored, properties=self.properties, keys=self.keys)
