"""What a source yields: a table of what there is, and a way to read each image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from medbench.counts import check_n_classes
from medbench.datasets.readers import Content
from medbench.datasets.task import TaskType, label_columns, labels_in, membership
from medbench.datasets.volume_rule import VolumeRule
from medbench.errors import DatasetError

KEPT = "kept:"
"""What stands before the names of columns that are kept, where they are beside others."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All images of a data set, not yet decoded.

    Making one raises a ``DatasetError`` where the columns of ``table`` or their types are not those
    that it must have, or where there are too many classes.
    """

    classes: tuple[str, ...]
    """Class names, at least two, all different; labels are indices into them. The last one of two
    is the positive class."""
    table: pd.DataFrame
    """One row an image, which is a slice of a file: ``origin`` (name of the file relative to the
    data set, never absolute; rows of one file follow each other), ``slice`` (int64, counted from
    1; 1 for plain pictures and arrays; which slice of its file, or of what ``volumes`` makes of
    it), ``label`` (int64; of a multi-label task ``label0``,
    ``label1``, ... of 0 or 1), ``group`` (str; patient, lesion or scan; "" where unknown),
    ``split`` ("train", "val", "test", or "" where there is no official split)."""
    read: Callable[[int], Content]
    """Content of the file in row i, counted from 0: its bytes, or pixels as an array, shape
    (height, width) or (height, width, channels); of a volume (slices, height, width, channels).
    Safe to call from several threads. Raises a
    ``DatasetError`` that names the file where it cannot be read."""
    signature: str
    """A hash that changes whenever the content may have changed (names, sizes, times)."""
    task_type: TaskType = "multi-class"
    """How the labels relate to the classes; see ``Task``."""
    image_size: int | None = None
    """Side in pixels to which images are brought where the entry says nothing: the archive's own,
    or what suits the files (see ``medbench.datasets.image_size``). None where it is not known."""
    volumes: VolumeRule | None = None
    """How pictures are made of files with several slices; None where no file has any."""
    notes: tuple[str, ...] = ()
    """What was found on the way that a reader of results must know."""
    kept: pd.DataFrame = field(default_factory=pd.DataFrame)
    """What an entry keeps of each image beside its label, such as age, sex or site: a row an image
    in the order of ``table``, all text, "" where nothing is said; no columns where it keeps
    nothing. Models never see it. It says nothing by which a patient could be found."""
    header_fields: pd.DataFrame | None = None
    """What headers say of how images were made: a row for each of ``table``, a column for each
    field, int64, equal where two say the same, -1 where one says nothing. For the audit alone: no
    model sees it. None where nothing has headers."""
    first_folders: frozenset[str] = frozenset()
    """What lies right in the data set's folder and holds images, by its real name, where
    ``origin`` has numbers in the place of patients; empty where it has none."""
    positive_decided: str = ""
    """How it was decided which of two classes is the positive one, which is the last; filled in by
    ``Source.listing`` (see ``medbench.datasets.positive``)."""

    def __post_init__(self) -> None:
        check_n_classes(len(self.classes), "this data set")
        columns = list(self.table.columns)
        labels = label_columns(columns)
        n_labels = len(self.classes) if self.task_type == "multi-label" else 1
        wanted = ["origin", "slice", *labels, "group", "split"]
        whole = [name for name in ("slice", *labels) if name in columns]
        other = [name for name in whole if self.table[name].dtype != np.int64]
        if columns != wanted or len(labels) != n_labels or other:
            raise DatasetError(
                f"a data source lists images with the columns {', '.join(columns)}; they must be "
                "origin, slice, label (or one of each class: label0, label1, ...), group, split, "
                f"with int64 for slice and labels{f', not so {other[0]}' if other else ''}. Mend "
                "the source."
            )

        texts = all(isinstance(v, str) for column in self.kept for v in self.kept[column])
        if len(self.kept.columns) and (len(self.kept) != len(self.table) or not texts):
            raise DatasetError(
                f"a data source keeps the columns {', '.join(map(str, self.kept))}, which must "
                "have a text for each image. Mend the source."
            )

    def images_per_class(self) -> dict[str, int]:
        """How many images show each class, in the order of the classes."""
        shown = membership(labels_in(self.table), len(self.classes)).sum(axis=0)
        return {name: int(n) for name, n in zip(self.classes, shown, strict=True)}

    def n_groups(self) -> int:
        """How many groups (patients) are named."""
        named = self.table.loc[self.table["group"] != "", "group"]
        return int(named.nunique())

    def n_without_group(self) -> int:
        """How many images name no group, and stand for themselves."""
        return int((self.table["group"] == "").sum())

    def images_per_part(self) -> dict[str, int]:
        """How many images each part of an official split has, the most first; empty without one."""
        parts = self.table["split"]
        if (parts == "").all():
            return {}
        return {str(part): int(n) for part, n in parts.value_counts().items()}
