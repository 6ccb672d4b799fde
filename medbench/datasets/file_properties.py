"""Labels that can be told from files without looking at what an image shows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.findings import Finding, enumerated, quoted
from medbench.datasets.prepared import PreparedDataset
from medbench.datasets.task import membership

_PROPERTIES = {
    "bytes": "the file size",
    "width": "the width",
    "height": "the height",
    "aspect": "the aspect ratio",
    "mode": "the pixel mode",
}
"""In words; all but the last are numbers."""
_PROPERTY_IMAGES = 20
"""Images of a class, and not of it, below which an AUROC of a property is mostly noise."""
_TELLING, _VERY_TELLING = 0.7, 0.9
"""AUROC of a file property alone."""


def file_properties(dataset: PreparedDataset) -> Iterator[Finding]:
    """Labels that can be told without looking at the picture."""
    classes, table = dataset.task.classes, dataset.table
    shown = membership(dataset.labels, len(classes))
    n_in = shown.sum(axis=0)
    enough = (n_in >= _PROPERTY_IMAGES) & (len(shown) - n_in >= _PROPERTY_IMAGES)
    if not enough.any():
        return
    table = table.assign(aspect=table["width"] / table["height"])
    values = {
        name: auroc_of_each(table[name].to_numpy(np.float64), shown)
        for name in _PROPERTIES
        if name != "mode" and table[name].nunique() > 1
    }
    strengths = dict(values)
    if table["mode"].nunique() > 1:
        values["mode"] = cramers_v_of_each(pd.factorize(table["mode"])[0], shown)
        strengths["mode"] = (1 + values["mode"]) / 2  # in a balanced fourfold table V = 2 AUROC - 1
    best = {name: int(np.where(enough, s, 0).argmax()) for name, s in strengths.items()}
    telling = [name for name in strengths if strengths[name][best[name]] >= _TELLING]
    telling.sort(key=lambda name: -strengths[name][best[name]])
    if not telling:
        return

    def score(name: str) -> str:
        value = f"{values[name][best[name]]:.2f}".removeprefix("0")
        return f"Cramér's V {value}" if name == "mode" else f"AUROC {value}"

    first, others = telling[0], [f"{_PROPERTIES[name]} ({score(name)})" for name in telling[1:]]
    text = (
        f"Labels follow the file, not only the picture: {_PROPERTIES[first]} alone tells "
        f"{from_the_rest(dataset, best[first])} with {score(first)}"
    )
    strongest = strengths[first][best[first]]
    yield Finding(
        check="file-properties",
        severity="serious" if strongest >= _VERY_TELLING else "warning",
        text=f"{text}; also {enumerated(others)}." if others else f"{text}.",
        remedy="The classes may come from different sources or devices: compare every model with "
        "the rows that see no anatomy, or take all classes from one source.",
        numbers={
            "classes": list(classes),
            **{
                name: [
                    round(float(v), 4) if ok else None
                    for v, ok in zip(of_each, enough, strict=True)
                ]
                for name, of_each in values.items()
            },
        },
    )


def auroc_of_each(values: NDArray[np.float64], shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """AUROC, whichever way round, with which a property tells each class from the rest.

    Args:
        values: The property, shape (n_images,).
        shown: Which classes each image shows, shape (n_images, n_classes).

    Returns:
        float64, shape (n_classes,), from .5 to 1; .5 where a side has no image.

    Source: Mann & Whitney (1947), "On a test of whether one of two random variables is
    stochastically larger than the other", Annals of Mathematical Statistics 18(1): the AUROC from
    the sum of mid-ranks, which costs one sort for all classes.
    """
    from scipy.stats import rankdata

    n_in = shown.sum(axis=0).astype(np.float64)
    n_out = len(shown) - n_in
    sums = rankdata(values) @ shown
    pairs = np.maximum(n_in * n_out, 1)
    auroc = np.where(n_in * n_out > 0, (sums - n_in * (n_in + 1) / 2) / pairs, 0.5)
    either_way: NDArray[np.float64] = np.maximum(auroc, 1 - auroc)
    return either_way


def cramers_v_of_each(codes: NDArray[np.int64], shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Cramér's V between a category and each class against the rest.

    Args:
        codes: The category, int, shape (n_images,), at least two of them.
        shown: Which classes each image shows, shape (n_images, n_classes).

    Returns:
        float64, shape (n_classes,), from 0 to 1; 0 where a side has no image.

    Source: Cramér (1946), "Mathematical Methods of Statistics", chapter 21.
    """
    n = len(codes)
    of_category = np.bincount(codes).astype(np.float64)
    of_class = shown.sum(axis=0).astype(np.float64)
    both = np.stack([np.bincount(codes[s], minlength=len(of_category)) for s in shown.T], axis=1)
    expected = of_category[:, None] * of_class / n
    # a category's deviation is the same in the class and outside it, with the sign changed
    outside = of_category[:, None] - expected
    with np.errstate(divide="ignore", invalid="ignore"):
        chi2 = ((both - expected) ** 2 * (1 / expected + 1 / outside)).sum(axis=0)
    v: NDArray[np.float64] = np.sqrt(np.nan_to_num(chi2 / n, posinf=0))
    return v


def from_the_rest(dataset: PreparedDataset, k: int) -> str:
    """Words for a class and what it is told from."""
    names = [quoted(name) for name in dataset.task.classes]
    if dataset.labels.ndim == 2:
        return f"images with {names[k]} from those without"
    return f"{names[k]} from {names[1 - k] if len(names) == 2 else 'the rest'}"
