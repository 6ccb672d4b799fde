"""Folders of which all images are of one class, by what the folders above them are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from medbench.datasets.csv_files import SPLIT_WORDS
from medbench.datasets.image_names import composed
from medbench.datasets.sources.folder_names import PATIENTS, innermost, is_code, is_numbered, listed
from medbench.datasets.sources.image_files import Folder
from medbench.errors import DatasetError

_WORDS = "|".join(SPLIT_WORDS)
_PART_IN_NAME = re.compile(
    rf"(?P<part>{_WORDS})[\W_]+(?P<label>.+)|(?P<name>.+?)[\W_]+(?P<end>{_WORDS})", re.IGNORECASE
)
_VISIT = re.compile(r"(?:study|visit|session|ses|scan|exam|series)[\W_]*\d+[\W_]+", re.IGNORECASE)
"""Before the class in the name of a folder in that of a patient: study1_positive."""
_LEAST_CODES = 5
"""Folders in each class folder that are called by numbers, if they are patients."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A folder of which all images are of one class."""

    folder: Folder
    label: str
    split: str = ""
    """"train", "val" or "test" where a folder says so."""
    group: str = ""
    """The folder of a patient."""


def as_classes(tops: Iterable[Folder]) -> list[Labelled]:
    """Each folder is a class."""
    return [Labelled(folder=top, label=composed(top.last)) for top in tops if top.n_images]


def as_paths(tops: Iterable[Folder]) -> list[Labelled]:
    """Each folder in each of them is a class of its own; so is one that holds no folders."""
    parts = []
    for top in tops:
        inner = innermost(top).filled or [top]
        parts += [
            Labelled(
                folder=one,
                label=composed(top.last if one is top else f"{top.last}/{one.last}"),
            )
            for one in inner
        ]
    return parts


def as_parts(tops: Iterable[Folder], *, patients: bool) -> list[Labelled]:
    """The folders in them are the classes, whichever they lie in; each may be a patient."""
    return [
        Labelled(
            folder=one,
            label=composed((_VISIT.sub("", one.last, count=1) if patients else "") or one.last),
            group=composed(top.last) * patients,
        )
        for top in tops
        for one in innermost(top).filled
    ]


def as_patients(tops: Sequence[Folder]) -> list[Labelled]:
    """Each is a class in which all folders are called as patients are; nothing where not so."""
    inner = {top.name: innermost(top) for top in tops}
    if any(folder.images or not folder.filled for folder in inner.values()):
        return []
    parts = [
        Labelled(folder=one, label=composed(top.last), group=composed(one.last))
        for top in tops
        for one in inner[top.name].filled
    ]
    return parts if all(is_numbered(part.group, PATIENTS) for part in parts) else []


def as_codes(tops: Sequence[Folder], *, few: bool) -> list[Labelled]:
    """Each is a class in which all folders are called by numbers; nothing where not so.

    Args:
        tops: The folders.
        few: Whether a few of them suffice, as in the test part where the training part has many.
    """
    parts = []
    for top in tops:
        coded = _coded(top)
        if len(coded) < (1 if few else _LEAST_CODES):
            return []
        label = composed(top.last)
        parts += [Labelled(folder=f, label=label, group=composed(f.last)) for f in coded]
    return parts if len({part.group for part in parts}) == len(parts) else []


def _coded(folder: Folder) -> list[Folder]:
    """The first folders below that are called by numbers; nothing if images lie in no such."""
    found: list[Folder] = []
    pending = [folder]
    while pending:
        above = pending.pop()
        if above.images:
            return []
        for one in above.filled:
            (found if is_code(one.last) else pending).append(one)
    return found


def as_split_in_names(tops: Iterable[Folder]) -> list[Labelled] | None:
    """Classes in whose names is the part of a split, as train_benign; None where not so."""
    parts = []
    for top in tops:
        if (match := _PART_IN_NAME.fullmatch(top.last)) is None:
            return None
        split = SPLIT_WORDS[(match["part"] or match["end"]).lower()]
        label = composed(match["label"] or match["name"])
        parts.append(Labelled(folder=top, label=label, split=split))
    of = {split: {p.label for p in parts if p.split == split} for split in ("train", "val", "test")}
    whole = len(of["train"]) > 1 and of["test"] and of["val"] | of["test"] <= of["train"]
    return parts if whole else None


def refuse_other_classes(
    found: Mapping[str, Sequence[Labelled]], classes: Collection[str], *, wanted: Collection[str]
) -> None:
    """Refuse a part of a split with classes that are not among those that can be learnt.

    Args:
        found: What lies in each part.
        classes: The classes of the training part.
        wanted: The classes that a person named; empty where all are meant.

    Raises:
        DatasetError: There is one, and it is no mere folder of images without labels.
    """
    for name, parts in found.items():
        labels = {p.label for p in parts if not wanted or p.label in wanted}
        other = sorted(labels - set(classes))
        if other and len(labels) > 1:
            raise DatasetError(
                f"{name}/ has the class folders {listed(other)}, which are not among those of "
                f"the training part ({listed(sorted(classes))}). Give each class the same "
                "name in all parts, or list those to use in the field classes."
            )
