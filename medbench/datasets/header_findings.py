"""Headers of files that give the labels away, or say that text is burnt into the pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.file_properties import from_the_rest
from medbench.datasets.findings import Finding, enumerated, how_many, quoted
from medbench.datasets.prepared import PreparedDataset
from medbench.datasets.readers import BURNT_IN
from medbench.datasets.task import membership

_FEWEST_GROUPS = 3
"""Groups (patients) in a class, and not in it, below which nothing can be held out."""
_MOST_GROUPS = 500
"""Groups that are looked at; of more a random sample."""
_TELLING = 0.7
"""Balanced accuracy of a field alone; chance is .5."""
_PERMUTATIONS = 99
_LEVEL = 0.95
"""Share of the permutations that must stay below."""
_MOST_NAMED = 6
"""Fields in the sentence; all are in the numbers."""


def header_findings(dataset: PreparedDataset) -> Iterator[Finding]:
    """Labels that can be told from headers, and text that is burnt in as headers say.

    Fields are named in findings, what they say is not: it may be a place or a person.

    Source: Westfall & Young (1993), "Resampling-based multiple testing": the highest of all fields
    under permuted labels is what one must be above.
    """
    fields = dataset.header_fields
    if fields is None or fields.empty:
        return
    fields = fields.reset_index(drop=True)
    yield from _burnt_in(dataset, fields)
    yield from _telling(dataset, fields)


def _burnt_in(dataset: PreparedDataset, fields: pd.DataFrame) -> Iterator[Finding]:
    if BURNT_IN not in fields:
        return
    said = fields[BURNT_IN].to_numpy() >= 0
    shown = membership(dataset.labels, len(dataset.task.classes))
    counts, all_of_class = shown[said].sum(axis=0), shown.sum(axis=0)
    each = [
        f"{n:,} of {of:,} of {quoted(name)}"
        for name, n, of in zip(dataset.task.classes, counts, all_of_class, strict=True)
    ]
    n = int(said.sum())
    if n:
        more = f" and {len(each) - _MOST_NAMED} other classes" * (len(each) > _MOST_NAMED)
        yield Finding(
            check="burnt-in-text",
            severity="warning",
            text=f"{how_many(n, 'image')} of {len(said):,} {'has' if n == 1 else 'have'} text "
            f"burnt into the pixels, as the headers say ({BURNT_IN}): "
            f"{', '.join(each[:_MOST_NAMED])}{more}.",
            remedy="Look at them: the text may name patients or give the class away. Crop it or "
            "leave these images out.",
            images=tuple(np.flatnonzero(said).tolist()),
            numbers={"images": n, "of_class": counts.tolist()},
        )


def _telling(dataset: PreparedDataset, fields: pd.DataFrame) -> Iterator[Finding]:
    rng = np.random.default_rng(0)
    group = pd.factorize(dataset.table["group"])[0].astype(np.int64)
    n_groups = int(group.max()) + 1
    if n_groups > _MOST_GROUPS:
        rows = np.isin(group, rng.choice(n_groups, _MOST_GROUPS, replace=False))
        fields, group = fields[rows], group[rows]
    else:
        rows = np.ones(len(group), np.bool_)
    units, unit_of = Units.of(membership(dataset.labels, len(dataset.task.classes))[rows], group)
    if not units.classes:
        return
    shares = {
        str(name): Shares.of(codes.to_numpy(np.int64), unit_of, units.group)
        for name, codes in fields.items()
        if codes.nunique() > 1
    }
    scored = {name: scores(of, units, units.sides) for name, of in shares.items()}
    found = {name: of for name, of in scored.items() if of.max() >= _TELLING}
    if not found:
        return
    highest = [  # of all fields, so that it does not matter how many are looked at
        max(float(scores(of, units, sides).mean()) for of in shares.values())
        for sides in (units.permuted(rng) for _ in range(_PERMUTATIONS))
    ]
    level = float(np.quantile(highest, _LEVEL, method="higher"))
    told = sorted(
        (name for name in found if found[name].mean() > level), key=lambda n: -found[n].max()
    )
    if not told:
        return
    best = int(found[told[0]].argmax())
    also = [f"{name} ({_said(found[name].max())})" for name in told[1:_MOST_NAMED]]
    more = f"; also {enumerated(also)}" if also else ""
    yield Finding(
        check="header-fields",
        severity="warning",
        text=f"Headers give labels away: {told[0]} alone tells "
        f"{from_the_rest(dataset, units.classes[best])} with balanced accuracy "
        f"{_said(found[told[0]].max())} in patients held out{more}. Of labels that are permuted "
        f"the mean over the classes reaches {_said(level)} in one of twenty.",
        remedy="The classes may come from different devices, protocols or places, which the "
        "pixels show too: compare every model with the rows that see no anatomy, or take all "
        "classes from one source. Headers themselves are never features.",
        numbers={
            "classes": [dataset.task.classes[k] for k in units.classes],
            "permuted_mean": round(level, 4),
            "fields": {name: [round(float(s), 4) for s in found[name]] for name in told},
        },
    )


@dataclass(frozen=True, kw_only=True)
class Units:
    """What counts once: the images of one group (patient) that have the same labels."""

    group: NDArray[np.int64]
    """Of each unit, shape (n_units,)."""
    sides: NDArray[np.bool_]
    """Which classes it is of, shape (n_units, n_classes), of ``classes`` alone."""
    classes: Sequence[int]
    """Indices of the classes with groups enough in them and outside of them."""

    @classmethod
    def of(
        cls, shown: NDArray[np.bool_], group: NDArray[np.int64]
    ) -> tuple[Units, NDArray[np.int64]]:
        """The units of images, and which one each image is of.

        Args:
            shown: Which classes each image shows, shape (n_images, n_classes).
            group: Of each image, shape (n_images,).
        """
        both, unit_of = np.unique(
            np.column_stack([group, shown.astype(np.int64)]), axis=0, return_inverse=True
        )
        sides = both[:, 1:] == 1
        n_groups = [
            [len(np.unique(both[sides[:, k] == side, 0])) for side in (True, False)]
            for k in range(sides.shape[1])
        ]
        classes = [k for k, counts in enumerate(n_groups) if min(counts) >= _FEWEST_GROUPS]
        units = cls(group=both[:, 0], sides=sides[:, classes], classes=classes)
        return units, unit_of.reshape(-1).astype(np.int64)

    def permuted(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Labels changed within groups that have several, and else from group to group."""
        alone = np.bincount(self.group)[self.group] == 1
        order = np.arange(len(self.group))
        order[alone] = rng.permutation(order[alone])
        several = order[~alone]
        shuffled = several[np.lexsort((rng.random(len(several)), self.group[several]))]
        order[several[np.argsort(self.group[several], kind="stable")]] = shuffled
        return self.sides[order]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """Which share of the images of a unit has which value of a field, where it has any."""

    unit: NDArray[np.int64]
    share: NDArray[np.float64]
    pair: NDArray[np.int64]
    """Number of the group and value."""
    value: NDArray[np.int64]
    """Of each number of ``pair``."""
    group: NDArray[np.int64]
    """Likewise."""

    @classmethod
    def of(
        cls, codes: NDArray[np.int64], unit_of: NDArray[np.int64], group: NDArray[np.int64]
    ) -> Shares:
        """Those of one field.

        Args:
            codes: What the header of each image says, as a number; -1 for nothing.
            unit_of: The unit of each image.
            group: The group of each unit.
        """
        both, n = np.unique(np.column_stack([unit_of, codes + 1]), axis=0, return_counts=True)
        unit, value = both[:, 0], both[:, 1]
        pairs, pair = np.unique(np.column_stack([group[unit], value]), axis=0, return_inverse=True)
        return cls(
            unit=unit,
            share=n / np.bincount(unit, weights=n)[unit],
            pair=pair.reshape(-1).astype(np.int64),
            value=pairs[:, 1],
            group=pairs[:, 0],
        )


