"""A folder with one sub-folder of images per class."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from medbench.datasets.csv_files import SPLIT_WORDS, group_name, read_csv
from medbench.datasets.listing import Listing
from medbench.datasets.sources.base import check_classes, check_order
from medbench.datasets.sources.files import FileSource, files_below, ignored
from medbench.datasets.sources.words import Text
from medbench.errors import DatasetError


class GroupTable(BaseModel):
    """A CSV that says which images belong to one patient."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    table: str
    """Path of the CSV."""
    file: str = "file"
    """Column with the image's path relative to the data set's folder."""
    group: str = "group"
    """Column with the patient, lesion or scan."""


class FolderSource(FileSource):
    """``path/CLASS/image``, at any depth below the class folder."""

    source: str = "folder"
    path: str
    classes: tuple[Text, ...] | None = None
    """Class folders to use and their order (the last is the positive of two); default all."""
    groups: GroupTable | None = None
    exclude: tuple[str, ...] = ()
    """Patterns of relative file names to leave out, for example ``masks/*``."""

    @model_validator(mode="after")
    def _has_order(self) -> Self:
        check_order(self.task, self.classes)
        return self

    def paths(self) -> dict[str, str]:
        """See ``Source.paths``; with the table of groups."""
        groups = {} if self.groups is None else {"groups": self.groups.table}
        return super().paths() | groups

    def list_images(self, found: Mapping[str, Path]) -> Listing:
        """Every file that is not hidden below a class folder, in the order of the names."""
        root = found["path"]
        if not root.is_dir():
            raise DatasetError(f"{root}: not a folder. Use source: table or npz for a file.")
        folders = sorted(p for p in root.iterdir() if p.is_dir() and not ignored(p.name))
        if folders and all(folder.name.lower() in SPLIT_WORDS for folder in folders):
            raise DatasetError(
                f"{root}: its folders are called {', '.join(f.name for f in folders)}, which are "
                "parts of a split, not classes. Name one of them, or write a table (CSV) with the "
                "columns file, label and split for datasets add."
            )
        if self.classes is not None:
            folders = [folder for folder in folders if folder.name in self.classes]
        paths: dict[str, Path] = {}
        labels: list[str] = []
        for folder in folders:
            below = files_below(root, folder.name)
            files = {name: path for name, path in below.items() if not self._excluded(name)}
            if not files:
                raise DatasetError(
                    f"{folder}: this class folder has no images. "
                    "Fill it, remove it, or list the classes to use in the field classes."
                )
            paths |= files
            labels += [folder.name] * len(files)
        classes = check_classes(labels, self.classes, named_in=str(root))
        names = list(paths)
        groups = None if self.groups is None else _group_of(self.groups, found["groups"], names)
        return self.list_files(
            classes=classes, names=names, paths=list(paths.values()), labels=labels, groups=groups
        )

    def _excluded(self, name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.exclude)


def _group_of(groups: GroupTable, path: Path, names: Sequence[str]) -> list[str]:
    """The group of each image, as the table at ``path`` has it.

    Raises:
        DatasetError: It lacks a column or an image, or names one twice.
    """
    rows = read_csv(path)
    for column in (groups.file, groups.group):
        if column not in rows.columns:
            raise DatasetError(
                f"{path}: has no column {column!r}. Columns: {', '.join(rows.columns)}."
            )
    files = rows[groups.file]
    if files.duplicated().any():
        twice = files[files.duplicated()].iloc[0]
        raise DatasetError(f"{path}: file {twice!r} is named in two rows. Keep one of them.")
    group_of = dict(zip(files, map(group_name, rows[groups.group]), strict=True))
    if missing := [name for name in names if name not in group_of]:
        raise DatasetError(
            f"{path}: names no group for {len(missing)} images, first {missing[0]!r}. "
            "Add a row for each, or exclude them."
        )
    return [group_of[name] for name in names]
