"""Volumes that are stored as one file a slice, as DICOM series are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.findings import how_many
from medbench.datasets.headers import Headers
from medbench.datasets.volume_rule import middle_slices


def middle_of_series(
    headers: Headers, labels: NDArray[np.int64], wanted: int
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """The files that are the middle slices of their volume, or of none that is known.

    A volume is what one series has of one orientation, echo and size, in the order of the positions
    of its slices; where these have several labels, the slices of each label. Of slices at the same
    position (of a series over time, or copies) the first is used; localizers are left out where
    their series has other slices.

    Args:
        headers: Of all files.
        labels: Class indices, shape (n_files,); or 0 or 1 for each class, (n_files, n_classes).
        wanted: How many slices are taken of a volume.

    Returns:
        Which files are taken, shape (n_files,); and notes.
    """
    own = np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)
    in_volume = headers.stack >= 0
    series = headers.series * len(own) + own
    planned = in_volume & (headers.localizer == 1)
    planned &= np.isin(series, series[in_volume & (headers.localizer == 0)])
    rows = np.flatnonzero(in_volume & ~planned)
    ordered = rows[np.lexsort((headers.place[rows], own[rows], headers.stack[rows]))]
    key = headers.stack[ordered] * len(own) + own[ordered]
    taken = ~in_volume
    sizes, n_again = [], 0
    for volume in np.split(ordered, np.flatnonzero(np.diff(key)) + 1):
        slices = volume[np.unique(headers.place[volume], return_index=True)[1]]
        sizes.append(len(slices))
        n_again += len(volume) - len(slices)
        taken[slices[[n - 1 for n in middle_slices(len(slices), wanted)]]] = True
    if max(sizes) < 2:
        return np.ones(len(own), np.bool_), ()
    which = "the middle one" if wanted == 1 else f"the middle {wanted}"
    notes = [
        f"{len(sizes):,} series of single files ({min(sizes)} to {max(sizes)} slices): {which} of "
        "each taken (field slices)"
    ]
    if n_again:
        notes.append(f"{how_many(n_again, 'slice')} at the position of another one: left out")
    if planned.any():
        n_planned = how_many(int(planned.sum()), "localizer")
        notes.append(f"{n_planned} in series with other slices: left out")
    return taken, tuple(notes)


def told_series(headers: Headers) -> Iterator[str]:
    """What to say where every file is taken: that some are slices of one volume."""
    sizes = np.unique(headers.stack[headers.stack >= 0], return_counts=True)[1]
    n = int((sizes > 1).sum())
    if n:
        yield (
            f"{sizes[sizes > 1].sum():,} files are slices of {n:,} series, and each is an image "
            "(field slices takes so many in the middle of each)"
        )
    planned = int(headers.localizer.sum())
    if 0 < planned < len(headers.localizer):
        n_planned = how_many(planned, "image")
        yield f"{n_planned} by the headers: localizers, which show where others lie"
