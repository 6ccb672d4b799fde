"""What files say of slices, patients and series before they are decoded, found out once."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.atomic_files import write_parquet
from medbench.cache import cache_folder, discard, keep_entry, read_entry
from medbench.counts import check_slices
from medbench.datasets.inside import AnyFile, open_file
from medbench.datasets.patients_in_names import without_patient
from medbench.datasets.readers import HEAD_BYTES, Details, Header, all_readers, reader_of
from medbench.errors import DatasetError
from medbench.hashes import sha256_of_text
from medbench.versions import code_version

Numbers = NDArray[np.int64]
_UNKNOWN = -1
_KEPT = "headers.parquet"
_NOT_SEEN = 0
"""Slices of a file whose header could not be read."""
_DECIMALS = 2
"""Of a position in mm: slices that are nearer to each other lie at the same."""
_FIELD = "field "
"""Before the name of a field of the header, in a column's name."""


@dataclass(frozen=True, kw_only=True)
class Headers:
    """What is known of each file; numbers are int64, shape (n_files,), and of one call only."""

    n_slices: Numbers
    """Slices of the file; 1 for plain pictures, and where the header could not be read."""
    n_volumes: Numbers
    """Volumes of the file; 1 as ``n_slices``."""
    patient: Numbers
    """Opaque number of the patient; -1 where the file names none."""
    series: Numbers
    """Opaque number of the series; -1 where the file names none."""
    stack: Numbers
    """Opaque number of the volume of which the file is a single slice; -1 where it is of none."""
    place: Numbers
    """Place of the slice in its volume, from 0; slices at one position share it."""
    localizer: Numbers
    """1 where the file is an overview on which others were planned, else 0."""
    kind: NDArray[np.object_]
    """What the file holds instead of a picture, in words; "" of a picture. Shape (n_files,)."""
    names: NDArray[np.object_]
    """Its name relative to the data set, with a number in the place of its patient; same shape."""
    fields: pd.DataFrame
    """One row a file, a column for each field of headers that some file has; int64, equal where two
    files say the same, -1 where one says nothing."""

    def of(self, files: NDArray[np.bool_]) -> Headers:
        """What is known of some of the files.

        Args:
            files: Which of them, shape (n_files,).
        """
        return Headers(**{name: column[files] for name, column in vars(self).items()})

    def without_field(self, name: str) -> Headers:
        """The same without one of the fields, if there is such."""
        return replace(self, fields=self.fields.drop(columns=name, errors="ignore"))


def headers_of(
    paths: Sequence[AnyFile], signature: str, names: Sequence[str] | None = None
) -> Headers:
    """What the headers of files say; each is looked at once, while the files stay as they are.

    Of plain pictures only the first bytes are read. What is kept in the cache are numbers, kinds
    and names without patients: nothing by which a patient could be found.

    Args:
        paths: The files.
        signature: A hash that changes whenever one of the files may have; see ``file_signature``.
        names: Their names relative to the data set; without their folders where it is None.
    """
    names = [Path(str(path)).name for path in paths] if names is None else names
    code = code_version(__name__, *all_readers())
    entry = cache_folder() / "headers" / sha256_of_text(code, signature, *names)[:32]
    said: pd.DataFrame | None = None
    if content := read_entry(entry):
        said = pd.read_parquet(io.BytesIO(content[_KEPT]))
        unseen = said.loc[said["n_slices"] == _NOT_SEEN, "row"]
        if any(_looked_at(paths[row]) for row in unseen.tolist()):
            said = None  # what could not be read can be now; numbers are of one call only
            discard(entry)
    if said is None:
        said = _said([_looked_at(path) for path in paths], names)
        kept = said
        keep_entry(entry, lambda folder: write_parquet(folder / _KEPT, kept))
    return _of_all(said, names)


def values_of(paths: Sequence[AnyFile], signature: str, keyword: str) -> list[str]:
    """What one element of each header says, as text; "" where it says nothing or has no header.

    It is kept in the cache, so the id and the name of the file's own patient are taken out of it.

    Args:
        paths: The files.
        signature: As in ``headers_of``.
        keyword: The element; see ``Reader.tag``.
    """
    values: list[str] = _column(
        (signature, keyword), lambda: [tag_of(path, keyword, shown=True) for path in paths]
    )
    return values


def named_in_headers(
    paths: Sequence[AnyFile], signature: str, keyword: str, wanted: Sequence[str]
) -> list[int]:
    """Which of some ids each header has in one of its elements, as a number from 0; -1 for none.

    Args:
        paths: The files.
        signature: As in ``headers_of``.
        keyword: The element.
        wanted: The ids, which are not kept.
    """
    number = {text: i for i, text in enumerate(wanted) if text}
    numbers: list[int] = _column(
        (signature, keyword, sha256_of_text(*wanted)),
        lambda: [number.get(tag_of(path, keyword), _UNKNOWN) for path in paths],
    )
    return numbers


