"""DICOM pixels of every kind that a viewer shows rightly are shown so here, or it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medbench.datasets.audit import audit
from medbench.datasets.decode import read_slice
from medbench.datasets.prepared import prepare
from medbench.datasets.readers import open_image
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.task import Task
from medbench.errors import DatasetError
from medbench.inference.images import new_image

from .dicom_random import CT, MR, PARAMETRIC, XA, XRF
from .dicom_writer import BIG_ENDIAN, EXPLICIT, IMPLICIT, RLE, DrawnFile, encoded

RAMP = np.arange(256).reshape(16, 16)
STEPS = np.arange(0, 4096, 16).reshape(16, 16)
ENHANCED_XA = "1.2.840.10008.5.1.4.1.1.12.1.1"


def file(
    pixels: np.ndarray,
    syntax: str = EXPLICIT,
    *,
    signed: bool = False,
    words_of_bytes: bool = False,
    **more: Any,
) -> bytes:
    """A file of 16-bit grey frames of 12 stored bits, unless ``more`` says otherwise."""
    frames = pixels if pixels.ndim > 2 else pixels[None]
    elements: dict[str, Any] = {
        "SOPClassUID": MR,
        "SOPInstanceUID": "1.2.3.4",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "NumberOfFrames": len(frames),
        "Rows": frames.shape[1],
        "Columns": frames.shape[2],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": more.get("BitsStored", 12) - 1,
        "PixelRepresentation": int(signed),
    }
    return encoded(DrawnFile(syntax, elements | more, frames, words_of_bytes=words_of_bytes))


def floats(pixels: np.ndarray, **more: Any) -> bytes:
    """A parametric map."""
    elements: dict[str, Any] = {
        "SOPClassUID": PARAMETRIC,
        "SOPInstanceUID": "1.2.3.4",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": 8 * pixels.dtype.itemsize,
    }
    return encoded(DrawnFile(EXPLICIT, elements | more, pixels[None]))


def shown(content: bytes, frame: int = 1) -> np.ndarray:
    return open_image(content, origin="scan-7").pixels(frame - 1)


def doubts(content: bytes) -> tuple[str, ...]:
    return read_slice(open_image(content, origin="scan-7"), 1).warnings


def table(first: int, entries: Any, bits: int = 8) -> dict[str, Any]:
    entries = np.asarray(entries)
    return {"LUTDescriptor": [len(entries) % 2**16, first, bits], "LUTData": entries}


HOUNSFIELD = {"RescaleIntercept": -1024, "RescaleSlope": 1, "RescaleType": "HU"}
DOWN = np.arange(255, -1, -1)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize(
    ("first", "signed", "more"),
    [
        (-160, False, {"SOPClassUID": CT, **HOUNSFIELD}),
        (-160, True, {"SOPClassUID": CT, **HOUNSFIELD}),
        (-160, False, {"RescaleIntercept": -500, "RescaleSlope": 1, "RescaleType": "US"}),
        (-4000, False, {"RescaleIntercept": 0, "RescaleSlope": -1, "RescaleType": "US"}),
        (-100, True, {}),
        (40000, True, {"RescaleIntercept": 39900, "RescaleSlope": 1, "RescaleType": "US"}),
        (40000, False, {"RescaleIntercept": 39000, "RescaleSlope": 1, "RescaleType": "US"}),
    ],
)
def test_the_sign_of_a_voi_tables_first_value_follows_the_rule_in_implicit_files(
    syntax: str, first: int, signed: bool, more: dict[str, Any]
) -> None:
    """PS3.3 C.11.2.1.1: it depends on the values behind the modality transformation."""
    pixels = STEPS - 2048 if signed else STEPS
    values = pixels * more.get("RescaleSlope", 1) + more.get("RescaleIntercept", 0)
    content = file(pixels, syntax, signed=signed, VOILUTSequence=[table(first, DOWN)], **more)
    np.testing.assert_array_equal(shown(content), 255 - np.clip(values - first, 0, 255))


def test_a_first_value_whose_sign_a_converter_lost_is_understood() -> None:
    """An explicit US that no pixel can reach: what comes of implicit files by the pixels' sign."""
    unsigned = file(STEPS, VOILUTSequence=[table(65536 - 160, DOWN)], SOPClassUID=CT, **HOUNSFIELD)
    signed = file(STEPS, VOILUTSequence=[table(-160, DOWN)], SOPClassUID=CT, **HOUNSFIELD)
    np.testing.assert_array_equal(shown(unsigned), shown(signed))


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(("first", "signed"), [(-1000, True), (40000, False)])
def test_the_sign_of_a_modality_tables_first_value_is_that_of_the_pixels(
    syntax: str, first: int, signed: bool
) -> None:
    """PS3.3 C.11.1.1.1; what it gives is unsigned, and so is what a VOI table takes."""
    modality, voi = table(first, 40000 + RAMP.ravel(), 16), table(40000, DOWN)
    content = file(
        RAMP + first, syntax, signed=signed, BitsStored=16,
        ModalityLUTSequence=[modality], VOILUTSequence=[voi],
    )  # fmt: skip
    np.testing.assert_array_equal(shown(content), 255 - RAMP)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("in_words", [False, True])
