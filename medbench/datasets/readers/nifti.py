"""A NIfTI file becomes one axial plane, as radiologists look at it, in 8 bits."""

from __future__ import annotations

import gzip
import io
import logging
import math
import struct
import zlib
from typing import IO, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.grey_levels import robust_ends, stretched
from medbench.datasets.readers.base import Header, OpenedImage, Reader, check_size
from medbench.errors import DatasetError

BYTE_LIMIT = 1 << 30
"""Most bytes that a volume may have unpacked (512 x 512 x 2048 voxels of 16 bits)."""

_GZIP = b"\x1f\x8b"
_PEEKED = 600
"""Bytes unpacked to tell the format."""
_LONGEST_HEADER = 540
"""Bytes of a NIfTI-2 header; that of NIfTI-1 has 348."""
_SINGLE, _PAIR = (b"n+1\0", b"n+2\0"), (b"ni1\0", b"ni2\0")
"""Magic of a file that holds the voxels too, and of a header whose voxels lie in another file."""
_ANALYZE = b"ana\0"
"""Stands for the magic of Analyze 7.5, which has none: an older kind of pair."""
_ERROR_LEVEL = 40
"""Severity above which nibabel refuses a header rather than repairing it."""
_SILENT = logging.Logger("medbench.nifti", logging.CRITICAL + 1)
"""nibabel's own logger writes its repairs of headers to the terminal."""
_RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_MOST_A_BYTE = 1100
"""Bytes that one of a gzipped file can unpack to, at most (1032 of deflation), with some room."""
_PLANE = 2
_VOLUME = 3
_NO_AXES = "it does not say where its axes point, so it may be turned or mirrored"
_BROKEN_GZIP = (OSError, EOFError, zlib.error, struct.error)
"""What gzip raises on a damaged file (OSError includes a wrong checksum)."""
_BROKEN_HEADER = (ArithmeticError, LookupError, TypeError, ValueError)
"""What nibabel raises on a damaged header, besides errors of its own."""


class NiftiReader(Reader):
    """Shows axial slices, counted from inferior to superior.

    Voxels are brought to the closest of the canonical orientations (the axes run to the
    patient's right, anterior and superior: RAS+), and shown as radiologists do: the rows run from
    anterior to posterior, and the patient's right is on the left. A volume that is one voxel deep
    along another axis is shown likewise: right on the left, and superior or anterior above. All
    slices of a volume have one range, see ``robust_ends``, which after the file's scaling becomes
    0..255; of a single plane it is the lowest to the highest value. Nothing in the format names a
    patient.
    """

    title: ClassVar[str] = "NIfTI"
    suffixes: ClassVar[tuple[str, ...]] = (".nii", ".nii.gz")

    def recognises(self, start: bytes) -> bool:
        """See ``Reader.recognises``: NIfTI-1, NIfTI-2 or Analyze 7.5, plain or gzipped."""
        try:
            if start.startswith(_GZIP):
                unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
                start = unpacker.decompress(start, _PEEKED)
        except zlib.error:
            return False
        return _magic(start) is not None

    def open(self, content: bytes, *, origin: str, pixel_limit: int) -> OpenedImage:
        """See ``Reader.open``; also refused are voxels that are no numbers."""
        opened = _OpenedNifti(content, _unpacked(content, _LONGEST_HEADER, origin), origin)
        check_size(*opened.size, origin, pixel_limit)
        return opened

    def look(self, file: IO[bytes], *, origin: str) -> Header:
        """See ``Reader.look``; of a gzipped file only the first bytes are unpacked."""
        return self._looked_at(file, origin).header

    def shorter_side(self, file: IO[bytes], *, origin: str) -> int:
        """See ``Reader.shorter_side``; of a gzipped file only the first bytes are unpacked."""
        return int(min(self._looked_at(file, origin).size))

    def _looked_at(self, file: IO[bytes], origin: str) -> _OpenedNifti:
        """A file of which only the header was read."""
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        try:
            unpacked = gzip.GzipFile(fileobj=file) if packed else file
            start = unpacked.read(_LONGEST_HEADER)
        except _BROKEN_GZIP as error:
            raise _damaged_gzip(origin, error) from error
        return _OpenedNifti(b"", start, origin)


