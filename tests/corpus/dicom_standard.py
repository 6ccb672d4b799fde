"""What the DICOM standard says is seen of a frame: read from its text, plainly, for the tests.

Nothing is taken from MedBench or from any DICOM library. Elements are a dictionary by keyword,
sequences lists of such dictionaries, tables arrays of numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

X_RAY = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2")


def picture(elements: dict[str, Any], stored: np.ndarray, frame: int) -> np.ndarray:
    """A frame on a screen that shows 0 black and 255 white, not yet rounded.

    Args:
        elements: Of the file.
        stored: True values of the frame, shape (height, width) or (height, width, 3).
        frame: Counted from 0.
    """
    mode = elements["PhotometricInterpretation"]
    if mode == "RGB":
        return stored / (2 ** elements["BitsStored"] - 1) * 255
    if mode.startswith("YBR"):
        return _rgb(stored, elements["BitsStored"])
    if mode == "PALETTE COLOR":
        return _through_palette(elements, stored)
    padding = is_padding(elements, stored)
    values = in_units(elements, stored, frame)
    grey = on_screen(elements, values, padding, frame)
    if mode == "MONOCHROME1":  # "the minimum sample value is intended to be displayed as white"
        grey = 255 - grey
    return np.where(padding, 0, grey)


def _rgb(ybr: np.ndarray, bits: int) -> np.ndarray:
    """PS3.3 C.7.6.3.1.2: the equations there give YBR of RGB, so they are solved."""
    equations = np.array(
        [[0.2990, 0.5870, 0.1140], [-0.1687, -0.3313, 0.5000], [0.5000, -0.4187, -0.0813]]
    )
    centred = ybr - np.array([0, 2 ** (bits - 1), 2 ** (bits - 1)])
    rgb = centred @ np.linalg.inv(equations).T
    return np.clip(rgb, 0, 2**bits - 1) / (2**bits - 1) * 255


def _through_palette(elements: dict[str, Any], stored: np.ndarray) -> np.ndarray:
    """PS3.3 C.7.6.3.1.5 and C.7.9."""
    channels = []
    for colour in ("Red", "Green", "Blue"):
        table = {
            f"LUT{part}": elements[f"{colour}PaletteColorLookupTable{part}"]
            for part in ("Descriptor", "Data")
        }
        channels.append(through_table(table, stored) / (2 ** table["LUTDescriptor"][2] - 1) * 255)
    return np.stack(channels, axis=-1)


def through_table(table: dict[str, Any], values: np.ndarray) -> np.ndarray:
    """PS3.3 C.11.1.1.1: what is below the first value takes the first entry, and so on."""
    first, entries = table["LUTDescriptor"][1], table["LUTData"]
    below, above = values < first, values >= first + len(entries)
    inside = ~below & ~above
    seen = np.where(below, entries[0], entries[-1]).astype(float)
    seen[inside] = entries[(values[inside] - first).astype(int)]
    return seen


def is_padding(elements: dict[str, Any], stored: np.ndarray) -> np.ndarray:
    """PS3.3 C.7.5.1.1.2 and C.7.6.24.1: one value, or a range with both ends in it."""
    for prefix in ("", "Float", "DoubleFloat"):
        if f"{prefix}PixelPaddingValue" in elements:
            value = elements[f"{prefix}PixelPaddingValue"]
            limit = elements.get(f"{prefix}PixelPaddingRangeLimit", value)
            if np.isnan(value):
                return np.isnan(stored)
            return (stored >= min(value, limit)) & (stored <= max(value, limit))
    return np.zeros(stored.shape, bool)


def macro(elements: dict[str, Any], frame: int, name: str) -> dict[str, Any]:
    """PS3.3 C.7.6.16: of this frame, or shared by all; else the file's own modules."""
    own = elements.get("PerFrameFunctionalGroupsSequence", [])
    shared = elements.get("SharedFunctionalGroupsSequence", [])
    groups = own[frame : frame + 1] + shared
    return next((group[name][0] for group in groups if name in group), elements)


