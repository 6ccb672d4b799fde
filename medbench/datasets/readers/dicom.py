"""A DICOM file becomes the picture that its own window shows, in 8 bits."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.grey_levels import stretched
from medbench.datasets.readers.base import Header, OpenedImage, Reader, check_size, hashed
from medbench.datasets.readers.quiet import Quiet
from medbench.errors import DatasetError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

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
_LOOKED_AT = (
    "NumberOfFrames", "PatientID", "IssuerOfPatientID", "SeriesInstanceUID",
    "SpecificCharacterSet",
)  # fmt: skip
"""Elements that tell slices, patient and series."""
_LARGEST_TABLE = 1 << 16
_BYTES_A_PIXEL = 16
"""Bytes a pixel, of all frames and the header together, that a deflated file may inflate to."""
_QUOTED = 160
"""Characters of a library's own message that are shown."""
_DECODERS = "`pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg`"
_CONVERT = "or convert it, for example with `dcmdjpeg` or `gdcmconv --raw`"
_BROKEN = (
    ArithmeticError,
    AttributeError,  # a header without a needed element
    EOFError,
    LookupError,
    OSError,
    RuntimeError,  # no decoder could read the pixels; nesting too deep; not implemented
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom raises on bytes that are no sound file (found by flipping bytes of sound ones)."""


class DicomReader(Reader):
    """Shows each frame as a viewer opens it.

    Stored values pass the modality transformation (rescaling or a table) and the first window or
    VOI table of the file; the window's lower..upper end becomes 0..255, whatever the image's own
    values are. Without a window (or with one whose width is not positive) the image's lowest to
    highest value becomes 0..255. MONOCHROME1 is inverted, so white is high. Padding is black and
    takes no part in the range. Palettes and YBR become RGB.

    The patient is the Patient ID together with its issuer, the series the Series Instance UID;
    both leave this module as hashes only.

    Source: DICOM PS3.3, sections C.7.1.1, C.7.3.1, C.7.6.3, C.11.1 and C.11.2.
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
        from pydicom import dcmread

        with _reading(origin):
            if _DEFLATED in _file_meta(file):
                file.seek(0)
                return super().look(file, origin=origin)  # which inflates it up to a limit
            file.seek(0)
            return _header(
                dcmread(file, force=True, stop_before_pixels=True, specific_tags=list(_LOOKED_AT))
            )


class _OpenedDicom(OpenedImage):
    def __init__(self, dataset: FileDataset, n_bytes: int, origin: str) -> None:
        header, mode = _header(dataset), str(dataset.PhotometricInterpretation)
        frames = f"{header.n_slices} frame{'s' * (header.n_slices > 1)}"
        what = f"a DICOM file of {frames}"
        super().__init__(origin=origin, header=header, mode=mode, n_bytes=n_bytes, what=what)
        self._dataset = dataset

    def pixels(self, index: int) -> NDArray[np.uint8]:
        with _reading(self.origin):
            return _shown(self._dataset, index, self.origin)


@contextmanager
def _reading(origin: str) -> Iterator[None]:
    """Keep pydicom quiet, and turn what it raises into an error that names the file."""
    from pydicom.errors import BytesLengthException

    with _QUIET:
        try:
            yield
        except (BytesLengthException, *_BROKEN) as error:
            raise DatasetError(
                f"{origin}: the DICOM file is damaged or truncated ({_one_line(error)}). "
                "Copy it again from its source or remove it."
            ) from error


def _header(dataset: Dataset) -> Header:
    """What a header says of frames, patient and series."""
    patient = _said(dataset, "PatientID")
    series = _said(dataset, "SeriesInstanceUID")
    return Header(
        n_slices=max(int(dataset.get("NumberOfFrames") or 1), 1),
        patient=hashed("patient", patient, _said(dataset, "IssuerOfPatientID")) if patient else "",
        series=hashed("series", series) if series else "",
    )


def _said(dataset: Dataset, keyword: str) -> str:
    """The text of an element; "" where there is none, or none that can be read."""
    try:
        value = dataset.get(keyword)
    except _BROKEN:
        return ""  # damage there does not make the pixels unreadable
    return " ".join(str(value).split()) if value is not None else ""


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
            f"here reads. {_DECODERS}, {_CONVERT}."
        )


