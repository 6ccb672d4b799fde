"""The labels of an npz archive: numbers, names of classes, one-hot, or several an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.counts import check_n_classes
from medbench.datasets.sources.base import check_classes
from medbench.datasets.spellings import refuse_spellings
from medbench.errors import DatasetError

_SHAPES = "one label an image, (n,) or (n, 1), or 0 or 1 for each class, (n, classes)"


def read_labels(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    *,
    parts: Sequence[str],
    task: str,
    classes: tuple[str, ...] | None,
) -> tuple[NDArray[np.int64], tuple[str, ...], tuple[str, ...]]:
    """The labels of all parts, one behind the other.

    Args:
        path: The archive, for messages.
        arrays: Labels of each part by the name of their array, (n,), (n, 1) or (n, classes).
        parts: What images of each part are called in messages, as ``train``.
        task: The task of the entry.
        classes: Names of the classes, if the entry has them.

    Returns:
        Class indices, int64, shape (n,), or of a multi-label task 0 or 1, shape (n, classes);
        the classes; and notes.

    Raises:
        DatasetError: The labels are none of these, or do not fit the task or the classes.
    """
    for name, labels in arrays.items():
        if labels.ndim not in (1, 2) or labels.shape[1:] == (0,):
            raise DatasetError(
                f"{path}: {name} has shape {labels.shape}. One label an image is needed, (n,) or "
                "(n, 1), or 0 or 1 for each class, (n, classes)."
            )
    widths = {labels.shape[1] if labels.ndim == 2 else 1 for labels in arrays.values()}
    if len(widths) > 1:
        raise DatasetError(
            f"{path}: the labels of its parts have different widths "
            f"({', '.join(map(str, sorted(widths)))}). Give each part {_SHAPES}."
        )
    first = next(iter(arrays))
    check_n_classes(max(widths), f"{path}: {first}")
    if widths == {1}:
        if task == "multi-label":
            raise DatasetError(
                f"{path}: {first} has shape {arrays[first].shape}, one label an image, but the "
                "task is multi-label. Leave the field task away, or give 0 or 1 for each class, "
                "(n, classes)."
            )
        single = [labels.reshape(len(labels)) for labels in arrays.values()]
        indices, names = _single(path, arrays, single, parts, classes)
        return indices, names, ()
    whole = np.concatenate(list(arrays.values()))
    names = _names_of_columns(path, whole.shape[1], classes)
    exactly_one = is_one_hot(whole)
    if task == "multi-label":
        _check_flags(path, arrays, parts)
        told = "each image has exactly one of the labels, so the task may be multi-class"
        return whole.astype(np.int64), names, (told,) if exactly_one else ()
    if not exactly_one:
        raise DatasetError(
            f"{path}: {first} has shape {arrays[first].shape}, several labels an image, but the "
            f"task is {task}, and not every image has exactly one 1. Write task: multi-label "
            "(--task of datasets add), or give one label an image, (n,) or (n, 1)."
        )
    indices = whole.argmax(axis=1).astype(np.int64)
    _check_present(path, indices, len(names))
    told = f"one-hot labels of {len(names)} classes: each image has exactly one"
    return indices, names, (told,)


def is_one_hot(labels: NDArray[Any]) -> bool:
    """Whether labels (n, classes) are 0 and 1, with exactly one 1 in each row."""
    if labels.dtype.kind not in "iufb" or not len(labels):
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all())


def _single(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    single: Sequence[NDArray[Any]],
    parts: Sequence[str],
    classes: tuple[str, ...] | None,
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """One label an image as class indices, and the classes."""
    if all(labels.dtype.kind in "US" for labels in single):
        texts = [
            text for labels in single for text in np.strings.strip(labels.astype(str)).tolist()
        ]
        refuse_spellings(Counter(texts), classes or (), named_in=f"{path}: the labels")
        names = check_classes(texts, classes, named_in=str(path))
        index = {name: k for k, name in enumerate(names)}
        return np.array([index[text] for text in texts], np.int64), names
    read = [
        _class_indices(path, name, part, labels, classes)
        for name, part, labels in zip(arrays, parts, single, strict=True)
    ]
    indices = np.concatenate(read)
    _check_present(path, indices, 0 if classes is None else len(classes))
    return indices, classes or tuple(str(i) for i in range(indices.max() + 1))


def _class_indices(
    path: Path, name: str, part: str, labels: NDArray[Any], classes: tuple[str, ...] | None
) -> NDArray[np.int64]:
    """Whole numbers of an array as class indices.

    Raises:
        DatasetError: One is no whole number, or outside the classes.
    """
    whole = labels.dtype.kind in "iub" or (
        labels.dtype.kind == "f" and bool((labels == np.rint(labels)).all())
    )
    if not whole or (len(labels) and not labels.min() >= 0):
        raise DatasetError(
            f"{path}: {name} must be whole numbers from 0 on, or names of classes as text."
        )
    if classes is None and len(labels):
        check_n_classes(int(labels.max()) + 1, f"{path}: {name}")
    if classes is not None and len(wrong := np.flatnonzero(labels >= len(classes))):
        raise DatasetError(
            f"{path}: label {int(labels[wrong[0]])} of image {part}/{wrong[0]} is outside the "
            f"{len(classes)} classes that the field classes lists. Name every class there, or "
            "mend the label."
        )
    return labels.astype(np.int64)


def _check_present(path: Path, indices: NDArray[np.int64], n_classes: int) -> None:
    """Refuse numbers with gaps where nobody named the classes, and a single class.

    Raises:
        DatasetError: They are so.
    """
    present = np.unique(indices)
    if not n_classes and len(present) != indices.max() + 1:
        lacking = next(i for i, there in enumerate(present.tolist()) if i != there)
        raise DatasetError(
            f"{path}: labels go up to {indices.max()}, but no image has label {lacking}. "
            "Number the classes from 0 on without gaps."
        )
    if len(present) < 2:
        raise DatasetError(f"{path}: only one class (label {present[0]}); two are needed.")


def _names_of_columns(
    path: Path, n_columns: int, classes: tuple[str, ...] | None
) -> tuple[str, ...]:
    if classes is not None and len(classes) != n_columns:
        raise DatasetError(
            f"{path}: its labels have {n_columns} columns, but the field classes lists "
            f"{len(classes)}. Name one class a column."
        )
    return classes or tuple(str(i) for i in range(n_columns))


def _check_flags(path: Path, arrays: Mapping[str, NDArray[Any]], parts: Sequence[str]) -> None:
    """Refuse labels of a multi-label task that are neither 0 nor 1.

    Raises:
        DatasetError: One is.
    """
    for (name, labels), part in zip(arrays.items(), parts, strict=True):
        if len(wrong := np.argwhere((labels != 0) & (labels != 1))):
            image, column = wrong[0]
            raise DatasetError(
                f"{path}: {name} holds values other than 0 and 1, first "
                f"{labels[image, column]} for image {part}/{image}, class {column}. "
                "A multi-label array says for each class whether the image shows it."
            )