class _OpenedNifti(OpenedImage):
    planes = ("axial plane", "coronal plane", "sagittal plane")

    def __init__(self, content: bytes, start: bytes, origin: str) -> None:
        """Check the header, which the unpacked bytes in ``start`` hold.

        Raises:
            DatasetError: It is damaged, too large, or of a kind that is not read.
        """
        self._nifti, self._orientation = _header(start, origin)
        self._kind, self._shape, n_volumes = _kind_and_shape(self._nifti, origin)
        self._offset = int(self._nifti.get_data_offset())
        self._n_bytes = math.prod(self._shape) * self._kind.itemsize
        if self._offset + self._n_bytes > BYTE_LIMIT:
            raise DatasetError(
                f"{origin}: a volume of {_times(self._shape)} voxels of {self._kind.itemsize} "
                f"bytes is above the limit of {BYTE_LIMIT:,} bytes. Crop it or cut out the slices "
                "that are needed."
            )
        canonical = tuple(self._shape[axis] for axis in np.argsort(self._orientation[:, 0]))
        long = [axis for axis, n in enumerate(canonical) if n > 1]
        # The axis along which there is one voxel; the axial one where there is a choice.
        self._axis = max({0, 1, 2} - set(long), default=2) if len(long) <= _PLANE else 2
        super().__init__(
            origin=origin,
            header=Header(n_slices=canonical[self._axis], n_volumes=n_volumes),
            mode="RGB" if self._kind.names else self._kind.name,
            n_bytes=len(content),
            what=f"{f'{n_volumes} volumes' if n_volumes > 1 else 'a volume'} of "
            f"{_times(canonical)} voxels",
        )
        width, height = (n for axis, n in enumerate(canonical) if axis != self._axis)
        self.size = (width, height)
        """Of a slice, in pixels."""
        self._content = content
        slope, intercept = self._nifti.get_slope_inter()
        self._scaling = (1.0, 0.0) if slope is None else (float(slope), float(intercept))
        """What a stored value is multiplied with, and what is added then."""
        self._read: tuple[int, NDArray[Any], tuple[float, float]] | None = None
        """Number of the volume that was read last, its voxels and its ends."""

    def _volume(self, number: int) -> tuple[NDArray[Any], tuple[float, float]]:
        """A volume, counted from 0; only the one that was read last is kept.

        Returns:
            Its voxels as they are stored, shape (x, y, z) of the file; and what becomes black and
            white in all its slices, after scaling.
        """
        if self._read is None or self._read[0] != number:
            self._read = None
            voxels = self._voxels(number)
            self._read = number, voxels, (0.0, 0.0) if self._kind.names else self._ends(voxels)
        return self._read[1:]

    def _voxels(self, number: int) -> NDArray[Any]:
        """The voxels of a volume.

        Raises:
            DatasetError: The file is truncated, or too much must be unpacked.
        """
        start = self._offset + number * self._n_bytes
        if start + self._n_bytes > BYTE_LIMIT:
            raise DatasetError(
                f"{self.origin}: volume {number + 1} ends above the limit of {BYTE_LIMIT:,} bytes. "
                "Save it in a file of its own, for example with `nibabel.four_to_three`."
            )
        most = len(self._content) * _MOST_A_BYTE - start
        found = b""
        if most >= self._n_bytes:
            found = _unpacked(self._content, start + self._n_bytes, self.origin)[start:]
            most = len(found)
        if most < self._n_bytes:
            raise DatasetError(
                f"{self.origin}: the NIfTI file is truncated: it has {max(most, 0):,} of "
                f"the {self._n_bytes:,} bytes that its header announces. Copy it again from its "
                "source or remove it."
            )
        count = self._n_bytes // self._kind.itemsize
        return np.frombuffer(found, self._kind, count).reshape(self._shape, order="F")

    def _ends(self, voxels: NDArray[Any]) -> tuple[float, float]:
        """What becomes black and white, after scaling; of one plane its own ends."""
        slope, intercept = self._scaling
        if self.header.n_slices > 1:
            black, white = robust_ends(voxels, falling=slope < 0)
        else:
            black, white = sorted((voxels.min(), voxels.max()), reverse=slope < 0)
        return float(black) * slope + intercept, float(white) * slope + intercept

    def pixels(self, index: int) -> NDArray[np.uint8]:
        from nibabel import orientations

        apply: Any = orientations.apply_orientation  # has no types
        number, place = divmod(index, self.header.n_slices)
        voxels, ends = self._volume(number)
        chosen = tuple(place if a == self._axis else slice(None) for a in range(_VOLUME))
        plane = np.asarray(apply(voxels, self._orientation))[chosen][::-1, ::-1].T
        if self._kind.names:
            return np.stack([plane[name] for name in self._kind.names], axis=-1)
        slope, intercept = self._scaling
        with np.errstate(all="ignore"):
            values = plane.astype(np.float64) * slope + intercept
        if not (np.isfinite(values).all() and np.isfinite(ends).all()):
            raise DatasetError(
                f"{self.origin}: voxels of the slice are NaN or infinite. "
                "Replace them by numbers or take another slice."
            )
        return stretched(values, *ends)

    def warnings(self) -> tuple[str, ...]:
        """Whether nothing but a habit tells right from left (NIfTI-1, method 1)."""
        codes = int(self._nifti["qform_code"]), int(self._nifti["sform_code"])
        return () if any(code > 0 for code in codes) else (_NO_AXES,)


