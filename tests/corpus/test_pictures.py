"""PNG and its like: transparency, 16 bits, animations, and what is above the limit."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

import medbench
from medbench.datasets.readers import open_image
from medbench.datasets.sources.folder import FolderSource
from medbench.errors import DatasetError, SliceError
from medbench.testing.image_files import picture_file

from .png_writing import png_file
from .tiff_writing import tiff_file, tiff_page

GREY = np.random.default_rng(0).integers(0, 250, (20, 30), dtype=np.uint16)
GREY[0, :2] = 0, 249
COLOUR = np.random.default_rng(1).integers(0, 250, (20, 30, 3), dtype=np.uint16)
COLOUR[0, 0] = 249, 0, 0
FRAMES = np.random.default_rng(2).integers(0, 256, (5, 20, 30), dtype=np.uint8)


def shown(content: bytes, slice_number: int = 1) -> np.ndarray:
    return open_image(content, origin="film").pixels(slice_number - 1)


def is_close(seen: np.ndarray, expected: np.ndarray) -> bool:
    if seen.ndim == 3 and expected.ndim == 2:
        expected = np.dstack([expected] * 3)
    return seen.shape == expected.shape and np.abs(seen.astype(int) - expected).max() <= 1


def marked(samples: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """With the largest value in a corner, and where it is."""
    samples = samples.copy()
    samples[5:, 10:] = top
    return samples, (samples == top).reshape(*samples.shape[:2], -1).all(axis=2)


# --- transparency ---------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_value_of_grey_is_black_at_every_depth(bits: int) -> None:
    top = 2**bits - 1
    samples, clear = marked(GREY >> (8 - bits), top)
    content = png_file(samples[..., None], bits, 0, tRNS=struct.pack(">H", top))
    expected = np.where(clear, 0, np.rint(samples * 255.0 / top))
    assert is_close(shown(content), expected)
    unmasked = png_file(samples[..., None], bits, 0, tRNS=struct.pack(">H", 0xFF00 | top))
    assert is_close(shown(unmasked), expected)


def test_a_transparent_value_of_16_bits_is_black_and_takes_part_as_such() -> None:
    samples, clear = marked(GREY * 60 + 3000, 65535)
    content = png_file(samples[..., None], 16, 0, tRNS=b"\xff\xff")
    seen = np.where(clear, 0, samples)
    assert is_close(shown(content), np.rint(seen * 255.0 / seen.max()))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour_is_black(bits: int) -> None:
    scale, top = (257, 65535) if bits == 16 else (1, 255)
    samples, clear = marked(COLOUR * scale, top)
    content = png_file(samples, bits, 2, tRNS=struct.pack(">3H", top, top, top))
    assert is_close(shown(content), np.where(clear[..., None], 0, samples // scale))


def test_palettes_with_opacities_lie_on_black_at_every_depth() -> None:
    palette = np.random.default_rng(3).integers(0, 256, (256, 3), dtype=np.uint8)
    for bits in (1, 2, 4, 8):
        indices = GREY >> (8 - bits)
        opacity = np.full(2**bits, 255, np.uint8)
        opacity[:2] = 0, 102
        content = png_file(
            indices[..., None], bits, 3, PLTE=palette[: 2**bits].tobytes(), tRNS=opacity.tobytes()
        )
        expected = np.rint(palette[indices] * (opacity[indices] / 255)[..., None])
        assert is_close(shown(content), expected)


# --- 16 bits --------------------------------------------------------------------------------


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("kind", [0, 2, 4, 6])
def test_12_bit_grey_in_16_bits_is_spread_however_it_is_stored(kind: int, interlaced: bool) -> None:
    grey = GREY * 4 + 24
    channels = {0: [grey], 2: [grey] * 3, 4: [grey], 6: [grey] * 3}[kind]
    opaque = [np.full_like(grey, 65535)] if kind > 2 else []
    content = png_file(
        np.dstack(channels + opaque), 16, kind, interlaced=interlaced, filters=(4, 1)
    )
    expected = np.rint((grey - 24.0) / (grey.max() - 24.0) * 255)
    assert is_close(shown(content).reshape(20, 30, -1)[..., 0], expected)


def test_12_bit_colour_in_16_bits_is_not_near_black() -> None:
    twelve = COLOUR * 16
    expected = np.rint(twelve * 255.0 / 4095)
    assert is_close(shown(png_file(twelve, 16, 2)), expected)
    stated = png_file(COLOUR * 64, 16, 2, sBIT=b"\x0e\x0e\x0e")
    assert is_close(shown(stated), np.rint(COLOUR * 64 * 255.0 / 16383))
    as_usual = png_file(COLOUR * 257, 16, 2, sBIT=b"\x0c\x0c\x0c")
    assert is_close(shown(as_usual), COLOUR)
    ppm = b"P6 30 20 65535\n" + twelve.astype(">u2").tobytes()
    assert is_close(shown(ppm), expected)


@pytest.mark.parametrize("top", [1023, 4095, 65535])
def test_ppm_that_is_written_out_in_digits_keeps_more_than_8_bits(top: int) -> None:
    def written_out(values: np.ndarray) -> bytes:
        rows = "\n".join(" ".join(map(str, row.ravel())) for row in values)
        return f"P3\n# a scan\n30 20 {top} # brightest\n{rows} # 255 end".encode()

    light = np.rint(COLOUR * (min(top, 4095) / 255)).astype(int)
    assert is_close(shown(written_out(light)), COLOUR)
    grey = np.dstack([GREY.astype(int) * 3] * 3)
    assert is_close(shown(written_out(grey)), np.rint(GREY * (255 / 249)))
    for wrong in (light[:10], light - 1, light + top):
        with pytest.raises(DatasetError, match="film: the image is damaged or truncated"):
            shown(written_out(wrong))


def test_exif_turns_16_bit_colour_too() -> None:
    exif = Image.Exif()
    exif[274] = 6
    content = png_file(COLOUR * 257, 16, 2, eXIf=exif.tobytes()[6:])
    assert is_close(shown(content), np.rot90(COLOUR, -1))


def test_truncated_16_bit_colour_is_damage() -> None:
    content = png_file(COLOUR * 257, 16, 2)
    with pytest.raises(DatasetError, match="film: the image is damaged or truncated"):
        shown(content[: len(content) // 2])
    with pytest.raises(DatasetError, match="film: the image is damaged or truncated"):
        shown(b"P6 30 20 65535\n" + bytes(100))


# --- several in one file --------------------------------------------------------------------


def animation(kind: str) -> bytes:
    stream = io.BytesIO()
    first, *rest = [Image.fromarray(frame) for frame in FRAMES]
    options = {"lossless": True} if kind == "WEBP" else {}
    first.save(stream, kind, save_all=True, append_images=rest, **options)
    return stream.getvalue()


SEVERAL = {
    "gif": animation("GIF"),
    "png": animation("PNG"),
    "webp": animation("WEBP"),
    "tif": tiff_file([tiff_page(FRAMES[0, ::4, ::4], tags={254: 1}), *map(tiff_page, FRAMES)]),
}


@pytest.mark.parametrize("suffix", SEVERAL)
def test_the_middle_of_a_stack_is_taken_and_said_and_more_where_it_is_asked(
    suffix: str, tmp_path
) -> None:
    for name in ("high", "low"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"1.{suffix}").write_bytes(SEVERAL[suffix])
        (tmp_path / name / "single.png").write_bytes(picture_file(FRAMES[0]))
    listing = FolderSource(path=str(tmp_path)).listing()
    assert listing.table["slice"].tolist() == [3, 1, 3, 1]
    assert "2 files with several slices (5): the middle slice of each taken" in str(listing.notes)
    three = FolderSource(path=str(tmp_path), slices=3).listing()
    assert three.table["slice"].tolist() == [2, 3, 4, 1] * 2


@pytest.mark.parametrize("suffix", SEVERAL)
def test_a_frame_is_chosen_and_none_is_taken_in_silence(suffix: str, tmp_path) -> None:
    path = tmp_path / f"several.{suffix}"
    path.write_bytes(SEVERAL[suffix])
    with pytest.raises(SliceError, match=r"5 (frames|pages).*slice_number, from 1 to 5"):
        medbench.read_image(path)
    for number in (4, 1, 5):
        seen = medbench.read_image(path, number)
        np.testing.assert_array_equal(seen, FRAMES[number - 1])


def test_a_turned_animation_stays_so_from_frame_to_frame() -> None:
    exif = Image.Exif()
    exif[274] = 6
    stream = io.BytesIO()
    first, *rest = [Image.fromarray(np.dstack([frame] * 3)) for frame in FRAMES]
    first.save(stream, "WEBP", save_all=True, append_images=rest, lossless=True, exif=exif)
    opened = open_image(stream.getvalue(), origin="film")
    for index in (2, 0, 2):
        assert is_close(opened.pixels(index), np.rot90(FRAMES[index], -1))


@pytest.mark.parametrize("kind", [2, 4, 6])
def test_an_animation_of_16_bit_colour_is_refused(kind: int) -> None:
    channels = {2: 3, 4: 2, 6: 4}[kind]
    several = struct.pack(">LL", 2, 0)
    content = png_file(np.full((20, 30, channels), 700), 16, kind, acTL=several)
    with pytest.raises(DatasetError, match=r"film: an animation of 16 bits.*file of its own"):
        shown(content)


def test_the_further_pictures_of_a_jpeg_file_are_said() -> None:
    stream = io.BytesIO()
    first, second = (Image.fromarray(frame) for frame in FRAMES[:2])
    first.save(stream, "MPO", save_all=True, append_images=[second])
    opened = open_image(stream.getvalue(), origin="film")
    assert (opened.header.n_slices, opened.warnings()) == (1, ("the first of 2 pictures",))
    assert opened.pixels(0).shape[:2] == (20, 30)


def test_a_lossless_jpeg_is_refused_as_such_and_not_as_damaged() -> None:
    content = picture_file(FRAMES[0], "JPEG", comment=b"\xff\xc3", exif=b"Exif\0\0" + bytes(40))
    assert shown(content).shape == (20, 30)
    with pytest.raises(DatasetError, match=r"film: a lossless JPEG.*Convert it to PNG"):
        shown(content.replace(b"\xff\xc0\0", b"\xff\xc3\0"))
    for end in range(2, 200):
        with pytest.raises(DatasetError, match=r"film: "):
            shown(content[:end])


# --- limits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "GIF"])
@pytest.mark.parametrize("height", [7000, 11000])
@pytest.mark.filterwarnings("error")
def test_a_picture_above_the_limit_has_a_remedy_that_exists(kind: str, height: int) -> None:
    stream = io.BytesIO()
    Image.new("L", (9000, height), 30).save(stream, kind)
    with pytest.raises(DatasetError) as raised:
        shown(stream.getvalue())
    said = str(raised.value)
    assert f"9000 x {height} pixels is above the limit of 50,000,000 pixels" in said
    assert "Shrink or crop the image, or remove it." in said and "--" not in said


def test_more_frames_than_can_be_drawn_are_refused() -> None:
    stream = io.BytesIO()
    first, *rest = [Image.fromarray(np.roll(FRAMES[0], n, axis=0)) for n in range(25)]
    first.save(stream, "GIF", save_all=True, append_images=rest)
    with pytest.raises(DatasetError, match="25 frames of 30 x 20 pixels are too many"):
        open_image(stream.getvalue(), origin="film", pixel_limit=first.width * first.height)
