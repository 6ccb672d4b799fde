"""A BIDS tree: NIfTI images of subjects and sessions, with labels in its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import pandas as pd
from pydantic import Field, model_validator

from medbench.datasets.findings import how_many
from medbench.datasets.listing import Listing
from medbench.datasets.sources.base import check_order
from medbench.datasets.sources.bids_choice import Chosen, choose
from medbench.datasets.sources.bids_labels import LabelColumn, label_column, refuse_measurement
from medbench.datasets.sources.bids_names import BidsFile
from medbench.datasets.sources.bids_tables import names_of_codes
from medbench.datasets.sources.bids_tree import PARTICIPANTS, BidsTree, content_of
from medbench.datasets.sources.files import FileSource
from medbench.datasets.sources.folder_names import listed
from medbench.datasets.sources.table_joined import joined_by
from medbench.datasets.sources.table_labels import LabelRules, Spelling, read_labels
from medbench.datasets.sources.words import Text
from medbench.datasets.spellings import counted, is_missing
from medbench.errors import DatasetError


class BidsSource(FileSource):
    """``path/sub-LABEL/[ses-LABEL/]anat/sub-LABEL_[ses-LABEL_]KEY-LABEL_SUFFIX.nii.gz``.

    A group is a subject, known by a number in the order of the folders. What is read, and what is
    left alone, is in ``docs/formats.md``.

    Source: Gorgolewski et al. (2016), "The brain imaging data structure", Scientific Data 3:160044;
    version 1.11.1 of the specification.
    """

    source: str = "bids"
    path: str
    """The folder that holds the folders of subjects."""
    label: Text | None = None
    """The column of labels, in sessions.tsv, participants.tsv or scans.tsv; the first that has it
    counts. Default the only one that is called as labels are (group, diagnosis, dx)."""
    suffix: Text | None = None
    """Which images are taken, by the end of their names, as ``T1w``; default the only one."""
    where: dict[Text, Text | tuple[Text, ...]] = Field(default_factory=dict)
    """Keep only files whose entity has this label (or one of these), by the names of the
    specification: ``session``, ``run``, ``acquisition``, ``task``; also ``datatype``, the folder.
    An empty label keeps the files without that entity."""
    classes: tuple[Text, ...] | dict[Text, Text | tuple[Text, ...]] | None = None
    """Labels to use and their order (the last is the positive of two); default all. A mapping
    gives each class the pattern (or patterns) of its labels: the longest that fits decides, and
    images that none fits are left out and counted."""
    spelling: Spelling | None = None
    """Whether labels that differ in case, blanks or number format only are one class or stay
    apart; must be said where there are any."""

    @model_validator(mode="after")
    def _has_order(self) -> Self:
        check_order(self.task, self.classes)
        return self

    def reads(self) -> list[Path]:
        """See ``Source.reads``; with the table of participants."""
        folders = super().reads()
        tables = [table for folder in folders if (table := folder / PARTICIPANTS).exists()]
        return [*folders, *tables]

    def list_images(self, found: Mapping[str, Path]) -> Listing:
        """The images that ``where`` and ``suffix`` keep and that have a label, by their names.

        Raises:
            UndecidedError: A person must say which images, or which column is the label.
            DatasetError: Something is missing or cannot be understood.
        """
        tree = BidsTree(found["path"])
        chosen = choose(tree, self.where, self.suffix)
        label = label_column(tree, self.label)
        here, of_content = _with_content(chosen, tree)
        labelled, of_rows = _labelled(here, chosen, label, tree)
        names, of_codes = self._names_of_codes(tree, label)
        cells = [names.get(value, value) for _, _, value in labelled]
        labels = read_labels(
            pd.DataFrame({label.column: cells}, dtype=str),
            self._rules(label.column, tree),
            [file.name for file, _, _ in labelled],
        )
        kept = [
            (file, path, own[0])
            for (file, path, _), own in zip(labelled, labels.shown, strict=True)
            if own is not None
        ]
        number = {subject: n for n, subject in enumerate(tree.subjects, start=1)}
        return self.list_files(
            classes=labels.classes,
            names=[file.name for file, _, _ in kept],
            paths=[path for _, path, _ in kept],
            labels=[own for _, _, own in kept],
            groups=[f"subject {number[file.subject]}" for file, _, _ in kept],
            notes=(
                *tree.notes(),
                *chosen.notes,
                *of_content,
                *label.notes,
                *of_codes,
                *_told_joined(cells),
                *of_rows,
                *labels.notes,
            ),
        )

    def _names_of_codes(
        self, tree: BidsTree, label: LabelColumn
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """What numbers are called, unless the field classes has the numbers themselves.

        Raises:
            DatasetError: They are no codes of classes.
        """
        codes = set(label.cells)
        if self._listed() & codes:
            return {}, ()
        names, note = names_of_codes(tree, label.table, label.column)
        if not names and self.classes is None:
            refuse_measurement(label)
        return names, (note,) if note else ()

    def _listed(self) -> set[str]:
        """Labels that the field classes names as they are."""
        if not isinstance(self.classes, dict):
            return set(self.classes or ())
        given = self.classes.values()
        return {own for one in given for own in ((one,) if isinstance(one, str) else one)}

    def _rules(self, column: str, tree: BidsTree) -> LabelRules:
        return LabelRules(
            columns=(column,),
            task=self.task,
            task_is_written=True,
            separator=None,
            spelling=self.spelling,
            unlabelled="skip",
            classes=self.classes,
            table=str(tree.root),
        )


def _with_content(chosen: Chosen, tree: BidsTree) -> tuple[list[tuple[BidsFile, str]], list[str]]:
    """The files that are here, with where their content is; and a note on the others.

    Raises:
        DatasetError: None is here.
    """
    found = [(file, content_of(file.path, tree.root)) for file in chosen.files]
    absent = [file for file, path in found if not path]
    if not absent:
        return found, []
    folders = {tuple(file.name.split("/")[1:-1]) for file in absent}
    patterns = {
        "/".join(["sub-*", *("ses-*" if one.startswith("ses-") else one for one in folder), ""])
        for folder in folders
    }
    files = " ".join(f"{pattern}*{chosen.suffix}.nii*" for pattern in sorted(patterns))
    get = (
        f"datalad get {files} (or git annex get, or of Git LFS git lfs pull), in the folder of the "
        "tree"
    )
    if len(absent) == len(found):
        raise DatasetError(
            f"{tree.root}: of all {len(absent)} images only the names are here, first "
            f"{absent[0].name}: links that lead nowhere, or short texts in their place. Get the "
            f"content with {get}."
        )
    note = f"{_of_subjects(absent)} left out: only names are here. Get the content with {get}"
    return [(file, path) for file, path in found if path], [note]


def _labelled(
    here: Sequence[tuple[BidsFile, str]], chosen: Chosen, label: LabelColumn, tree: BidsTree
) -> tuple[list[tuple[BidsFile, str, str]], list[str]]:
    """The images that have a label, with it; and notes on the others, which name nobody.

    Raises:
        DatasetError: None has one, or two rows about the same differ.
    """
    table, notes = label.table, []
    said = label.values()
    rows = [(file, path, said.get(table.key_of(file))) for file, path in here]
    without = [file for file, _, value in rows if value is None]
    silent = [(file, value) for file, _, value in rows if value is not None and is_missing(value)]
    labelled = [
        (file, path, value)
        for file, path, value in rows
        if value is not None and not is_missing(value)
    ]
    if without:
        notes.append(f"{_of_subjects(without)} left out: {table.name} has no row for them")
    if silent:
        values = counted(Counter(value for _, value in silent))
        notes.append(
            f"{_of_subjects([file for file, _ in silent])} left out: column {label.column!r} of "
            f"{table.name} says nothing of them ({values})"
        )
    used = {table.key_of(file) for file in chosen.files}
    unused = [str(n) for n, key in enumerate(table.about, start=1) if key not in used]
    if unused and table.name == PARTICIPANTS:
        notes.append(
            f"{how_many(len(unused), 'row')} of {table.name} about subjects without such images "
            f"(below the header {listed(unused)})"
        )
    if not labelled:
        raise DatasetError(
            f"{tree.root}: none of its images has a label ({'; '.join(notes)}). Name another "
            "column in the field label (--label of datasets add), or mend the table."
        )
    return labelled, notes


def _of_subjects(files: Sequence[BidsFile]) -> str:
    """How many images of how many subjects."""
    subjects = {file.subject for file in files}
    return f"{how_many(len(files), 'image')} of {how_many(len(subjects), 'subject')}"


def _told_joined(cells: Sequence[str]) -> list[str]:
    """A note where labels look like several in one cell."""
    if (mark := joined_by(list(dict.fromkeys(cells)))) is None:
        return []
    return [f"labels with {mark!r} in them may join several: each combination is a class"]
