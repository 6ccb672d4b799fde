"""A folder of images whose class is said by the folders in it, or by the names of the files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from medbench.datasets.csv_files import group_name
from medbench.datasets.findings import how_many
from medbench.datasets.headers import tag_of
from medbench.datasets.image_names import (
    EXCLUDED,
    LeftOut,
    augmented,
    composed,
    paired_suffix,
    stem_of,
)
from medbench.datasets.listing import Listing
from medbench.datasets.sources.base import check_classes, check_order, leads_to_folder
from medbench.datasets.sources.dicomdir import files_of_dicomdir, is_dicomdir
from medbench.datasets.sources.files import (
    FileSource,
    LookedAt,
    are_patients,
    groups_by_header,
    joined,
)
from medbench.datasets.sources.folder_meaning import MODES, Meaning, meaning
from medbench.datasets.sources.folder_names import tables_in
from medbench.datasets.sources.image_files import Folder, image_folder
from medbench.datasets.sources.labelled_folders import Labelled
from medbench.datasets.sources.name_labels import (
    NamedSo,
    NameLabels,
    proposed_pattern,
    said_by_names,
)
from medbench.datasets.sources.table_columns import column_called
from medbench.datasets.sources.table_reading import read_table
from medbench.datasets.sources.tag_labels import TagLabel, labels_of_tag
from medbench.datasets.sources.words import Text
from medbench.datasets.spellings import counted, refuse_spellings
from medbench.errors import DatasetError, UndecidedError
from medbench.names import as_text

_FIRST = 10
"""Files that are looked into to see whether an error is about DICOM files."""


class GroupTable(BaseModel):
    """A table that says which images belong to one patient."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    table: str
    """Path of the table."""
    file: Text = "file"
    """Column with the image's path relative to the data set's folder."""
    group: Text = "group"
    """Column with the patient, lesion or scan."""


