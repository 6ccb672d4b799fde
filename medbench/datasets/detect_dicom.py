"""What a tree of DICOM files holds, and which element of their headers may be the label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medbench.datasets.findings import how_many
from medbench.datasets.headers import Headers, values_of
from medbench.datasets.sources.dicomdir import files_of_dicomdir, is_dicomdir
from medbench.datasets.sources.files import LookedAt, are_patients, are_pictures
from medbench.datasets.sources.folder_meaning import meaning
from medbench.datasets.sources.image_files import image_folder
from medbench.datasets.spellings import counted
from medbench.errors import DatasetError, UndecidedError

_SAMPLE = 500
"""Files that are looked at, at even distances."""
_CANDIDATES = (
    "SeriesDescription", "StudyDescription", "ProtocolName", "Modality", "BodyPartExamined",
    "ViewPosition", "ImageType", "PatientSex", "Laterality", "SequenceName",
    "ManufacturerModelName",
)  # fmt: skip
_MOST_CLASSES = 30


def refuse_undecided_label(path: Path) -> None:
    """Ask for the label of a tree of DICOM files whose folders are no classes.

    Args:
        path: A folder or a DICOMDIR.

    Raises:
        UndecidedError: It is one; says what was understood, and which elements may be the label.
        DatasetError: The DICOMDIR cannot be read.
    """
    files = (
        files_of_dicomdir(path)[0] if is_dicomdir(path) else image_folder(path, follow=True).files()
    )
    places = np.unique(np.linspace(0, len(files) - 1, min(_SAMPLE, len(files))).astype(int))
    names, paths = ([files[i][k] for i in places.tolist()] for k in (0, 1))
    looked_at = LookedAt.of(names, paths)
    headers = looked_at.headers
    n_dicom = int((headers.fields >= 0).any(axis=1).sum())
    if 2 * n_dicom <= len(names) or (path.is_dir() and _in_class_folders(path, names, headers)):
        return
    pictures, notes = are_pictures(headers)
    said = {
        keyword: Counter(
            value
            for value, is_one in zip(
                values_of(paths, looked_at.signature, keyword), pictures, strict=True
            )
            if is_one and value
        )
        for keyword in _CANDIDATES
    }
    choices = {
        keyword: counted(counts)
        for keyword, counts in said.items()
        if 2 <= len(counts) <= _MOST_CLASSES and 2 * counts.total() > pictures.sum()
    }
    if not choices:
        return
    n_patients, n_series = (
        len(set(numbers[pictures].tolist()) - {-1}) for numbers in (headers.patient, headers.series)
    )
    raise UndecidedError(
        f"{path}: DICOM files in folders that are no classes. Of {len(files):,} files "
        f"{len(names):,} were looked at: {how_many(n_patients, 'patient')}, {n_series:,} series, "
        f"modality {counted(said['Modality']) or 'not said'}{''.join(f'; {n}' for n in notes)}. "
        "Which element of their headers has the label? (In an entry it is label: {tag: ...}; "
        "--folders instead says what the folders are, and labels may be in a table, too.)",
        field="label",
        choices=choices,
    )


def _in_class_folders(path: Path, names: Sequence[str], headers: Headers) -> bool:
    """Whether the names of folders tell classes, and not the patients or nothing."""
    try:
        parts = meaning(image_folder(path)).parts
    except DatasetError:
        return False
    label_of = {name: part.label for part in parts for name, _ in part.folder.files()}
    labels = [label_of.get(name, "") for name in names]
    return len({part.label for part in parts}) > 1 and not are_patients(labels, headers.patient)
