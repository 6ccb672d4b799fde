"""The values that a DICOM file stores of one frame, and which of them are no picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.readers.dicom_coded import coded_size
from medbench.datasets.readers.dicom_elements import number, one_line
from medbench.errors import DatasetError
from medbench.versions import install_command

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_CONVERT = "or convert the file, for example with `dcmdjpeg` or `gdcmconv --raw`"
_LARGER, _BLOCK = 2, 1 << 16
"""How many times as large, and how many pixels more, a compressed frame may be than it should."""
_YBR = ("YBR_FULL", "YBR_FULL_422")
_FLOATS = {"float32": "Float", "float64": "DoubleFloat"}


def more_decoders() -> str:
    """What to do with pixels that nothing installed can decompress: a clause for a message."""
    return f"install more decoders with {install_command('dicom')}, {_CONVERT}"


def stored_frame(file: FileDataset, frame: int, origin: str) -> NDArray[Any]:
    """Decode a frame.

    Args:
        file: With pixels that something installed can decompress.
        frame: Counted from 0.
        origin: Name of the image in messages.

    Returns:
        Integers or floats as they are stored, shape (height, width), or (height, width, 3) of
        RGB, whose values are those of the stored bits (floats where YBR was stored).

    Raises:
        DatasetError: No decoder can read it.
    """
    from pydicom.pixels.decoders.base import get_decoder

    syntax = file.file_meta.TransferSyntaxUID
    if file.BitsAllocated == 1 and not syntax.is_encapsulated:
        return _bits(file, frame)
    _check_coded_size(file, frame, origin)
    decoder, shift = get_decoder(syntax), _shift(file)
    options = {} if shift is None else {"correct_unused_bits": False}
    try:
        stored, found = decoder.as_array(file, index=frame, raw=True, **options)
    except RuntimeError as error:
        if not (syntax.is_compressed and decoder.missing_dependencies):
            raise
        raise DatasetError(  # damaged, or of a kind that only another decoder knows
            f"{origin}: the pixels, compressed as {syntax.name}, cannot be read "
            f"({one_line(error)}). Copy the file again. If that does not help, {more_decoders()}."
        ) from error
    if shift is not None:
        stored = np.right_shift(np.left_shift(stored, shift[0]), shift[1])
    if found["photometric_interpretation"] in _YBR:
        return _rgb(stored, int(file.BitsStored))
    values: NDArray[Any] = stored
    return values


def _check_coded_size(file: FileDataset, frame: int, origin: str) -> None:
    """Refuse a compressed frame that is far larger than the file says, before it is decoded.

    Raises:
        DatasetError: It is.
    """
    from pydicom.encaps import get_frame
    from pydicom.uid import RLELossless

    if not file.file_meta.TransferSyntaxUID.is_encapsulated or "PixelData" not in file:
        return
    n_frames = max(int(file.get("NumberOfFrames") or 1), 1)
    table = None
    if "ExtendedOffsetTable" in file:
        table = file.ExtendedOffsetTable, file.ExtendedOffsetTableLengths
    coded = get_frame(file.PixelData, frame, number_of_frames=n_frames, extended_offsets=table)
    size = coded_size(coded)
    width, height = int(file.Columns), int(file.Rows)
    n_bytes = width * height * int(file.SamplesPerPixel) * (int(file.BitsAllocated) // 8)
    if file.file_meta.TransferSyntaxUID == RLELossless and len(coded) > _LARGER * n_bytes + _BLOCK:
        raise DatasetError(
            f"{origin}: the compressed frame has {len(coded):,} bytes, and its pixels have "
            f"{n_bytes:,}. Copy the file again from its source, or remove it."
        )
    if size is not None and size[0] * size[1] > _LARGER * width * height + _BLOCK:
        raise DatasetError(
            f"{origin}: the compressed frame has {size[0]} x {size[1]} pixels, and the file says "
            f"{width} x {height}. Copy the file again from its source, or remove it."
        )


def _bits(file: FileDataset, frame: int) -> NDArray[np.uint8]:
    """A frame of single bits; the next one begins in the same byte where this one ends in it.

    Not pydicom's way: of a frame that begins inside of a byte it takes too few bytes.

    Source: DICOM PS3.5, section 8.1.1, and annex A.3 for the order in big endian.
    """
    shape = (int(file.Rows), int(file.Columns))
    data, n_pixels = file.PixelData, shape[0] * shape[1]
    if not file.file_meta.TransferSyntaxUID.is_little_endian and file["PixelData"].VR == "OW":
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    first, behind = frame * n_pixels, (frame + 1) * n_pixels
    if len(data) * 8 < behind:
        raise ValueError(f"{len(data)} bytes of pixels, too few for frame {frame + 1}")
    begin = first // 8
    packed = np.frombuffer(data[begin : -(-behind // 8)], np.uint8)
    bits = np.unpackbits(packed, bitorder="little")[first - 8 * begin : behind - 8 * begin]
    return bits.reshape(shape)


def _shift(file: FileDataset) -> tuple[int, int] | None:
    """How far values that end at another bit than usual are moved, to the left and then right.

    Only older editions of the standard allow it.
    """
    from pydicom.uid import RLELossless

    syntax = file.file_meta.TransferSyntaxUID
    if (syntax.is_encapsulated and syntax != RLELossless) or "PixelData" not in file:
        return None
    n_allocated, n_stored = int(file.BitsAllocated), int(file.BitsStored)
    behind = int(file.get("HighBit") or n_stored - 1) + 1
    if behind == n_stored or not n_stored <= behind <= n_allocated:
        return None
    return n_allocated - behind, n_allocated - n_stored


def _rgb(ybr: NDArray[Any], n_bits: int) -> NDArray[np.float32]:
    """Luma and colour differences as RGB of the same bits.

    Not pydicom's way, which knows 8 bits only.

    Source: DICOM PS3.3, section C.7.6.3.1.2; ITU-R BT.601.
    """
    luma, blue, red = np.moveaxis(ybr.astype(np.float32), -1, 0)
    middle = np.float32(2 ** (n_bits - 1))
    blue, red = (blue - middle) * np.float32(1.772), (red - middle) * np.float32(1.402)
    green = luma - np.float32(0.114 / 0.587) * blue - np.float32(0.299 / 0.587) * red
    return np.stack([luma + red, green, luma + blue], axis=-1)


def stored_range(stored: NDArray[Any], file: FileDataset) -> tuple[float, float]:
    """The lowest and highest value that the file can store in a pixel.

    Args:
        stored: As ``stored_frame`` gives it.
        file: It is a frame of this file.
    """
    if stored.dtype.kind == "f":
        return -np.inf, np.inf
    n_values = 2 ** int(file.BitsStored)
    low = -(n_values // 2) if stored.dtype.kind == "i" else 0
    return low, low + n_values - 1


def padding_of(stored: NDArray[Any], file: FileDataset) -> NDArray[np.bool_]:
    """Pixels that only fill the rectangle: those of the padding value, or of its range.

    Args:
        stored: As ``stored_frame`` gives it, of a grey frame.
        file: It is a frame of this file.

    Returns:
        Same shape.

    Source: DICOM PS3.3, sections C.7.5.1.1.2, C.7.6.24.1 and C.7.6.25.1.
    """
    kind = _FLOATS.get(stored.dtype.name, "")
    value, limit = (number(file, f"{kind}PixelPadding{end}") for end in ("Value", "RangeLimit"))
    padding = np.zeros(stored.shape, np.bool_)
    if value is None:
        return padding
    ends = np.array([value, value if limit is None else limit])
    if kind:
        if np.isnan(ends).any():
            padding |= np.isnan(stored)
        ends = ends[~np.isnan(ends)]
    else:
        n_values = 2.0 ** (8 * stored.dtype.itemsize)
        if not ((ends >= -n_values / 2) & (ends < n_values)).all():  # also NaN
            return padding  # of another image, which this one was made of
        # Many files state a negative value as its unsigned twin, so both are brought to one type.
        ends = ends.astype(np.int64).astype(stored.dtype)
    if len(ends):
        padding |= (stored >= ends.min()) & (stored <= ends.max())
    return padding
