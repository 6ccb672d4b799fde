"""Small synthetic tasks: noise with a bright blob whose place tells the class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medbench.datasets.batch import LabelledBatch
from medbench.datasets.task import Task

_SEED = 20
_TRAIN_PER_CLASS = 18
_VALIDATION_PER_CLASS = 12
_IMAGES_PER_GROUP = 3
_NOISE = (70.0, 12.0)
"""Mean and standard deviation of the background, in grey levels."""
_BLOB = 150.0
"""How much brighter the middle of a blob is, in grey levels."""


@dataclass(frozen=True, kw_only=True)
class SyntheticData:
    """A small task that can be learnt from a few images."""

    task: Task
    """Its classes, and the shape of its images."""
    train: LabelledBatch
    """Images to learn from."""
    validation: LabelledBatch
    """Other images of the same kinds."""


def synthetic_data(*, n_classes: int, channels: int, image_size: int) -> SyntheticData:
    """Noise, with a bright blob whose place tells the class; class 0 has none.

    Three images of one class share a group. The same arguments give the same data.

    Args:
        n_classes: 2 or 3.
        channels: 1 for grey, 3 for RGB.
        image_size: Height and width in pixels.

    Returns:
        18 images of each class to learn from and 12 for validation, in random order.
    """
    generator = np.random.default_rng(_SEED)
    train = _synthetic_batch(generator, _TRAIN_PER_CLASS, n_classes, channels, image_size)
    validation = _synthetic_batch(generator, _VALIDATION_PER_CLASS, n_classes, channels, image_size)
    names = ("none", "upper-left", "lower-right")
    return SyntheticData(
        task=Task(classes=names[:n_classes], image_shape=(image_size, image_size, channels)),
        train=train,
        validation=validation,
    )


def multi_label_data(image_size: int) -> SyntheticData:
    """Noise with a blob at the upper left, at the lower right, at both or at neither place.

    The third class is present in no image.

    Args:
        image_size: Height and width in pixels.
    """
    generator = np.random.default_rng(_SEED)

    def batch(per_class: int) -> LabelledBatch:
        upper_left, lower_right = (
            _synthetic_batch(generator, per_class, 3, 1, image_size) for _ in range(2)
        )
        shown = np.stack([upper_left.labels == 1, lower_right.labels == 2], axis=1)
        images = np.where(shown[:, :1, None, None], upper_left.images, 0)
        images = np.maximum(images, np.where(shown[:, 1:, None, None], lower_right.images, 0))
        return LabelledBatch(
            images=np.maximum(images, np.uint8(_NOISE[0])),
            properties=upper_left.properties,
            labels=np.pad(shown.astype(np.int64), ((0, 0), (0, 1))),
            groups=np.arange(len(shown)),
        )

    names = ("upper-left", "lower-right", "absent")
    task = Task(classes=names, image_shape=(image_size, image_size, 1), task_type="multi-label")
    return SyntheticData(
        task=task, train=batch(_TRAIN_PER_CLASS), validation=batch(_VALIDATION_PER_CLASS)
    )


def _synthetic_batch(
    generator: np.random.Generator, per_class: int, n_classes: int, channels: int, image_size: int
) -> LabelledBatch:
    labels = np.repeat(np.arange(n_classes), per_class)
    images = np.empty((len(labels), image_size, image_size, channels), np.uint8)
    axis = np.arange(image_size)
    for image, label in zip(images, labels, strict=True):
        pixels = generator.normal(*_NOISE, size=(image_size, image_size, channels))
        if label > 0:
            centre = image_size * (0.3 if label == 1 else 0.7)
            y, x = centre + generator.normal(0, image_size / 40, size=2)
            square = (axis[:, None] - y) ** 2 + (axis[None, :] - x) ** 2
            pixels += _BLOB * np.exp(-square / (2 * (image_size / 10) ** 2))[:, :, None]
        image[:] = np.clip(pixels, 0, 255)
    properties = pd.DataFrame(
        {"width": image_size, "height": image_size, "mode": "L" if channels == 1 else "RGB"},
        index=range(len(labels)),
    ).assign(bytes=images[0].size)
    order = generator.permutation(len(labels))
    groups = np.arange(len(labels)) // _IMAGES_PER_GROUP
    return LabelledBatch(images=images, properties=properties, labels=labels, groups=groups).take(
        order
    )
