"""TIFF: what the standard allows is shown as it says, or refused by what it is."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import medbench
from medbench.datasets.readers import open_image, reader_of
from medbench.errors import DatasetError, SliceError
from medbench.testing.image_files import dicom_file

from .tiff_writing import tiff_file, tiff_page

STEPS = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
STEPS[0, :2] = 0, 255
COLOUR = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
COLOUR[0, 0] = 255, 0, 0
IMAGEJ = "ImageJ=1.54f\nimages=9\n"
OPAQUE = np.where(np.arange(30) < 15, 255, 85).astype(np.uint8) * np.ones((20, 1), np.uint8)


def shown(content: bytes, slice_number: int = 1) -> np.ndarray:
    return open_image(content, origin="scan").pixels(slice_number - 1)


def one_page(samples: np.ndarray, *, order: str = "<", **how: Any) -> bytes:
    return tiff_file([tiff_page(samples, order=order, **how)], order=order)


def by_tifffile(values: np.ndarray, **how: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **how)
    return stream.getvalue()


def by_pillow(image: Image.Image, **how: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "TIFF", **how)
    return stream.getvalue()


def is_close(seen: np.ndarray, expected: np.ndarray) -> bool:
    return seen.shape == expected.shape and np.abs(seen.astype(int) - expected).max() <= 1


# --- how samples are stored -----------------------------------------------------------------


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_colour_of_16_bits_with_planes_together_and_apart(order: str, apart: bool) -> None:
    content = one_page(COLOUR.astype(np.uint16) * 257, meaning=2, order=order, apart=apart)
    np.testing.assert_array_equal(shown(content), COLOUR)


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "f4", "u4"])
def test_signed_float_and_byte_swapped_samples(kind: str, order: str, compression: int) -> None:
    values = STEPS.astype(kind if kind != "i1" else "i2")
    values = (values - (128 if kind[0] == "i" else 0)).astype(kind)
    content = one_page(values, order=order, compression=compression)
    np.testing.assert_array_equal(shown(content), STEPS)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7])
def test_few_bits_are_brought_to_the_whole_range(bits: int) -> None:
    few = STEPS >> (8 - bits)
    expected = np.rint(few.astype(float) * 255 / (2**bits - 1))
    assert is_close(shown(one_page(few, bits=bits)), expected)
    assert is_close(shown(one_page(few, bits=bits, compression=5)), expected)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_bits_beyond_8_show_the_own_range(bits: int) -> None:
    packed = one_page(STEPS.astype(np.uint16) * 3, bits=bits, compression=5)
    np.testing.assert_array_equal(shown(packed), STEPS)


@pytest.mark.parametrize(("kind", "full"), [("u1", 1), ("u2", 200), ("i2", 90), ("f4", 0.003)])
def test_white_as_0_is_inverted_in_every_type(kind: str, full: float) -> None:
    content = one_page((STEPS * float(full)).astype(kind), meaning=0)
    assert is_close(shown(content), 255 - STEPS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied(orientation: int) -> None:
    for samples in (STEPS, STEPS.astype(np.int16)):  # by Pillow, and by its samples
        content = one_page(samples, tags={274: orientation})
        image = Image.fromarray(STEPS)
        exif = image.getexif()
        exif[274] = orientation
        stream = io.BytesIO()
        image.save(stream, "PNG", exif=exif)
        np.testing.assert_array_equal(shown(content), shown(stream.getvalue()))


SMOOTH = np.add.outer(np.arange(32), np.arange(48)).astype(np.uint8) * 3


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax_is_read_by_pillow(compression: str) -> None:
    content = by_pillow(Image.fromarray(SMOOTH > 100), compression=compression)
    np.testing.assert_array_equal(shown(content), (SMOOTH > 100) * np.uint8(255))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_jpeg_is_read_by_pillow(mode: str) -> None:
    image = Image.fromarray(SMOOTH).convert("RGB").convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(255 - SMOOTH))
    expected = SMOOTH * ((255.0 - SMOOTH) / 255 if mode.endswith("A") else 1.0)
    seen = shown(by_pillow(image, compression="jpeg", quality=95)).reshape(32, 48, -1)
    assert np.abs(seen - expected[..., None]).mean() < 3


def test_ycbcr_that_is_not_subsampled() -> None:
    ycbcr = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    expected = np.asarray(Image.fromarray(ycbcr, "YCbCr").convert("RGB"))
    for compression in (1, 5):
        content = one_page(ycbcr, meaning=6, compression=compression, tags={530: [1, 1]})
        assert np.abs(shown(content).astype(int) - expected).max() <= 2
    stated = by_pillow(Image.fromarray(COLOUR).convert("YCbCr"))  # states the usual levels
    np.testing.assert_array_equal(shown(stated), expected)


def test_palettes_of_8_and_16_bits() -> None:
    palette = np.random.default_rng(2).integers(0, 256, (3, 16))
    indices = STEPS >> 4
    for wide in (257, 256, 1):
        content = one_page(
            indices, bits=4, meaning=3, tags={320: (palette * wide).ravel().tolist()}
        )
        assert is_close(shown(content), palette.T[indices])


# --- what is transparent --------------------------------------------------------------------


@pytest.mark.parametrize("compression", [1, 5])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_grey_with_an_opacity_lies_on_black(wide: bool, apart: bool, compression: int) -> None:
    full = 257 if wide else 1
    samples = np.dstack([STEPS, OPAQUE]).astype(np.uint16 if wide else np.uint8) * full
    content = one_page(samples, apart=apart, compression=compression, tags={338: [2]})
    assert is_close(shown(content), np.rint(STEPS * (OPAQUE / 255)))


@pytest.mark.parametrize("n", [1, 3])
def test_a_premultiplied_opacity_is_not_applied_twice(n: int) -> None:
    light = (STEPS if n == 1 else COLOUR).reshape(20, 30, n)
    stored = np.rint(light * (OPAQUE / 255)[..., None]).astype(np.uint8)
    samples = np.dstack([stored, OPAQUE])
    content = one_page(samples, meaning=1 if n == 1 else 2, tags={338: [1]})
    assert is_close(shown(content), stored[..., 0] if n == 1 else stored)


def test_samples_that_mean_nothing_are_left_out_beside_colour() -> None:
    samples = np.dstack([COLOUR, OPAQUE])
    np.testing.assert_array_equal(shown(one_page(samples, meaning=2, tags={338: [0]})), COLOUR)


# --- 12 bits in 16 --------------------------------------------------------------------------


def test_12_bits_in_16_bit_colour_are_not_near_black() -> None:
    full = 4095 / 255
    twelve = np.rint(COLOUR * full).astype(np.uint16)
    assert is_close(shown(one_page(twelve, meaning=2)), COLOUR)
    dark = one_page(twelve // 2, meaning=2)
    assert is_close(shown(dark), COLOUR // 2)
    ten = np.rint(COLOUR * (1023 / 255)).astype(np.uint16)
    for tags in ({281: 1023}, {341: [1023] * 3}):  # MaxSampleValue, SMaxSampleValue
        assert is_close(shown(one_page(ten, meaning=2, tags=tags)), COLOUR)
    grey = np.dstack([(STEPS.astype(np.uint16) * 7 + 100)] * 3)
    assert is_close(shown(one_page(grey, meaning=2)), STEPS)


def test_dark_colour_of_16_bits_stays_dark() -> None:
    dark = COLOUR.astype(np.uint16) * 60
    assert is_close(shown(one_page(dark, meaning=2)), np.rint(dark / 257))


# --- pages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [{254: 1}, {255: 2}, {254: 4}, {254: 5}])
def test_reduced_copies_and_masks_are_no_slices(tag: dict[int, int]) -> None:
    copy = tiff_page(STEPS[::4, ::4], tags=tag)
    for pages in ([copy, tiff_page(STEPS)], [tiff_page(STEPS), copy], [tiff_page(STEPS), copy] * 2):
        opened = open_image(tiff_file(pages), origin="scan")
        assert opened.header.n_slices == len(pages) // 2
        np.testing.assert_array_equal(opened.pixels(0), STEPS)
        assert not opened.warnings()


def test_pages_of_another_size_are_no_slices_and_it_is_said() -> None:
    pages = [tiff_page(STEPS[::4, ::4]), tiff_page(STEPS), tiff_page(COLOUR[:3], meaning=2)]
    opened = open_image(tiff_file(pages), origin="scan")
    np.testing.assert_array_equal(opened.pixels(0), STEPS)
    assert (opened.header.n_slices, opened.warnings()) == (1, ("2 pages of another size left out",))


def test_a_lone_reduced_copy_is_shown_and_its_sub_directory_before_it() -> None:
    alone = tiff_file([tiff_page(STEPS, tags={254: 1})])
    np.testing.assert_array_equal(shown(alone), STEPS)
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        file.write(STEPS[::4, ::4], subfiletype=1, subifds=1, metadata=None)
        file.write(STEPS, subfiletype=0, metadata=None)
    np.testing.assert_array_equal(shown(stream.getvalue()), STEPS)


def test_pages_of_a_stack_are_slices(tmp_path) -> None:
    stack = np.stack([STEPS, STEPS[::-1], 255 - STEPS])
    for big in (False, True):
        for order in "<>":
            path = tmp_path / "stack.tif"
            path.write_bytes(
                by_tifffile(stack, photometric="minisblack", bigtiff=big, byteorder=order)
            )
            for number, page in enumerate(stack, start=1):
                np.testing.assert_array_equal(medbench.read_image(path, number), page)
            with pytest.raises(SliceError, match=r"a TIFF stack of 3 pages.*from 1 to 3"):
                medbench.read_image(path)


def test_pages_of_different_kinds_are_read_each_by_its_own() -> None:
    pages = [
        tiff_page(STEPS),
        tiff_page(COLOUR.astype(np.uint16) * 257, meaning=2, apart=True),
        tiff_page(STEPS.astype(np.int16), compression=5),
    ]
    content = tiff_file(pages)
    for number, expected in enumerate((STEPS, COLOUR, STEPS), start=1):
        np.testing.assert_array_equal(shown(content, number), expected)


def test_a_dicom_file_whose_preamble_is_the_head_of_a_tiff_file_is_dicom() -> None:
    dicom = dicom_file(STEPS)
    head = tiff_file([tiff_page(STEPS)])[:128]
    assert reader_of(head + dicom[128:]).name == "dicom"
    assert reader_of(head).name == "tiff"


# --- what is refused ------------------------------------------------------------------------


def unlike(**how: Any) -> bytes:
    return one_page(STEPS, **how)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (by_tifffile(STEPS.astype(np.complex64)), "64 bits .SampleFormat 6"),
        (unlike(meaning=32803), "photometric interpretation 32803"),
        (one_page(COLOUR, meaning=8), "photometric interpretation 8"),
        (unlike(tags={259: 34712}), "compression 34712"),
        (one_page(STEPS.astype(np.uint16), tags={259: 7}), "16-bit samples with compression 7"),
        (one_page(COLOUR, meaning=6), "subsampled colour"),
        (one_page(np.dstack([STEPS] * 5), tags={338: [0] * 4}), "5 samples .* meaning"),
        (one_page(np.dstack([STEPS] * 2)), "2 samples .* meaning"),
        (unlike(tags={258: [8, 4], 277: 2}), "different types"),
        (unlike(bits=4, compression=5, tags={317: 2}), "4-bit samples with predictor 2"),
        (
            by_tifffile(np.stack([STEPS] * 3), photometric="minisblack", truncate=True),
            "several images behind one directory",
        ),
        (
            by_tifffile(np.stack([STEPS[:16, :16]] * 16), volumetric=True, tile=(16, 16, 16),
                        photometric="minisblack"),
            "several images behind one directory",
        ),
        (
            by_tifffile(STEPS, description=IMAGEJ, metadata=None) + STEPS.tobytes() * 8,
            "several images behind one directory",
        ),
    ],
)  # fmt: skip
def test_what_is_not_read_is_refused_by_what_it_is(content: bytes, words: str) -> None:
    with pytest.raises(DatasetError, match=f"scan: a TIFF .*{words}.*Convert it to PNG"):
        shown(content)


def test_a_page_that_was_taken_out_of_a_stack_and_still_mentions_it_is_read() -> None:
    for description in (IMAGEJ, '{"shape": [5, 20, 30]}'):
        content = by_tifffile(STEPS, description=description, metadata=None)
        np.testing.assert_array_equal(shown(content), STEPS)


def test_numbers_that_are_none_are_refused() -> None:
    values = STEPS.astype(np.float32)
    values[3, 3] = np.nan
    with pytest.raises(DatasetError, match="NaN or infinite"):
        shown(one_page(values))
    with pytest.raises(DatasetError, match="NaN or infinite"):
        shown(one_page(values, meaning=0))


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
@pytest.mark.parametrize("kind", ["u1", "i2"])
def test_a_truncated_strip_is_damage(kind: str, compression: int) -> None:
    tags, parts = tiff_page(STEPS.astype(kind), compression=compression)
    content = tiff_file([(tags, [parts[0][: len(parts[0]) // 2]])] + [tiff_page(STEPS[:3])] * 9)
    with pytest.raises(DatasetError, match=r"scan: the TIFF file is damaged or truncated"):
        shown(content)


def test_a_chain_of_directories_that_is_a_circle_ends() -> None:
    content = tiff_file([tiff_page(STEPS)] * 2)
    for first in (content[4:8], b"\0\0\0\0"):
        opened = open_image(content[:-4] + first, origin="scan")
        assert opened.header.n_slices == 2


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_a_picture_or_an_error_that_names_the_file(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pages = [
        tiff_page(STEPS.astype(np.int16), compression=5, predictor=2, rows_per_strip=6),
        tiff_page(COLOUR, meaning=2, apart=True, tile=(16, 16), compression=8),
    ]
    sound = tiff_file(pages, big=bool(seed % 2), order="<>"[seed % 3 == 0])
    sound = (
        sound
        if seed % 3
        else tiff_file(
            [tiff_page(STEPS.astype(np.int16), order=">")], order=">", big=bool(seed % 2)
        )
    )
    for _ in range(150):
        damaged = bytearray(sound)
        for _ in range(int(rng.integers(1, 5))):
            damaged[rng.integers(len(damaged))] = int(rng.integers(256))
        try:
            opened = open_image(bytes(damaged), origin="scan")
            for index in range(min(opened.header.n_slices, 3)):
                assert opened.pixels(index).dtype == np.uint8
        except DatasetError as error:
            assert str(error).startswith("scan: ")


def test_strips_that_pillow_takes_for_an_attack_are_named() -> None:
    tags, parts = tiff_page(STEPS.astype(np.int16), compression=5)
    with pytest.raises(DatasetError, match=r"strips too large to be unpacked.*without compression"):
        shown(tiff_file([(tags | {256: 9000, 257: 5000, 258: 64, 278: 5000}, parts)]))


def test_a_picture_above_the_limit_is_refused_before_it_is_decoded() -> None:
    tags, parts = tiff_page(STEPS)
    with pytest.raises(DatasetError, match=r"9000 x 7000 pixels is above the limit"):
        shown(tiff_file([(tags | {256: 9000, 257: 7000}, parts)]))
    many = tags | {258: [8] * 60, 277: 60, 338: [2] * 59, 256: 7000, 257: 7000}
    with pytest.raises(DatasetError, match=r"60 samples of 8 bits at that size"):
        shown(tiff_file([(many, parts)]))
