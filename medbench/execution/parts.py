"""The images that a cell is given: its development part, and later its held-out part.

A part is a promise: nothing is read before an executor has it written where the work is done. The
held-out part holds no labels; these are joined to the predictions where the run is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.atomic_files import save_npy
from medbench.datasets.batch import PROPERTIES, Batch, LabelledBatch, image_key
from medbench.datasets.splits import Indices
from medbench.datasets.stored_images import StoredImages, write_images
from medbench.errors import MachineError
from medbench.hashes import sha256_of_arrays

_IMAGES, _LABELS, _GROUPS, _KEYS = "images.npy", "labels.npy", "groups.npy", "keys.npy"
_PROPERTIES, _VALIDATION, _PROBABILITIES = (
    "properties.parquet", "validation.npy", "probabilities.npy",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutPart:
    """Images that are predicted once, when everything is fixed."""

    images: StoredImages | NDArray[np.uint8]
    """All images of the data set, uint8, shape (n_images, height, width, channels)."""
    table: pd.DataFrame
    """All rows of the data set, with the columns ``PROPERTIES`` and ``key``."""
    rows: Indices
    """Which of them are held out: row numbers from 0, int64, shape (n_held_out,)."""

    def write(self, folder: Path) -> None:
        """Write the part.

        Args:
            folder: Where; it must not exist yet.

        Raises:
            OSError: It cannot be written.
            MachineError: The images are not what they were when the run began.
        """
        _write_images(self.images, self.table, self.rows, folder)


@dataclass(frozen=True, kw_only=True, eq=False)
class DevelopmentPart:
    """Images with labels and groups from which a cell learns, and on which it tunes."""

    images: StoredImages | NDArray[np.uint8]
    """All images of the data set, uint8, shape (n_images, height, width, channels)."""
    table: pd.DataFrame
    """All rows of the data set, with the columns ``PROPERTIES`` and ``key``."""
    rows: Indices
    """Which of them are development images: row numbers from 0, int64, shape (n_development,)."""
    labels: NDArray[np.int64]
    """Labels of these, shape (n_development,), or (n_development, n_classes) of a multi-label
    task; see ``LabelledBatch``."""
    groups: NDArray[np.int64]
    """Groups of these, shape (n_development,)."""
    validation: NDArray[np.bool_] | None
    """Whether each of these is in the official validation part, bool, shape (n_development,); None
    where there is none."""

    @cached_property
    def key(self) -> str:
        """Hash of all that is written: equal parts may be written once for several cells."""
        rows = pd.util.hash_pandas_object(
            self.table[["key", *PROPERTIES]].iloc[self.rows], index=False
        )
        return sha256_of_arrays(rows.to_numpy(), self.labels, self.groups, self.validation)

    def write(self, folder: Path) -> None:
        """Write the part.

        Args:
            folder: Where; it must not exist yet.

        Raises:
            OSError: It cannot be written.
            MachineError: The images are not what they were when the run began.
        """
        _write_images(self.images, self.table, self.rows, folder)
        save_npy(folder / _LABELS, self.labels)
        save_npy(folder / _GROUPS, self.groups)
        if self.validation is not None:
            save_npy(folder / _VALIDATION, self.validation)


def read_development(folder: Path) -> tuple[LabelledBatch, NDArray[np.bool_] | None]:
    """What ``DevelopmentPart.write`` wrote, and its official validation part if there is one.

    The images stay on disk until they are used.

    Raises:
        MachineError: It is not as it was written.
    """
    with _as_it_was_written(folder):
        batch = LabelledBatch(
            images=StoredImages(folder / _IMAGES),
            properties=pd.read_parquet(folder / _PROPERTIES),
            keys=np.load(folder / _KEYS, allow_pickle=False),
            labels=np.load(folder / _LABELS, allow_pickle=False),
            groups=np.load(folder / _GROUPS, allow_pickle=False),
        )
        marks = folder / _VALIDATION
        return batch, np.load(marks, allow_pickle=False) if marks.exists() else None


def read_held_out(folder: Path) -> Batch:
    """What ``HeldOutPart.write`` wrote; the images stay on disk until they are used.

    Raises:
        MachineError: It is not as it was written.
    """
    with _as_it_was_written(folder):
        return Batch(
            images=StoredImages(folder / _IMAGES),
            properties=pd.read_parquet(folder / _PROPERTIES),
            keys=np.load(folder / _KEYS, allow_pickle=False),
        )


def write_probabilities(folder: Path, probabilities: NDArray[np.float64]) -> None:
    """Answer a held-out part with its probabilities, float64, shape (n_held_out, n_classes)."""
    save_npy(folder / _PROBABILITIES, probabilities)


def read_probabilities(folder: Path) -> NDArray[np.float64]:
    """What ``write_probabilities`` wrote."""
    probabilities: NDArray[np.float64] = np.load(folder / _PROBABILITIES, allow_pickle=False)
    return probabilities


@contextlib.contextmanager
def _as_it_was_written(folder: Path) -> Iterator[None]:
    """Nobody but this module writes a part, so what cannot be read is damage, and no model's."""
    try:
        yield
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise MachineError(
            f"the images of a cell, which lie in the cache meanwhile, are damaged ({error}). "
            "MEDBENCH_CACHE names another place."
        ) from error


def _write_images(
    images: StoredImages | NDArray[np.uint8], table: pd.DataFrame, rows: Indices, folder: Path
) -> None:
    folder.mkdir(parents=True)
    chosen = images.take(rows) if isinstance(images, StoredImages) else images[rows]
    some = table.iloc[rows]
    keys = some["key"].tolist()

    def check(first: int, block: NDArray[np.uint8]) -> None:
        """The prepared set was sound when the run began; hours may have passed since."""
        if any(image_key(image) != key for image, key in zip(block, keys[first:], strict=False)):
            raise MachineError(
                "the prepared images in the cache were changed while the run was at work. Give the "
                "command again: they are checked and prepared anew."
            )

    write_images(folder / _IMAGES, chosen, check)
    save_npy(folder / _KEYS, some["key"].to_numpy(dtype="S32"))
    some[list(PROPERTIES)].to_parquet(folder / _PROPERTIES, index=False)
