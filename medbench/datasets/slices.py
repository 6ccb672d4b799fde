"""Which slice of a file was asked for."""

from __future__ import annotations

from medbench.errors import DatasetError, SliceError


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


def volume_index(wanted: int | None, n_volumes: int, *, origin: str, what: str) -> int:
    """The place of the wanted volume, from 0.

    Args:
        wanted: Its number, counted from 1; None where nobody chose. Of a single one there is
            nothing to choose.
        n_volumes: How many there are.
        origin: Name of the file in messages.
        what: What it holds, in words.

    Raises:
        DatasetError: There are several and none was chosen, or not so many.
    """
    if n_volumes == 1:
        return 0
    if wanted is not None and 1 <= wanted <= n_volumes:
        return wanted - 1
    but = "a model of 2-D images sees one" if wanted is None else f"volume {wanted} was asked for"
    raise DatasetError(
        f"{origin}: {what} (several times, directions or contrasts), and {but}. Say which, from 1 "
        f"to {n_volumes}: the field volume of its entry, or volume_number in Python; or save it in "
        "a file of its own.",
        options={"--volume": "N chooses one too"},
    )
