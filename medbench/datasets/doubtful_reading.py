"""Images that were read with a doubt, which the reader of their format put into words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from medbench.datasets.findings import Finding, how_many
from medbench.datasets.prepared import PreparedDataset

_MANY = 0.05
"""Share of the images above which what is shown of them may decide the results."""
_MOST_NAMED = 3
"""Doubts that are told apart in the sentence; all are in the numbers."""


def doubtful_reading(dataset: PreparedDataset) -> Iterator[Finding]:
    """What readers warn of (see ``OpenedImage.warnings``), counted."""
    doubts = dataset.table["warnings"]
    rows = np.flatnonzero(doubts != "")
    if not len(rows):
        return
    counts = doubts.iloc[rows].value_counts()
    listed = "; ".join(f"{text} ({n:,})" for text, n in counts[:_MOST_NAMED].items())
    more = f"; {len(counts) - _MOST_NAMED:,} other kinds" if len(counts) > _MOST_NAMED else ""
    yield Finding(
        check="doubtful-reading",
        severity="warning" if len(rows) / len(doubts) > _MANY else "note",
        text=f"{how_many(len(rows), 'image')} {'is' if len(rows) == 1 else 'are'} shown with a "
        f"doubt: {listed}{more}.",
        remedy="Look at some of them with medbench.read_image, and export again those that are "
        "not shown as you know them.",
        images=tuple(rows.tolist()),
        numbers={"images": len(rows), "kinds": {str(k): int(n) for k, n in counts.items()}},
    )
