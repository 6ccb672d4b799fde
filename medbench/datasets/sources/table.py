"""A CSV that names each image's file, label, patient and, where there is one, official split."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pydantic import Field

from medbench.datasets.csv_files import SPLIT_WORDS, group_name, is_file, read_csv
from medbench.datasets.listing import Listing
from medbench.datasets.sources.base import Source, check_classes, inside
from medbench.datasets.sources.folder import FileReader, file_signature
from medbench.errors import DatasetError

_MISSING_LABEL = ("", "nan")


class TableSource(Source):
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
    classes: tuple[str, ...] | None = None
    """Labels to use and their order (the last is the positive of two); default all."""

    def listing(self) -> Listing:
        """The rows that ``where`` keeps, in the order of the CSV."""
        path = self.locate(self.path)
        root = self.locate(self.images) if self.images is not None else path.parent
        rows = self._filtered(read_csv(path), path)
        if blank := [i for i, v in enumerate(rows[self.label]) if v.lower() in _MISSING_LABEL]:
            raise DatasetError(
                f"{path}: {len(blank)} rows have no {self.label!r}, first for file "
                f"{rows[self.file].iloc[blank[0]]!r}. Fill it in or leave the rows out with where."
            )
        labels = rows[self.label].tolist()
        classes = check_classes(labels, self.classes, named_in=str(path))
        paths = self._files(root, rows[self.file].tolist(), path)
        table = pd.DataFrame(
            {
                "origin": rows[self.file].tolist(),
                "label": pd.Series([classes.index(label) for label in labels], dtype="int64"),
                "group": [group_name(v) for v in rows[self.group]] if self.group else "",
                "split": self._splits(rows, path),
            }
        )
        return Listing(
            classes=classes, table=table, read=FileReader(paths), signature=file_signature(paths)
        )

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
