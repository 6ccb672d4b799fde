"""A CSV that names each image's file, label, patient and, where there is one, official split."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pandas as pd
from pydantic import Field, model_validator

from medbench.datasets.csv_files import SPLIT_WORDS, group_name, is_file, read_csv
from medbench.datasets.listing import Listing
from medbench.datasets.sources.base import check_classes, check_order, inside
from medbench.datasets.sources.files import FileSource
from medbench.errors import DatasetError

_MISSING_LABEL = ("", "nan")
_LISTED = 5
"""Values of the label named in a note; more are counted."""


class TableSource(FileSource):
    """One row an image; other columns may be used to choose rows."""

    source: str = "table"
    path: str
    """The CSV."""
    images: str | None = None
    """Folder that the file column is relative to; default the CSV's own."""
    file: str = "file"
    label: str = "label"
    group: str | None = None
    split: str | None = None
    where: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """Keep only rows whose column has this value (or one of these)."""
    classes: tuple[str, ...] | dict[str, str | tuple[str, ...]] | None = None
    """Labels to use and their order (the last is the positive of two); default all. A mapping
    gives each class the pattern (or patterns) of its labels, as ``Pneumonia/*``: the longest
    that fits decides, and rows that none fits are left out and counted."""

    @model_validator(mode="after")
    def _has_order(self) -> Self:
        check_order(self.task, self.classes)
        return self

    def paths(self) -> dict[str, str]:
        """See ``Source.paths``; with the folder of images."""
        return super().paths() | ({} if self.images is None else {"images": self.images})

    def list_images(self, found: Mapping[str, Path]) -> Listing:
        """The rows that ``where`` and ``classes`` keep, in the order of the CSV."""
        path = found["path"]
        root = found.get("images", path.parent)
        rows, notes = self._classified(self._filtered(read_csv(path), path), path)
        if blank := [i for i, v in enumerate(rows[self.label]) if v.lower() in _MISSING_LABEL]:
            raise DatasetError(
                f"{path}: {len(blank)} rows have no {self.label!r}, first for file "
                f"{rows[self.file].iloc[blank[0]]!r}. Fill it in or leave the rows out with where."
            )
        labels = rows[self.label].tolist()
        wanted = None if self.classes is None else tuple(self.classes)
        classes = check_classes(labels, wanted, named_in=str(path))
        names = rows[self.file].tolist()
        return self.list_files(
            classes=classes,
            names=names,
            paths=self._files(root, names, path),
            labels=labels,
            groups=[group_name(v) for v in rows[self.group]] if self.group else None,
            splits=self._splits(rows, path),
            notes=notes,
        )

    def _classified(self, rows: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
        """Rows with the class in place of the label, where ``classes`` has patterns; and a note."""
        if not isinstance(self.classes, dict):
            return rows, ()
        class_of = {value: _class_of(value, self.classes) for value in set(rows[self.label])}
        found = rows[self.label].map(class_of)
        left = rows.loc[found == "", self.label].value_counts()
        if left.sum() == len(rows):
            raise DatasetError(
                f"{path}: no {self.label} fits a pattern of the field classes. Values there: "
                f"{', '.join(map(repr, left.index[:_LISTED]))}."
            )
        notes: tuple[str, ...] = ()
        if len(left):
            named = ", ".join(f"{value!r} {n}" for value, n in left.head(_LISTED).items())
            more = f" and {len(left) - _LISTED} other values" if len(left) > _LISTED else ""
            notes = (f"{left.sum()} rows of no class are left out: {named}{more}",)
        return rows.assign(**{self.label: found})[found != ""], notes

    def _filtered(self, rows: pd.DataFrame, path: Path) -> pd.DataFrame:
        named = [self.file, self.label, self.group, self.split, *self.where]
        for column in named:
            if column is not None and column not in rows.columns:
                raise DatasetError(
                    f"{path}: has no column {column!r}. Columns: {', '.join(rows.columns)}. "
                    "Name the right one in the fields file, label, group, split or where."
                )
        for column, wanted in self.where.items():
            values = (wanted,) if isinstance(wanted, str) else wanted
            kept = rows[rows[column].isin(values)]
            if kept.empty:
                some = ", ".join(sorted(set(rows[column]))[:10])
                raise DatasetError(
                    f"{path}: no row has {column} in {list(values)}. Values there: {some}."
                )
            rows = kept
        return rows

    def _files(self, root: Path, names: list[str], path: Path) -> list[Path]:
        paths = [inside(root, name, named_in=str(path)) for name in names]
        missing = [n for n, file in zip(names, paths, strict=True) if not is_file(file)]
        if missing:
            listed = ", ".join(repr(name) for name in missing[:5])
            raise DatasetError(
                f"{path}: {len(missing)} of {len(names)} files are not in {root}: {listed}"
                f"{', ...' if len(missing) > 5 else ''}. Put them there, name their folder in the "
                "field images, or leave the rows out."
            )
        if len(set(paths)) != len(paths):
            twice = pd.Series(names)[pd.Series(paths).duplicated()].iloc[0]
            raise DatasetError(f"{path}: file {twice!r} is named in two rows. Keep one of them.")
        return paths

    def _splits(self, rows: pd.DataFrame, path: Path) -> list[str]:
        if self.split is None:
            return [""] * len(rows)
        values = [value.lower() for value in rows[self.split]]
        if wrong := sorted({value for value in values if value not in SPLIT_WORDS}):
            raise DatasetError(
                f"{path}: column {self.split!r} holds {', '.join(map(repr, wrong[:5]))}; "
                "it must say train, val or test in every row."
            )
        return [SPLIT_WORDS[value] for value in values]


def _class_of(value: str, classes: dict[str, str | tuple[str, ...]]) -> str:
    """The class whose pattern fits a label; of several the longest; "" where none does."""
    best, length = "", -1
    for name, given in classes.items():
        for pattern in (given,) if isinstance(given, str) else given:
            if len(pattern) > length and fnmatch.fnmatchcase(value, pattern):
                best, length = name, len(pattern)
    return best
