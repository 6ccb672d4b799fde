"""Stored values of a grey DICOM frame become what its own window or table shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.grey_levels import ends, stretched
from medbench.datasets.readers.dicom_elements import number, of_frame, said
from medbench.datasets.readers.dicom_frames import padding_of, stored_range
from medbench.datasets.readers.dicom_tables import lookup_table

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_X_RAY = tuple(f"1.2.840.10008.5.1.4.1.1.12.{n}" for n in ("1", "1.1", "2", "2.1", "3"))
"""Storage of X-ray angiography and fluoroscopy (XA, XRF), enhanced and on two planes."""
_FOR_DISPLAY = ("LOG", "DISP")
"""Their pixel intensity relationships of which a modality transformation leads back to the beam."""
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_NO_RESCALING = "its rescaling is not a number or has the slope 0, so it is left out"
_NO_WINDOW = "its window is not a center with a width above 0, so its own range is shown"
_NO_FUNCTION = "the function of its window is unknown, so it is taken for linear"
_NO_COLOURS = "its values that stand for colours are shown as grey"

Doubt = Callable[[str], object]
"""Takes what is doubtful in words; see ``OpenedImage.warnings``."""


def grey(
    stored: NDArray[Any], file: FileDataset, frame: int, origin: str, doubt: Doubt
) -> NDArray[np.uint8]:
    """What a viewer shows of a grey frame at first.

    Args:
        stored: Its values, shape (height, width).
        file: It is a frame of this file.
        frame: Counted from 0.
        origin: Name of the image in messages.
        doubt: Is told what is doubtful.

    Returns:
        uint8, same shape; 0 is black.

    Raises:
        DatasetError: A value is NaN or infinite, and no padding.
    """
    padding = padding_of(stored, file)
    values, possible = _modality(stored, file, frame, doubt)
    values[padding] = 0
    ends(values, origin)  # refuses what is no number
    if said(file, "PixelPresentation") in ("COLOR", "MIXED"):
        doubt(_NO_COLOURS)
    shares = _voi(values, possible, file, frame, doubt)
    if shares is not None:
        shown = stretched(shares, 0, 1)
    elif file.BitsAllocated == 1:
        shown = stretched(values, 0, 1)
    else:
        seen = values[~padding] if padding.any() else values
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
        shown = stretched(values, low, high)
    if file.PhotometricInterpretation == "MONOCHROME1":
        shown = np.uint8(255) - shown
    shown[padding] = 0
    return shown


def _modality(
    stored: NDArray[Any], file: FileDataset, frame: int, doubt: Doubt
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Values in their unit, for example Hounsfield units; the lowest and highest there may be.

    Source: DICOM PS3.3, sections C.11.1, C.7.6.16.2.9 and C.8.7.1.1.2.
    """
    plain, possible = stored.astype(np.float64), stored_range(stored, file)
    if _is_for_display(file, frame):
        return plain, possible
    stated = of_frame(file, frame, "PixelValueTransformationSequence")
    if tables := stated.get("ModalityLUTSequence"):
        table = lookup_table(file, tables[0], "LUT", possible)
        return table.of(stored).astype(np.float64), (0, table.highest)
    slope, intercept = number(stated, "RescaleSlope"), number(stated, "RescaleIntercept")
    if slope is None and intercept is None:
        return plain, possible
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    if slope == 0 or not np.isfinite([slope, intercept]).all():
        doubt(_NO_RESCALING)
        return plain, possible
    with np.errstate(all="ignore"):
        values = plain * slope + intercept
    low, high = sorted(end * slope + intercept for end in possible)
    if said(stated, "RescaleType") == "HU":
        low = min(low, -1.0)  # always signed
    return values, (low, high)


def _is_for_display(file: FileDataset, frame: int) -> bool:
    """Whether the values are to be shown as they are, and a transformation measures the beam."""
    stated = of_frame(file, frame, "FramePixelDataPropertiesSequence")
    relation = said(stated, "PixelIntensityRelationship")
    return said(file, "SOPClassUID") in _X_RAY and relation in _FOR_DISPLAY


def _voi(
    values: NDArray[np.float64],
    possible: tuple[float, float],
    file: FileDataset,
    frame: int,
    doubt: Doubt,
) -> NDArray[np.float64] | None:
    """Each value's place, 0 black to 1 white, by the first table or window; None without.

    Not pydicom's ``apply_voi_lut``: its table lookup wraps at the table's output type, so a
    table of 8-bit output mangles 12-bit pixels, and its range depends on the stored bits.

    Source: DICOM PS3.3, sections C.11.2 and C.7.6.16.2.10.
    """
    stated = of_frame(file, frame, "FrameVOILUTSequence")
    if tables := stated.get("VOILUTSequence"):
        table = lookup_table(file, tables[0], "LUT", possible)
        return table.of(values) / table.highest
    center, width = number(stated, "WindowCenter"), number(stated, "WindowWidth")
    if center is None and width is None:
        return None
    if center is None or width is None or not (width > 0 and np.isfinite([center, width]).all()):
        doubt(_NO_WINDOW)
        return None
    function = said(stated, "VOILUTFunction").upper() or "LINEAR"
    if function not in _FUNCTIONS:
        doubt(_NO_FUNCTION)
    with np.errstate(all="ignore"):
        if function == "SIGMOID":
            return np.asarray(1 / (1 + np.exp(-4 * (values - center) / width)))
        if function != "LINEAR_EXACT" and width >= 1:  # narrower ones are exact ones, misnamed
            center, width = center - 0.5, width - 1
        if width == 0:
            return (values > center).astype(np.float64)
        return np.clip((values - center) / width + 0.5, 0, 1)