def scores(of: Shares, units: Units, sides: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Balanced accuracy with which a field alone tells each class from the rest.

    Each group is told by the others: a value stands for the side (in the class, or not) in which
    its share among their images is higher; a tie, or a value that no other group has, counts half.
    Groups count alike on each side.

    Args:
        of: The field.
        units: The units.
        sides: Which classes each unit is of, shape (n_units, n_classes).

    Returns:
        float64, shape (n_classes,).
    """
    n_groups = int(units.group.max()) + 1
    found = []
    for side in sides.T:
        weights = np.zeros((2, len(of.value)))
        shares = np.zeros((2, len(of.value)))
        n_sides = []
        for s in (0, 1):
            on_side = side == bool(s)
            n_units = np.bincount(units.group[on_side], minlength=n_groups)
            own = on_side[of.unit]
            per_unit = of.share[own] / n_units[units.group[of.unit[own]]]
            weights[s] = np.bincount(of.pair[own], weights=per_unit, minlength=len(of.value))
            whole = np.bincount(of.value, weights=weights[s])[of.value]
            n_side = int((n_units > 0).sum())
            n_sides.append(n_side)
            shares[s] = (whole - weights[s]) / np.maximum(n_side - (n_units[of.group] > 0), 1)
        lead = np.sign(np.round(shares[1] - shares[0], 12))
        right = [float((weights[s] * (1 + (2 * s - 1) * lead) / 2).sum()) for s in (0, 1)]
        found.append(np.mean([n / n_side for n, n_side in zip(right, n_sides, strict=True)]))
    return np.array(found)


def _said(score: float) -> str:
    return f"{score:.2f}".removeprefix("0")
