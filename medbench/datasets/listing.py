"""What a source yields: a table of what there is, and a way to read each image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Content = bytes | NDArray[Any]
"""An encoded image file, or pixels of shape (height, width) or (height, width, channels)."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All images of a data set, not yet decoded."""

    classes: tuple[str, ...]
    """Class names; ``table.label`` holds indices into them."""
    table: pd.DataFrame
    """One row an image: ``origin`` (name relative to the data set, never absolute), ``label``
    (int64), ``group`` (str; patient, lesion or scan; "" where unknown), ``split`` ("train",
    "val", "test", or "" where there is no official split)."""
    read: Callable[[int], Content]
    """Content of the image in row i; safe to call from several threads."""
    signature: str
    """A hash that changes whenever the content may have changed (names, sizes, times)."""

    def __post_init__(self) -> None:
        assert list(self.table.columns) == ["origin", "label", "group", "split"]
        assert self.table["label"].dtype == np.int64