def test_tables_of_bytes_are_read_packed_and_in_words(syntax: str, in_words: bool) -> None:
    voi = [table(100, DOWN[:255])]
    content = file(STEPS, syntax, words_of_bytes=in_words, VOILUTSequence=voi)
    np.testing.assert_array_equal(shown(content), 255 - np.clip(STEPS - 100, 0, 254))


@pytest.mark.parametrize(("bits", "white"), [(8, 255), (12, 4095), (16, 65535)])
def test_a_table_that_uses_part_of_its_range_is_not_stretched(bits: int, white: int) -> None:
    """PS3.3 C.11.2.1.1: the output range is that of the table's bits."""
    entries = np.linspace(white * 0.2, white * 0.6, 4096).round().astype(int)
    content = file(STEPS, VOILUTSequence=[table(0, entries, bits)])
    np.testing.assert_allclose(shown(content), entries[STEPS] / white * 255, atol=0.51)


@pytest.mark.parametrize("owner", ["Shared", "PerFrame"])
def test_tables_and_windows_of_a_frame_are_found_in_its_functional_group(owner: str) -> None:
    tables = [{"VOILUTSequence": [table(0, np.full(4096, grey))]} for grey in (50, 200)]
    window = {"WindowCenter": 2048, "WindowWidth": 512, "VOILUTFunction": "LINEAR_EXACT"}
    stated = [*tables, window] if owner == "PerFrame" else [tables[0]]
    groups = [{"FrameVOILUTSequence": [one]} for one in stated]
    frames = np.stack([STEPS, STEPS, STEPS])
    content = file(frames, **{f"{owner}FunctionalGroupsSequence": groups}, WindowCenter=9)
    if owner == "Shared":
        assert all((shown(content, frame) == 50).all() for frame in (1, 2, 3))
        return
    assert (shown(content, 1) == 50).all() and (shown(content, 2) == 200).all()
    expected = np.clip((STEPS - 2048) / 512 + 0.5, 0, 1) * 255
    np.testing.assert_allclose(shown(content, 3), expected, atol=0.51)


def test_frames_of_an_enhanced_file_have_their_own_rescaling_and_share_a_window() -> None:
    own = [
        {"PixelValueTransformationSequence": [{"RescaleIntercept": b, "RescaleSlope": m}]}
        for m, b in ((1, -1000), (2, 0))
    ]
    window = {"WindowCenter": 1000, "WindowWidth": 2000, "VOILUTFunction": "LINEAR_EXACT"}
    content = file(
        np.stack([STEPS, STEPS]),
        IMPLICIT,
        PerFrameFunctionalGroupsSequence=own,
        SharedFunctionalGroupsSequence=[{"FrameVOILUTSequence": [window]}],
    )
    for frame, values in ((1, STEPS - 1000), (2, STEPS * 2)):
        expected = np.clip((values - 1000) / 2000 + 0.5, 0, 1) * 255
        np.testing.assert_allclose(shown(content, frame), expected, atol=0.51)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("fill", "value", "limit"),
    [
        (-1000.1, -1000.1, None),
        (-1500, -2000, -1000),
        (np.nan, np.nan, np.nan),
        (-np.inf, -np.inf, None),
        (1e30, np.inf, 1e20),
    ],
)
def test_padding_of_floats_is_black_and_takes_no_part_in_the_range(
    kind: type, fill: float, value: float, limit: float | None
) -> None:
    """PS3.3 C.7.6.24.1 and C.7.6.25.1."""
    pixels = (RAMP / 10).astype(kind)
    pixels[0] = fill
    name = "FloatPixelPadding" if kind is np.float32 else "DoubleFloatPixelPadding"
    stated = {f"{name}Value": value} | ({} if limit is None else {f"{name}RangeLimit": limit})
    picture = shown(floats(pixels, **stated))
    assert not picture[0].any()
    np.testing.assert_allclose(picture[1:], (RAMP[1:] - 16) / (255 - 16) * 255, atol=0.51)


