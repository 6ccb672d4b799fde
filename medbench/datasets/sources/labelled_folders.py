"""Folders of which all images are of one class, by what the folders above them are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from medbench.datasets.image_names import composed
from medbench.datasets.sources.folder_names import PATIENTS, innermost, is_numbered
from medbench.datasets.sources.image_files import Folder


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
        Labelled(folder=one, label=composed(one.last), group=composed(top.last) * patients)
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
