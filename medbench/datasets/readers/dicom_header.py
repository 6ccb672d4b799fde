"""What the header of a DICOM file says: what the object is, whose, and where in its series."""

from __future__ import annotations

from functools import cache
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from medbench.datasets.readers.base import BURNT_IN, Details, Header, hashed
from medbench.datasets.readers.dicom_elements import BROKEN, number, said

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

_NO_PICTURES = (
    ("Directory", "DICOMDIR"),
    (" SR ", "structured report"),
    ("Report", "structured report"),
    ("Key Object", "structured report"),
    ("Procedure Log", "structured report"),
    ("Presentation State", "presentation state"),
    ("Waveform", "waveform"),
    ("Encapsulated", "encapsulated document"),
    ("Raw Data", "raw data file"),
    ("Segmentation", "segmentation"),
    ("Structure Set", "structure set"),
    ("RT ", "radiotherapy object"),
)
"""Part of the standard's name of a kind of object (SOP class), and what people call it; the first
that fits. What has an image in its name is one."""
_OTHER = "other DICOM object"
_LAST = 0x0028FFFF
"""What lies behind it is not looked at."""
_TEXTS = (
    "Modality", "ConversionType", "Manufacturer", "InstitutionName", "StationName",
    "StudyDescription", "SeriesDescription", "ManufacturerModelName", "ImageType",
    "BodyPartExamined", "ScanningSequence", "SequenceName", "ContrastBolusAgent",
    "SoftwareVersions", "ProtocolName", "ConvolutionKernel", "PatientPosition",
    "ViewPosition", "PixelSpacing", "PhotometricInterpretation", "LossyImageCompression", BURNT_IN,
    "Rows", "Columns", "BitsStored",
)  # fmt: skip
_NUMBERS = (
    "SliceThickness", "KVP", "RepetitionTime", "EchoTime", "FlipAngle", "MagneticFieldStrength",
    "RescaleIntercept", "RescaleSlope",
)  # fmt: skip
_YEAR = "StudyDate"
_OTHERS = (
    "SOPClassUID", "PatientName", "PatientID", "IssuerOfPatientID", "SeriesInstanceUID",
    "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "EchoNumbers",
    "NumberOfFrames", "SpecificCharacterSet",
)  # fmt: skip
_LOCALIZERS = ("LOCALIZER", "SCOUT")


def start_of(file: IO[bytes], keyword: str = "") -> FileDataset:
    """The elements that are looked at, read no further than the last of them.

    Args:
        file: At its beginning.
        keyword: The only element that is wanted; those of ``header_of`` and ``details_of`` where it
            is empty.
    """
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_partial

    tags = [tag_for_keyword(keyword) or 0] if keyword else [*_tags().values()]
    last = tags[0] if keyword else _LAST
    return read_partial(
        file,
        stop_when=lambda tag, vr, length: tag > last,
        force=True,
        specific_tags=tags,
    )


def text_of(dataset: Dataset, keyword: str) -> str:
    """What an element says, as text; several values are joined by back slashes."""
    try:
        value = dataset.get(keyword)
    except BROKEN:
        return ""
    several = hasattr(value, "__iter__") and not isinstance(value, str)
    words = [str(one) for one in value] if several else [str(value)]
    return "" if value is None else " ".join("\\".join(words).split())


@cache
def _tags() -> dict[str, int]:
    from pydicom.datadict import tag_for_keyword

    keywords = (*_TEXTS, *_NUMBERS, _YEAR, *_OTHERS)
    return {keyword: tag_for_keyword(keyword) or 0 for keyword in keywords}


def header_of(dataset: Dataset) -> Header:
    """Frames, patient and series."""
    patient = said(dataset, "PatientID")
    series = said(dataset, "SeriesInstanceUID")
    return Header(
        n_slices=max(int(dataset.get("NumberOfFrames") or 1), 1),
        patient=hashed("patient", patient, said(dataset, "IssuerOfPatientID")) if patient else "",
        series=hashed("series", series) if series else "",
    )


def details_of(dataset: FileDataset) -> Details:
    """What the object is, and how and where it was taken.

    Source: DICOM PS3.3, sections C.7.6.1 and C.7.6.2; PS3.4, annex B.5 for the kinds of objects.
    """
    fields = {keyword: text for keyword in _TEXTS if (text := _stored(dataset, keyword))}
    fields |= {keyword: _rounded(t) for keyword in _NUMBERS if (t := _stored(dataset, keyword))}
    if fields.get(BURNT_IN, "").upper() != "YES":
        fields.pop(BURNT_IN, None)
    if year := _stored(dataset, _YEAR)[:4]:
        fields[_YEAR] = year
    localizer = any(word in fields.get("ImageType", "").upper() for word in _LOCALIZERS)
    orientation, position = _place(dataset)
    stack = (
        said(dataset, "SeriesInstanceUID"),
        orientation,
        *(fields.get(keyword, "") for keyword in ("Rows", "Columns")),
        said(dataset, "EchoNumbers"),
        localizer,
    )
    return Details(
        kind=_kind(dataset),
        stack=hashed("stack", *stack) if stack[0] else "",
        position=position,
        number=number(dataset, "InstanceNumber"),
        localizer=localizer,
        person=tuple(filter(None, (said(dataset, "PatientID"), said(dataset, "PatientName")))),
        fields=fields,
    )


def _kind(dataset: FileDataset) -> str:
    """What the object is, if it is no picture; "" of what is one, also if that is damaged."""
    uid = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
    name = str(getattr(uid, "name", ""))
    if not name or "Image" in name:
        return ""
    known = next((kind for part, kind in _NO_PICTURES if part in name), "")
    return known or ("" if "Rows" in dataset else _OTHER)


def _place(dataset: Dataset) -> tuple[str, float | None]:
    """The orientation of a slice as text, and its position along the normal in mm, if stated.

    Source: DICOM PS3.3, section C.7.6.2.1.1.
    """
    try:
        directions = np.array(dataset.get("ImageOrientationPatient") or (), np.float64)
        corner = np.array(dataset.get("ImagePositionPatient") or (), np.float64)
    except BROKEN:
        return "", None
    if directions.shape != (6,) or not np.isfinite(directions).all():
        return "", None
    orientation = " ".join(f"{cosine:.2f}" for cosine in directions.round(2) + 0.0)
    if corner.shape != (3,) or not np.isfinite(corner).all():
        return orientation, None
    return orientation, float(np.cross(directions[:3], directions[3:]) @ corner)


def _stored(dataset: Dataset, keyword: str) -> str:
    """An element as it is stored, which is enough to tell whether two files say the same."""
    element = dataset.get_item(_tags()[keyword])
    value: Any = b"" if element is None else element.value
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
    return text.strip(" \0") if keyword not in ("Rows", "Columns", "BitsStored") else text


def _rounded(text: str) -> str:
    """A number of three digits, so that 1.5 and 1.4999 tesla are one."""
    try:
        return f"{float(text):.3g}"
    except ValueError:
        return text