def _shown(dataset: FileDataset, frame: int, origin: str) -> NDArray[np.uint8]:
    """One frame, decoded and mapped to what is seen."""
    stored = _stored(dataset, frame, origin)
    if dataset.PhotometricInterpretation in _COLOUR_MODES:
        return stretched(stored, 0, 2 ** int(dataset.BitsStored) - 1)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return _coloured(stored, dataset, origin)
    padding = _padding(stored, dataset)
    values = _rescaled(stored, dataset, frame)
    seen = values[~padding]
    if not np.isfinite(seen).all():
        raise DatasetError(
            f"{origin}: pixels are NaN or infinite. Replace them by numbers or remove the image."
        )
    shares = _windowed(values, dataset, frame)
    if shares is not None:
        grey = stretched(shares, 0, 1)
    else:
        values = np.where(padding, 0, values)
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
        grey = stretched(values, low, high)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = np.uint8(255) - grey
    grey[padding] = 0
    return grey


def _stored(dataset: FileDataset, frame: int, origin: str) -> NDArray[Any]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import pixel_array

    try:
        stored: NDArray[Any] = pixel_array(dataset, index=frame)
    except RuntimeError as error:
        syntax = dataset.file_meta.TransferSyntaxUID
        if not (syntax.is_compressed and get_decoder(syntax).missing_dependencies):
            raise
        raise DatasetError(  # damaged, or of a kind that only another decoder knows
            f"{origin}: the pixels, compressed as {syntax.name}, cannot be read "
            f"({_one_line(error)}). Copy the file again; if that does not help, {_DECODERS} "
            f"for more kinds of compression, {_CONVERT}."
        ) from error
    return stored


