"""Images that are alike and yet differ in something: labels, patients, sides of a split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.prepared import PreparedDataset

Rows = NDArray[np.int64]
"""Row numbers of images, or one number an image."""


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Which images of a data set are identical, and which contents are nearly so."""

    content: Rows
    """Number of each image's content, int64, shape (n_images,): equal pixels, equal number."""
    first: Rows
    """Contents that are near-identical to those in ``second``, int64, shape (n_pairs,); pairs at
    which joining stopped are left out."""
    second: Rows

    @classmethod
    def of(cls, dataset: PreparedDataset) -> Copies:
        """Those of a prepared data set."""
        content = pd.factorize(dataset.table["pixel_hash"])[0].astype(np.int64)
        near = dataset.near_pairs[dataset.near_pairs["joined"].to_numpy(bool)]
        first, second = near["first"].to_numpy(np.int64), near["second"].to_numpy(np.int64)
        return cls(content=content, first=content[first], second=content[second])

    def differing(self, key: Rows) -> DifferingPairs:
        """The pairs of identical or near-identical images whose keys differ.

        They are counted, never listed: a thousand copies of one image are half a million pairs.

        Args:
            key: One number an image, int64, shape (n_images,); images with one below 0 are left
                out.
        """
        from scipy.sparse import coo_array

        n_contents = int(self.content.max(initial=-1)) + 1
        counted = key >= 0
        where = (self.content[counted], key[counted])
        shape = (n_contents, int(key.max(initial=0)) + 1)
        counts = coo_array((np.ones(counted.sum(), np.int64), where), shape=shape).tocsr()
        total = np.asarray(counts.sum(axis=1)).ravel()
        alike = np.asarray(counts.multiply(counts).sum(axis=1)).ravel()
        identical = (total**2 - alike) // 2
        crossed = counts[self.first].multiply(counts[self.second])
        near = total[self.first] * total[self.second] - np.asarray(crossed.sum(axis=1)).ravel()
        concerned = identical > 0
        concerned[self.first[near > 0]] = True
        concerned[self.second[near > 0]] = True
        rows: Rows = np.flatnonzero(concerned[self.content] & counted)
        return DifferingPairs(identical=int(identical.sum()), near=int(near.sum()), rows=rows)


@dataclass(frozen=True, kw_only=True)
class DifferingPairs:
    """Pairs that differ in something, counted."""

    identical: int
    """Pairs with equal pixels."""
    near: int
    rows: Rows
    """Images in these pairs."""

    @property
    def pairs(self) -> int:
        """All of them."""
        return self.identical + self.near

    @property
    def numbers(self) -> dict[str, int]:
        """For ``Finding.numbers``."""
        return {"pairs": self.pairs, "identical": self.identical, "near": self.near}


def label_key(dataset: PreparedDataset) -> Rows:
    """One number an image for all of its labels, int64, shape (n_images,)."""
    labels = dataset.labels
    if labels.ndim == 1:
        return labels
    frame = pd.DataFrame(labels)
    return np.asarray(frame.groupby(list(frame.columns), sort=False).ngroup(), dtype=np.int64)
