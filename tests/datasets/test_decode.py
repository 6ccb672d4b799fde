"""Decoding: every way of storing the same picture must give the same pixels, or a clear error."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from medbench.datasets.decode import Decoded, decode, is_coloured
from medbench.errors import DatasetError, SliceError

GREY = np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8)
GREY[0, :2] = 0, 255  # a full range makes the 16-bit window exact
COLOUR = np.random.default_rng(1).integers(0, 256, (24, 40, 3), dtype=np.uint8)
SMOOTH = np.add.outer(np.arange(64), np.arange(96)).astype(np.uint8)


def encode(pixels: Any, kind: str, **options: Any) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def read(content: Any, size: int = 32, channels: Any = 1, **options: Any) -> Decoded:
    return decode(content, size=size, channels=channels, origin="scan-7", **options)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF", "PPM"])
def test_a_lossless_container_does_not_change_the_pixels(kind: str) -> None:
    decoded, expected = read(encode(GREY, kind)), read(GREY)
    np.testing.assert_array_equal(decoded.pixels, expected.pixels)
    assert decoded.pixel_hash == expected.pixel_hash
    assert (decoded.width, decoded.height) == (40, 24)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM"])
def test_colour_survives_a_lossless_container(kind: str) -> None:
    decoded, expected = read(encode(COLOUR, kind), channels=3), read(COLOUR, channels=3)
    np.testing.assert_array_equal(decoded.pixels, expected.pixels)
    assert decoded.pixel_hash == expected.pixel_hash
    assert decoded.mode == "RGB"


def test_webp_is_read() -> None:
    decoded = read(encode(COLOUR, "WEBP", lossless=True), channels=3)
    assert decoded.pixel_hash == read(COLOUR).pixel_hash


def test_a_jpeg_is_read_almost_as_it_was() -> None:
    decoded = read(encode(SMOOTH, "JPEG", quality=95), size=64)
    assert np.abs(decoded.pixels.astype(int) - read(SMOOTH, size=64).pixels).mean() < 3
    assert decoded.mode == "L"


def test_properties_are_those_of_the_file() -> None:
    content = encode(COLOUR, "PNG")
    decoded = read(content)
    properties = (decoded.width, decoded.height, decoded.mode, decoded.n_bytes)
    assert properties == (40, 24, "RGB", len(content))
    assert (read(GREY).mode, read(GREY).n_bytes) == ("uint8", GREY.nbytes)


def test_grey_stored_as_colour_hashes_like_grey() -> None:
    as_rgb = np.repeat(GREY[..., None], 3, axis=2)
    assert read(encode(as_rgb, "PNG")).pixel_hash == read(GREY).pixel_hash
    assert read(encode(as_rgb, "PNG"), channels=3).pixel_hash == read(GREY).pixel_hash
    np.testing.assert_array_equal(read(as_rgb).pixels, read(GREY).pixels)


def test_other_pixels_or_another_shape_hash_differently() -> None:
    changed = GREY.copy()
    changed[5, 5] ^= 1
    hashes = {read(p).pixel_hash for p in (GREY, changed, GREY.reshape(40, 24), COLOUR)}
    assert len(hashes) == 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    undo = [
        lambda a: a,
        np.fliplr,
        lambda a: np.rot90(a, 2),
        np.flipud,
        np.transpose,
        lambda a: np.rot90(a, 1),
        lambda a: np.rot90(a, 2).T,
        lambda a: np.rot90(a, 3),
    ][orientation - 1]
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.ascontiguousarray(undo(GREY))
    decoded = read(encode(stored, "PNG", exif=exif))
    assert decoded.pixel_hash == read(GREY).pixel_hash
    assert (decoded.width, decoded.height) == (40, 24)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_files_are_windowed_from_their_own_range(kind: str) -> None:
    wide = GREY.astype(np.uint16) * 100 + 700
    decoded = read(encode(wide, kind))
    assert decoded.pixel_hash == read(GREY).pixel_hash
    assert decoded.mode.startswith("I;16")


def test_big_endian_and_inverted_16_bit_tiffs_are_read() -> None:
    wide = GREY.astype(np.uint16) * 257
    big = encode(Image.fromarray(wide.astype(">u2")), "TIFF")
    assert read(big).pixel_hash == read(GREY).pixel_hash
    inverted = encode(65535 - wide, "TIFF", tiffinfo={262: 0})
    assert read(inverted).pixel_hash == read(GREY).pixel_hash


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bit_tiffs_are_windowed(dtype: Any) -> None:
    assert read(encode(GREY.astype(dtype) * 3, "TIFF")).pixel_hash == read(GREY).pixel_hash


def test_palettes_are_expanded() -> None:
    palette = Image.fromarray(GREY).convert("L").point(lambda v: v // 32)
    palette.putpalette([v for i in range(8) for v in (i * 30, 255 - i * 30, i)])
    assert palette.mode == "P"
    expected = read(np.asarray(palette.convert("RGB")))
    assert read(encode(palette, "PNG")).pixel_hash == expected.pixel_hash


def test_transparent_palette_entries_become_black() -> None:
    palette = Image.fromarray((GREY > 128).astype(np.uint8), mode="L")
    palette.putpalette([255, 0, 0, 0, 0, 255])
    content = encode(palette, "PNG", transparency=0)
    expected = np.zeros((*GREY.shape, 3), np.uint8)
    expected[GREY > 128] = 0, 0, 255
    decoded = read(content, channels=3)
    assert decoded.pixel_hash == read(expected).pixel_hash
    assert decoded.mode == "P"


def test_alpha_is_composed_on_black() -> None:
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[:12] = 0
    shown = GREY.copy()
    shown[:12] = 0
    grey = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    assert read(encode(grey, "PNG")).pixel_hash == read(shown).pixel_hash
    colour = np.dstack([COLOUR, alpha])
    expected = COLOUR.copy()
    expected[:12] = 0
    assert read(encode(colour, "PNG")).pixel_hash == read(expected).pixel_hash


def test_1_bit_images_are_black_and_white() -> None:
    bits = GREY > 128
    expected = bits.astype(np.uint8) * np.uint8(255)
    decoded = read(encode(Image.fromarray(bits), "PNG"))
    assert decoded.pixel_hash == read(expected).pixel_hash == read(bits).pixel_hash
    assert decoded.mode == "1"


def test_cmyk_jpegs_show_their_colours() -> None:
    red = Image.new("RGB", (40, 24), (220, 30, 40)).convert("CMYK")
    decoded = read(encode(red, "JPEG", quality=95), channels=3)
    assert decoded.mode == "CMYK"
    assert np.abs(decoded.pixels.astype(int) - (220, 30, 40)).max() < 12


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_frames_of_an_animation_and_the_pages_of_a_stack_are_slices(kind: str) -> None:
    frames = [GREY, 255 - GREY, GREY[::-1]]
    rest = [Image.fromarray(frame) for frame in frames[1:]]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encode(frames[0], kind, save_all=True, append_images=rest, **options)
    for number in (2, 3, 1):
        decoded = read(content, slice_number=number)
        assert decoded.pixel_hash == read(frames[number - 1]).pixel_hash
    with pytest.raises(SliceError, match=r"scan-7: a .* of 3 (frames|pages).* from 1 to 3"):
        read(content)


def test_an_image_of_the_size_is_left_as_it_is() -> None:
    square = GREY[:, :24]
    np.testing.assert_array_equal(read(square, size=24).pixels[..., 0], square)


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    checker = (np.indices((128, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = read(checker, size=16).pixels
    assert small.min() > 110
    assert small.max() < 145


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)),
    st.integers(1, 40),
    st.sampled_from([1, 3]),
)
@settings(max_examples=60, deadline=None)
def test_every_grey_array_becomes_the_requested_shape(
    array: np.ndarray, size: int, channels: int
) -> None:
    decoded = read(array, size, channels)
    assert decoded.pixels.shape == (size, size, channels)
    assert decoded.pixels.dtype == np.uint8
    assert (decoded.height, decoded.width) == array.shape
    assert decoded.pixel_hash == read(array[..., None]).pixel_hash


@given(
    hnp.arrays(
        st.sampled_from([np.uint16, np.int16, np.int64, np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.integers(0, 30000),
    )
)
@settings(max_examples=60, deadline=None)
def test_the_window_keeps_order_and_uses_the_whole_range(array: np.ndarray) -> None:
    side = max(array.shape)
    square = np.full((side, side), array.min())
    square[: array.shape[0], : array.shape[1]] = array
    pixels = read(square, size=side).pixels[..., 0]
    order = np.argsort(square, axis=None, kind="stable")
    assert (np.diff(pixels.ravel()[order].astype(int)) >= 0).all()
    assert pixels.max() == (255 if square.max() > square.min() else 0)
    assert pixels.min() == 0


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([[0.0, np.nan]]), "NaN"),
        (np.array([[0.0, np.inf]]), "infinite"),
        (np.array([[-1, 5]], dtype=np.int16), "negative"),
        (np.zeros((2, 2), dtype="U3"), "dtype"),
        (np.zeros((4, 4, 2), np.uint8), "shape"),
        (np.zeros((2, 4, 4, 2), np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), "shape"),
    ],
)
def test_arrays_that_are_no_image_are_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(DatasetError, match=f"scan-7.*{words}"):
        read(array)


def test_a_text_file_is_refused_by_name() -> None:
    with pytest.raises(DatasetError, match=r"scan-7: not an image.*remove"):
        read(b"patient,label\n1,healthy\n")


def test_an_empty_file_is_refused_by_name() -> None:
    with pytest.raises(DatasetError, match="scan-7: the file is empty"):
        read(b"")


def test_the_content_decides_the_format_not_the_name() -> None:
    decoded = decode(encode(GREY, "PNG"), size=24, channels=1, origin="scan.jpg")
    assert decoded.pixel_hash == read(GREY).pixel_hash


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF"])
def test_a_truncated_file_is_refused_by_name(kind: str) -> None:
    content = encode(COLOUR, kind)
    with pytest.raises(DatasetError, match="scan-7"):
        read(content[: len(content) * 2 // 3])


def test_too_many_pixels_are_refused_before_decoding() -> None:
    header_only = encode(Image.new("1", (8000, 8000)), "PNG")[:200]
    with pytest.raises(DatasetError, match=r"scan-7: 8000 x 8000 pixels is above the limit"):
        read(header_only)
    with pytest.raises(DatasetError, match="limit of 100 pixels"):
        read(GREY, pixel_limit=100)
    assert read(GREY, pixel_limit=GREY.size).width == 40


def test_a_decompression_bomb_is_refused() -> None:
    content = bytearray(encode(Image.new("L", (4, 4)), "BMP"))
    content[18:26] = (60000).to_bytes(4, "little") * 2
    with pytest.raises(DatasetError, match="more pixels than Pillow accepts"):
        read(bytes(content))


@given(st.data())
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_flipped_bytes_give_an_image_or_a_clear_error(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM"]))
    content = bytearray(encode(COLOUR, kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, min(400, len(content) - 1)))] = data.draw(
            st.integers(0, 255)
        )
    try:
        decoded = read(bytes(content), size=8)
    except DatasetError as error:
        assert str(error).startswith("scan-7: ")
    else:
        assert decoded.pixels.shape == (8, 8, 1)


def test_colour_is_told_from_grey_stored_as_colour() -> None:
    grey = np.repeat(SMOOTH[..., None], 3, axis=2)
    noisy = read(encode(grey, "JPEG", quality=60), size=64, channels=3).pixels
    assert not is_coloured(noisy)
    assert not is_coloured(SMOOTH[..., None])
    marked = grey.copy()
    marked[:4, :8] = 255, 0, 0  # half a per cent: a letter burnt in
    assert not is_coloured(marked)
    assert is_coloured(COLOUR)
    assert is_coloured(np.full((8, 8, 3), (200, 120, 110), np.uint8))