def _column(key: Sequence[str], compute: Callable[[], list[Any]]) -> list[Any]:
    """What is found in the header of each file, kept under a key."""
    code = code_version(__name__, *all_readers())
    entry = cache_folder() / "headers" / sha256_of_text(code, *key)[:32]
    if content := read_entry(entry):
        return pd.read_parquet(io.BytesIO(content[_KEPT]))["said"].tolist()
    said = pd.DataFrame({"said": compute()})
    keep_entry(entry, lambda folder: write_parquet(folder / _KEPT, said))
    return said["said"].tolist()


def tag_of(path: AnyFile, keyword: str, *, shown: bool = False) -> str:
    """What an element of a header says; "" where it cannot be read.

    Args:
        path: The file.
        keyword: The element.
        shown: Whether it may be shown, and so must be without the file's patient.
    """
    try:
        with open_file(path) as file:
            origin = Path(str(path)).name
            reader = reader_of(file.read(HEAD_BYTES))
            file.seek(0)
            value = reader.tag(file, keyword, origin=origin)
            if not (shown and value):
                return value
            file.seek(0)
            details = reader.look(file, origin=origin).details
            return without_patient(value, details.person if details else (), "patient")
    except (OSError, DatasetError):
        return ""


def _of_all(said: pd.DataFrame, names: Sequence[str]) -> Headers:
    """What is known of every file, also of those that say nothing."""
    rows = said["row"].to_numpy(np.int64)

    def of_each(column: str, nothing: Any) -> NDArray[Any]:
        values = np.array(nothing) if isinstance(nothing, list) else np.full(len(names), nothing)
        values = values.astype(object) if values.dtype.kind == "U" else values
        values[rows] = said[column].to_numpy()
        return values

    fields = [column for column in said.columns if column.startswith(_FIELD)]
    return Headers(
        n_slices=np.maximum(of_each("n_slices", 1), 1),
        n_volumes=of_each("n_volumes", 1),
        patient=of_each("patient", _UNKNOWN),
        series=of_each("series", _UNKNOWN),
        stack=of_each("stack", _UNKNOWN),
        place=of_each("place", 0),
        localizer=of_each("localizer", 0),
        kind=of_each("kind", ""),
        names=of_each("name", list(names)),
        fields=pd.DataFrame(
            {column.removeprefix(_FIELD): of_each(column, _UNKNOWN) for column in fields},
            index=range(len(names)),
        ),
    )


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


def _said(headers: Sequence[Header | None], names: Sequence[str]) -> pd.DataFrame:
    """The files that say something, one row each."""
    patients: dict[str, int] = {"": _UNKNOWN}
    series: dict[str, int] = {"": _UNKNOWN}
    stacks: dict[str, int] = {"": _UNKNOWN}
    rows = []
    details = []
    taken = set(names)
    for row, (header, name) in enumerate(zip(headers, names, strict=True)):
        if header is None:
            header = Header()
            n_slices = _NOT_SEEN
        elif header == Header() and header.details is None:
            continue
        else:
            n_slices = header.n_slices
        patient = patients.setdefault(header.patient, len(patients) - 1)
        more = header.details or Details()
        shown = without_patient(name, more.person, f"patient-{patient}")
        if shown != name and shown in taken:
            stem, dot, suffix = shown.rpartition(".")
            shown = f"{stem or suffix}-{row}{dot}{suffix if stem else ''}"
        taken.add(shown)
        number = series.setdefault(header.series, len(series) - 1)
        stack = stacks.setdefault(more.stack if n_slices == 1 else "", len(stacks) - 1)
        rows.append((row, n_slices, header.n_volumes, patient, number, stack, more.kind, shown))
        details.append(more)
    columns = ["row", "n_slices", "n_volumes", "patient", "series", "stack", "kind", "name"]
    said = pd.DataFrame(rows, columns=columns)
    said["localizer"] = [int(one.localizer) for one in details]
    said["place"] = _places(said["stack"].to_numpy(np.int64), details)
    for field in dict.fromkeys(name for one in details for name in one.fields):
        values = pd.Series([one.fields.get(field) for one in details])
        said[_FIELD + field] = pd.factorize(values)[0]
    return said


def _places(stack: Numbers, details: Sequence[Details]) -> Numbers:
    """The place of each slice in its volume: by position, else by number, else as it is listed."""
    places = np.zeros(len(stack), np.int64)
    of_stack: dict[int, list[int]] = {}
    for i, number in enumerate(stack.tolist()):
        if number >= 0:
            of_stack.setdefault(number, []).append(i)
    for files in of_stack.values():
        along: list[float] = list(range(len(files)))
        for said in ("position", "number"):
            values = [getattr(details[i], said) for i in files]
            if all(value is not None and np.isfinite(value) for value in values):
                along = [round(value, _DECIMALS) for value in values]
                break
        places[files] = np.unique(along, return_inverse=True)[1]
    return places