def test_floats_that_are_no_numbers_and_no_padding_are_refused() -> None:
    pixels = RAMP.astype(np.float32)
    pixels[3, 3] = np.nan
    for padding in ({}, {"FloatPixelPaddingValue": 0.0}):
        with pytest.raises(DatasetError, match=r"^scan-7: pixels are NaN .*Replace"):
            shown(floats(pixels, **padding))


def test_a_range_of_padding_holds_both_of_its_ends() -> None:
    content = file(STEPS, PixelPaddingValue=0, PixelPaddingRangeLimit=160)
    expected = np.where(STEPS <= 160, 0, (STEPS - 176) / (4080 - 176) * 255)
    np.testing.assert_allclose(shown(content), expected, atol=0.51)


def test_padding_that_no_pixel_can_have_is_left_out_of_account() -> None:
    """Of pictures of 8 bits that were made from a scan; -2000 as a byte is the grey 48."""
    content = file(RAMP, BitsAllocated=8, BitsStored=8, PixelPaddingValue=-2000)
    np.testing.assert_array_equal(shown(content), RAMP)


@pytest.mark.parametrize("storage", [XA, XRF, ENHANCED_XA])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_logarithmic_x_ray_pixels_pass_no_modality_transformation(
    storage: str, syntax: str
) -> None:
    """PS3.3 C.8.7.1.1.2: it leads back to the intensity of the beam."""
    back = {"ModalityLUTSequence": [table(0, np.arange(4096)[::-1] ** 2 // 256, 16)]}
    line = {"RescaleIntercept": -9000, "RescaleSlope": -3}
    window = {"WindowCenter": 2048, "WindowWidth": 4096, "VOILUTFunction": "LINEAR_EXACT"}
    plain = shown(file(STEPS, syntax, **window))
    for transformation in (back, line):
        more = {"SOPClassUID": storage, **transformation, **window}
        logarithmic = file(STEPS, syntax, PixelIntensityRelationship="LOG", **more)
        np.testing.assert_array_equal(shown(logarithmic), plain)
        linear = file(STEPS, syntax, PixelIntensityRelationship="LIN", **more)
        assert (shown(linear) != plain).mean() > 0.5
    own = [{"FramePixelDataPropertiesSequence": [{"PixelIntensityRelationship": "LOG"}]}]
    more = {"SOPClassUID": storage, "PerFrameFunctionalGroupsSequence": own, **back, **window}
    np.testing.assert_array_equal(shown(file(STEPS, syntax, **more)), plain)
    other = file(STEPS, syntax, PixelIntensityRelationship="LOG", **back, **window)
    assert (shown(other) != plain).mean() > 0.5  # a radiograph is not an angiogram


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
@pytest.mark.parametrize("shape", [(5, 9, 7), (3, 63, 61), (9, 1, 1), (4, 8, 8)])
def test_each_frame_of_single_bits_is_shown_wherever_it_begins(
    syntax: str, shape: tuple[int, int, int]
) -> None:
    """PS3.5, 8.1.1: frames follow each other bit by bit."""
    bits = np.random.default_rng(1).integers(0, 2, shape)
    bits[1] = 1
    content = file(bits, syntax, BitsAllocated=1, BitsStored=1)
    for number, frame in enumerate(bits, start=1):
        np.testing.assert_array_equal(shown(content, number), frame * 255)
    cut = content[: -max(shape[1] * shape[2] // 8, 2)]
    with pytest.raises(DatasetError, match=r"^scan-7: .*truncated"):
        shown(cut, shape[0])


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, RLE])
@pytest.mark.parametrize("bits", [7, 8, 10, 12, 16])
def test_ybr_of_any_number_of_bits_becomes_rgb(syntax: str, bits: int) -> None:
    """PS3.3 C.7.6.3.1.2, there for 8 bits: red, green, blue, white, black and a grey."""
    top, half = 2**bits - 1, 2 ** (bits - 1)
    rgb = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0], [0.4, 0.4, 0.4]])
    to_ybr = [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]]
    ybr = np.rint(rgb @ np.transpose(to_ybr) * top + [0, half, half]).clip(0, top).astype(int)
    content = file(
        ybr[None, None], syntax,
        PhotometricInterpretation="YBR_FULL", SamplesPerPixel=3, PlanarConfiguration=0,
        BitsAllocated=8 if bits <= 8 else 16, BitsStored=bits,
    )  # fmt: skip
    np.testing.assert_allclose(shown(content)[0], rgb * 255, atol=0.5 + 2 * 255 / top)