def _rescaled(stored: NDArray[Any], dataset: Dataset, frame: int) -> NDArray[np.float64]:
    """Stored values in their unit, for example Hounsfield units."""
    if tables := dataset.get("ModalityLUTSequence"):
        first, entries = _table(tables[0].LUTDescriptor, tables[0].LUTData, dataset)
        return _looked_up(stored, first, entries).astype(np.float64)
    stated = _of_frame(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = stated.get("RescaleSlope"), stated.get("RescaleIntercept")
    with np.errstate(all="ignore"):
        values: NDArray[np.float64] = stored.astype(np.float64)
        return values * float(1 if slope is None else slope) + float(intercept or 0)


def _windowed(
    values: NDArray[np.float64], dataset: Dataset, frame: int
) -> NDArray[np.float64] | None:
    """Each value's place in the first window, 0 at its lower and 1 at its upper end.

    Not pydicom's ``apply_voi_lut``: its table lookup wraps at the table's output type, so a
    table of 8-bit output mangles 12-bit pixels, and its range depends on the stored bits.
    """
    if tables := dataset.get("VOILUTSequence"):
        first, entries = _table(tables[0].LUTDescriptor, tables[0].LUTData, dataset)
        low, high = int(entries.min()), int(entries.max())
        shown = _looked_up(np.rint(values), first, entries)
        return (shown - low) / max(high - low, 1)
    stated = _of_frame(dataset, frame, "FrameVOILUTSequence")
    center, width = (_first(stated.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or not (width > 0 and np.isfinite([center, width]).all()):
        return None
    function = str(stated.get("VOILUTFunction") or "LINEAR").upper()
    with np.errstate(all="ignore"):
        if function == "SIGMOID":
            return np.asarray(1 / (1 + np.exp(-4 * (values - center) / width)))
        if function != "LINEAR_EXACT" and width >= 1:  # narrower ones are exact ones, misnamed
            center, width = center - 0.5, width - 1
        if width == 0:
            return (values > center).astype(np.float64)
        return np.clip((values - center) / width + 0.5, 0, 1)


def _coloured(stored: NDArray[Any], dataset: Dataset, origin: str) -> NDArray[np.uint8]:
    """Palette indices as RGB."""
    if "RedPaletteColorLookupTableData" not in dataset:  # segments may announce any length
        raise DatasetError(
            f"{origin}: the palette is missing or stored in segments, which are not read. "
            "Convert the image to RGB or PNG."
        )
    tables = [
        _table(
            dataset[f"{colour}PaletteColorLookupTableDescriptor"].value,
            dataset[f"{colour}PaletteColorLookupTableData"].value,
            dataset,
        )
        for colour in ("Red", "Green", "Blue")
    ]
    wide = max(int(entries.max()) for _, entries in tables) > 255
    channels = [_looked_up(stored, first, entries) for first, entries in tables]
    return (np.stack(channels, axis=-1) >> (8 if wide else 0)).astype(np.uint8)


def _table(descriptor: Any, data: Any, dataset: Dataset) -> tuple[int, NDArray[np.int64]]:
    """First value that a lookup table maps, and its entries."""
    n_entries, first = int(descriptor[0]) or _LARGEST_TABLE, int(descriptor[1])
    if isinstance(data, bytes):
        word = "<u2" if dataset.original_encoding[1] else ">u2"
        kind = np.dtype(word if len(data) >= 2 * n_entries else np.uint8)
        entries = np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind)
    else:
        entries = np.atleast_1d(np.asarray(data, dtype=np.int64))
    if not 0 < n_entries <= len(entries):
        raise ValueError(f"a lookup table has {len(entries)} of {n_entries} entries")
    return first, entries[:n_entries].astype(np.int64)


def _looked_up(values: NDArray[Any], first: int, entries: NDArray[np.int64]) -> NDArray[np.int64]:
    """Values outside of a table take its first or last entry."""
    places = np.clip(values.astype(np.float64) - first, 0, len(entries) - 1)
    return np.asarray(entries[places.astype(np.intp)])


def _padding(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.bool_]:
    """Pixels that only fill the rectangle."""
    value = dataset.get("PixelPaddingValue")
    if value is None or stored.dtype.kind not in "iu":
        return np.zeros(stored.shape, np.bool_)
    limit = dataset.get("PixelPaddingRangeLimit")
    # Many files state a negative value as its unsigned twin, so both are brought to one type.
    ends = np.array([value, value if limit is None else limit], np.int64).astype(stored.dtype)
    return np.asarray((stored >= ends.min()) & (stored <= ends.max()))


def _of_frame(dataset: Dataset, frame: int, macro: str) -> Dataset:
    """Where a frame states something: its own functional group, the shared one, or the file."""
    own, shared = (
        dataset.get(f"{kind}FunctionalGroupsSequence") or () for kind in ("PerFrame", "Shared")
    )
    for groups in (*own[frame : frame + 1], *shared[:1]):
        if stated := groups.get(macro):
            found: Dataset = stated[0]
            return found
    return dataset


def _first(value: Any) -> float | None:
    """The first number of an element that may hold several, or none."""
    if value is None or isinstance(value, str):
        return float(value) if value else None
    numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    return float(numbers[0]) if numbers.size else None


def _name(value: Any) -> str:
    """A code of the file for a message; a damaged one may hold anything, a patient's name too."""
    name = str(getattr(value, "name", value))
    known = name != str(value) or re.fullmatch(r"[A-Z0-9_]{1,16}|[0-9.]{1,64}", name)
    return name if known else "of unknown kind"


def _one_line(error: Exception) -> str:
    """A library's message, without the values of the file that it may quote."""
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, (AttributeError, RuntimeError)):
        text = re.sub(r"""b?(['"]).*\1""", "...", text)
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."
