"""What a source yields: a table of what there is, and a way to read each image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.task import Kind, label_columns

Content = bytes | NDArray[Any]
"""An encoded image file, or pixels of shape (height, width) or (height, width, channels)."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All images of a data set, not yet decoded."""

    classes: tuple[str, ...]
    """Class names; labels are indices into them."""
    table: pd.DataFrame
    """One row an image: ``origin`` (name relative to the data set, never absolute), ``label``
    (int64; of a multi-label task ``label0``, ``label1``, ... of 0 or 1), ``group`` (str; patient,
    lesion or scan; "" where unknown), ``split`` ("train", "val", "test", or "" where there is no
    official split)."""
    read: Callable[[int], Content]
    """Content of the image in row i; safe to call from several threads."""
    signature: str
    """A hash that changes whenever the content may have changed (names, sizes, times)."""
    kind: Kind = "multi-class"
    """How the labels relate to the classes; see ``Task``."""
    notes: tuple[str, ...] = ()
    """What was found on the way that a reader of results must know."""

    def __post_init__(self) -> None:
        labels = label_columns(self.table.columns)
        assert list(self.table.columns) == ["origin", *labels, "group", "split"]
        assert len(labels) == (len(self.classes) if self.kind == "multi-label" else 1)
        assert all(self.table[name].dtype == np.int64 for name in labels)
