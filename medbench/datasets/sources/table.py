"""A table that names (or holds) each image's file, its label, patient and official split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from medbench.datasets.csv_files import SPLIT_WORDS, group_name
from medbench.datasets.listing import KEPT, Listing
from medbench.datasets.sources.base import check_classes, check_order
from medbench.datasets.sources.files import FileSource
from medbench.datasets.sources.table_columns import check_roles, column_called, told_unused
from medbench.datasets.sources.table_files import NamedFiles, missing_files, told_otherwise
from medbench.datasets.sources.table_flags import told_flags
from medbench.datasets.sources.table_ids import HeaderId, files_by_id
from medbench.datasets.sources.table_kept import kept_columns
from medbench.datasets.sources.table_labels import (
    LabelRules,
    Spelling,
    TableTask,
    Unlabelled,
    read_labels,
)
from medbench.datasets.sources.table_reading import read_table
from medbench.datasets.sources.table_repeats import one_row_each
from medbench.datasets.sources.words import Text
from medbench.datasets.spellings import alike
from medbench.errors import DatasetError
from medbench.names import as_text

_FIELDS = "the fields file, label, group, split, where or keep (options of datasets add)"


class TableSource(FileSource):
    """One row an image; other columns may be used to choose rows."""

    source: str = "table"
    path: str
    """The table: a CSV, an Excel workbook, a Parquet file, or a folder of Parquet files."""
    sheet: Text | None = None
    """The sheet of a workbook; must be said where several hold tables."""
    images: str | None = None
    """Folder that the file column is relative to; default the table's own."""
    file: Text = "file"
    """The column of the names of the files, or (in Parquet) of the files themselves."""
    match: HeaderId | None = None
    """Which id of DICOM headers the column of files holds in place of the names of files."""
    label: Text | tuple[Text, ...] = "label"
    """The column of labels; or a column for each class, which is 1 where an image shows it."""
    group: Text | None = None
    """The column of patients, lesions or scans."""
    split: Text | None = None
    """The column of an official split: train, val or test."""
    keep: tuple[Text, ...] = ()
    """Columns that are stored beside the labels for results of groups, such as age, sex, site or
    device. Models never see them; columns that may say who somebody is are refused."""
    where: dict[Text, Text | tuple[Text, ...]] = Field(default_factory=dict)
    """Keep only rows whose column has this value (or one of these)."""
    classes: tuple[Text, ...] | dict[Text, Text | tuple[Text, ...]] | None = None
    """Labels to use and their order (the last is the positive of two); default all. A mapping
    gives each class the pattern (or patterns) of its labels, as ``Pneumonia/*``, or the number
    that stands for it, as in ``{healthy: 0, ill: [1, 2]}``: the longest that fits decides, and
    rows that none fits are left out and counted."""
    task: TableTask = "multi-class"  # type: ignore[assignment]
    separator: str | None = Field(default=None, min_length=1)
    """What joins several labels in a cell, of a multi-label task; found out where not given."""
    spelling: Spelling | None = None
    """Whether labels that differ in case, blanks or number format only are one class or stay
    apart; must be said where there are any."""
    unlabelled: Unlabelled | None = None
    """What a row without a label is: skipped, an image that shows no class (absent), or of a
    class that is called so; must be said where there are any."""

    repeats: Literal["positive"] | None = None
    """What an image is whose rows have different labels, as those of boxes: ``positive`` where one
    row of the positive class suffices (of an ordinal task the highest class of its rows)."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_order(self.task, self.classes)
        if self.separator is not None and self.task != "multi-label":
            raise ValueError('the field separator needs task: "multi-label"')
        if self.repeats is not None and self.task == "multi-label":
            raise ValueError("repeats is for one label an image, and the task is multi-label")
        if self.repeats is not None and not self.positive and self.classes is None:
            raise ValueError("repeats needs to know the positive class: name it in positive")
        if len(self._labels()) == 0:
            raise ValueError('"label" names no column')
        return self

    def paths(self) -> dict[str, str]:
        """See ``Source.paths``; with the folder of images."""
        return super().paths() | ({} if self.images is None else {"images": self.images})

    def list_images(self, found: Mapping[str, Path]) -> Listing:
        """The images of the rows that ``where`` and ``classes`` keep, in the order of the table."""
        path = found["path"]
        table = read_table(path, self.sheet)
        rows = table.rows
        source = self._with_real_columns(rows, path)
        rows = source._filtered(rows, path)
        named = rows[source.file].tolist() if self.match is None else [""] * len(rows)
        labels = read_labels(rows, source._rules(path), named)
        rows = rows[[own is not None for own in labels.shown]]
        shown = [own for own in labels.shown if own is not None]
        names = rows[source.file].tolist()
        files = table.images.get(source.file) or NamedFiles(
            found.get("images", table.folder), named_in=str(path)
        )
        if self.match is not None and isinstance(files, NamedFiles):
            matched = files_by_id(names, self.match, files.root, table=str(path))
            found_files, of_files = matched.files, matched.notes
            rows, shown = rows.take(matched.rows), [shown[row] for row in matched.rows]
        else:
            found_files = files.find(names)
            if isinstance(files, NamedFiles) and "" in found_files.paths:
                raise DatasetError(f"{path}: {missing_files(files, names, found_files)}")
            of_files = told_otherwise(found_files)
        groups, of_groups = _groups(rows, source.group)
        of_rows = pd.DataFrame(
            {
                "name": found_files.names,
                "path": [as_text(path) for path in found_files.paths],
                "shown": shown,
                "group": groups,
                "split": source._splits(rows, path),
            }
        )
        kept = kept_columns(rows, source.keep, str(path)).reset_index(drop=True)
        of_rows = pd.concat([of_rows, kept.add_prefix(KEPT)], axis=1)
        images, of_repeats = self._joined(of_rows, labels.classes, path)
        unused = told_unused(
            rows,
            file=source.file,
            label=source._labels(),
            group=source.group,
            split=source.split,
            files=files,
        )
        return self.list_files(
            classes=labels.classes,
            names=images["name"].tolist(),
            paths=[files.at(path) for path in images["path"].tolist()],
            labels=source._as_numbers(images["shown"].tolist(), labels.classes, path),
            groups=images["group"].tolist() if source.group else None,
            splits=images["split"].tolist(),
            kept=images[list(kept.add_prefix(KEPT))].set_axis(kept.columns, axis=1),
            notes=(
                *table.notes,
                *labels.notes,
                *of_repeats,
                *of_groups,
                *of_files,
                *unused,
                *told_flags(rows, source._labels()),
            ),
        )

    def _labels(self) -> tuple[str, ...]:
        return (self.label,) if isinstance(self.label, str) else self.label

    def _with_real_columns(self, rows: pd.DataFrame, path: Path) -> Self:
        """The same source with the names that its columns have in the table.

        Raises:
            DatasetError: A column is not there, or is named as two things.
        """

        def real(name: str) -> str:
            return column_called(rows, name, table=path, said_in=_FIELDS)

        labels = tuple(map(real, self._labels()))
        columns = {
            field: real(name)
            for field in ("file", "group", "split")
            if (name := getattr(self, field)) is not None
        }
        roles = [*(("label", label) for label in labels), *columns.items()]
        where = {real(name): wanted for name, wanted in self.where.items()}
        keep = tuple(dict.fromkeys(map(real, self.keep)))
        check_roles([*roles, *(("keep", column) for column in keep)], path)
        label = labels[0] if isinstance(self.label, str) else labels
        return self.model_copy(update=columns | {"label": label, "where": where, "keep": keep})

    def _rules(self, path: Path) -> LabelRules:
        return LabelRules(
            columns=self._labels(),
            task=self.task,
            task_is_written="task" in self.model_fields_set,
            separator=self.separator,
            spelling=self.spelling,
            unlabelled=self.unlabelled,
            classes=self.classes,
            table=str(path),
        )

    def _filtered(self, rows: pd.DataFrame, path: Path) -> pd.DataFrame:
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

    def _splits(self, rows: pd.DataFrame, path: Path) -> list[str] | str:
        if self.split is None:
            return ""
        values = [value.lower() for value in rows[self.split]]
        if wrong := sorted({value for value in values if value not in SPLIT_WORDS}):
            raise DatasetError(
                f"{path}: column {self.split!r} holds {', '.join(map(repr, wrong[:5]))}; "
                "it must say train, val or test in every row. Mend it, leave these rows out "
                "(--where of datasets add), or name no column in the field split."
            )
        return [SPLIT_WORDS[value] for value in values]

    def _joined(
        self, rows: pd.DataFrame, classes: tuple[str, ...], path: Path
    ) -> tuple[pd.DataFrame, tuple[str, ...]]:
        """One row for each image, and notes; see ``one_row_each``."""
        several, rank = self.task == "multi-label", self._rank(classes, path)
        images, notes = one_row_each(rows, several=several, table=str(path), rank=rank)
        if rank is not None:
            check_classes([own[0] for own in images["shown"]], classes, named_in=str(path))
        return images, notes

    def _rank(self, classes: tuple[str, ...], path: Path) -> dict[str, int] | None:
        """How far each class is from health, where that decides between rows of one image.

        Raises:
            DatasetError: There are several classes in no order.
        """
        if self.repeats is None:
            return None
        if self.task != "ordinal" and len(classes) > 2:
            raise DatasetError(
                f"{path}: the field repeats needs two classes, or task: ordinal, and here are "
                f"{len(classes)}: {', '.join(classes)}. Leave it away, or join classes in the "
                "field classes."
            )
        ordered = sorted(classes, key=lambda name: name == self.positive)
        return {name: rank for rank, name in enumerate(ordered)}

    def _as_numbers(
        self, shown: list[tuple[str, ...]], classes: tuple[str, ...], path: Path
    ) -> NDArray[np.int64]:
        """Class indices, shape (n,); of a multi-label task 0 or 1, shape (n, classes).

        Raises:
            DatasetError: Of a multi-label task each image has exactly one label.
        """
        index = {name: k for k, name in enumerate(classes)}
        if self.task != "multi-label":
            return np.array([index[own[0]] for own in shown], np.int64)
        if self.separator is None and len(self._labels()) == 1 and {len(s) for s in shown} == {1}:
            raise DatasetError(
                f"{path}: each image has one label in column {self.label!r}, but the task is "
                "multi-label. Leave the field task away, say in the field separator what joins "
                "several labels, or name a column for each class in the field label."
            )
        labels = np.zeros((len(shown), len(classes)), np.int64)
        for row, own in enumerate(shown):
            labels[row, [index[name] for name in own]] = 1
        return labels


def _groups(rows: pd.DataFrame, column: str | None) -> tuple[list[str] | str, tuple[str, ...]]:
    """The patient of each row, in one spelling; and a note where there were more."""
    if column is None:
        return "", ()
    name_of = {value: group_name(value) for value in rows[column].unique()}
    together = alike(name for name in name_of.values() if name)
    one = {way: ways[0] for ways in together for way in ways}
    groups = [one.get(name, name) for name in map(name_of.__getitem__, rows[column])]
    if not together:
        return groups, ()
    return groups, (
        f"{len(together)} patients are spelled in several ways (blanks, case or zeros before a "
        "number), and taken for one each",
    )
