"""DICOM: a file shows what its own window shows, or a clear error; however it is stored."""

from __future__ import annotations

import io
import logging
import random
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless

from medbench.datasets.decode import Decoded, decode
from medbench.datasets.readers.dicom import DicomReader
from medbench.errors import DatasetError
from medbench.testing.image_files import dicom_file

STORED = np.arange(64, dtype=np.int16).reshape(8, 8) * 16
STORED_BITS = 12


def scan(pixels: np.ndarray = STORED, **elements: Any) -> bytes:
    """A file of these stored values, of 12 bits where they are not of 8."""
    if pixels.dtype.itemsize == 2:
        elements = {"BitsStored": STORED_BITS, "HighBit": STORED_BITS - 1} | elements
    return dicom_file(pixels, **elements)


def pixels_of(content: bytes, slice_number: int | None = None, limit: int = 10**6) -> np.ndarray:
    opened = DicomReader().open(content, origin="scan-7", pixel_limit=limit)
    return opened.pixels((slice_number or 1) - 1)


def read(content: bytes, **options: Any) -> Decoded:
    return decode(content, **{"size": 8, "channels": 1, "origin": "scan-7"} | options)


def packaged(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path).read_bytes()


def table(entries: list[int], first: int, bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US" if first >= 0 else "SS", [len(entries), first, bits])
    item.add_new("LUTData", "US", entries)
    return item


def test_a_dicom_file_is_told_by_its_content() -> None:
    content = scan()
    assert DicomReader().recognises(content)
    assert not DicomReader().recognises(b"\x89PNG\r\n\x1a\n" + bytes(300))
    decoded = decode(content, size=8, channels=1, origin="scan.png")
    assert (decoded.width, decoded.height, decoded.mode) == (8, 8, "MONOCHROME2")
    assert decoded.n_bytes == len(content)


def test_a_file_without_preamble_is_read_where_it_can_be_told() -> None:
    content = scan()
    np.testing.assert_array_equal(pixels_of(content[132:]), pixels_of(content))
    bare = content[content.index(b"\x08\x00\x16\x00UI") :]
    start = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"
    np.testing.assert_array_equal(pixels_of(start + bare), pixels_of(content))
    assert DicomReader().recognises(start + bare) and not DicomReader().recognises(bare)


def test_a_window_clips_and_spreads_what_is_inside() -> None:
    shown = pixels_of(scan(WindowCenter=500, WindowWidth=256))
    assert (shown[STORED <= 371] == 0).all()
    assert (shown[STORED > 627] == 255).all()
    inside = (STORED > 371) & (STORED <= 627)
    expected = ((STORED[inside] - 499.5) / 255 + 0.5) * 255
    np.testing.assert_array_equal(shown[inside], np.rint(expected))


def test_a_window_wider_than_the_image_leaves_it_grey() -> None:
    """The window's range, not the image's own, becomes black to white."""
    shown = pixels_of(scan(WindowCenter=500.5, WindowWidth=10001))
    assert 110 < shown.min() < shown.max() < 145


def test_the_first_of_several_windows_is_taken() -> None:
    one = pixels_of(scan(WindowCenter=500, WindowWidth=256))
    two = pixels_of(scan(WindowCenter=[500, 100], WindowWidth=[256, 20]))
    np.testing.assert_array_equal(one, two)


def test_rescaling_comes_before_the_window() -> None:
    shown = pixels_of(scan(RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=0, WindowWidth=512))
    plain = pixels_of(scan(WindowCenter=500.25, WindowWidth=256.5))
    np.testing.assert_array_equal(shown, plain)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicom(function: str) -> None:
    content = scan(
        RescaleSlope=1,
        RescaleIntercept=-100,
        WindowCenter=300,
        WindowWidth=400,
        VOILUTFunction=function,
    )
    dataset = pydicom.dcmread(io.BytesIO(content))
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    low, high = -(2**11) - 100, 2**11 - 1 - 100
    expected = np.rint((values - low) / (high - low) * 255)
    assert np.abs(pixels_of(content) - expected).max() <= 1


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 500, "WindowWidth": 256}])
def test_monochrome1_is_the_exact_inverse_of_monochrome2(window: dict[str, int]) -> None:
    white_is_high = pixels_of(scan(**window))
    white_is_low = pixels_of(scan(PhotometricInterpretation="MONOCHROME1", **window))
    np.testing.assert_array_equal(white_is_low, 255 - white_is_high)


