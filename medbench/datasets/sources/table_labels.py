"""What the labels of a table mean: their spellings, several in a cell, a column for each, none."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from medbench.datasets.sources.base import check_classes
from medbench.datasets.sources.table_flags import flag, says_nothing
from medbench.datasets.sources.table_joined import joined_by, split_labels
from medbench.datasets.sources.table_measured import refuse_measured
from medbench.datasets.spellings import alike, counted, is_missing, spelling
from medbench.errors import DatasetError, UndecidedError

TableTask = Literal["multi-class", "ordinal", "multi-label"]
Spelling = Literal["merge", "apart"]
Unlabelled = Literal["skip", "absent", "class"]
_NOTHING = frozenset({"nofinding", "nofindings", "normal", "healthy", "none", "negative"})
"""Labels that say that there is nothing to see, as ``spelling`` gives them."""
_MULTI_LABEL = "an image shows each of these classes that it names"
Labels = dict[Hashable, tuple[str, ...] | None]
"""The labels of each cell (or row of cells) that there is; None where it says nothing."""


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """What an entry says of its labels; None where it says nothing."""

    columns: tuple[str, ...]
    """The columns of the table: one with the label, or one for each class."""
    task: TableTask
    task_is_written: bool
    separator: str | None
    spelling: Spelling | None
    unlabelled: Unlabelled | None
    classes: tuple[str, ...] | dict[str, str | tuple[str, ...]] | None
    table: str
    """The table, for messages."""

    @property
    def several(self) -> bool:
        """Whether an image may show several classes."""
        return self.task == "multi-label"


@dataclass(frozen=True, kw_only=True)
class ReadLabels:
    """The classes that each row of a table shows."""

    shown: list[tuple[str, ...] | None]
    """Names of the classes of each row; None where the row is left out."""
    classes: tuple[str, ...]
    """All classes in their order."""
    notes: tuple[str, ...]


def read_labels(rows: pd.DataFrame, rules: LabelRules, files: Sequence[str]) -> ReadLabels:
    """The classes that each row shows.

    Args:
        rows: The table, all text.
        rules: What is said of its labels.
        files: The file of each row, for messages.

    Raises:
        UndecidedError: Several labels in a cell, spellings that may be one class, or rows without
            a label, and the entry does not say what they mean.
        DatasetError: A label is not among the classes, a class has no image, a column of 0 and 1
            holds something else, or labels are measurements.
    """
    notes: list[str] = []
    cells: Sequence[Hashable]
    if len(rules.columns) == 1:
        cells = rows[rules.columns[0]].str.normalize("NFC").tolist()
        counts: Counter[Hashable] = Counter(cells)
        if rules.classes is None:
            refuse_measured([*map(str, counts)], len(cells), rules.columns[0], rules.table)
        labels = _of_cells(counts, rules)
    else:
        cells = list(zip(*(rows[column].str.lower() for column in rules.columns), strict=True))
        counts = Counter(cells)
        labels = _of_columns(counts, rules, notes)
    if silent := {cell: n for cell, n in counts.items() if labels[cell] is None}:
        first = files[next(i for i, cell in enumerate(cells) if cell in silent)]
        labels |= _of_silent(silent, rules, first, notes)
    words: Counter[str] = Counter()
    for cell, n in counts.items():
        words.update(dict.fromkeys(labels[cell] or (), n))
    class_of = _classes(words, rules, notes)
    nothing = _saying_nothing(labels, class_of, rules)
    class_of |= dict.fromkeys(nothing, "")
    shown = {cell: _shown(own, class_of, nothing) for cell, own in labels.items()}
    _tell_left_out(words, class_of, nothing, rules, notes)
    _tell_several(counts, shown, rules, notes)
    found = [name for own in shown.values() for name in own or ()]
    classes = check_classes(found, _wanted(words, class_of, rules, notes), named_in=rules.table)
    return ReadLabels(shown=[shown[cell] for cell in cells], classes=classes, notes=tuple(notes))


# --- what the cells say ----------------------------------------------------------------------


def _of_cells(counts: Counter[Hashable], rules: LabelRules) -> Labels:
    """The labels of cells of one column.

    Raises:
        UndecidedError: Some join several labels, and the entry does not say what that means.
    """
    values = [str(value) for value in counts]
    listed = _listed(rules)
    mark = rules.separator
    if mark is None and not isinstance(rules.classes, dict):
        mark = joined_by([value for value in values if value not in listed])
        if mark is not None and not rules.task_is_written:
            _ask_about_joined(mark, counts, rules)
    if not rules.several or mark is None:
        return {value: None if _says_nothing(value, rules) else (value,) for value in values}
    split: Labels = {}
    for value in values:
        own = tuple(part for part in split_labels(value, mark) if not _says_nothing(part, rules))
        split[value] = own or None
    return split


def _ask_about_joined(mark: str, counts: Counter[Hashable], rules: LabelRules) -> None:
    joined = {str(v): n for v, n in counts.items() if len(split_labels(str(v), mark)) > 1}
    single: Counter[str] = Counter()
    for value, n in counts.items():
        single.update(dict.fromkeys(split_labels(str(value), mark), n))
    raise UndecidedError(
        f"{rules.table}: {sum(joined.values())} rows have several labels in column "
        f"{rules.columns[0]!r}, joined by {mark!r}: {counted(joined)}. Each by itself: "
        f"{counted(single)}.",
        field="task",
        choices={"multi-label": _MULTI_LABEL, "multi-class": "each combination is a class"},
    )


def _of_columns(counts: Counter[Hashable], rules: LabelRules, notes: list[str]) -> Labels:
    """The labels of rows of columns that are 1 where the image is of their class.

    Raises:
        UndecidedError: Not every row has exactly one 1, and the entry does not say what that means.
        DatasetError: A column holds something else than 0 and 1.
    """
    other: Counter[str] = Counter()
    cells = [value for row in counts if isinstance(row, tuple) for value in row]
    blank_is_no = not any(flag(value) is False for value in cells)
    n_blank = 0
    labels: Labels = {}
    for row, n in counts.items():
        assert isinstance(row, tuple)
        said = [flag(value) for value in row]
        for column, value in zip(rules.columns, row, strict=True):
            if flag(value) is None and not says_nothing(value):
                other[f"{column} {value}"] += n
        n_blank += n * (None in said)
        own = tuple(name for name, yes in zip(rules.columns, said, strict=True) if yes)
        unknown = [v for v in row if flag(v) is None and not (blank_is_no and is_missing(v))]
        labels[row] = own if not unknown or rules.unlabelled == "absent" else None
    if other:
        raise DatasetError(
            f"{rules.table}: columns of classes hold other values than 0 and 1: {counted(other)}. "
            "Mend them, leave these rows out (--where of datasets add), or name other columns in "
            "the field label."
        )
    if n_blank and (blank_is_no or rules.unlabelled == "absent"):
        unsure = " or uncertain (-1)" * any(flag(v) is None and not is_missing(v) for v in cells)
        notes.append(
            f"cells of classes that are not filled in{unsure} ({n_blank} rows) are read as 0"
        )
    wrong = {len(own) for own in labels.values() if own is not None} - {1}
    if wrong and not rules.several:
        _refuse_not_one_each(counts, labels, rules)
    return labels


def _refuse_not_one_each(counts: Counter[Hashable], labels: Labels, rules: LabelRules) -> None:
    n_none = sum(n for row, n in counts.items() if labels[row] == ())
    n_several = sum(n for row, n in counts.items() if len(labels[row] or ()) > 1)
    text = (
        f"{rules.table}: of the columns {', '.join(rules.columns)}, {n_none} rows have no 1 and "
        f"{n_several} rows have several."
    )
    if rules.task_is_written:
        raise DatasetError(f"{text} Of a {rules.task} task each row has exactly one.")
    raise UndecidedError(text, field="task", choices={"multi-label": _MULTI_LABEL})


def _of_silent(
    silent: dict[Hashable, int], rules: LabelRules, first: str, notes: list[str]
) -> Labels:
    """The labels of cells that say nothing.

    Raises:
        UndecidedError: The entry does not say what they mean.
    """
    counts: Counter[str] = Counter()
    for cell, rows in silent.items():
        said = cell if isinstance(cell, tuple) else (cell,)
        counts.update(dict.fromkeys(filter(says_nothing, map(str, said)), rows))
    n, names = sum(silent.values()), ", ".join(rules.columns)
    choices = {"skip": "leave these rows out"}
    if rules.several or len(rules.columns) > 1:
        choices["absent"] = "what is not filled in, or uncertain (-1), is not shown"
    elif "" not in silent:
        choices["class"] = f"{', '.join(counts)} is a class"
    if rules.unlabelled not in choices:
        raise UndecidedError(
            f"{rules.table}: {n} rows have no {names!r}, first for file {first!r}: "
            f"{counted(counts)}.",
            field="unlabelled",
            choices=choices,
        )
    if rules.unlabelled == "skip":
        notes.append(f"{n} rows without a label are left out: {counted(counts)}")
        return dict.fromkeys(silent)
    if rules.unlabelled == "absent":
        notes.append(f"{n} rows without a label are images that show no class: {counted(counts)}")
        return dict.fromkeys(silent, ())
    return {cell: (str(cell),) for cell in silent}


def _says_nothing(value: str, rules: LabelRules) -> bool:
    """Whether a cell has no label; a class that is called so is one."""
    if isinstance(rules.classes, dict):  # then its patterns say what it is, or leave it out
        return False
    return is_missing(value) and value not in _listed(rules)


def _listed(rules: LabelRules) -> set[str]:
    """Labels that the field classes names as they are."""
    if not isinstance(rules.classes, dict):
        return set(rules.classes or ())
    patterns = rules.classes.values()
    return {p for given in patterns for p in ((given,) if isinstance(given, str) else given)}


# --- which class a label is -------------------------------------------------------------------


def _classes(words: Counter[str], rules: LabelRules, notes: list[str]) -> dict[str, str]:
    """The class of each label; "" where it has none.

    Raises:
        UndecidedError: Spellings that may be one class, and the entry does not say whether.
    """
    if isinstance(rules.classes, dict):
        class_of = {word: _by_pattern(word, rules.classes) for word in words}
    elif rules.classes is not None and rules.spelling != "apart":
        class_of = _by_name(words, rules.classes)
    else:
        class_of = {word: word for word in words}
    for ways in alike(words):
        if len({class_of[way] for way in ways}) == 1:
            continue
        counts = {way: words[way] for way in ways}
        if rules.spelling is None:
            raise UndecidedError(
                f"{rules.table}: labels differ only in case, blanks or number format: "
                f"{'; '.join(counted({w: words[w] for w in own}) for own in alike(words))}.",
                field="spelling",
                choices={"merge": "they are one class", "apart": "they are different classes"},
            )
        if rules.spelling == "merge":
            best = max(ways, key=lambda way: (class_of[way] != "", counts[way], -len(way)))
            class_of |= dict.fromkeys(ways, class_of[best])
    ways_of: dict[str, list[str]] = {}
    for word, name in class_of.items():
        ways_of.setdefault(name, []).append(word)
    for name, ways in ways_of.items():
        if name and alike(ways) and rules.spelling != "apart":
            notes.append(f"taken for one class: {counted({way: words[way] for way in ways})}")
    return class_of


def _by_name(words: Counter[str], classes: tuple[str, ...]) -> dict[str, str]:
    """The class that is called as a label, or else the only one that is spelled like it."""
    spelled: dict[Hashable, list[str]] = {}
    for name in classes:
        spelled.setdefault(spelling(name), []).append(name)
    alone = {key: names[0] for key, names in spelled.items() if len(names) == 1}
    return {word: word if word in classes else alone.get(spelling(word), word) for word in words}


def _by_pattern(word: str, classes: dict[str, str | tuple[str, ...]]) -> str:
    """The class whose pattern fits a label; of several the longest; "" where none does."""
    best, length = "", -1
    for name, given in classes.items():
        for pattern in (given,) if isinstance(given, str) else given:
            fits = _same(word, pattern) or (
                not is_missing(word) and fnmatch.fnmatchcase(word, pattern)
            )
            if fits and len(pattern) > length:
                best, length = name, len(pattern)
    return best


def _same(word: str, pattern: str) -> bool:
    """Whether a label is what a pattern says, be it also the same number: 1 and 1.0."""
    number = spelling(word)
    return word == pattern or (isinstance(number, float) and number == spelling(pattern))


def _saying_nothing(labels: Labels, class_of: dict[str, str], rules: LabelRules) -> set[str]:
    """Labels of a multi-label task that say that an image shows none of the classes."""
    if not rules.several:
        return set()
    with_others = {word for own in labels.values() if own and len(own) > 1 for word in own}
    return {
        word
        for word, name in class_of.items()
        if spelling(word) in _NOTHING and word not in with_others and name not in _named(rules)
    }


def _named(rules: LabelRules) -> set[str]:
    return set(rules.classes or ())


def _shown(
    own: tuple[str, ...] | None, class_of: dict[str, str], nothing: set[str]
) -> tuple[str, ...] | None:
    """The classes of a row's labels; None where none of its labels has one."""
    if own is None:
        return None
    names = tuple(dict.fromkeys(class_of[word] for word in own if class_of[word]))
    return names if names or not set(own) - nothing else None


