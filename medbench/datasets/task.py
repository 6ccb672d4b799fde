"""What is to be learnt: the classes and the shape of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Task:
    """A classification task with mutually exclusive classes."""

    classes: tuple[str, ...]
    """Class names; a label is an index into them. The last one is the positive of a binary task."""
    image_shape: tuple[int, int, int]
    """Height, width and channels (1 or 3) of every prepared image, in pixels."""

    @property
    def kind(self) -> Literal["binary", "multi-class"]:
        """``"binary"`` for two classes, else ``"multi-class"``."""
        return "binary" if len(self.classes) == 2 else "multi-class"
