"""Data sets that are files: what a class folder and a table have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.headers import Headers, headers_of
from medbench.datasets.image_size import side_of_files
from medbench.datasets.inside import AnyFile, read_file, state_of_file
from medbench.datasets.listing import Listing
from medbench.datasets.readers import Content
from medbench.datasets.sources.base import Source
from medbench.datasets.task import label_frame
from medbench.datasets.volume_rule import SliceRule, VolumeNumber, VolumeRule
from medbench.hashes import sha256_of_chunks


class FileSource(Source):
    """Image files of any format, each with a label."""

    slices: SliceRule = 1
    """What is taken of a file with several slices: so many in the middle, each by itself;
    ``largest``, the slice with the largest foreground; ``planes``, the axial, coronal and sagittal
    one through the middle of a volume, each by itself; or ``montage 9``, so many at even distances
    in one picture."""
    volume: VolumeNumber = None
    """Of files that hold several volumes (times, directions or contrasts) the one that is taken,
    counted from 1."""

    def list_files(
        self,
        *,
        classes: tuple[str, ...],
        names: Sequence[str],
        paths: Sequence[AnyFile],
        labels: Sequence[str] | NDArray[np.int64],
        groups: Sequence[str] | None = None,
        splits: Sequence[str] | str = "",
        notes: tuple[str, ...] = (),
        kept: pd.DataFrame | None = None,
    ) -> Listing:
        """The listing of files: a row for each slice that is taken.

        Args:
            classes: Class names.
            names: Name of each file relative to the data set.
            paths: Where it is, which may be inside of another file.
            labels: Its class; or int64 class indices (n,), or of a multi-label task 0 or 1 for
                each class, (n, classes).
            groups: Its patient, lesion or scan, "" where unknown; None where the data set says
                nothing of them, so that the headers of the files do.
            splits: Its part of the official split; "" where there is none.
            notes: What is known already that a reader of results must know.
            kept: What is kept of each file beside its label; see ``Listing``.
        """
        signature = file_signature(paths)
        headers = headers_of(paths, signature)
        said: tuple[str, ...] = ()
        if groups is None:
            groups, said = groups_by_header(headers)
        rule = VolumeRule(slices=self.slices, volume=self.volume)
        taken = [rule.numbers(n) for n in headers.n_slices.tolist()]
        made = (headers.n_slices > 1) | (headers.n_volumes > 1)
        if not isinstance(labels, np.ndarray):
            labels = np.array([classes.index(label) for label in labels], dtype=np.int64)
        of_files = pd.concat(
            [
                pd.DataFrame({"origin": list(names)}),
                label_frame(labels),
                pd.DataFrame({"group": list(groups), "split": splits}),
            ],
            axis=1,
        )
        file = np.repeat(np.arange(len(taken)), [len(numbers) for numbers in taken])
        table = of_files.iloc[file].reset_index(drop=True)
        table.insert(1, "slice", np.array([n for numbers in taken for n in numbers], np.int64))
        return Listing(
            classes=classes,
            table=table,
            read=FileReader([paths[i] for i in file.tolist()]),
            signature=signature,
            task_type=self.task,
            kept=pd.DataFrame() if kept is None else kept.iloc[file].reset_index(drop=True),
            image_size=side_of_files(paths, rows=rule.rows) if self.image_size is None else None,
            volumes=rule if made.any() else None,
            notes=(*notes, *said, *_said_of_volumes(headers, rule)),
        )


def _said_of_volumes(headers: Headers, rule: VolumeRule) -> Iterable[str]:
    """What is taken of files with several slices or volumes."""
    if found := _several(headers.n_slices, "slices"):
        yield f"{found}: {rule.words} of each taken (field slices)"
    if rule.volume and (found := _several(headers.n_volumes, "volumes")):
        yield f"{found}: volume {rule.volume} of each taken (field volume)"


def _several(numbers: NDArray[np.int64], what: str) -> str:
    """How many files have several of something, and how many these have; empty if none has."""
    several = numbers[numbers > 1]
    if not len(several):
        return ""
    low, high = several.min(), several.max()
    found = f"{low}" if low == high else f"{low} to {high}"
    return f"{len(several)} file{'s' * (len(several) > 1)} with several {what} ({found})"


def groups_by_header(headers: Headers) -> tuple[list[str], tuple[str, ...]]:
    """Which files are of one patient as their headers say, and what to tell of it.

    Files that name no patient are kept together by series, which is always of one patient. One and
    the same id in all files that have any is a placeholder, as anonymizing leaves it, and no
    patient.

    Returns:
        The group of each file, "" where unknown; and notes.
    """
    notes: list[str] = []
    patient = _without_placeholder(headers.patient, "patient", notes)
    series = _without_placeholder(headers.series, "series", notes)
    patient_of = {s: p for s, p in zip(series, patient, strict=True) if s >= 0 and p >= 0}
    patient = [p if p >= 0 else patient_of.get(s, p) for s, p in zip(series, patient, strict=True)]
    groups = [
        f"patient {p}" if p >= 0 else f"series {s}" if s >= 0 else ""
        for s, p in zip(series, patient, strict=True)
    ]
    for kind in ("patient", "series"):
        of_kind = [group for group in groups if group.startswith(kind)]
        if of_kind:
            notes.append(
                f"{len(of_kind)} files are grouped by the {kind} in their header "
                f"({len(set(of_kind))} groups)"
            )
    return groups, tuple(notes)


def _without_placeholder(numbers: NDArray[np.int64], what: str, notes: list[str]) -> list[int]:
    """The numbers, unless all that are known are one; then none, and a note."""
    known = numbers[numbers >= 0]
    if len(known) > 1 and len(np.unique(known)) == 1:
        notes.append(
            f"all {len(known)} files that name a {what} in their header name the same one, which "
            "is taken for a placeholder"
        )
        return [-1] * len(numbers)
    return [int(number) for number in numbers]


class FileReader:
    """Reads the bytes of the n-th file."""

    def __init__(self, paths: Sequence[AnyFile]) -> None:
        self._paths = list(paths)

    def __call__(self, index: int) -> Content:
        """Bytes of file ``index``."""
        return read_file(self._paths[index])


def file_signature(paths: Sequence[AnyFile]) -> str:
    """A hash over names and states of files: changes whenever their content may have."""
    return sha256_of_chunks(os.fsencode(f"{path}\0{state_of_file(path)}\n") for path in paths)
