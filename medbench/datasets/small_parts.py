"""What an audit says of the parts of an official split that are too small for what they are for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from medbench.datasets.findings import Finding, enumerated, how_many, quoted
from medbench.datasets.prepared import PreparedDataset
from medbench.datasets.splits import too_small_to_tune_on
from medbench.datasets.task import membership

_FEW_TO_TEST, _FEW_TO_TUNE = 5, 10
"""Groups of a class in the test or validation part below which its scores there say little."""
_MOST_NAMED = 5
"""Classes named in a sentence; more are counted."""


def small_parts(dataset: PreparedDataset) -> Iterator[Finding]:
    """Official parts that lack a class, or hold few groups of one; none without such a split."""
    part = dataset.table["split"].to_numpy(str)
    groups = dataset.table["group"].to_numpy(np.int64)
    classes = dataset.task.classes
    shown = membership(dataset.labels, len(classes))
    why = too_small_to_tune_on(shown, groups, np.flatnonzero(part == "val"), classes)
    if why:
        yield Finding(
            check="small-validation-part",
            severity="note",
            text=f"{why[0].upper()}{why[1:]}; run uses inner folds over train and val instead.",
            remedy="Nothing, if that is what you want; else move images of train to val.",
            numbers={"part": "val", "images": int((part == "val").sum())},
        )
    for name, fewest in (("train", 1), ("val", 0 if why else _FEW_TO_TUNE), ("test", _FEW_TO_TEST)):
        rows = np.flatnonzero(part == name)
        if not len(rows):
            continue
        counts = {
            c: len(np.unique(groups[rows[of]]))
            for c, of in zip(classes, shown[rows].T, strict=True)
        }
        if lacking := [c for c, n in counts.items() if not n and fewest]:
            yield _lacking(name, lacking)
        if few := {c: n for c, n in counts.items() if 0 < n < fewest}:
            yield _few(name, few)


def _lacking(part: str, classes: Sequence[str]) -> Finding:
    return Finding(
        check="class-missing-in-part",
        severity="serious",
        text=f"The official {part} part has no image of {_listed([*map(quoted, classes)])}, so run "
        "refuses the split.",
        remedy=f"Move images of other patients into {part}, leave the class out, or leave the "
        "official split out to use folds.",
        numbers={"part": part, "classes": list(classes)},
    )


def _few(part: str, counts: Mapping[str, int]) -> Finding:
    """Few groups of some classes, and what rests on them."""
    named = [f"{quoted(name)} ({how_many(n, 'group')})" for name, n in counts.items()]
    if part == "val":
        follows = "tuning, operating point and calibration rest on them"
    else:
        follows = "scores on them mean little"
    return Finding(
        check="few-images-in-part",
        severity="warning" if part == "val" else "serious",
        text=f"The official {part} part has few images of {_listed(named)}; {follows}.",
        remedy=f"Move images of other patients into {part}, or leave the official split out to use "
        "folds.",
        numbers={"part": part, "classes": [{"name": c, "groups": n} for c, n in counts.items()]},
    )


def _listed(names: Sequence[str]) -> str:
    more = [f"{len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return enumerated([*names[:_MOST_NAMED], *more])
