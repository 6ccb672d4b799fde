"""Lookup tables of a DICOM file, as modality and VOI tables and palettes are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.grey_levels import stretched
from medbench.datasets.readers.dicom_frames import stored_range
from medbench.errors import DatasetError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

_WORD = 1 << 16
"""Values of 16 bits, and the most entries of a table."""
_FEWEST_BITS, _MOST_BITS = 8, 16


@dataclass(frozen=True)
class LookupTable:
    """Maps ``first`` to the first entry, ``first + 1`` to the second, and so on."""

    first: int
    entries: NDArray[np.int64]
    """Shape (n_entries,), from 0 to ``highest``."""
    bits: int
    """Of an entry, 8 to 16: they, and not the entries, say what is white."""

    @property
    def highest(self) -> int:
        """The largest value that entries may have."""
        return int(2**self.bits - 1)

    def of(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """The entry of each value, same shape; those outside take the first or the last."""
        positions = np.clip(
            np.rint(values.astype(np.float64)) - self.first, 0, len(self.entries) - 1
        )
        return np.asarray(self.entries[positions.astype(np.intp)])


def lookup_table(
    file: FileDataset, holder: Dataset, name: str, inputs: tuple[float, float]
) -> LookupTable:
    """Read one.

    Args:
        file: It is part of this file, which says how numbers are encoded.
        holder: Has the elements: the file, or an item of a sequence in it.
        name: Keyword of the elements, less "Descriptor" and "Data".
        inputs: The lowest and highest value that it may have to map. An explicit value
            representation says by itself whether its first value is signed; an implicit one leaves
            it to the standard's rule: wherever inputs may be negative.

    Raises:
        ValueError: It is shorter than it says.

    Source: DICOM PS3.3, sections C.11.1.1.1, C.11.2.1.1 and C.7.6.3.1.5.
    """
    implicit, little_endian = file.original_encoding
    descriptor = holder[f"{name}Descriptor"]
    n_entries, first, bits = (int(value) % _WORD for value in descriptor.value)
    signed = inputs[0] < 0 if implicit else descriptor.VR == "SS"
    if first >= _WORD // 2 and (signed or first > inputs[1]):  # some converters lose the sign
        first -= _WORD
    entries = _entries(holder[f"{name}Data"].value, n_entries or _WORD, little_endian=little_endian)
    needed = int(entries.max()).bit_length()
    if needed > bits or not _FEWEST_BITS <= bits <= _MOST_BITS:  # not as it says
        bits = max(needed, _FEWEST_BITS)
    return LookupTable(first, entries, bits)


def _entries(data: Any, n_entries: int, *, little_endian: bool) -> NDArray[np.int64]:
    """Bytes or words, as there are; pydicom gives the bytes of some, the words of others."""
    if not isinstance(data, bytes):
        packed = (np.atleast_1d(np.asarray(data, np.int64)) % _WORD).astype("<u2").tobytes()
    elif not little_endian:
        packed = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    else:
        packed = data
    kind = np.dtype("<u2" if len(packed) >= 2 * n_entries else "u1")
    if len(packed) < n_entries:
        raise ValueError(f"a lookup table has {len(packed) // 2} of {n_entries} entries")
    return np.frombuffer(packed, kind, n_entries).astype(np.int64)


def coloured(stored: NDArray[Any], file: FileDataset, origin: str) -> NDArray[np.uint8]:
    """Indices of a palette as RGB.

    Args:
        stored: Integers, shape (height, width).
        file: Holds the palette.
        origin: Name of the image in messages.

    Returns:
        uint8, shape (height, width, 3).

    Raises:
        DatasetError: The palette is missing or in segments.
    """
    if "RedPaletteColorLookupTableData" not in file:  # segments may announce any length
        raise DatasetError(
            f"{origin}: the palette is missing or stored in segments, which are not read. "
            "Convert the image to RGB or PNG."
        )
    inputs = stored_range(stored, file)
    tables = [
        lookup_table(file, file, f"{colour}PaletteColorLookupTable", inputs)
        for colour in ("Red", "Green", "Blue")
    ]
    bits = max(table.bits for table in tables)
    if all(table.entries.max() < 2**_FEWEST_BITS for table in tables):
        bits = _FEWEST_BITS  # else black: some write bytes into words
    channels = [stretched(table.entries, 0, 2**bits - 1) for table in tables]
    shades = [
        LookupTable(table.first, shade.astype(np.int64), _FEWEST_BITS).of(stored)
        for table, shade in zip(tables, channels, strict=True)
    ]
    return np.stack(shades, axis=-1).astype(np.uint8)
