"""What one cell is to do; the same wherever it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from medbench.datasets.task import TaskType
from medbench.store import CellId


@dataclass(frozen=True, kw_only=True)
class CellTask:
    """All that decides what a cell gives, but for its images, weights and code."""

    cell: CellId
    """Which cell it is."""
    tuner: str
    """Name of the tuner."""
    classes: tuple[str, ...]
    """Class names; see ``Task``."""
    image_shape: tuple[int, int, int]
    """Height and width in pixels, and channels, of every image."""
    task_type: TaskType
    """See ``Task``."""
    trials: int | None
    """Most configurations; None for no bound."""
    seconds: float | None
    """Most seconds of the search; None for no bound."""
    inner_folds: int
    """Number of inner folds that are wanted, at least 2; none are made where there is an official
    validation part."""
    operating_point: str
    """Rule for the threshold, as ``youden`` or ``sensitivity 0.95``; see
    ``OperatingPoint.parse``."""
    split_seed: int
    """Seed of the inner folds: the same for every model."""
    cell_seed: int
    """Seed of everything else; depends on the cell's key."""

    def as_message(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> CellTask:
        """A task again from what ``as_message`` gave, also after JSON, which has no tuples.

        Args:
            message: The fields by name.
        """
        return cls(
            **{
                **message,
                "cell": CellId(**message["cell"]),
                "classes": tuple(message["classes"]),
                "image_shape": tuple(message["image_shape"]),
            }
        )