def _wanted(
    words: Counter[str], class_of: dict[str, str], rules: LabelRules, notes: list[str]
) -> tuple[str, ...] | None:
    """The classes in their order, as far as it is given: by the field classes, or by columns."""
    if rules.classes is not None:
        return tuple(rules.classes)
    if len(rules.columns) == 1:
        return None
    if empty := [name for name in rules.columns if name not in words]:
        notes.append(f"columns that are never 1 are no classes: {', '.join(empty)}")
    return tuple(name for name in rules.columns if class_of.get(name) == name)


# --- what is told -----------------------------------------------------------------------------


def _tell_left_out(
    words: Counter[str],
    class_of: dict[str, str],
    nothing: set[str],
    rules: LabelRules,
    notes: list[str],
) -> None:
    """Labels that are no class.

    Raises:
        DatasetError: None is one.
    """
    if nothing:
        meant = counted({word: words[word] for word in nothing})
        notes.append(f"labels of images that show none of the classes: {meant}")
    left = {word: n for word, n in words.items() if not class_of[word] and word not in nothing}
    if left and len(left) == len(words):
        raise DatasetError(
            f"{rules.table}: no {', '.join(rules.columns)} fits a pattern of the field classes. "
            f"Values there: {counted(left)}.{_other_way_round(words, rules)}"
        )
    if left and rules.several:
        notes.append(f"labels of no class are passed over: {counted(left)}")
    elif left:
        notes.append(f"{sum(left.values())} rows of no class are left out: {counted(left)}")


def _other_way_round(words: Counter[str], rules: LabelRules) -> str:
    """A remedy where a person wrote ``0: healthy`` for ``healthy: "0"``; else ""."""
    assert isinstance(rules.classes, dict)
    for label, name in rules.classes.items():
        if isinstance(name, str) and any(_same(word, label) for word in words):
            return f' The name of a class comes first: write {name}: "{label}".'
    return ""


def _tell_several(
    counts: Counter[Hashable],
    shown: dict[Hashable, tuple[str, ...] | None],
    rules: LabelRules,
    notes: list[str],
) -> None:
    """How many classes images show, where that is not one of one column."""
    if rules.several:
        sizes: Counter[int] = Counter()
        for cell, n in counts.items():
            if (own := shown[cell]) is not None:
                sizes[min(len(own), 2)] += n
        notes.append(f"{sizes[1]} rows name one class, {sizes[2]} several and {sizes[0]} none")
    elif len(rules.columns) > 1:
        notes.append(
            f"the label is the one of {len(rules.columns)} columns that is 1: "
            f"{', '.join(rules.columns)}"
        )
