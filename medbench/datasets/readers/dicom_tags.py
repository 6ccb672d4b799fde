"""Which elements of DICOM headers may be labels: none by which a person could be found."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\(?\s*([0-9a-f]{4})\s*,?\s*([0-9a-f]{4})\s*\)?", re.IGNORECASE)
_KINDS = frozenset({"CS", "DS", "FD", "FL", "IS", "LO", "SH", "SL", "SS", "UL", "US"})
"""Kinds of values that are words or numbers; no names, dates, times, ids, long texts or lists."""
_PATIENT = 0x0010
"""The group of what is known of the patient."""
_IDENTIFYING = re.compile(
    r"IDs?$|ID[A-Z]|Identifi|Accession|Serial|Address|Telephone|Institution|Station|Operator|"
    r"Physician|Comment|History|Department|Request|Referring|Admission|Admitting|Visit|Insurance|"
    r"Country|Region|Approval|OrderNumber|StudyNumbers|Phone|Responsible|Custodial|Name$(?<!ProtocolName)(?<!ModelName)(?<!SequenceName)"
)
"""In the keyword of what names a person or place, or numbers a case."""
EXAMPLES = "SeriesDescription, Modality, BodyPartExamined or ViewPosition"


def label_keyword(tag: str) -> str:
    """The keyword of an element that may be a label.

    Args:
        tag: Its keyword, in any case, or its number, as ``(0008,103E)``.

    Raises:
        ValueError: There is none, or it may name a person; the message says what to do.
    """
    from pydicom.datadict import DicomDictionary, dictionary_keyword, dictionary_VR, tag_for_keyword

    if match := _NUMBER.fullmatch(tag.strip()):
        number = int(match[1] + match[2], 16)
    else:
        by_lower = {entry[4].lower(): entry[4] for entry in DicomDictionary.values() if entry[4]}
        keyword = by_lower.get(tag.strip().lower())
        number = 0 if keyword is None else tag_for_keyword(keyword) or 0
    try:
        if not number:
            raise KeyError(tag)
        keyword, kind = dictionary_keyword(number), dictionary_VR(number)
    except KeyError:
        private = (number >> 16) % 2
        why = "is private, so nobody can say whether it names a person" if private else "is unknown"
        raise ValueError(
            f"the DICOM element {tag[:60]!r} {why}. Name another one, such as {EXAMPLES}, or put "
            "the labels into a table"
        ) from None
    allowed = kind in _KINDS and not _IDENTIFYING.search(keyword)
    if not allowed or (number >> 16 == _PATIENT and kind != "CS"):
        raise ValueError(
            f"the DICOM element {keyword} may name a person, a place, a time or a case, so it can "
            f"be no label. Name another one, such as {EXAMPLES}, or put the labels into a table"
        )
    return str(keyword)