class FolderSource(FileSource):
    """``path/CLASS/image`` or ``path/train/CLASS/image``, at any depth below the class folder.

    With ``labels`` the names of the files say the class instead, and folders mean nothing; with
    ``label`` the headers of DICOM files do, in any tree.
    """

    source: str = "folder"
    path: str
    """The folder, below a data folder or absolute; or a DICOMDIR, which names the files that are
    used."""
    label: TagLabel | None = None
    """Where the labels are, if not in the names of folders: an element of DICOM headers, as
    ``{tag: SeriesDescription}``."""
    classes: tuple[Text, ...] | dict[Text, Text | tuple[Text, ...]] | None = None
    """Class folders to use and their order (the last is the positive of two); default all. Of
    ``label`` its values, or a mapping that gives each class the pattern (or patterns) of its
    values, as ``T2*``: the longest that fits decides, and what none fits is left out and counted.
    """
    labels: NameLabels | None = None
    """Where the names of the files say the classes: a pattern that fits each of them, as in
    ``labels: {pattern: "(?P<label>[a-z]+)_.*"}``."""
    groups: GroupTable | None = None
    """A table of which images belong to one patient."""
    exclude: tuple[str, ...] = ()
    """Patterns of relative file names to leave out, for example ``masks/*``."""
    include: tuple[str, ...] = ()
    """Patterns of relative file names that are images whatever they are called, for example
    ``*_mask.png``."""
    folders: str = ""
    """What the folders in it are, where names do not tell it: ``classes``; ``parts`` of one set or
    ``patients``, in which the folders are the classes; ``paths``, where each folder in each is a
    class of its own; or the one folder that is used, as ``original/``."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_order(self.task, self.classes)
        if self.labels is not None and self.folders:
            raise ValueError("folders says what folders are, and with labels they mean nothing")
        if self.labels is not None and self.groups is not None and self.labels.says_group:
            raise ValueError("groups and the pattern of labels both say the patients; keep one")
        if self.labels is not None and self.label is not None:
            raise ValueError("label and labels both say where the labels are; keep one")
        if self.label is None and isinstance(self.classes, dict):
            raise ValueError("classes maps patterns to classes, which only labels of a tag have")
        if self.label is not None and self.folders:
            raise ValueError("folders says what folders are, and label takes no label from them")
        return self

    def paths(self) -> dict[str, str]:
        """See ``Source.paths``; with the table of groups."""
        groups = {} if self.groups is None else {"groups": self.groups.table}
        return super().paths() | groups

    def list_images(self, found: Mapping[str, Path]) -> Listing:
        """Every file that may be an image, in the order of class folders and names.

        Raises:
            UndecidedError: A person must say what the folders are.
            DatasetError: There are no classes, a name does not fit the pattern of ``labels``, or
                something cannot be read.
        """
        root = found["path"]
        if self.label is not None or is_dicomdir(root):
            return self._by_tag(root, found)
        if not root.is_dir():
            raise DatasetError(f"{root}: not a folder. Use source: table or npz for a file.")
        wanted = None if self.classes is None else tuple(map(composed, tuple(self.classes)))
        whole = image_folder(
            root, only=self._only(root, wanted), include=self.include, exclude=self.exclude
        )
        files, said, notes = (
            self._by_folders(whole, root, wanted)
            if self.labels is None
            else _by_names(whole, root, wanted, self.labels)
        )
        names = [name for name, _ in files]
        labels = [one.label for one in said]
        notes += self._said_of_names(names, whole.left_out)
        groups = [one.group for one in said] if any(one.group for one in said) else None
        try:
            classes = check_classes(labels, wanted, named_in=str(root))
        except DatasetError as error:
            found_there = "; ".join(notes)
            raise DatasetError(
                f"{error} What was found there: {found_there or 'nothing'}.{tables_in(root)}"
                f"{self._instead_of_folders(whole)}"
            ) from error
        paths = [path for _, path in files]
        looked_at = LookedAt.of(names, paths)
        if self.groups is not None:
            groups = _group_of(self.groups, found["groups"], names)
        elif groups is not None and any(of_headers := groups_by_header(looked_at.headers)[0]):
            groups = joined(groups, of_headers)
            notes.append(
                "images of one patient, as headers say, are one group, whatever folders they lie in"
            )
        decided = self.folders or self.classes or self.labels is not None
        if not decided and are_patients(labels, looked_at.headers.patient):
            raise UndecidedError(
                f"{root}: each of its {len(classes)} class folders has the images of one patient, "
                "as the headers say, so these are patients and no classes."
                f"{_labels_in_headers(whole)}",
                field="folders",
                choices={"classes": MODES["classes"]},
            )
        return self.list_files(
            classes=classes,
            names=names,
            paths=paths,
            labels=labels,
            groups=groups,
            splits=[one.split for one in said],
            notes=tuple(notes),
            looked_at=looked_at,
        )

    def _by_tag(self, root: Path, found: Mapping[str, Path]) -> Listing:
        """The DICOM files whose headers have a label, wherever they lie."""
        if self.label is None:
            raise DatasetError(
                f"{root}: a DICOMDIR has no labels. Say in the field label which element of the "
                "headers has them, as label: {tag: SeriesDescription}."
            )
        notes: list[str] = []
        if is_dicomdir(root):
            files, notes = files_of_dicomdir(root)
        else:
            whole = image_folder(root, include=self.include, exclude=self.exclude)
            files = whole.files()
            notes += self._said_of_names([name for name, _ in files], whole.left_out)
        if not files:
            raise DatasetError(f"{root}: no files that may be images ({'; '.join(notes)}).")
        labelled = labels_of_tag(
            files, self.label, task=self.task, classes=self.classes, named_in=str(root)
        )
        return self.list_files(
            classes=labelled.classes,
            names=labelled.names,
            paths=labelled.paths,
            labels=labelled.labels,
            groups=_group_of(self.groups, found["groups"], labelled.names) if self.groups else None,
            notes=(*notes, *labelled.notes),
            looked_at=labelled.looked_at,
        )

    def _by_folders(
        self, whole: Folder, root: Path, wanted: Sequence[str] | None
    ) -> tuple[list[tuple[str, str]], Sequence[Labelled], list[str]]:
        """Name and path of each image, what the folder that it lies in says of it, and notes."""
        meant = self._meaning(whole, root, wanted or ())
        files: list[tuple[str, str]] = []
        said: list[Labelled] = []
        for part in meant.parts:
            if wanted is None or part.label in wanted:
                in_part = part.folder.files()
                files += in_part
                said += [part] * len(in_part)
        return files, said, list(meant.notes)

    def _meaning(self, whole: Folder, root: Path, wanted: Sequence[str]) -> Meaning:
        try:
            return meaning(whole, decided=self.folders, classes=wanted)
        except UndecidedError as error:
            raise UndecidedError(
                f"{error.question}{_labels_in_headers(whole)}",
                field="folders",
                choices=error.choices,
            ) from error
        except DatasetError as error:
            hints = f"{tables_in(root)}{self._instead_of_folders(whole)}"
            raise DatasetError(f"{error}{hints}") from error

    def _instead_of_folders(self, whole: Folder) -> str:
        """A sentence on headers or names of files that may say the classes, if any do; else ""."""
        in_headers = _labels_in_headers(whole)
        if self.labels is not None or self.folders or self.classes is not None:
            return in_headers
        return in_headers + proposed_pattern([name for name, _ in whole.files()])

    def _said_of_names(self, names: Sequence[str], left_out: LeftOut) -> list[str]:
        """Notes on what is left out, and on images that may have been made of others."""
        notes = []
        if said := str(left_out):
            remedy = " (the field include takes some in)" * left_out.recoverable
            notes.append(f"left out: {said}{remedy}")
        if self.exclude and not left_out.counts[EXCLUDED]:
            notes.append(
                f"no file is called as the field exclude has it: {', '.join(self.exclude)}"
            )
        if turned := augmented(names):
            notes.append(
                f"{len(turned)} images are called as augmented copies (aug, flip, rot): if they "
                "were made of the others, leave them out with the field exclude, or they may be "
                "on both sides of a split"
            )
        suffix, n_pairs = paired_suffix({stem_of(name.rpartition("/")[2]) for name in names})
        if suffix:
            notes.append(
                f"{n_pairs} images are called as another one and {suffix!r}: if they were made of "
                f"the others, leave them out with the field exclude ('*{suffix}.*')"
            )
        return notes

    def _only(self, root: Path, wanted: Sequence[str] | None) -> Sequence[str] | None:
        """The folders that are looked at: where they are named as the classes, no others."""
        if wanted is None or self.folders or self.labels is not None:
            return None
        folders = filter(leads_to_folder, os.scandir(root))
        here = {composed(as_text(entry.name)) for entry in folders}
        return wanted if set(wanted) <= here else None


def _by_names(
    whole: Folder, root: Path, wanted: Sequence[str] | None, labels: NameLabels
) -> tuple[list[tuple[str, str]], Sequence[NamedSo], list[str]]:
    """Name and path of each image, what its name says, and notes.

    Raises:
        DatasetError: A name does not fit, or labels differ in capitals or blanks only.
    """
    files = whole.files()
    said = said_by_names([name for name, _ in files], labels, root)
    counts = Counter(one.label for one in said)
    refuse_spellings(counts, wanted or (), named_in=f"{root}: the labels in the names")
    if wanted is None:
        return files, said, []
    left = {label: n for label, n in counts.items() if label not in wanted}
    kept = [k for k, one in enumerate(said) if one.label in wanted]
    notes = [
        f"{how_many(sum(left.values()), 'image')} with labels that the field classes does not "
        f"list left out: {counted(left)}"
    ]
    return [files[k] for k in kept], [said[k] for k in kept], notes * bool(left)


def _labels_in_headers(whole: Folder) -> str:
    """A sentence on labels in DICOM headers, if one of the first files has one; else nothing."""
    if not any(tag_of(path, "Modality") for _, path in whole.files()[:_FIRST]):
        return ""
    return (
        " If an element of the DICOM headers has the label, name it in the field label (--label of "
        "datasets add), as label: {tag: SeriesDescription}."
    )


def _group_of(groups: GroupTable, path: Path, names: Sequence[str]) -> list[str]:
    """The group of each image, as the table at ``path`` has it.

    Raises:
        DatasetError: It lacks a column or an image, or names one twice.
    """
    rows = read_table(path).rows
    file, group = (
        column_called(rows, name, table=path, said_in="the fields file and group of groups")
        for name in (groups.file, groups.group)
    )
    files = rows[file]
    if files.duplicated().any():
        twice = files[files.duplicated()].iloc[0]
        raise DatasetError(f"{path}: file {twice!r} is named in two rows. Keep one of them.")
    group_of = dict(zip(files, map(group_name, rows[group]), strict=True))
    if missing := [name for name in names if name not in group_of]:
        raise DatasetError(
            f"{path}: names no group for {len(missing)} images, first {missing[0]!r}. "
            "Add a row for each, or exclude them."
        )
    return [group_of[name] for name in names]
