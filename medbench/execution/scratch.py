"""Folders through which the processes of cells are shown images, and only as long as they are."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from medbench.datasets.batch import PROPERTIES, LabelledBatch
from medbench.datasets.prepared import PreparedDataset
from medbench.datasets.splits import Indices
from medbench.execution.cell import write_development
from medbench.execution.plan import PlannedCell


class Scratch:
    """Development parts, shared by the cells of a data set x split, and held-out parts, by none.

    What one cell learns from, another is tested on, and several may run at a time. So every
    folder has a name that nobody can guess, and is told only to the processes it is meant for.
    Safe to use from several threads.
    """

    def __init__(self, folder: Path, cells: Iterable[PlannedCell]) -> None:
        """Begin with nothing; what a killed run has left goes.

        Args:
            folder: Where; it is made when it is needed.
            cells: All that will ask for a development part, each once.
        """
        self._folder = folder
        self._parts: dict[tuple[str, str], _Part] = {}
        for cell in cells:
            self._parts.setdefault(_name(cell), _Part(self._new())).needed_by += 1
        self.clear()

    @contextlib.contextmanager
    def development(self, cell: PlannedCell) -> Iterator[Path]:
        """The folder of a cell's development part; it goes with the last cell that needs it."""
        part = self._parts[_name(cell)]
        try:
            with part.guard:
                if not part.written:
                    _write_development(cell, part.folder)
                    part.written = True
            yield part.folder
        finally:
            with part.guard:
                part.needed_by -= 1
                if not part.needed_by:
                    shutil.rmtree(part.folder, ignore_errors=True)

    @contextlib.contextmanager
    def held_out(self, cell: PlannedCell) -> Iterator[Path]:
        """A folder with a cell's held-out images, which goes with the block."""
        folder = self._new()
        try:
            folder.mkdir(parents=True)
            data, indices = cell.dataset.data, cell.split.held_out
            np.save(folder / "images.npy", data.images[indices])
            _properties(data, indices).to_parquet(folder / "properties.parquet", index=False)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def clear(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _new(self) -> Path:
        return self._folder.resolve() / secrets.token_hex(16)


class _Part:
    """A development part on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.guard = threading.Lock()
        self.written = False
        self.needed_by = 0


def _name(cell: PlannedCell) -> tuple[str, str]:
    return cell.id.dataset, cell.id.split


def _write_development(cell: PlannedCell, folder: Path) -> None:
    data, split = cell.dataset.data, cell.split
    validation = None
    if split.validation is not None:
        validation = np.isin(split.development, split.validation)
    batch = LabelledBatch(
        images=data.images[split.development],
        properties=_properties(data, split.development),
        labels=data.labels[split.development],
        groups=cell.dataset.groups(split)[split.development],
    )
    write_development(folder, batch, validation)


def _properties(data: PreparedDataset, indices: Indices) -> pd.DataFrame:
    return data.table.loc[indices, list(PROPERTIES)].reset_index(drop=True)