@pytest.mark.parametrize("width", [None, 0, -5])
def test_without_a_usable_window_the_own_range_is_shown_negative_or_not(width: int | None) -> None:
    center = None if width is None else 40
    content = scan(RescaleSlope=1, RescaleIntercept=-512, WindowCenter=center, WindowWidth=width)
    np.testing.assert_array_equal(pixels_of(content), np.rint(STORED / STORED.max() * 255))


def test_a_constant_image_is_black() -> None:
    assert not pixels_of(scan(np.full((8, 8), 700, np.int16))).any()


def test_padding_is_black_and_takes_no_part_in_the_range() -> None:
    padded = STORED + np.int16(100)
    padded[0] = -2000
    for mode in ("MONOCHROME1", "MONOCHROME2"):
        shown = pixels_of(
            scan(
                padded,
                PixelPaddingValue=-2000,
                PhotometricInterpretation=mode,
                BitsStored=16,
                HighBit=15,
            )
        )
        assert not shown[0].any()
        assert (shown[1:].min(), shown[1:].max()) == (0, 255)


def test_negative_padding_stated_as_its_unsigned_twin_is_understood() -> None:
    padded = STORED.copy()
    padded[0] = -2000
    content = bytearray(scan(padded, PixelPaddingValue=-2000, BitsStored=16, HighBit=15))
    at = content.index(b"\x28\x00\x20\x01SS")
    content[at + 4 : at + 6] = b"US"
    assert pixels_of(bytes(content))[1:].min() == 0


