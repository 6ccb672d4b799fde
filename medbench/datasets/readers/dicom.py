"""A DICOM file becomes the picture that its own window shows, in 8 bits."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.grey_levels import stretched
from medbench.datasets.readers.base import (
    PIXEL_LIMIT,
    Header,
    OpenedImage,
    Reader,
    check_size,
)
from medbench.datasets.readers.dicom_elements import BROKEN, number, one_line
from medbench.datasets.readers.dicom_frames import more_decoders, stored_frame
from medbench.datasets.readers.dicom_grey import grey
from medbench.datasets.readers.dicom_header import details_of, header_of, start_of, text_of
from medbench.datasets.readers.dicom_tables import coloured
from medbench.datasets.readers.quiet import Quiet
from medbench.errors import DatasetError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_QUIET = Quiet("pydicom")
_MAGIC, _MAGIC_AT = b"DICM", 128
_BARE = (
    b"\x02\x00\x00\x00UL\x04\x00",  # file meta information, its length first
    b"\x08\x00\x05\x00CS",  # character set
    b"\x08\x00\x08\x00CS",  # image type
)
"""First elements of files without a preamble. The letters of the value's type make them safe to
tell; files that leave those out as well (implicit VR) are not recognized."""
_COMMON_MODES = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR_MODES = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
_DEFLATED, _PLAIN = b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0"
"""Transfer syntaxes that differ only in deflation, padded to one length."""
_BYTES_A_PIXEL = 16
"""Bytes a pixel, of all frames and the header together, that a deflated file may inflate to."""
_TILE = "a tile of a larger picture"


class DicomReader(Reader):
    """Shows each frame as a viewer opens it.

    Stored values pass the modality transformation (rescaling or a table) and the first window or
    VOI table of the frame or else of the file; the window's lower..upper end, or the range of the
    table's bits, becomes 0..255, whatever the image's own values are. Without a window (or with
    one that is no number, which is a warning) the image's lowest to highest value becomes 0..255.
    MONOCHROME1 is inverted, so white is high. Padding is black and takes no part in the range.
    Palettes and YBR become RGB. ``docs/formats.md`` has every kind.

    The patient is the Patient ID together with its issuer, the series the Series Instance UID;
    both leave this module as hashes only.

    Source: DICOM PS3.3, sections C.7.1.1, C.7.3.1, C.7.6.3, C.7.6.16, C.11.1 and C.11.2.
    """

    title: ClassVar[str] = "DICOM"
    suffixes: ClassVar[tuple[str, ...]] = (".dcm", ".dicom")
    decoders: ClassVar[tuple[str, ...]] = (
        "gdcm", "pyjpegls", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg",
        "pylibjpeg-rle", "python-gdcm",
    )  # fmt: skip

    def recognises(self, start: bytes) -> bool:
        """See ``Reader.recognises``: with a preamble, or recognizably without."""
        return start[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC or start.startswith(_BARE)

    def open(self, content: bytes, *, origin: str, pixel_limit: int) -> OpenedImage:
        """See ``Reader.open``; also refused is what nothing installed can decompress."""
        with _reading(origin):
            dataset = _read(content, origin, pixel_limit)
            _check_header(dataset, origin, pixel_limit)
            return _OpenedDicom(dataset, len(content), origin)

    def look(self, file: IO[bytes], *, origin: str) -> Header:
        """See ``Reader.look``; the pixels are not read."""
        with _reading(origin):
            deflated = _DEFLATED in _file_meta(file)
            file.seek(0)
            dataset = _read(file.read(), origin, PIXEL_LIMIT) if deflated else start_of(file)
            return replace(header_of(dataset), details=details_of(dataset))

    def tag(self, file: IO[bytes], keyword: str, *, origin: str) -> str:
        """See ``Reader.tag``; what lies behind the element is not read."""
        with _reading(origin):
            deflated = _DEFLATED in _file_meta(file)
            file.seek(0)
            dataset = _read(file.read(), origin, PIXEL_LIMIT) if deflated else None
            return text_of(start_of(file, keyword) if dataset is None else dataset, keyword)

    def shorter_side(self, file: IO[bytes], *, origin: str) -> int:
        """See ``Reader.shorter_side``; the pixels are not read."""
        from pydicom import dcmread

        with _reading(origin):
            if _DEFLATED in _file_meta(file):
                file.seek(0)
                return super().shorter_side(file, origin=origin)
            file.seek(0)
            tags = ["Rows", "Columns"]
            said = dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(tags))
            return min(int(said[tag].value) for tag in tags)


class _OpenedDicom(OpenedImage):
    def __init__(self, dataset: FileDataset, n_bytes: int, origin: str) -> None:
        header, mode = header_of(dataset), str(dataset.PhotometricInterpretation)
        frames = f"{header.n_slices} frame{'s' * (header.n_slices > 1)}"
        what = f"a DICOM file of {frames}"
        super().__init__(origin=origin, header=header, mode=mode, n_bytes=n_bytes, what=what)
        self._dataset = dataset
        self._doubts: dict[str, None] = {}

    def pixels(self, index: int) -> NDArray[np.uint8]:
        with _reading(self.origin):
            return _shown(self._dataset, index, self.origin, self._doubts.setdefault)

    def warnings(self) -> tuple[str, ...]:
        """What of the slices that were decoded is not stated as it should be."""
        return tuple(self._doubts)


@contextmanager
def _reading(origin: str) -> Iterator[None]:
    """Keep pydicom quiet, and turn what it raises into an error that names the file."""
    from pydicom.errors import BytesLengthException

    with _QUIET:
        try:
            yield
        except (BytesLengthException, *BROKEN) as error:
            raise DatasetError(
                f"{origin}: the DICOM file is damaged or truncated ({one_line(error)}). "
                "Copy it again from its source or remove it."
            ) from error


def _file_meta(file: IO[bytes]) -> bytes:
    """The beginning of a file, up to the elements that are encoded by its transfer syntax."""
    from pydicom.filereader import read_dataset

    start = file.read(_MAGIC_AT + 4)
    file.seek(_MAGIC_AT + 4 if start[_MAGIC_AT:] == _MAGIC else 0)
    read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    length = file.tell()
    file.seek(0)
    return file.read(length)


def _read(content: bytes, origin: str, pixel_limit: int) -> FileDataset:
    """The parsed file, with a transfer syntax even where it states none."""
    from pydicom import dcmread, uid

    start = len(_file_meta(io.BytesIO(content)))
    if _DEFLATED in content[:start]:  # pydicom would inflate it without a limit
        inflater, limit = zlib.decompressobj(-zlib.MAX_WBITS), pixel_limit * _BYTES_A_PIXEL
        inflated = inflater.decompress(content[start:], limit)
        if inflater.unconsumed_tail:
            raise DatasetError(
                f"{origin}: the deflated DICOM file is larger than {limit:,} bytes. "
                "Remove it, or inflate it if its source is trusted (`dcmconv +te`)."
            )
        content = content[:start].replace(_DEFLATED, _PLAIN) + inflated
    dataset = dcmread(io.BytesIO(content), force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return dataset


def _check_header(dataset: FileDataset, origin: str, pixel_limit: int) -> None:
    """Refuse what has no pixels, too many, or pixels that cannot be decompressed here."""
    from pydicom.pixels.decoders.base import get_decoder

    if not any(f"{kind}PixelData" in dataset for kind in ("", "Float", "DoubleFloat")):
        what = _name(dataset.get("SOPClassUID"))
        raise DatasetError(
            f"{origin}: the DICOM file ({what}) has no pixel data. "
            "Remove it; if it should be an image, copy it again, as it may be truncated."
        )
    check_size(int(dataset.Columns), int(dataset.Rows), origin, pixel_limit)
    mode, samples = dataset.PhotometricInterpretation, dataset.SamplesPerPixel
    if (mode, samples) not in [(m, 1) for m in _COMMON_MODES] + [(m, 3) for m in _COLOUR_MODES]:
        raise DatasetError(
            f"{origin}: the photometric interpretation {_name(mode)} with {_name(samples)} "
            f"sample(s) a pixel cannot be read. Convert the image to RGB or PNG. Known: "
            f"{', '.join(_COMMON_MODES)} with 1 sample, {', '.join(_COLOUR_MODES)} with 3."
        )
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError as error:
        raise DatasetError(
            f"{origin}: the transfer syntax {_name(syntax)} cannot be read. Convert the image to "
            "Explicit VR Little Endian or PNG."
        ) from error
    if not available:
        raise DatasetError(
            f"{origin}: the pixels are compressed as {syntax.name}, which nothing installed "
            f"here reads: {more_decoders()}."
        )


def _shown(
    dataset: FileDataset, frame: int, origin: str, doubt: Callable[[str], object]
) -> NDArray[np.uint8]:
    """One frame, decoded and mapped to what is seen."""
    stored = stored_frame(dataset, frame, origin)
    if (number(dataset, "TotalPixelMatrixColumns") or 0) > dataset.Columns:
        doubt(_TILE)
    if dataset.PhotometricInterpretation in _COLOUR_MODES:
        return stretched(stored, 0, 2 ** int(dataset.BitsStored) - 1)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return coloured(stored, dataset, origin)
    return grey(stored, dataset, frame, origin, doubt)


def _name(value: Any) -> str:
    """A code of the file for a message; a damaged one may hold anything, a patient's name too."""
    name = str(getattr(value, "name", value))
    known = name != str(value) or re.fullmatch(r"[A-Z0-9_]{1,16}|[0-9.]{1,64}", name)
    return name if known else "of unknown kind"
