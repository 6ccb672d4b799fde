"""Splits: what a model may learn from and what is held out, by patient and stratified by class."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.findings import enumerated, how_many, quoted
from medbench.datasets.task import membership
from medbench.errors import ProtocolError
from medbench.seeds import derive_seed

Indices = NDArray[np.int64]
_ATTEMPTS = 20
"""Seeds tried before the number of folds is lowered because a fold lacks a class."""
FEWEST_FOR_FOLDS = 3
"""Groups of a class where there is no official split: one to test on, one to tune on, one to learn
from."""
FEWEST_TO_TUNE_ON, FEWEST_OF_A_CLASS = 30, 3
"""Groups of an official validation part, and of a class in it, below which a score on it is noise:
among models of equal worth the luckiest of twenty trials would win, and its threshold with it."""
_MANY_GROUPS = 10
_MOST_NAMED = 5
"""Classes named in a sentence; more are counted."""


@dataclass(frozen=True, kw_only=True)
class OuterSplit:
    """One division of a data set into a development part and a held-out part."""

    name: str
    """``"r0f3"`` for repeat 0, fold 3; ``"official"``, and ``"official-r1"`` for its repeats;
    ``"by-image-r0f3"`` where images of one group may be on both sides."""
    repeat: int
    """Which seed of the run it belongs to, from 0."""
    fold: int | None = None
    """Which fold of its repeat it is, from 0; None for an official split."""
    development: Indices
    """Images that tuning and fitting may see: row numbers from 0, int64, shape (n_development,)."""
    validation: Indices | None
    """The official validation part, a subset of ``development``, likewise; None where there is
    none."""
    held_out: Indices
    """Images that are predicted once, after everything is fixed: row numbers from 0, int64, shape
    (n_held_out,)."""
    by_image: bool = False
    """Whether every image counts as a group of its own, in the inner folds too. Its scores are
    inflated wherever images of one patient resemble each other: to be shown, never believed."""


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """All outer splits of a data set, the same for every model."""

    splits: tuple[OuterSplit, ...]
    """By repeat and fold, at least one."""
    description: str
    """For example ``"official"`` or ``"5-fold x 1 by group"``."""
    notes: tuple[str, ...]
    """What a reader must know, for example that there are fewer folds than asked for."""


def outer_splits(
    labels: Indices,
    groups: Indices,
    official: NDArray[np.str_],
    *,
    folds: int,
    repeats: int,
    seed: int,
    classes: Sequence[str],
    strict: bool = False,
) -> SplitPlan:
    """The official split where there is one, else repeated stratified group k-fold.

    Args:
        labels: Class index of each image, int64, shape (n_images,); of a multi-label task 0 or 1
            for each class, shape (n_images, n_classes).
        groups: Group number of each image, int64, shape (n_images,).
        official: "train", "val", "test" or "" for each image, shape (n_images,).
        folds: Number of folds wanted, at least 2.
        repeats: How often the folds are drawn anew, or the official split is repeated with
            another seed of everything but the split.
        seed: Seed of the draw.
        classes: Names of the classes.
        strict: Leave images out of the training side of an official split whose group is also
            on a later side.

    Returns:
        The splits, and what a reader must know of them.

    Raises:
        ProtocolError: A class has too few groups to be learnt, tuned on and tested, or an official
            part lacks a class.
    """
    shown = membership(labels, len(classes))
    if (official != "").any():
        plan = _official(shown, groups, official, classes, repeats, strict)
        _untunable(plan.splits[:1], labels, groups, classes)
        return plan
    usable, notes = _usable_folds(shown, groups, classes, folds)
    splits: list[OuterSplit] = []
    for repeat in range(repeats):
        try:
            drawn = group_folds(
                labels, groups, folds=usable, seed=derive_seed("outer", seed, repeat)
            )
        except ProtocolError as error:
            named = ", ".join(
                f"{quoted(name)} {n}"
                for name, n in zip(classes, _groups_of_classes(shown, groups), strict=True)
            )
            raise ProtocolError(f"{error} Groups of each class: {named}.") from None
        if len(drawn) < usable:
            notes.append(
                f"{len(drawn)} folds instead of {usable} in repeat {repeat}: "
                "with more, a fold would lack a class"
            )
        splits += [
            OuterSplit(
                name=f"r{repeat}f{fold}",
                repeat=repeat,
                fold=fold,
                development=train,
                validation=None,
                held_out=test,
            )
            for fold, (train, test) in enumerate(drawn)
        ]
    notes += _untunable(splits, labels, groups, classes)
    description = f"{usable}-fold x {repeats} by group"
    return SplitPlan(splits=tuple(splits), description=description, notes=tuple(notes))


def image_splits(
    labels: Indices, *, folds: int, repeats: int, seed: int, classes: Sequence[str]
) -> tuple[OuterSplit, ...]:
    """Folds that divide single images, whatever their group: what leaking patients would gain.

    Args, seed and errors: as ``outer_splits`` has them.
    """
    n = len(labels)
    plan = outer_splits(
        labels,
        np.arange(n),
        np.full(n, ""),
        folds=folds,
        repeats=repeats,
        seed=seed,
        classes=classes,
    )
    return tuple(
        replace(split, name=f"by-image-{split.name}", by_image=True) for split in plan.splits
    )


def _official(
    shown: NDArray[np.bool_],
    groups: Indices,
    official: NDArray[np.str_],
    classes: Sequence[str],
    repeats: int,
    strict: bool,
) -> SplitPlan:
    if (official == "").any():
        raise ProtocolError(
            f"{(official == '').sum()} images are in no part of the official split. "
            "Every image needs train, val or test, or none may have it."
        )
    official = official.copy()
    notes: list[str] = []
    for earlier, later in (("train", "test"), ("val", "test"), ("train", "val")):
        crossing = np.isin(groups, groups[official == later]) & (official == earlier)
        if not crossing.any():
            continue
        n_groups = len(np.unique(groups[crossing]))
        what = f"{n_groups} groups (same patient or identical pixels) are in both {earlier} and "
        if strict:
            official[crossing] = ""
            notes.append(f"{what}{later}; their {crossing.sum()} {earlier} images are left out")
        else:
            notes.append(f"{what}{later} of the official split, which is kept as it is")
    for part in ("train", "test"):
        lacking = np.flatnonzero(~shown[official == part].any(axis=0)).tolist()
        if lacking:
            raise ProtocolError(
                f"the official {part} part has no image of class "
                f"{enumerated([quoted(classes[k]) for k in lacking])}, so it cannot be "
                f"{'learnt' if part == 'train' else 'tested'}. Move images of it there, leave its "
                "images out, or leave the official split out (the field split of a table) to use "
                "folds."
            )
    validation = np.flatnonzero(official == "val")
    if why := too_small_to_tune_on(shown, groups, validation, classes):
        notes.append(f"{why}, so inner folds over train and val are used instead of it")
        validation = validation[:0]
    development = np.flatnonzero(np.isin(official, ("train", "val")))
    if not len(validation):
        of_class = _groups_of_classes(shown[development], groups[development])
        to_be = "tuned on and learnt outside the official test part"
        _check_at_least(2, of_class, shown[development], classes, to_be)
    splits = tuple(
        OuterSplit(
            name=f"official-r{repeat}" if repeat else "official",
            repeat=repeat,
            development=development,
            validation=validation if len(validation) else None,
            held_out=np.flatnonzero(official == "test"),
        )
        for repeat in range(repeats)
    )
    description = "official" if repeats == 1 else f"official x {repeats}"
    return SplitPlan(splits=splits, description=description, notes=tuple(notes))


def too_small_to_tune_on(
    shown: NDArray[np.bool_], groups: Indices, validation: Indices, classes: Sequence[str]
) -> str:
    """Why an official validation part cannot carry tuning, threshold and calibration; or "".

    Args:
        shown: Which classes each image shows, shape (n_images, n_classes).
        groups: Group number of each image, shape (n_images,).
        validation: Images of the part; of none there is nothing to say.
        classes: Names of the classes.
    """
    of_class = _groups_of_classes(shown[validation], groups[validation])
    n_groups = len(np.unique(groups[validation]))
    if not n_groups:
        return ""
    if n_groups >= FEWEST_TO_TUNE_ON and of_class.min() >= FEWEST_OF_A_CLASS:
        return ""
    counts = shown[validation].sum(axis=0)
    few = np.argsort(of_class, kind="stable")[:_MOST_NAMED]
    named = ", ".join(f"{quoted(classes[k])} {counts[k]}" for k in sorted(few))
    more = f" and {len(classes) - len(few)} more classes" if len(classes) > len(few) else ""
    return (
        f"the official validation part has {how_many(len(validation), 'image')} of "
        f"{how_many(n_groups, 'group')} ({named}{more}), too few to tune, choose a threshold and "
        "calibrate on"
    )


def _usable_folds(
    shown: NDArray[np.bool_], groups: Indices, classes: Sequence[str], folds: int
) -> tuple[int, list[str]]:
    of_class = _groups_of_classes(shown, groups)
    fewest, rarest = int(of_class.min()), quoted(classes[int(of_class.argmin())])
    _check_at_least(FEWEST_FOR_FOLDS, of_class, shown, classes, "tested, tuned on and learnt")
    if fewest < folds:
        return fewest, [
            f"{fewest} folds instead of {folds}: the rarest class, {rarest}, has images of only "
            f"{fewest} groups"
        ]
    return folds, []


def _untunable(
    splits: Sequence[OuterSplit], labels: Indices, groups: Indices, classes: Sequence[str]
) -> list[str]:
    """What to say of splits whose development part cannot be divided into inner folds.

    Raises:
        ProtocolError: None can.
    """
    shown = membership(labels, len(classes))
    found: dict[str, str] = {}
    for split in splits:
        rows = split.development
        of_class = _groups_of_classes(shown[rows], groups[rows])
        if split.validation is not None or of_class.min() >= _MANY_GROUPS:
            continue  # many groups can always be divided, and drawing them takes long
        try:
            group_folds(labels[rows], groups[rows], folds=2, seed=0)
        except ProtocolError:
            rarest = int(of_class.argmin())
            found[split.name] = (
                f"{quoted(classes[rarest])} is in {how_many(of_class[rarest], 'group')} of its "
                "development part"
            )
    if not found:
        return []
    named = "; ".join(f"{name}: {why}" for name, why in found.items())
    what = "no inner folds keep every group whole and every class on both sides, so every model"
    if len(found) == len(splits):
        more = "" if splits[0].fold is None else f"run with --folds {len(splits) + 1} or more, "
        raise ProtocolError(
            f"{what} would fail ({named}). Add patients, {more}leave the class out, or check which "
            "images are of one group."
        )
    return [f"{what} fails there ({named})"]


def _check_at_least(
    needed: int,
    of_class: Indices,
    shown: NDArray[np.bool_],
    classes: Sequence[str],
    to_be: str,
) -> None:
    """Refuse classes of too few groups by name.

    Raises:
        ProtocolError: There are some.
    """
    few = np.flatnonzero(of_class < needed).tolist()
    if few:
        counts = shown.sum(axis=0)
        named = [
            f"{quoted(classes[k])} ({how_many(counts[k], 'image')} of "
            f"{how_many(of_class[k], 'group')})"
            for k in few[:_MOST_NAMED]
        ]
        if more := len(few) - len(named):
            named.append(f"{more} more")
        raise ProtocolError(
            f"{'class' if len(few) == 1 else 'classes'} {enumerated(named)} cannot be {to_be}: "
            f"that takes {needed} groups (patients, or images that are not alike), and every "
            "model would fail. Add images of other patients, join the class with another, or "
            "leave its images out; or check which images are of one group."
        )


def _groups_of_classes(shown: NDArray[np.bool_], groups: Indices) -> Indices:
    """How many groups show each class, shape (n_classes,)."""
    return np.array([len(np.unique(groups[of_class])) for of_class in shown.T], dtype=np.int64)


def group_folds(
    labels: Indices, groups: Indices, *, folds: int, seed: int
) -> list[tuple[Indices, Indices]]:
    """Stratified folds that keep groups whole, each with every class on both sides.

    Where no draw gives every fold every class, fewer folds are made (at least two). Images of a
    multi-label task are stratified by the rarest of their labels.

    Args:
        labels: Labels of each image; see ``LabelledBatch``.
        groups: Group number of each image, shape (n_images,).
        folds: Number of folds wanted, at least 2.
        seed: Seed of the draw.

    Returns:
        Pairs of (training, validation) indices.

    Raises:
        ProtocolError: Not even two folds with every class can be made.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    shown = labels == 1 if labels.ndim == 2 else membership(labels, int(labels.max()) + 1)
    shown = shown[:, shown.any(axis=0)]
    strata = _rarest(shown) if labels.ndim == 2 else labels
    fewest = min(len(np.unique(groups[of_class])) for of_class in shown.T)
    for n_folds in range(min(folds, fewest), 1, -1):
        for attempt in range(_ATTEMPTS):
            splitter = StratifiedGroupKFold(
                n_splits=n_folds, shuffle=True, random_state=derive_seed(seed, attempt)
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of a rare combination of labels
                drawn = list(splitter.split(strata, strata, groups))
            if all(shown[part].any(axis=0).all() for pair in drawn for part in pair):
                return [(np.sort(train), np.sort(test)) for train, test in drawn]
    raise ProtocolError(
        "no division keeps every group whole and every class on both sides: too few groups "
        "(patients) of a class. Add patients or drop the class."
    )


def inner_folds(
    labels: Indices,
    groups: Indices,
    validation: NDArray[np.bool_] | None,
    *,
    folds: int,
    split_seed: int,
) -> list[tuple[Indices, Indices]]:
    """What is learnt from and what is validated on within a development part.

    Args:
        labels: Labels of the part; see ``LabelledBatch``.
        groups: Group number of each of its images, int64, shape (n_development,).
        validation: Whether each is in the official validation part, shape (n_development,), which
            is then the only one; None for stratified group k-fold.
        folds: Number of folds wanted, at least 2.
        split_seed: Seed of the outer split: all models get the same folds.

    Returns:
        Pairs of (training, validation) indices, places in the development part.

    Raises:
        ProtocolError: Not even two folds with every class can be made.
    """
    if validation is not None:
        return [(np.flatnonzero(~validation), np.flatnonzero(validation))]
    return group_folds(labels, groups, folds=folds, seed=derive_seed(split_seed, "inner"))


def _rarest(shown: NDArray[np.bool_]) -> Indices:
    """The rarest class that each image shows, one beyond the last where it shows none."""
    frequency = shown.sum(axis=0)
    counts = np.where(shown, frequency, len(shown) + 1)
    rarest: Indices = np.where(shown.any(axis=1), counts.argmin(axis=1), shown.shape[1])
    return rarest
