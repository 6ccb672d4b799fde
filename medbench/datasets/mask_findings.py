"""Masks that got in among the images: told by their pixels, whatever they are called."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medbench.datasets.findings import Finding, enumerated, how_many, quoted
from medbench.datasets.prepared import PreparedDataset
from medbench.datasets.task import membership

_CHECK = "masks"
_MOST_CLASSES_NAMED = 5


def mask_findings(dataset: PreparedDataset) -> Iterator[Finding]:
    """Pictures of a few values beside others, classes made of them, or a whole set of them."""
    like = dataset.table["mask_like"].to_numpy(bool)
    n = int(like.sum())
    if not n:
        return
    shown = membership(dataset.labels, len(dataset.task.classes))
    of_class, all_of_class = shown[like].sum(axis=0), shown.sum(axis=0)
    only = np.flatnonzero((of_class == all_of_class) & (all_of_class > 0))
    names = [quoted(dataset.task.classes[k]) for k in only[:_MOST_CLASSES_NAMED]]
    what = "a few grey values only, as masks and label maps have"
    if n == len(like):
        text = f"All {how_many(n, 'picture')} have {what}."
    else:
        text = f"{how_many(n, 'picture')} of {len(like):,} {'has' if n == 1 else 'have'} {what}."
        if names:
            text = f"{text[:-1]}; {enumerated(names)} {'is' if len(only) == 1 else 'are'} made of "
            text += "nothing else."
    yield Finding(
        check=_CHECK,
        severity="warning" if n == len(like) else "serious",
        text=text,
        remedy="If these are masks or drawings, take them away or leave them out (field exclude): "
        "they show where somebody saw something, and are no images.",
        images=tuple(np.flatnonzero(like).tolist()),
        numbers={"images": n, "of_class": of_class.tolist()},
    )
