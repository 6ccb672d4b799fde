"""A NIfTI file becomes one axial plane, as radiologists look at it, in 8 bits."""

from __future__ import annotations

import gzip
import io
import logging
import math
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.grey_levels import stretched
from medbench.datasets.slices import slice_index
from medbench.errors import DatasetError

BYTE_LIMIT = 1 << 30
"""Most bytes that a volume may have unpacked (512 x 512 x 2048 voxels of 16 bits)."""

_GZIP = b"\x1f\x8b"
_PEEKED, _PEEKED_PACKED = 600, 1 << 16
"""Bytes unpacked to tell the format, and packed bytes looked at for it."""
_SINGLE, _PAIR = (b"n+1\0", b"n+2\0"), (b"ni1\0", b"ni2\0")
"""Magic of a file that holds the voxels too, and of a header whose voxels lie in another file."""
_ERROR_LEVEL = 40
"""Severity above which nibabel refuses a header rather than repairing it."""
_SILENT = logging.Logger("medbench.nifti", logging.CRITICAL + 1)
"""nibabel's own logger writes its repairs of headers to the terminal."""
_RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_PLANE = 2
_VOLUME = 3
_BROKEN_GZIP = (OSError, EOFError, zlib.error, struct.error)
"""What gzip raises on a damaged file (OSError includes a wrong checksum)."""
_BROKEN_HEADER = (ArithmeticError, LookupError, TypeError, ValueError)
"""What nibabel raises on a damaged header, besides errors of its own."""


def is_nifti(content: bytes) -> bool:
    """Whether bytes are a NIfTI-1 or NIfTI-2 file, plain or gzipped."""
    try:
        start = content[:_PEEKED]
        if content.startswith(_GZIP):
            packed = content[:_PEEKED_PACKED]
            start = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed, _PEEKED)
    except zlib.error:
        return False
    return _magic(start) is not None


