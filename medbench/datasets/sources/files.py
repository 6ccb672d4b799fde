"""Data sets that are files: what a class folder and a table have in common."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.findings import how_many
from medbench.datasets.headers import Headers, headers_of
from medbench.datasets.image_size import side_of_files
from medbench.datasets.inside import AnyFile, read_file, state_of_file
from medbench.datasets.listing import Listing
from medbench.datasets.readers import Content
from medbench.datasets.sources.base import Source
from medbench.datasets.sources.series import middle_of_series, told_series
from medbench.datasets.task import label_frame, membership
from medbench.datasets.volume_rule import SliceRule, VolumeNumber, VolumeRule
from medbench.errors import DatasetError
from medbench.hashes import sha256_of_chunks


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    """What the headers of files say, and the signature of all files that were looked at."""

    headers: Headers
    signature: str

    @classmethod
    def of(cls, names: Sequence[str], paths: Sequence[AnyFile]) -> LookedAt:
        """Look at files by their names relative to the data set, and their paths."""
        signature = file_signature(paths)
        return cls(headers=headers_of(paths, signature, names), signature=signature)


class FileSource(Source):
    """Image files of any format, each with a label."""

    slices: SliceRule = 1
    """What is taken of a file with several slices: so many in the middle, each by itself (also of a
    DICOM series of single files, of which all are taken where nothing is said); ``largest``, the
    slice with the largest foreground; ``planes``, the axial, coronal and sagittal one through the
    middle of a volume, each by itself; or ``montage 9``, so many at even distances in one
    picture."""
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
        looked_at: LookedAt | None = None,
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
            looked_at: What their headers say, where somebody looked at them already.
        """
        if looked_at is None:
            looked_at = LookedAt.of(names, paths)
        signature, headers = looked_at.signature, looked_at.headers
        if not isinstance(labels, np.ndarray):
            labels = np.array([classes.index(label) for label in labels], dtype=np.int64)
        pictures, said = are_pictures(headers)
        _refuse_lost(labels, pictures, classes, said)
        if "slices" in self.model_fields_set and isinstance(self.slices, int):
            middle, more = middle_of_series(headers.of(pictures), labels[pictures], self.slices)
            pictures[np.flatnonzero(pictures)[~middle]] = False
        else:
            more = tuple(told_series(headers.of(pictures)))
        said += more
        told = [*without_patients(notes, names, headers.names), *said]
        if groups is None:
            groups, said = groups_by_header(headers.of(pictures))
            told += said
        else:
            groups = [group for group, is_one in zip(groups, pictures, strict=True) if is_one]
        if not isinstance(splits, str):
            splits = [split for split, is_one in zip(splits, pictures, strict=True) if is_one]
        files = [path for path, is_one in zip(paths, pictures, strict=True) if is_one]
        labels, headers = labels[pictures], headers.of(pictures)
        of_files = pd.concat(
            [
                pd.DataFrame({"origin": headers.names}),
                label_frame(labels),
                pd.DataFrame({"group": groups, "split": splits}),
            ],
            axis=1,
        )
        rule = VolumeRule(slices=self.slices, volume=self.volume)
        taken = [rule.numbers(n) for n in headers.n_slices.tolist()]
        made = (headers.n_slices > 1) | (headers.n_volumes > 1)
        file = np.repeat(np.arange(len(taken)), [len(numbers) for numbers in taken])
        shown = np.flatnonzero(pictures)[file]
        table = of_files.iloc[file].reset_index(drop=True)
        table.insert(1, "slice", np.array([n for numbers in taken for n in numbers], np.int64))
        return Listing(
            classes=classes,
            table=table,
            read=FileReader([files[i] for i in file.tolist()]),
            signature=signature,
            task_type=self.task,
            kept=pd.DataFrame() if kept is None else kept.iloc[shown].reset_index(drop=True),
            image_size=side_of_files(files, rows=rule.rows) if self.image_size is None else None,
            volumes=rule if made.any() else None,
            header_fields=headers.fields.iloc[file].reset_index(drop=True),
            first_folders=_first_folders(names, looked_at.headers.names),
            notes=(*told, *_said_of_volumes(headers, rule)),
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


def are_pictures(headers: Headers) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Which files hold pictures, as their headers say; and a note on the others.

    Where none does, all are taken for pictures, so that each is read or refused by what it is.
    """
    pictures = headers.kind == ""
    counts = Counter(headers.kind[~pictures].tolist())
    if not counts or not pictures.any():
        return np.ones(len(pictures), np.bool_), ()
    kinds = ", ".join(how_many(n, kind) for kind, n in counts.most_common())
    return pictures, (f"left out by what their headers say that they are: {kinds}",)


def are_patients(labels: Sequence[str], patients: Iterable[int]) -> bool:
    """Whether each label is one patient's, and not all of them are of the same.

    Args:
        labels: Of each file.
        patients: Opaque number of its patient, -1 where unknown.
    """
    pairs = {(own, who) for own, who in zip(labels, patients, strict=True) if own and who >= 0}
    n_patients = len({who for _, who in pairs})
    return n_patients > 1 and len(pairs) == len({own for own, _ in pairs}) == len({*labels} - {""})


def _refuse_lost(
    labels: NDArray[np.int64],
    pictures: NDArray[np.bool_],
    classes: Sequence[str],
    notes: Iterable[str],
) -> None:
    """Refuse a class that has no file but those that are left out.

    Raises:
        DatasetError: There is one.
    """
    shown = membership(labels, len(classes))
    lost = shown.any(axis=0) & ~shown[pictures].any(axis=0)
    if lost.any():
        names = ", ".join(repr(classes[k]) for k in np.flatnonzero(lost).tolist())
        raise DatasetError(
            f"no file of class {names} holds a picture ({'; '.join(notes)}). List the classes to "
            "use in the field classes of the entry, or add pictures."
        )


def _first_folders(names: Iterable[str], shown: Iterable[str]) -> frozenset[str]:
    """The first parts of the names of files, if patients are kept out of any."""
    pairs = [(name, other) for name, other in zip(names, shown, strict=True) if name != other]
    return frozenset(name.partition("/")[0] for name, _ in pairs)


def without_patients(
    notes: Iterable[str], names: Iterable[str], shown: Iterable[str]
) -> Iterable[str]:
    """Notes in which folders and files that are called as their patients are have their numbers.

    Args:
        notes: What is to be said.
        names: Files by their real names.
        shown: The same files without patients.
    """
    numbered = {
        real: number
        for name, other in zip(names, shown, strict=True)
        if name != other
        for real, number in zip(name.split("/"), other.split("/"), strict=True)
        if real != number
    }
    for note in notes:
        for real in sorted((real for real in numbered if real in note), key=len, reverse=True):
            note = note.replace(real, numbered[real])
        yield note


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


def joined(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Groups that keep together what either of two groupings does.

    Args:
        first: The group of each file, "" where unknown.
        second: Likewise.
    """
    above: dict[tuple[int, str], tuple[int, str]] = {}

    def top(of: tuple[int, str]) -> tuple[int, str]:
        while (up := above.setdefault(of, of)) != of:
            above[of], of = above[up], up
        return of

    for one, other in zip(first, second, strict=True):
        if one and other:
            above[top((1, other))] = top((0, one))
    tops = [top((0, one) if one else (1, other)) for one, other in zip(first, second, strict=True)]
    return [f"{which} {group}" if group else "" for which, group in tops]


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
