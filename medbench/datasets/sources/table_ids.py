"""Finds the DICOM files that a table names by an id in their headers instead of by their names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from medbench.datasets.findings import how_many
from medbench.datasets.headers import named_in_headers, tag_of
from medbench.datasets.sources.files import file_signature
from medbench.datasets.sources.image_files import image_folder
from medbench.datasets.sources.table_files import FoundFiles
from medbench.errors import DatasetError

HeaderId = Literal["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID"]
_SAMPLE = 40
"""Files whose ids are compared with the columns of a table, at even distances."""


@dataclass(frozen=True, kw_only=True)
class MatchedFiles:
    """The files of the rows of a table, one entry a file."""

    rows: list[int]
    """The row that names the file, counted from 0; rows are in order."""
    files: FoundFiles
    notes: tuple[str, ...]


def files_by_id(ids: Sequence[str], by: HeaderId, root: Path, *, table: str) -> MatchedFiles:
    """All files below a folder that have the id of a row in their header.

    Args:
        ids: The id of each row.
        by: Which one it is.
        root: The folder.
        table: The table, for messages; ids are in none.

    Raises:
        DatasetError: A row has no file.
    """
    files = image_folder(root).files()
    wanted = sorted(set(ids))
    paths = [path for _, path in files]
    numbers = np.array(named_in_headers(paths, file_signature(paths), by, wanted), np.int64)
    number_of = {text: i for i, text in enumerate(wanted)}
    of_number: dict[int, list[int]] = {}
    for file, number in enumerate(numbers.tolist()):
        of_number.setdefault(number, []).append(file)
    alone = [row for row, text in enumerate(ids) if number_of[text] not in of_number]
    if alone:
        raise DatasetError(
            f"{table}: {how_many(len(alone), 'row')} of {len(ids)}, first row {alone[0] + 1} of "
            f"those used, {'has' if len(alone) == 1 else 'have'} the {by} of no DICOM file in "
            f"{root}. Put their files there, name their folder in the field images (--images of "
            "datasets add), or leave the rows out (--where of datasets add)."
        )
    pairs = [(row, file) for row, text in enumerate(ids) for file in of_number[number_of[text]]]
    unused = len(of_number.get(-1, ()))
    return MatchedFiles(
        rows=[row for row, _ in pairs],
        files=FoundFiles(
            names=[files[file][0] for _, file in pairs],
            paths=[files[file][1] for _, file in pairs],
            otherwise={},
            several={},
        ),
        notes=(f"{how_many(unused, 'file')} with the {by} of no row: left out",) if unused else (),
    )


def id_column(
    rows: pd.DataFrame, root: Path, columns: Collection[str]
) -> tuple[str, HeaderId] | None:
    """A column that holds ids of headers, and which; None where there is none.

    Args:
        rows: The table.
        root: Where the files lie.
        columns: Those that may be it.
    """
    files = image_folder(root, follow=True).files()
    places = np.unique(np.linspace(0, len(files) - 1, min(_SAMPLE, len(files))).astype(int))
    paths = [files[i][1] for i in places.tolist()]
    ids = {by: {tag_of(path, by) for path in paths} - {""} for by in get_args(HeaderId)}
    best: tuple[float, str, HeaderId] | None = None
    for column in columns:
        values = set(rows[column])
        for by, there in ids.items():
            share = len(there & values) / max(len(there), 1)
            if share > 0 and (best is None or share > best[0]):
                best = share, column, by
    return None if best is None else best[1:]