def test_values_that_end_at_the_highest_bit_are_read() -> None:
    """As older editions allowed; pydicom takes the lowest bits."""
    for signed, pixels in ((False, STEPS), (True, STEPS - 2048)):
        content = file(pixels, signed=signed, HighBit=15)
        np.testing.assert_array_equal(shown(content), shown(file(STEPS)))


@pytest.mark.parametrize("center", ["nan", "40,5", "forty", "inf", ""])
def test_a_window_that_is_no_number_gives_the_own_range_and_is_said(center: str) -> None:
    content = file(STEPS, WindowCenter=center, WindowWidth=400)
    np.testing.assert_array_equal(shown(content), shown(file(STEPS)))
    assert doubts(content) == (
        "its window is not a center with a width above 0, so its own range is shown",
    )
    assert not doubts(file(STEPS)) and not doubts(file(STEPS, WindowCenter=40, WindowWidth=400))


def test_a_rescaling_or_function_that_means_nothing_is_left_out_and_said() -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 500}
    plain = shown(file(STEPS, **window))
    for slope in ("nan", "one", "0"):
        content = file(STEPS, RescaleSlope=slope, RescaleIntercept=0, **window)
        np.testing.assert_array_equal(shown(content), plain)
        assert "slope 0" in " ".join(doubts(content))
    content = file(STEPS, VOILUTFunction="CUBIC", **window)
    np.testing.assert_array_equal(shown(content), plain)
    assert "taken for linear" in " ".join(doubts(content))


def test_what_is_doubtful_reaches_the_audit_of_a_data_set(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(24):
        folder = tmp_path / "scans" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        odd = {"WindowCenter": "nan", "WindowWidth": 400} if number < 6 else {}
        content = file(rng.integers(0, 4096, (16, 16)), **odd)
        (folder / f"{number:02}.dcm").write_bytes(content)
    source = FolderSource(path=str(tmp_path / "scans"), image_size=16)
    data = prepare("scans", source, cache=tmp_path / "cache", threads=2)
    (finding,) = (one for one in audit(data).findings if one.check == "doubtful-reading")
    assert "6 images are shown with a doubt: its window is not" in finding.text
    named = {data.names[row] for row in finding.images}
    assert named == {f"{'ab'[n % 2]}/{n:02}.dcm" for n in range(6)}


def test_what_is_doubtful_is_said_of_a_new_image() -> None:
    task = Task(classes=("a", "b"), image_shape=(16, 16, 1))
    image = new_image(file(STEPS, WindowCenter="nan", WindowWidth=400), task)
    assert len(image.warnings) == 1 and "its own range is shown" in image.warnings[0]


def test_the_functions_of_windows_are_those_of_the_standard() -> None:
    """PS3.3 C.11.2.1.2.1 and C.11.2.1.3, with the numbers of its examples: center 2048."""
    values = np.array([[0, 1023, 1024, 1500], [2047, 2048, 2049, 2050], [2500, 3071, 3072, 4095]])

    def through(function: str | None, center: float, width: float) -> np.ndarray:
        more = {} if function is None else {"VOILUTFunction": function}
        return shown(file(values, WindowCenter=center, WindowWidth=width, **more))

    line = np.clip((values - 2047.5) / 4095 + 0.5, 0, 1) * 255
    np.testing.assert_array_equal(through("LINEAR", 2048, 4096), np.rint(line))
    np.testing.assert_array_equal(through(None, 2048, 4096), np.rint(line))
    black_white = through("LINEAR", 2048, 1)
    np.testing.assert_array_equal(black_white, np.where(values > 2047.5, 255, 0))
    exact = np.clip((values - 2048) / 2048 + 0.5, 0, 1) * 255
    np.testing.assert_array_equal(through("LINEAR_EXACT", 2048, 2048), np.rint(exact))
    narrow = np.where(values < 2048, 0, np.where(values == 2048, 128, 255))
    np.testing.assert_array_equal(through("LINEAR_EXACT", 2048, 1), narrow)
    curve = 255 / (1 + np.exp(-4 * (values - 2048) / 1000))
    np.testing.assert_array_equal(through("SIGMOID", 2048, 1000), np.rint(curve))
    assert through("SIGMOID", 2048, 1000)[1, 1] == 128  # the center is half white


def test_a_tile_of_a_larger_picture_is_said() -> None:
    assert doubts(file(STEPS, TotalPixelMatrixColumns=64)) == ("a tile of a larger picture",)
    assert not doubts(file(STEPS, TotalPixelMatrixColumns=16))


def test_grey_files_whose_high_values_stand_for_colours_are_said() -> None:
    content = file(STEPS, PixelPresentation="COLOR")
    assert "colours" in " ".join(doubts(content))
