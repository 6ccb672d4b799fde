"""A folder with one sub-folder of images per class."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, model_validator

from medbench.datasets.csv_files import SPLIT_WORDS, group_name, read_csv
from medbench.datasets.listing import Content, Listing
from medbench.datasets.sources.base import Source, check_classes, check_order, inside
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


class FolderSource(Source):
    """``path/CLASS/image``, at any depth below the class folder."""

    source: str = "folder"
    path: str
    classes: tuple[str, ...] | None = None
    """Class folders to use and their order (the last is the positive of two); default all."""
    groups: GroupTable | None = None
    exclude: tuple[str, ...] = ()
    """Patterns of relative file names to leave out, for example ``masks/*``."""

    @model_validator(mode="after")
    def _has_order(self) -> Self:
        check_order(self.task, self.classes)
        return self

    def listing(self) -> Listing:
        """Every file that is not hidden below a class folder, in the order of the names."""
        root = self.locate(self.path)
        if not root.is_dir():
            raise DatasetError(f"{root}: not a folder. Use source: table or npz for a file.")
        folders = sorted(p for p in root.iterdir() if p.is_dir() and not _ignored(p.name))
        if folders and all(folder.name.lower() in SPLIT_WORDS for folder in folders):
            raise DatasetError(
                f"{root}: its folders are called {', '.join(f.name for f in folders)}, which are "
                "parts of a split, not classes. Name one of them, or write a table (CSV) with the "
                "columns file, label and split for datasets add."
            )
        if self.classes is not None:
            folders = [folder for folder in folders if folder.name in self.classes]
        names: list[str] = []
        labels: list[str] = []
        for folder in folders:
            files = [name for name in files_below(folder, root) if not self._excluded(name)]
            if not files:
                raise DatasetError(
                    f"{folder}: this class folder has no images. "
                    "Fill it, remove it, or list the classes to use in the field classes."
                )
            names += files
            labels += [folder.name] * len(files)
        classes = check_classes(labels, self.classes, named_in=str(root))
        paths = [inside(root, name, named_in=str(root)) for name in names]
        table = pd.DataFrame(
            {
                "origin": names,
                "label": pd.Series([classes.index(label) for label in labels], dtype="int64"),
                "group": self._group_of(names),
                "split": "",
            }
        )
        return Listing(
            classes=classes,
            table=table,
            read=FileReader(paths),
            signature=file_signature(paths),
            kind=self.task,
        )

    def reads(self) -> list[Path]:
        """See ``Source.reads``; with the table of groups."""
        table = self.find(self.groups.table) if self.groups is not None else None
        return [*super().reads(), *([table] if table is not None else [])]

    def _excluded(self, name: str) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in self.exclude)

    def _group_of(self, names: Sequence[str]) -> list[str]:
        """The group of each image; "" where there is no table of them."""
        if self.groups is None:
            return [""] * len(names)
        path = self.locate(self.groups.table)
        rows = read_csv(path)
        for column in (self.groups.file, self.groups.group):
            if column not in rows.columns:
                raise DatasetError(
                    f"{path}: has no column {column!r}. Columns: {', '.join(rows.columns)}."
                )
        files = rows[self.groups.file]
        if files.duplicated().any():
            twice = files[files.duplicated()].iloc[0]
            raise DatasetError(f"{path}: file {twice!r} is named in two rows. Keep one of them.")
        group_of = dict(zip(files, map(group_name, rows[self.groups.group]), strict=True))
        if missing := [name for name in names if name not in group_of]:
            raise DatasetError(
                f"{path}: names no group for {len(missing)} images, first {missing[0]!r}. "
                "Add a row for each, or exclude them."
            )
        return [group_of[name] for name in names]


class FileReader:
    """Reads the bytes of the n-th file."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)

    def __call__(self, index: int) -> Content:
        """Bytes of file ``index``."""
        return self._paths[index].read_bytes()


def files_below(folder: Path, root: Path) -> list[str]:
    """Names relative to ``root``, with '/', of all files below ``folder`` that are not hidden.

    Raises:
        DatasetError: A folder cannot be read, or a link leads to a folder or nowhere; nothing
            is passed over in silence.
    """

    def refuse(error: OSError) -> None:
        raise DatasetError(
            f"{error.filename}: this folder cannot be read ({error.strerror}). "
            "Mend its permissions or take it away."
        )

    names: list[str] = []
    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not _ignored(name)]
        for name in [*folders, *files]:
            path = Path(place) / name
            if path.is_symlink() and not path.is_file():
                raise DatasetError(
                    f"{path}: this link leads {'to a folder' if path.is_dir() else 'nowhere'}. "
                    "Put what it stands for in its place, or remove it."
                )
        names += [
            (Path(place) / name).relative_to(root).as_posix()
            for name in files
            if not _ignored(name)
        ]
    return sorted(names)


def _ignored(name: str) -> bool:
    """Hidden, or left by an operating system."""
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def file_signature(paths: Sequence[Path]) -> str:
    """A hash over names, sizes and times of files: changes whenever their content may have."""
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