def test_a_voi_table_of_8_bits_shows_12_bit_pixels() -> None:
    """Wraps in pydicom's own lookup, whose places have the type of the table's output."""
    entries = [255 - i // 4 for i in range(1024)]
    shown = pixels_of(scan(VOILUTSequence=[table(entries, 0, 8)]))
    np.testing.assert_array_equal(shown, 255 - STORED // 4)


def test_a_modality_table_comes_before_a_voi_table() -> None:
    modality = table([i // 16 for i in range(1024)], 0, 8)
    voi = table([5, *range(0, 252, 4)], -1, 8)
    shown = pixels_of(scan(ModalityLUTSequence=[modality], VOILUTSequence=[voi]))
    np.testing.assert_array_equal(shown.ravel(), np.arange(63 + 1).clip(0, 62) * 4)


def test_a_table_that_is_too_short_is_refused() -> None:
    item = table([1, 2, 3], 0, 8)
    item.LUTDescriptor = [300, 0, 8]
    with pytest.raises(DatasetError, match=r"scan-7: .*3 of 300 entries"):
        pixels_of(scan(VOILUTSequence=[item]))


def test_colour_of_8_and_16_bits_is_read() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pixels_of(scan(colour)), colour)
    wide = colour.astype(np.uint16) * 257
    np.testing.assert_array_equal(pixels_of(scan(wide, BitsStored=16, HighBit=15)), colour)


def test_ybr_becomes_rgb() -> None:
    content = packaged("SC_ybr_full_422_uncompressed.dcm")
    shown = pixels_of(content)
    assert shown.shape == (100, 100, 3)
    assert (shown[5, 50] == (254, 0, 0)).all()  # the bar on top is red


@pytest.mark.parametrize(
    "name",
    ["gdcm_KY", "rle_16bit", "rle_32bit", "jpeg_dcmtk", "jpeg_lossy_gdcm"]
    + [f"dcmtk_+eb+{kind}" for kind in ("cr", "cy+n1", "cy+n2", "cy+np", "cy+s2", "cy+s4")],
)
def test_colour_is_the_same_however_it_is_compressed(name: str) -> None:
    shown = pixels_of(packaged(f"SC_rgb_{name}.dcm"))
    plain = pixels_of(packaged("SC_rgb_rle.dcm"))
    assert np.abs(shown.astype(int) - plain).mean() < 3


@pytest.mark.parametrize("factor", [1, 257])
def test_palettes_become_rgb(factor: int) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (64, 3)) | 1
    elements: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        kind = np.uint8 if factor == 1 else np.uint16
        data = (colours[:, channel] * factor).astype(kind).tobytes()
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [64, 0, 8 if factor == 1 else 16]
        elements[f"{name}PaletteColorLookupTableData"] = data
    indices = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(pixels_of(scan(indices, **elements)), colours.reshape(8, 8, 3))


def test_a_slice_number_picks_a_frame() -> None:
    frames = np.stack([STORED, STORED.T, STORED[::-1]])
    content = scan(frames)
    for number, frame in enumerate(frames, start=1):
        np.testing.assert_array_equal(pixels_of(content, number), pixels_of(scan(frame)))
    with pytest.raises(DatasetError, match=r"scan-7: .*3 frames.*slice_number, from 1 to 3"):
        read(content)
    for number in (0, 4):
        with pytest.raises(DatasetError, match=rf"scan-7: .*slice {number} .*from 1 to 3"):
            read(content, slice_number=number)


def test_each_frame_has_its_own_scale_in_an_enhanced_file() -> None:
    def group(slope: float, center: float | None) -> Dataset:
        item, scale, window = Dataset(), Dataset(), Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = slope, 0
        item.PixelValueTransformationSequence = [scale]
        if center is not None:
            window.WindowCenter, window.WindowWidth = center, 256
            item.FrameVOILUTSequence = [window]
        return item

    content = scan(
        np.stack([STORED, STORED]),
        PerFrameFunctionalGroupsSequence=[group(1, None), group(2, 700)],
        SharedFunctionalGroupsSequence=[group(5, 500)],
    )
    one = pixels_of(scan(WindowCenter=500, WindowWidth=256))
    two = pixels_of(scan(WindowCenter=700, WindowWidth=256, RescaleSlope=2, RescaleIntercept=0))
    np.testing.assert_array_equal(pixels_of(content, 1), one)
    np.testing.assert_array_equal(pixels_of(content, 2), two)


def test_the_only_frame_may_be_named() -> None:
    np.testing.assert_array_equal(pixels_of(scan(), 1), pixels_of(scan()))
    with pytest.raises(DatasetError, match=r"scan-7: .*slice 2 .*leave slice_number out"):
        read(scan(), slice_number=2)


def test_the_same_picture_hashes_alike_however_it_is_encoded() -> None:
    names = ["", "_RLE", "_bigendian", "_implicit", "_jp2klossless", "_padded"]
    hashes = {read(packaged(f"MR_small{name}.dcm")).pixel_hash for name in names}
    assert len(hashes) == 1


def test_a_truncated_dicom_file_is_named() -> None:
    content = scan()
    for share in (0.99, 0.9, 0.7, 0.5):
        with pytest.raises(DatasetError, match=r"^scan-7: .*truncated"):
            read(content[: int(len(content) * share)])


def test_a_file_without_pixels_is_named_with_its_kind() -> None:
    with pytest.raises(DatasetError, match=r"scan-7: .*Comprehensive SR.* no pixel data.*Remove"):
        read(packaged("test-SR.dcm"))


def test_too_many_pixels_are_refused_before_decoding() -> None:
    content = scan(Rows=60000, Columns=50000)
    with pytest.raises(DatasetError, match="scan-7: 50000 x 60000 pixels is above the limit"):
        read(content)
    assert pixels_of(scan(), limit=64).shape == (8, 8)


def test_a_deflated_file_is_read_up_to_a_limit() -> None:
    zeros = np.zeros((64, 64), np.uint16)
    content = scan(zeros, syntax=DeflatedExplicitVRLittleEndian)
    np.testing.assert_array_equal(pixels_of(content, limit=64 * 64), pixels_of(scan(zeros)))
    bomb = scan(np.zeros((2000, 2000), np.uint16), syntax=DeflatedExplicitVRLittleEndian)
    with pytest.raises(DatasetError, match="scan-7: the deflated DICOM file is larger than 16,000"):
        pixels_of(bomb, limit=1000)


def test_a_compression_without_decoder_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pydicom.pixels.decoders.base import JPEGLSLosslessDecoder

    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    content = scan(PixelData=encapsulate([b"\xff\xd8\xff\xd9"]), syntax=JPEGLSLossless)
    with pytest.raises(DatasetError, match=r"scan-7: .*JPEG-LS Lossless.*pip install .*\[dicom\]"):
        read(content)


def test_an_unknown_photometric_interpretation_is_named() -> None:
    with pytest.raises(DatasetError, match=r"scan-7: .*YBR_PARTIAL_420.*Convert"):
        read(scan(np.zeros((4, 4, 3), np.uint8), PhotometricInterpretation="YBR_PARTIAL_420"))


@pytest.mark.filterwarnings("ignore:Invalid value")  # said as the file is made
def test_no_word_of_the_patient_gets_into_a_message() -> None:
    content = scan(PatientName="Roe^Jane", PhotometricInterpretation="Roe^Jane")
    with pytest.raises(DatasetError) as caught:
        read(content)
    assert "Roe" not in str(caught.value)
    damaged = bytearray(content)
    at = damaged.index(b"\x08\x00\x16\x00UI")
    damaged[at + 6 : at + 8] = (120).to_bytes(2, "little")  # a value that swallows what follows
    with pytest.raises(DatasetError) as caught:
        read(bytes(damaged))
    assert "Roe" not in str(caught.value)


def test_odd_files_are_read_in_silence_and_filters_are_left_as_they_were(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    odd = [scan() + bytes(3), packaged("MR_small_padded.dcm"), scan(PixelData=STORED.tobytes() * 2)]
    before, level = list(warnings.filters), logging.getLogger("pydicom").level
    with warnings.catch_warnings(record=True) as seen, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        inside = list(warnings.filters)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(pixels_of, odd * 20))
        assert warnings.filters == inside
    assert not seen and not caplog.records
    assert capfd.readouterr() == ("", "")
    assert list(warnings.filters) == before
    assert logging.getLogger("pydicom").level == level


FUZZED = ["MR_small", "MR_small_RLE", "rtdose", "SC_rgb_small_odd_jpeg", "image_dfl"]


@pytest.mark.parametrize("name", FUZZED)
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_an_image_or_a_clear_error(name: str) -> None:
    sound, rng = packaged(f"{name}.dcm"), random.Random(0)
    for _ in range(150):
        content = bytearray(sound)
        span = min(len(content), rng.choice([400, 2000, len(content)]))
        for _ in range(rng.choice([1, 2, 8, 30])):
            content[rng.randrange(span)] = rng.randrange(256)
        if rng.random() < 0.2:
            del content[rng.randrange(len(content)) :]
        try:
            decoded = read(bytes(content), slice_number=rng.choice([None, 1, 2]))
        except DatasetError as error:
            assert str(error).startswith("scan-7: ")
        else:
            assert decoded.pixels.shape == (8, 8, 1)


@pytest.mark.real
def test_real_brain_slices_are_read(real_data: Path) -> None:
    files = sorted((real_data / "dicom-brain-mr").glob("*/*.dcm"))
    assert files
    for file in files[::5]:
        decoded = decode(file.read_bytes(), size=64, channels=1, origin=file.name)
        assert decoded.width >= 64 and decoded.mode == "MONOCHROME2"
        assert decoded.pixels.max() > 100 > np.median(decoded.pixels[:4])  # a head on black
