"""Random valid DICOM files: the true values of their pixels are drawn, and never read from them.

``dicom_writer`` makes bytes of them, and ``dicom_standard`` tells what is to be seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .dicom_standard import first_value_is_signed
from .dicom_writer import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, RLE, DrawnFile

CT, MR, SECONDARY = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("2", "4", "7"))
XA, XRF, PARAMETRIC = (f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("12.1", "12.2", "30"))


def draw(seed: int) -> DrawnFile:
    """A valid file; equal seeds give equal files."""
    rng = np.random.default_rng(seed)
    kinds = ["grey"] * 8 + ["float", "bits", "rgb", "ybr", "palette"]
    kind = str(rng.choice(kinds))
    syntaxes = [IMPLICIT, IMPLICIT, EXPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN, RLE]
    syntax = str(rng.choice(syntaxes))
    if kind in ("float", "bits") and syntax == RLE:
        syntax = EXPLICIT
    file = {
        "grey": _grey, "float": _float, "bits": _bits, "rgb": _colour, "ybr": _colour,
        "palette": _palette,
    }[kind](rng, kind, syntax)  # fmt: skip
    file.syntax = syntax
    file.undefined_lengths = bool(rng.random() < 0.5)
    file.words_of_bytes = bool(rng.random() < 0.5)
    return file


def _shape(rng: np.random.Generator) -> tuple[int, int, int]:
    return (
        int(rng.choice([1, 1, 2, 3])),
        int(rng.integers(3, 20)),
        int(rng.integers(3, 20)),
    )


def _base(rng: np.random.Generator, shape: tuple[int, ...], mode: str) -> dict[str, Any]:
    elements: dict[str, Any] = {
        "SOPClassUID": MR,
        "SOPInstanceUID": "1.2.3.4",
        "PatientID": "nobody",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": mode,
        "Rows": shape[1],
        "Columns": shape[2],
    }
    if shape[0] > 1 or rng.random() < 0.2:
        elements["NumberOfFrames"] = shape[0]
    return elements


def _integers(
    rng: np.random.Generator, elements: dict[str, Any], *, allocated: int, stored: int, signed: bool
) -> tuple[int, int]:
    """State what pixels are; their lowest and highest value."""
    elements |= {
        "BitsAllocated": allocated,
        "BitsStored": stored,
        "HighBit": stored - 1,
        "PixelRepresentation": int(signed),
    }
    low = -(2 ** (stored - 1)) if signed else 0
    return low, low + 2**stored - 1


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], low: int, high: int) -> np.ndarray:
    """Values of a part of the range, with noise."""
    a, b = sorted(rng.integers(low, high, 2, endpoint=True).tolist())
    b = min(max(b, a + 5), high)
    return rng.integers(min(a, b), b, shape, endpoint=True)


def _grey(rng: np.random.Generator, kind: str, syntax: str) -> DrawnFile:
    shape = _shape(rng)
    elements = _base(rng, shape, str(rng.choice(["MONOCHROME1", "MONOCHROME2", "MONOCHROME2"])))
    allocated = int(rng.choice([8, 16, 16, 16, 32]))
    stored = int(rng.integers(max(allocated // 2, 6), allocated, endpoint=True))
    if allocated == 32:
        stored = int(rng.choice([20, 32]))
    signed = bool(rng.random() < 0.4)
    low, high = _integers(rng, elements, allocated=allocated, stored=stored, signed=signed)
    pixels = _smooth(rng, shape, low, high)
    if allocated == 16 and rng.random() < 0.1 and stored < 16:
        elements["HighBit"] = 15  # as older editions allow
    file = DrawnFile(syntax, elements, pixels)
    file.unused_bits = rng.integers(0, 2**16, shape) if rng.random() < 0.3 else 0
    _padding(rng, file, low, high)
    _modality(rng, file, low, high)
    _voi(rng, file)
    return file


def _padding(rng: np.random.Generator, file: DrawnFile, low: int, high: int) -> None:
    if rng.random() > 0.3 or file.elements["BitsAllocated"] > 16:
        return
    at_low = file.elements["PhotometricInterpretation"] == "MONOCHROME2"
    value = low if at_low else high
    file.elements["PixelPaddingValue"] = value
    width = 0
    if rng.random() < 0.5:
        width = int(rng.integers(0, 9))
        file.elements["PixelPaddingRangeLimit"] = value + width if at_low else value - width
    where = rng.random(file.pixels.shape) < 0.3
    inwards = rng.integers(0, width, file.pixels.shape, endpoint=True) * (1 if at_low else -1)
    file.pixels = np.where(where, value + inwards, file.pixels)


def _modality(rng: np.random.Generator, file: DrawnFile, low: int, high: int) -> None:
    elements = file.elements
    choice = rng.choice(["none", "rescale", "rescale", "hounsfield", "table", "x-ray"])
    if choice in ("rescale", "hounsfield"):
        slope = float(rng.choice([1, 1, 2, -1, 0.5, 1e-3]))
        stated: dict[str, Any] = {
            "RescaleIntercept": int(rng.integers(-2000, 2000)),
            "RescaleSlope": slope,
            "RescaleType": "US",
        }
        if choice == "hounsfield":
            elements["SOPClassUID"] = CT
            stated |= {"RescaleIntercept": -1024, "RescaleSlope": 1, "RescaleType": "HU"}
        if rng.random() < 0.4:
            _grouped(rng, file, "PixelValueTransformationSequence", lambda: stated)
        else:
            elements |= stated
    elif choice in ("table", "x-ray"):
        if choice == "x-ray":
            elements["SOPClassUID"] = str(rng.choice([XA, XRF]))
            elements["PixelIntensityRelationship"] = str(rng.choice(["LOG", "LIN"]))
        first = max(low, -(2**15)) if rng.random() < 0.5 else int(file.pixels.min())
        ends = (-(2**15), 2**15 - 1) if elements["PixelRepresentation"] else (0, 2**16 - 1)
        first = min(max(first, ends[0]), ends[1])
        elements["ModalityLUTSequence"] = [_table(rng, first)]


def _voi(rng: np.random.Generator, file: DrawnFile) -> None:
    choice = rng.choice(["none", "window", "window", "table", "table", "odd"])
    low, high = _values_of(file)
    ends = (-(2**15), 2**15 - 1) if first_value_is_signed(file.elements) else (0, 2**16 - 1)
    slope = _rescaling(file.elements).get("RescaleSlope", 1)

    def stated() -> dict[str, Any]:
        if choice == "table" and float(slope).is_integer():
            first = int(rng.integers(round(low) - 50, max(round(low) - 49, round(high))))
            return {"VOILUTSequence": [_table(rng, min(max(first, ends[0]), ends[1]))]}
        if choice == "odd":
            return {"WindowCenter": str(rng.choice(["nan", "40,5", "none"])), "WindowWidth": 400}
        center = round(float(rng.uniform(low, high)), 3)
        width = round(float(rng.uniform(0.05, 1.5)) * (high - low) + 1, 3)
        several = rng.random() < 0.3
        window: dict[str, Any] = {
            "WindowCenter": [center, 40] if several else center,
            "WindowWidth": [width, 400] if several else width,
        }
        function = str(rng.choice(["", "LINEAR", "LINEAR_EXACT", "SIGMOID"]))
        return window | ({"VOILUTFunction": function} if function else {})

    if choice == "none":
        return
    if rng.random() < 0.4:
        _grouped(rng, file, "FrameVOILUTSequence", stated)
    else:
        file.elements |= stated()


def _values_of(file: DrawnFile) -> tuple[float, float]:
    """Roughly the lowest and highest value behind the modality transformation."""
    measures = file.elements.get("PixelIntensityRelationship") == "LOG"
    if "ModalityLUTSequence" in file.elements and not measures:
        return 0.0, 2.0 ** file.elements["ModalityLUTSequence"][0]["LUTDescriptor"][2] - 1
    scale = _rescaling(file.elements)
    ends = [
        float(end) * scale.get("RescaleSlope", 1) + scale.get("RescaleIntercept", 0)
        for end in (np.nanmin(file.pixels), np.nanmax(file.pixels))
    ]
    return min(ends), max(max(ends), min(ends) + 1e-3)


def _rescaling(elements: dict[str, Any]) -> dict[str, Any]:
    """Where slope and intercept are stated, which are the same for all frames here."""
    for name in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for item in elements.get(name, [])[:1]:
            if "PixelValueTransformationSequence" in item:
                return dict(item["PixelValueTransformationSequence"][0])
    return elements


def _grouped(rng: np.random.Generator, file: DrawnFile, macro: str, stated: Any) -> None:
    """State something in a functional group: once for all frames, or for each."""
    n_frames = len(file.pixels)
    if rng.random() < 0.5:
        shared = file.elements.setdefault("SharedFunctionalGroupsSequence", [{}])
        shared[0][macro] = [stated()]
    else:
        name = "PerFrameFunctionalGroupsSequence"
        own = file.elements.setdefault(name, [{} for _ in range(n_frames)])
        for item in own:
            item[macro] = [stated()]


def _table(rng: np.random.Generator, first: int, bits: int = 0) -> dict[str, Any]:
    """A table whose entries use the whole of their range, or a part."""
    bits = bits or int(rng.choice([8, 8, 16, 16, 12, 10]))
    n_entries = int(rng.choice([256, 255, 1024, 4096, 2**16]))
    top = 2**bits - 1
    low, high = (0, top) if rng.random() < 0.5 else sorted(rng.integers(0, top, 2).tolist())
    entries = np.rint(low + (high - low) * np.linspace(0, 1, n_entries) ** rng.uniform(0.3, 3))
    if rng.random() < 0.2:
        entries = entries[::-1]
    return {"LUTDescriptor": [n_entries % 2**16, first, bits], "LUTData": entries.astype(int)}


def _float(rng: np.random.Generator, kind: str, syntax: str) -> DrawnFile:
    shape, double = _shape(rng), bool(rng.random() < 0.5)
    elements = _base(rng, shape, "MONOCHROME2") | {
        "SOPClassUID": PARAMETRIC,
        "BitsAllocated": 64 if double else 32,
    }
    scale = 10.0 ** rng.integers(-3, 4)
    pixels = (rng.normal(size=shape) * scale).astype("f8" if double else "f4")
    name = "DoubleFloatPixelPadding" if double else "FloatPixelPadding"
    padding = str(rng.choice(["none", "number", "range", "nan"]))
    if padding != "none":
        value, limit = {
            "number": (-1e4, -1e4), "range": (-2e4, -1e4), "nan": (np.nan, np.nan)
        }[padding]  # fmt: skip
        elements |= {f"{name}Value": value, f"{name}RangeLimit": limit}
        mean = (value + limit) / 2
        pixels = np.where(rng.random(shape) < 0.3, np.asarray(mean, pixels.dtype), pixels)
    file = DrawnFile(syntax, elements, pixels)
    if rng.random() < 0.5:
        window = {"WindowCenter": round(0.2 * scale, 6), "WindowWidth": round(3 * scale, 6)}
        window["VOILUTFunction"] = str(rng.choice(["LINEAR_EXACT", "SIGMOID"]))
        _grouped(rng, file, "FrameVOILUTSequence", lambda: window)
    return file


def _bits(rng: np.random.Generator, kind: str, syntax: str) -> DrawnFile:
    shape = _shape(rng)
    elements = _base(rng, shape, str(rng.choice(["MONOCHROME1", "MONOCHROME2"])))
    _integers(rng, elements, allocated=1, stored=1, signed=False)
    return DrawnFile(syntax, elements, (rng.random(shape) < rng.random()).astype(int))


def _colour(rng: np.random.Generator, kind: str, syntax: str) -> DrawnFile:
    shape = _shape(rng)
    halved = kind == "ybr" and syntax != RLE and rng.random() < 0.5
    if halved:  # pairs of pixels share their colour
        shape = (*shape[:2], shape[2] // 2 * 2)
    mode = "RGB" if kind == "rgb" else "YBR_FULL_422" if halved else "YBR_FULL"
    elements = _base(rng, shape, mode) | {
        "SOPClassUID": SECONDARY,
        "SamplesPerPixel": 3,
        "PlanarConfiguration": 0 if halved else int(rng.integers(2)),
    }
    allocated = int(rng.choice([8, 8, 16]))
    stored = int(rng.integers(10, 17)) if allocated == 16 else int(rng.choice([7, 8, 8]))
    _, high = _integers(rng, elements, allocated=allocated, stored=stored, signed=False)
    pixels = rng.integers(0, high, (*shape, 3), endpoint=True)
    if halved:
        pixels[:, :, 1::2, 1:] = pixels[:, :, ::2, 1:]
    return DrawnFile(syntax, elements, pixels)


def _palette(rng: np.random.Generator, kind: str, syntax: str) -> DrawnFile:
    shape = _shape(rng)
    elements = _base(rng, shape, "PALETTE COLOR") | {"SOPClassUID": SECONDARY}
    allocated = int(rng.choice([8, 16]))
    signed = bool(rng.random() < 0.2)
    low, high = _integers(rng, elements, allocated=allocated, stored=allocated, signed=signed)
    pixels = _smooth(rng, shape, low, high)
    n_entries, bits = int(rng.choice([256, 200, 2**16])), int(rng.choice([8, 16]))
    first = int(rng.integers(pixels.min() - 5, pixels.min() + 5))
    first = max(first, low)
    for colour in ("Red", "Green", "Blue"):
        entries = rng.integers(0, 2**bits - 1, n_entries, endpoint=True)
        entries[0] = 2**bits - 1
        name = f"{colour}PaletteColorLookupTable"
        elements[f"{name}Descriptor"] = [n_entries % 2**16, first, bits]
        elements[f"{name}Data"] = entries
    return DrawnFile(syntax, elements, pixels)