def modality_is_for_measuring(elements: dict[str, Any]) -> bool:
    """PS3.3 C.8.7.1.1.2: it maps the pixels of an angiogram back to the intensity of the beam."""
    relation = elements.get("PixelIntensityRelationship")
    return elements["SOPClassUID"] in X_RAY and relation == "LOG"


def in_units(elements: dict[str, Any], stored: np.ndarray, frame: int) -> np.ndarray:
    """PS3.3 C.11.1: a table, or output units = slope * stored value + intercept."""
    if modality_is_for_measuring(elements):
        return stored.astype(float)
    if "ModalityLUTSequence" in elements:
        return through_table(elements["ModalityLUTSequence"][0], stored)
    stated = macro(elements, frame, "PixelValueTransformationSequence")
    return stored * float(stated.get("RescaleSlope", 1)) + float(stated.get("RescaleIntercept", 0))


def first_value_is_signed(elements: dict[str, Any]) -> bool:
    """PS3.3 C.11.2.1.1, of a VOI table: whether its first value is SS or US.

    "The same as specified by Pixel Representation, if there is no Modality LUT or Rescale Slope
    and Intercept specified; SS if the possible output range after application of the Rescale Slope
    and Intercept may be signed [always for Hounsfield units]; US otherwise."
    """
    signed = elements.get("PixelRepresentation", 1) == 1
    if modality_is_for_measuring(elements):
        return signed
    if "ModalityLUTSequence" in elements:
        return False
    stated = macro(elements, 0, "PixelValueTransformationSequence")
    if "RescaleSlope" not in stated:
        return signed
    n = 2 ** elements["BitsStored"]
    lowest, highest = (-n // 2, n // 2 - 1) if signed else (0, n - 1)
    ends = [end * stated["RescaleSlope"] + stated["RescaleIntercept"] for end in (lowest, highest)]
    return min(ends) < 0 or stated.get("RescaleType") == "HU"


def on_screen(
    elements: dict[str, Any], values: np.ndarray, padding: np.ndarray, frame: int
) -> np.ndarray:
    """PS3.3 C.11.2; without a window or table the range of the frame's own values."""
    stated = macro(elements, frame, "FrameVOILUTSequence")
    if "VOILUTSequence" in stated:
        table = stated["VOILUTSequence"][0]
        return through_table(table, values) / (2 ** table["LUTDescriptor"][2] - 1) * 255
    first = [np.atleast_1d(stated.get(f"Window{part}", "nan"))[0] for part in ("Center", "Width")]
    try:
        center, width = (float(value) for value in first)
    except ValueError:
        center, width = np.nan, np.nan
    if not np.isnan([center, width]).any():
        return windowed(values, center, width, stated.get("VOILUTFunction", "LINEAR"))
    if elements["BitsAllocated"] == 1:
        return values * 255
    seen = values[~padding]
    if not seen.size or seen.min() == seen.max():
        return np.zeros(values.shape)
    return (values - seen.min()) / (seen.max() - seen.min()) * 255


def windowed(x: np.ndarray, c: float, w: float, function: str) -> np.ndarray:
    """The pseudo-code of C.11.2.1.2.1 (LINEAR), C.11.2.1.3.2 (LINEAR_EXACT), .1 (SIGMOID)."""
    if function == "SIGMOID":
        return 255 / (1 + np.exp(np.clip(-4 * (x - c) / w, -80, 80)))
    if function == "LINEAR_EXACT":
        below, above = x <= c - w / 2, x > c + w / 2
        between = ((x - c) / w + 0.5) * 255
    else:
        below, above = x <= c - 0.5 - (w - 1) / 2, x > c - 0.5 + (w - 1) / 2
        between = ((x - (c - 0.5)) / np.where(w == 1, 1, w - 1) + 0.5) * 255
    return np.where(below, 0, np.where(above, 255, between))
