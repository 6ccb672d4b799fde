"""What files say of slices, patients and series before they are decoded, found out once."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medbench.atomic_files import save_npy
from medbench.cache import cache_folder, discard, keep_entry, read_entry
from medbench.counts import check_slices
from medbench.datasets.inside import AnyFile, open_file
from medbench.datasets.readers import HEAD_BYTES, Header, all_readers, reader_of
from medbench.errors import DatasetError
from medbench.hashes import sha256_of_text
from medbench.versions import code_version

Numbers = NDArray[np.int64]
_UNKNOWN = -1
_COLUMNS = 5
"""Of the array that is kept: row of the file, slices, patient, series, volumes."""
_KEPT = "headers.npy"
_NOT_SEEN = 0
"""Slices of a file whose header could not be read."""


@dataclass(frozen=True, kw_only=True)
class Headers:
    """One number a file, int64, shape (n_files,) each."""

    n_slices: Numbers
    """Slices of the file; 1 for plain pictures, and where the header could not be read."""
    n_volumes: Numbers
    """Volumes of the file; 1 as ``n_slices``."""
    patient: Numbers
    """Opaque number of the patient; -1 where the file names none. Numbers of one call only."""
    series: Numbers
    """Opaque number of the series; -1 where the file names none."""


def headers_of(paths: Sequence[AnyFile], signature: str) -> Headers:
    """What the headers of files say; each is looked at once, while the files stay as they are.

    Of plain pictures only the first bytes are read. What is kept in the cache are numbers: nothing
    by which a patient could be found.

    Args:
        paths: The files.
        signature: A hash that changes whenever one of the files may have; see ``file_signature``.
    """
    code = code_version(__name__, *all_readers())
    entry = cache_folder() / "headers" / sha256_of_text(code, signature)[:32]
    said: Numbers | None = None
    if content := read_entry(entry):
        said = np.load(io.BytesIO(content[_KEPT]), allow_pickle=False)
        unseen = said[said[:, 1] == _NOT_SEEN, 0]
        if any(_looked_at(paths[row]) for row in unseen.tolist()):
            said = None  # what could not be read can be now; numbers are of one call only
            discard(entry)
    if said is None:
        said = _said([_looked_at(path) for path in paths])
        keep_entry(entry, lambda folder: save_npy(folder / _KEPT, said))
    n_slices, n_volumes = (np.ones(len(paths), np.int64) for _ in range(2))
    patient, series = (np.full(len(paths), _UNKNOWN) for _ in range(2))
    rows = said[:, 0]
    n_slices[rows] = np.maximum(said[:, 1], 1)
    patient[rows], series[rows], n_volumes[rows] = said[:, 2], said[:, 3], said[:, 4]
    return Headers(n_slices=n_slices, n_volumes=n_volumes, patient=patient, series=series)


def _looked_at(path: AnyFile) -> Header | None:
    """What a header says; None where it cannot be read, which decoding will tell."""
    try:
        with open_file(path) as file:
            origin = Path(str(path)).name
            reader = reader_of(file.read(HEAD_BYTES))
            file.seek(0)
            header = reader.look(file, origin=origin)
            check_slices(header.n_slices * header.n_volumes, origin)
            return header
    except (OSError, DatasetError):
        return None


def _said(headers: Sequence[Header | None]) -> Numbers:
    """The files that say something, one row each; see ``_COLUMNS``."""
    patients: dict[str, int] = {"": _UNKNOWN}
    series: dict[str, int] = {"": _UNKNOWN}
    rows = []
    for row, header in enumerate(headers):
        if header is None:
            rows.append((row, _NOT_SEEN, _UNKNOWN, _UNKNOWN, 1))
        elif header != Header():
            patient = patients.setdefault(header.patient, len(patients) - 1)
            number = series.setdefault(header.series, len(series) - 1)
            rows.append((row, header.n_slices, patient, number, header.n_volumes))
    return np.array(rows, dtype=np.int64).reshape(-1, _COLUMNS)
