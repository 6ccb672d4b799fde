"""DICOM files written byte by byte, by no library, so that each of its many encodings can occur."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"

TAGS = {
    "SOPClassUID": (0x0008, 0x0016, "UI"),
    "SOPInstanceUID": (0x0008, 0x0018, "UI"),
    "PatientID": (0x0010, 0x0020, "LO"),
    "SamplesPerPixel": (0x0028, 0x0002, "US"),
    "PhotometricInterpretation": (0x0028, 0x0004, "CS"),
    "PlanarConfiguration": (0x0028, 0x0006, "US"),
    "NumberOfFrames": (0x0028, 0x0008, "IS"),
    "Rows": (0x0028, 0x0010, "US"),
    "Columns": (0x0028, 0x0011, "US"),
    "BitsAllocated": (0x0028, 0x0100, "US"),
    "BitsStored": (0x0028, 0x0101, "US"),
    "HighBit": (0x0028, 0x0102, "US"),
    "PixelRepresentation": (0x0028, 0x0103, "US"),
    "PixelPaddingValue": (0x0028, 0x0120, "US or SS"),
    "PixelPaddingRangeLimit": (0x0028, 0x0121, "US or SS"),
    "FloatPixelPaddingValue": (0x0028, 0x0122, "FL"),
    "DoubleFloatPixelPaddingValue": (0x0028, 0x0123, "FD"),
    "FloatPixelPaddingRangeLimit": (0x0028, 0x0124, "FL"),
    "DoubleFloatPixelPaddingRangeLimit": (0x0028, 0x0125, "FD"),
    "PixelIntensityRelationship": (0x0028, 0x1040, "CS"),
    "TotalPixelMatrixColumns": (0x0048, 0x0006, "UL"),
    "WindowCenter": (0x0028, 0x1050, "DS"),
    "WindowWidth": (0x0028, 0x1051, "DS"),
    "RescaleIntercept": (0x0028, 0x1052, "DS"),
    "RescaleSlope": (0x0028, 0x1053, "DS"),
    "RescaleType": (0x0028, 0x1054, "LO"),
    "VOILUTFunction": (0x0028, 0x1056, "CS"),
    "RedPaletteColorLookupTableDescriptor": (0x0028, 0x1101, "US or SS"),
    "GreenPaletteColorLookupTableDescriptor": (0x0028, 0x1102, "US or SS"),
    "BluePaletteColorLookupTableDescriptor": (0x0028, 0x1103, "US or SS"),
    "RedPaletteColorLookupTableData": (0x0028, 0x1201, "OW"),
    "GreenPaletteColorLookupTableData": (0x0028, 0x1202, "OW"),
    "BluePaletteColorLookupTableData": (0x0028, 0x1203, "OW"),
    "ModalityLUTSequence": (0x0028, 0x3000, "SQ"),
    "LUTDescriptor": (0x0028, 0x3002, "US or SS"),
    "LUTData": (0x0028, 0x3006, "US or OW"),
    "VOILUTSequence": (0x0028, 0x3010, "SQ"),
    "FrameVOILUTSequence": (0x0028, 0x9132, "SQ"),
    "PixelValueTransformationSequence": (0x0028, 0x9145, "SQ"),
    "FramePixelDataPropertiesSequence": (0x0028, 0x9443, "SQ"),
    "SharedFunctionalGroupsSequence": (0x5200, 0x9229, "SQ"),
    "PerFrameFunctionalGroupsSequence": (0x5200, 0x9230, "SQ"),
    "FloatPixelData": (0x7FE0, 0x0008, "OF"),
    "DoubleFloatPixelData": (0x7FE0, 0x0009, "OD"),
    "PixelPresentation": (0x0008, 0x9205, "CS"),
    "PixelData": (0x7FE0, 0x0010, "OB or OW"),
}
_LONG = ("OB", "OW", "OF", "OD", "SQ", "UT", "UN")
"""Value representations whose length has 32 bits in explicit files."""
_UNDEFINED = 0xFFFFFFFF


@dataclass
class DrawnFile:
    """A file that is to be written."""

    syntax: str
    elements: dict[str, Any]
    """By keyword; sequences are lists of such dictionaries, tables numbers."""
    pixels: np.ndarray
    """As stored, shape (frames, height, width) or (frames, height, width, 3)."""
    undefined_lengths: bool = False
    """Whether sequences end with a delimiter instead of stating a length."""
    unused_bits: np.ndarray | int = 0
    """What the bits that are no part of a value hold; shape of ``pixels``."""
    words_of_bytes: bool = field(default=False)
    """Whether tables of 8 bits lie in words, the high byte empty."""


def encoded(file: DrawnFile) -> bytes:
    """The bytes of a file.

    Source: DICOM PS3.5, sections 7 and 8 and annexes A and G; PS3.10, section 7.
    """
    meta = b"".join(
        _element(group, number, vr, value, EXPLICIT)
        for group, number, vr, value in (
            (0x0002, 0x0001, "OB", b"\0\1"),
            (0x0002, 0x0002, "UI", _text(file.elements["SOPClassUID"], "UI")),
            (0x0002, 0x0003, "UI", _text("1.2.3.4", "UI")),
            (0x0002, 0x0010, "UI", _text(file.syntax, "UI")),
        )
    )
    length = _element(0x0002, 0x0000, "UL", struct.pack("<I", len(meta)), EXPLICIT)
    body = _dataset(file.elements, file) + _pixel_element(file)
    if file.syntax == DEFLATED:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
    return bytes(128) + b"DICM" + length + meta + body


def _dataset(elements: dict[str, Any], file: DrawnFile) -> bytes:
    parts = []
    for keyword in sorted(elements, key=lambda name: TAGS[name][:2]):
        group, number, vr = TAGS[keyword]
        value = elements[keyword]
        if vr == "SQ":
            parts.append(_sequence(group, number, value, file))
            continue
        if vr == "US or SS":
            numbers = np.atleast_1d(value)
            vr = "SS" if (numbers < 0).any() else "US"
        if keyword.endswith("Data"):
            bits = elements[keyword.removesuffix("Data") + "Descriptor"][2]
            vr, content = _table_data(value, bits, vr, file)
        else:
            content = _value(value, vr, _order(file))
        parts.append(_element(group, number, vr, content, file.syntax))
    return b"".join(parts)


def _table_data(entries: Any, bits: int, vr: str, file: DrawnFile) -> tuple[str, bytes]:
    """Words, or bytes in pairs, the first of a pair being the low one of its word."""
    if bits > 8 or file.words_of_bytes:
        words = np.asarray(entries).astype("u2")
    else:
        pair = np.append(entries, [0] * (len(entries) % 2)).astype("u1").reshape(-1, 2)
        words = pair[:, 0].astype("u2") + pair[:, 1].astype("u2") * 256
    content = words.astype(f"{_order(file)}u2").tobytes()
    short = vr == "US or OW" and len(content) < 2**16 and file.undefined_lengths
    return "US" if short else "OW", content


def _sequence(group: int, number: int, items: list[dict[str, Any]], file: DrawnFile) -> bytes:
    order = _order(file)

    def delimited(tag: int, content: bytes, end: int) -> bytes:
        if not file.undefined_lengths:
            return struct.pack(f"{order}HHI", 0xFFFE, tag, len(content)) + content
        head = struct.pack(f"{order}HHI", 0xFFFE, tag, _UNDEFINED)
        return head + content + struct.pack(f"{order}HHI", 0xFFFE, end, 0)

    content = b"".join(delimited(0xE000, _dataset(item, file), 0xE00D) for item in items)
    if not file.undefined_lengths:
        return _element(group, number, "SQ", content, file.syntax)
    end = struct.pack(f"{order}HHI", 0xFFFE, 0xE0DD, 0)
    return _head(group, number, "SQ", _UNDEFINED, file.syntax) + content + end


def _value(value: Any, vr: str, order: str) -> bytes:
    codes = {"US": "H", "SS": "h", "UL": "I", "FL": "f", "FD": "d"}
    values = value if isinstance(value, (list, tuple)) else [value]
    if vr in codes:
        return b"".join(struct.pack(f"{order}{codes[vr]}", one) for one in values)
    return _text("\\".join(str(one) for one in values), vr)


def _text(text: str, vr: str) -> bytes:
    content = text.encode()
    return content + (b"\0" if vr == "UI" else b" ") * (len(content) % 2)


def _order(file: DrawnFile) -> str:
    return ">" if file.syntax == BIG_ENDIAN else "<"


def _element(group: int, number: int, vr: str, content: bytes, syntax: str) -> bytes:
    content += b"\0" * (len(content) % 2)
    return _head(group, number, vr, len(content), syntax) + content


def _head(group: int, number: int, vr: str, length: int, syntax: str) -> bytes:
    order = ">" if syntax == BIG_ENDIAN else "<"
    tag = struct.pack(f"{order}HH", group, number)
    if syntax == IMPLICIT:
        return tag + struct.pack(f"{order}I", length)
    if vr in _LONG:
        return tag + vr.encode() + b"\0\0" + struct.pack(f"{order}I", length)
    return tag + vr.encode() + struct.pack(f"{order}H", length)


def _pixel_element(file: DrawnFile) -> bytes:
    elements, order = file.elements, _order(file)
    allocated = elements["BitsAllocated"]
    if file.pixels.dtype.kind == "f":
        keyword = "FloatPixelData" if allocated == 32 else "DoubleFloatPixelData"
        content = file.pixels.astype(f"{order}f{allocated // 8}").tobytes()
        group, number, vr = TAGS[keyword]
        return _element(group, number, vr, content, file.syntax)
    group, number, _ = TAGS["PixelData"]
    if file.syntax == RLE:
        return _compressed(group, number, file)
    if allocated == 1:
        content = np.packbits(file.pixels.astype(bool).ravel(), bitorder="little").tobytes()
    else:
        cells = _samples(_cells(file), elements)
        content = cells.astype(f"{order}u{allocated // 8}").tobytes()
    content += b"\0" * (len(content) % 2)
    vr = "OB" if allocated <= 8 and file.undefined_lengths and file.syntax != IMPLICIT else "OW"
    if vr == "OW" and allocated <= 8 and order == ">":
        content = np.frombuffer(content, "<u2").astype(">u2").tobytes()
    return _element(group, number, vr, content, file.syntax)


def _cells(file: DrawnFile) -> np.ndarray:
    """Words of the allocated bits: each value at its place, and whatever is around it."""
    elements = file.elements
    stored, shift = elements["BitsStored"], elements["HighBit"] + 1 - elements["BitsStored"]
    place = (2**stored - 1) << shift
    values = (file.pixels.astype(np.int64) % 2**stored) << shift
    around = np.asarray(file.unused_bits, np.int64) & ~place
    return (values | around) % 2 ** elements["BitsAllocated"]


def _samples(cells: np.ndarray, elements: dict[str, Any]) -> np.ndarray:
    """In the order in which they are stored."""
    if elements["PhotometricInterpretation"] == "YBR_FULL_422":
        luma = cells[..., 0].reshape(-1, 2)
        return np.concatenate([luma, cells[:, :, ::2, 1:].reshape(-1, 2)], axis=1).ravel()
    if elements.get("PlanarConfiguration"):
        return np.moveaxis(cells, -1, 1).ravel()
    return cells.ravel()


def _compressed(group: int, number: int, file: DrawnFile) -> bytes:
    """RLE: a segment for each byte of each sample, the high one first; see PS3.5, annex G."""
    cells, n_bytes = _cells(file), file.elements["BitsAllocated"] // 8
    items = [b""]  # no table of offsets
    for frame in cells:
        samples = np.moveaxis(frame, -1, 0) if frame.ndim == 3 else frame[None]
        segments = [
            _runs(((sample >> 8 * place) % 256).astype(np.uint8))
            for sample in samples
            for place in reversed(range(n_bytes))
        ]
        offsets = np.cumsum([64] + [len(segment) for segment in segments[:-1]]).tolist()
        numbers = [len(segments), *offsets, *[0] * (15 - len(offsets))]
        items.append(struct.pack("<16I", *numbers) + b"".join(segments))
    content = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    head = _head(group, number, "OB", _UNDEFINED, RLE)
    return head + content + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def _runs(plane: np.ndarray) -> bytes:
    """Bytes of a plane, row by row: runs where there are some, else literally."""
    packed = bytearray()
    for row in plane:
        if (row == row[0]).all():
            packed += bytes([257 - len(row), int(row[0])])
        else:
            packed += bytes([len(row) - 1]) + row.tobytes()
    return bytes(packed) + b"\0" * (len(packed) % 2)