def _magic(start: bytes) -> bytes | None:
    """The magic, where the size of a header and its magic fit each other.

    Analyze 7.5 has none: there the header is all, and has a number of axes that can be.
    """
    order: Literal["little", "big"]
    for size, at, length, known in ((348, 344, 4, "1"), (540, 4, 8, "2")):
        magic = start[at : at + 4]
        stated = start[:4] in (size.to_bytes(4, "little"), size.to_bytes(4, "big"))
        whole = length == 4 or start[at + 4 : at + 8] == b"\r\n\x1a\n"
        if stated and whole and magic in (f"n+{known}\0".encode(), f"ni{known}\0".encode()):
            return magic
    for order in ("little", "big"):
        n_axes = int.from_bytes(start[40:42], order)
        if len(start) == 348 == int.from_bytes(start[:4], order) and 1 <= n_axes <= 7:
            return _ANALYZE
    return None


def _header(start: bytes, origin: str) -> tuple[Any, NDArray[np.float64]]:
    """The header, repaired where nibabel can, and how its axes lie in the patient.

    The orientation is nibabel's: for each axis of the file, the canonical one and its sign.
    """
    from nibabel import orientations
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    magic = _magic(start)
    if magic in (*_PAIR, _ANALYZE):
        kind = "an Analyze" if magic == _ANALYZE else "a NIfTI"
        raise DatasetError(
            f"{origin}: {kind} header whose voxels lie in another file (.img). "
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


def _kind_and_shape(header: Any, origin: str) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Type of the voxels, the lengths of the three axes, and the number of volumes."""
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
    return kind, (*shape, 1, 1, 1)[:_VOLUME], math.prod(shape[_VOLUME:])


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
        raise _damaged_gzip(origin, error) from error


def _damaged_gzip(origin: str, error: Exception) -> DatasetError:
    return DatasetError(
        f"{origin}: the gzipped NIfTI file is damaged or truncated ({error}). "
        "Copy it again from its source or remove it."
    )


def _times(lengths: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in lengths)
