"""What is to be learnt: the classes, how labels relate to them, and the shape of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

TaskType = Literal["binary", "multi-class", "ordinal", "multi-label"]
_LABEL = "label"


@dataclass(frozen=True, kw_only=True)
class Task:
    """A classification task: its classes, and the shape of its images."""

    classes: tuple[str, ...]
    """Class names, at least two; a label is an index into them. The last one is the positive of a
    binary task."""
    image_shape: tuple[int, int, int]
    """Height and width in pixels, and channels (1 for grey, 3 for RGB), of every prepared image."""
    task_type: TaskType = "multi-class"
    """How labels relate to classes: ``"multi-class"`` where an image has one class (``"binary"``,
    which is set by itself, where there are two), ``"ordinal"`` where the classes stand in rising
    order, or ``"multi-label"``, where any number of classes may be present in an image."""

    def __post_init__(self) -> None:
        if len(self.classes) == 2 and self.task_type != "multi-label":
            object.__setattr__(self, "task_type", "binary")

    @property
    def binary(self) -> bool:
        """Whether one of two exclusive classes is the positive one."""
        return self.task_type == "binary"

    @property
    def positive(self) -> str:
        """Name of the positive class of a binary task; empty for others."""
        return self.classes[-1] if self.binary else ""


def membership(labels: NDArray[Any], n_classes: int) -> NDArray[np.bool_]:
    """Which classes each image shows, bool, shape (n_images, n_classes).

    Args:
        labels: Class indices, int, shape (n_images,); or of a multi-label task 0 or 1 for each
            class, shape (n_images, n_classes).
        n_classes: Number of classes of the task.
    """
    shown: NDArray[np.bool_]
    shown = labels == 1 if labels.ndim == 2 else labels[:, None] == np.arange(n_classes)
    return shown


def label_frame(labels: NDArray[np.int64]) -> pd.DataFrame:
    """Labels as columns of a table: ``label``; of a multi-label task ``label0``, ``label1``, ...

    Args:
        labels: As in ``membership``.
    """
    if labels.ndim == 1:
        return pd.DataFrame({_LABEL: labels})
    return pd.DataFrame({f"{_LABEL}{k}": labels[:, k] for k in range(labels.shape[1])})


def label_columns(columns: Any) -> list[str]:
    """Those of a table's columns that ``label_frame`` made, in their order."""
    return [name for name in columns if name == _LABEL or name.removeprefix(_LABEL).isdigit()]


def labels_in(table: pd.DataFrame) -> NDArray[np.int64]:
    """The labels that a table holds, int64; the inverse of ``label_frame``."""
    columns = label_columns(table.columns)
    if columns == [_LABEL]:
        return table[_LABEL].to_numpy(np.int64)
    return table[columns].to_numpy(np.int64)
