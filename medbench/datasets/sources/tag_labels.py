"""Labels that stand in the headers of DICOM files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict

from medbench.datasets.headers import values_of
from medbench.datasets.readers.dicom_tags import label_keyword
from medbench.datasets.sources.files import LookedAt, are_pictures
from medbench.datasets.sources.table_labels import LabelRules, TableTask, read_labels
from medbench.datasets.sources.words import Text
from medbench.errors import DatasetError


class TagLabel(BaseModel):
    """An element of DICOM headers that holds the labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tag: Annotated[Text, AfterValidator(label_keyword)]
    """Its keyword or number: ``SeriesDescription``, ``(0008,103E)``. None that may name a person, a
    place, a time or a case."""


@dataclass(frozen=True, kw_only=True)
class LabelledFiles:
    """The files that are pictures and have a label, one entry each."""

    names: list[str]
    paths: list[str]
    labels: list[str]
    classes: tuple[str, ...]
    """All classes in their order."""
    notes: tuple[str, ...]
    looked_at: LookedAt


def labels_of_tag(
    files: Sequence[tuple[str, str]],
    label: TagLabel,
    *,
    task: TableTask,
    classes: tuple[str, ...] | dict[str, str | tuple[str, ...]] | None,
    named_in: str,
) -> LabelledFiles:
    """The label that an element of each header has, by the rules that a table's column has.

    Spellings that differ in case, blanks or number format only are one class, and files without a
    value are left out; both are said.

    Args:
        files: Name relative to the data set, and path, of each.
        label: The element.
        task: What an image shows.
        classes: As the field of the entry.
        named_in: Where they lie, for messages.

    Raises:
        DatasetError: No file has the element, or a class has no image.
    """
    names, paths = [name for name, _ in files], [path for _, path in files]
    looked_at = LookedAt.of(names, paths)
    pictures, notes = are_pictures(looked_at.headers)
    values = np.array(values_of(paths, looked_at.signature, label.tag), object)
    if not (values[pictures] != "").any():
        raise DatasetError(
            f"{named_in}: none of its {pictures.sum():,} files says {label.tag} in a DICOM header. "
            "Name another element in the field label."
        )
    rules = LabelRules(
        columns=(label.tag,),
        task=task,
        task_is_written=True,
        separator=None,
        spelling="merge",
        unlabelled="skip",
        classes=classes,
        table=f"{named_in}: {label.tag} in DICOM headers",
    )
    here = looked_at.headers.of(pictures)
    read = read_labels(pd.DataFrame({label.tag: values[pictures]}), rules, here.names.tolist())
    labelled = np.flatnonzero(pictures)[[own is not None for own in read.shown]]
    kept = np.isin(np.arange(len(files)), labelled)
    headers = looked_at.headers.of(kept)
    return LabelledFiles(
        names=[names[i] for i in labelled],
        paths=[paths[i] for i in labelled],
        labels=[own[0] for own in read.shown if own is not None],
        classes=read.classes,
        notes=(*notes, *(note.replace(" rows ", " files ") for note in read.notes)),
        looked_at=LookedAt(headers=headers.without_field(label.tag), signature=looked_at.signature),
    )
