"""Splits: what a model may learn from and what is held out, by patient and stratified by class."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.task import membership
from medbench.errors import ProtocolError
from medbench.seeds import derive_seed

Indices = NDArray[np.int64]
_ATTEMPTS = 20
"""Seeds tried before the number of folds is lowered because a fold lacks a class."""


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
    """Images that tuning and fitting may see."""
    validation: Indices | None
    """The official validation part, a subset of ``development``; None where there is none."""
    held_out: Indices
    """Images that are predicted once, after everything is fixed."""
    by_image: bool = False
    """Whether every image counts as a group of its own, in the inner folds too. Its scores are
    inflated wherever images of one patient resemble each other: to be shown, never believed."""


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """All outer splits of a data set, the same for every model."""

    splits: tuple[OuterSplit, ...]
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
    n_classes: int,
    strict: bool = False,
) -> SplitPlan:
    """The official split where there is one, else repeated stratified group k-fold.

    Args:
        labels: Labels of each image; see ``LabelledBatch``.
        groups: Group number of each image, shape (n_images,).
        official: "train", "val", "test" or "" for each image, shape (n_images,).
        folds: Number of folds wanted.
        repeats: How often the folds are drawn anew, or the official split is repeated with
            another seed of everything but the split.
        seed: Seed of the draw.
        n_classes: Number of classes.
        strict: Leave images out of the training side of an official split whose group is also
            on a later side.

    Raises:
        ProtocolError: A class has fewer than two groups, or an official part lacks a class.
    """
    shown = membership(labels, n_classes)
    if (official != "").any():
        return _official(shown, groups, official, repeats, strict)
    usable, notes = _usable_folds(shown, groups, folds)
    splits: list[OuterSplit] = []
    for repeat in range(repeats):
        drawn = group_folds(labels, groups, folds=usable, seed=derive_seed("outer", seed, repeat))
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
    description = f"{usable}-fold x {repeats} by group"
    return SplitPlan(splits=tuple(splits), description=description, notes=tuple(notes))


def image_splits(
    labels: Indices, *, folds: int, repeats: int, seed: int, n_classes: int
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
        n_classes=n_classes,
    )
    return tuple(
        replace(split, name=f"by-image-{split.name}", by_image=True) for split in plan.splits
    )


def _official(
    shown: NDArray[np.bool_],
    groups: Indices,
    official: NDArray[np.str_],
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
        lacking = np.flatnonzero(~shown[official == part].any(axis=0))
        if len(lacking):
            raise ProtocolError(
                f"the official {part} part has no image of class number "
                f"{', '.join(map(str, lacking))}. Mend the split, or leave its column out "
                "to use folds."
            )
    validation = np.flatnonzero(official == "val")
    lacking = np.flatnonzero(~shown[validation].any(axis=0))
    if len(validation) and len(lacking):
        notes.append(
            f"the official validation part lacks {len(lacking)} classes and is used for training"
        )
        validation = validation[:0]
    splits = tuple(
        OuterSplit(
            name=f"official-r{repeat}" if repeat else "official",
            repeat=repeat,
            development=np.flatnonzero(np.isin(official, ("train", "val"))),
            validation=validation if len(validation) else None,
            held_out=np.flatnonzero(official == "test"),
        )
        for repeat in range(repeats)
    )
    description = "official" if repeats == 1 else f"official x {repeats}"
    return SplitPlan(splits=splits, description=description, notes=tuple(notes))


def _usable_folds(shown: NDArray[np.bool_], groups: Indices, folds: int) -> tuple[int, list[str]]:
    fewest = min(len(np.unique(groups[of_class])) for of_class in shown.T)
    if fewest < 2:
        raise ProtocolError(
            "a class has images of fewer than two groups (patients), so it cannot be both learnt "
            "and tested. Add patients, drop the class, or check the column of groups."
        )
    if fewest < folds:
        return fewest, [
            f"{fewest} folds instead of {folds}: the rarest class has images of only {fewest} "
            "groups"
        ]
    return folds, []


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


def _rarest(shown: NDArray[np.bool_]) -> Indices:
    """The rarest class that each image shows, one beyond the last where it shows none."""
    frequency = shown.sum(axis=0)
    counts = np.where(shown, frequency, len(shown) + 1)
    rarest: Indices = np.where(shown.any(axis=1), counts.argmin(axis=1), shown.shape[1])
    return rarest