def nifti_pixels(
    content: bytes, *, origin: str, slice_number: int | None, pixel_limit: int
) -> tuple[NDArray[np.uint8], str]:
    """The pixels of one axial slice.

    Voxels are brought to the closest of the canonical orientations (the axes run to the
    patient's right, anterior and superior: RAS+), and shown as radiologists do: the rows run from
    anterior to posterior, and the patient's right is on the left. A volume that is one voxel deep
    along another axis is shown likewise: right on the left, and superior or anterior above. The
    slice's own lowest to highest value, after the file's scaling, becomes 0..255.

    Args:
        content: The file.
        origin: Name of the image in messages.
        slice_number: Slice along the axis from inferior to superior, counted from 1; needed
            where there are several.
        pixel_limit: Largest width x height, checked from the header before unpacking.

    Returns:
        uint8 of shape (height, width), or (height, width, 3) of RGB voxels; and the name of the
        stored type.

    Raises:
        DatasetError: Not sound, too large, more than three axes, voxels that are no numbers or
            not finite, or a slice that is not there.
    """
    from nibabel import orientations

    apply: Any = orientations.apply_orientation  # has no types
    header, orientation = _header(content, origin)
    kind, shape = _kind_and_shape(header, origin)
    offset = int(header.get_data_offset())
    n_bytes = math.prod(shape) * kind.itemsize
    if offset + n_bytes > BYTE_LIMIT:
        raise DatasetError(
            f"{origin}: a volume of {_times(shape)} voxels of {kind.itemsize} bytes is above the "
            f"limit of {BYTE_LIMIT:,} bytes. Crop it or cut out the slices that are needed."
        )
    index, size = _index(shape, orientation, origin, slice_number)
    if math.prod(size) > pixel_limit:
        raise DatasetError(
            f"{origin}: {_times(size)} pixels is above the limit of {pixel_limit:,} pixels. "
            "Shrink or crop the image, or raise the pixel limit if its source is trusted."
        )
    voxels = _unpacked(content, offset + n_bytes, origin)[offset:]
    if len(voxels) < n_bytes:
        raise DatasetError(
            f"{origin}: the NIfTI file is truncated: it has {len(voxels):,} of the {n_bytes:,} "
            "bytes that its header announces. Copy it again from its source or remove it."
        )
    stored = np.frombuffer(voxels, kind, n_bytes // kind.itemsize).reshape(shape, order="F")
    plane = np.asarray(apply(stored, orientation))[index][::-1, ::-1].T
    if kind.names:
        return np.stack([plane[name] for name in kind.names], axis=-1), "RGB"
    return _grey(plane, header, origin), kind.name


def _magic(start: bytes) -> bytes | None:
    """The magic, where the size of a header and its magic fit each other."""
    for size, at, length, known in ((348, 344, 4, "1"), (540, 4, 8, "2")):
        magic = start[at : at + 4]
        stated = start[:4] in (size.to_bytes(4, "little"), size.to_bytes(4, "big"))
        whole = length == 4 or start[at + 4 : at + 8] == b"\r\n\x1a\n"
        if stated and whole and magic in (f"n+{known}\0".encode(), f"ni{known}\0".encode()):
            return magic
    return None


def _header(content: bytes, origin: str) -> tuple[Any, NDArray[np.float64]]:
    """The header, repaired where nibabel can, and how its axes lie in the patient.

    The orientation is nibabel's: for each axis of the file, the canonical one and its sign.
    """
    from nibabel import orientations
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    start = _unpacked(content, Nifti2Header.sizeof_hdr, origin)
    magic = _magic(start)
    if magic in _PAIR:
        raise DatasetError(
            f"{origin}: a NIfTI header whose voxels lie in another file (.img). "
            "Convert the two to one .nii file, for example with `nib-convert`."
        )
    orientation_of: Any = orientations.io_orientation
    maker: Any = Nifti1Header if magic == _SINGLE[0] else Nifti2Header
    try:
        with np.errstate(all="ignore"):
            header = maker(start[: maker.sizeof_hdr], check=False)
            header.check_fix(logger=_SILENT, error_level=_ERROR_LEVEL)
            orientation: NDArray[np.float64] = orientation_of(header.get_best_affine())
            header.get_slope_inter()
            header.get_data_offset()
            if not np.isfinite(orientation).all():
                raise ValueError("its affine matrix does not say where the axes point")
    except (HeaderDataError, WrapStructError, *_BROKEN_HEADER) as error:
        raise DatasetError(
            f"{origin}: the NIfTI header is damaged ({error}). "
            "Copy the file again from its source or remove it."
        ) from error
    return header, orientation


def _kind_and_shape(header: Any, origin: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type of the voxels, and the lengths of the three axes."""
    kind = header.get_data_dtype()
    if kind != _RGB and kind.kind not in "iuf":
        raise DatasetError(
            f"{origin}: voxels of type {header._data_type_codes.label[int(header['datatype'])]} "
            "cannot be read. Store integers, floating-point numbers or RGB."
        )
    shape = tuple(int(n) for n in header.get_data_shape())
    if not shape or min(shape) < 1:
        raise DatasetError(
            f"{origin}: the NIfTI header is damaged (a volume of {_times(shape) or 'no'} voxels). "
            "Copy the file again from its source or remove it."
        )
    while len(shape) > _VOLUME and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > _VOLUME:
        raise DatasetError(
            f"{origin}: {_times(shape)} values on {len(shape)} axes (several times, directions or "
            "contrasts), and a model of 2-D images takes a slice of one volume. Save the volume "
            "that is meant in a file of its own, for example with `nibabel.four_to_three`."
        )
    return kind, shape + (1,) * (_VOLUME - len(shape))


def _index(
    shape: tuple[int, ...], orientation: NDArray[np.float64], origin: str, slice_number: int | None
) -> tuple[tuple[int | slice, ...], tuple[int, int]]:
    """Where the wanted plane is in the canonical volume, and its width and height."""
    canonical = tuple(shape[axis] for axis in np.argsort(orientation[:, 0]))
    long = [axis for axis, n in enumerate(canonical) if n > 1]
    # The axis along which there is one voxel; the axial one where there is a choice.
    axis = max({0, 1, 2} - set(long), default=2) if len(long) <= _PLANE else 2
    n_slices = canonical[axis]
    what = f"a volume of {_times(canonical)} voxels"
    wanted = slice_index(slice_number, n_slices, origin=origin, what=what)
    index = tuple(wanted if a == axis else slice(None) for a in range(_VOLUME))
    width, height = (n for a, n in enumerate(canonical) if a != axis)
    return index, (width, height)


def _unpacked(content: bytes, n_bytes: int, origin: str) -> bytes:
    """The first bytes of the file, or of what is gzipped in it; never more than asked for."""
    if not content.startswith(_GZIP):
        return content[:n_bytes]
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(n_bytes)
            file.read(1)  # the checksum is compared at the end only
            return unpacked
    except _BROKEN_GZIP as error:
        raise DatasetError(
            f"{origin}: the gzipped NIfTI file is damaged or truncated ({error}). "
            "Copy it again from its source or remove it."
        ) from error


def _grey(plane: NDArray[Any], header: Any, origin: str) -> NDArray[np.uint8]:
    slope, intercept = header.get_slope_inter()
    with np.errstate(all="ignore"):
        values = plane.astype(np.float64)
        if slope is not None:
            values = values * slope + intercept
    if not np.isfinite(values).all():
        raise DatasetError(
            f"{origin}: voxels of the slice are NaN or infinite. "
            "Replace them by numbers or take another slice."
        )
    return stretched(values, float(values.min()), float(values.max()))


def _times(lengths: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in lengths)
