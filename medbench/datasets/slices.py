"""Which slice of a file was asked for."""

from __future__ import annotations

from medbench.errors import SliceError


def slice_index(wanted: int | None, n_slices: int, *, origin: str, what: str) -> int:
    """The place of the wanted slice, from 0.

    Args:
        wanted: Its number, counted from 1; None where nobody chose.
        n_slices: How many there are.
        origin: Name of the file in messages.
        what: What it holds, in words.

    Raises:
        SliceError: There are several and none was chosen, or not so many.
    """
    if wanted is None:
        if n_slices == 1:
            return 0
        raise SliceError(f"{what}, and a model of 2-D images takes one slice", n_slices, origin)
    if not 1 <= wanted <= n_slices:
        raise SliceError(f"{what}, and slice {wanted} was asked for", n_slices, origin)
    return wanted - 1
