"""What a file announces of its content is compared with the file before it is allocated."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate

from medbench.datasets.readers import open_image, tiff_directories
from medbench.datasets.readers.dicom_coded import coded_size
from medbench.datasets.readers.tiff_directories import check_directories
from medbench.errors import DatasetError
from medbench.testing.image_files import dicom_file, picture_file

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 56)).astype(np.uint8)


# --- TIFF -----------------------------------------------------------------------------------------


def directories(*tags_of_each, big=False, order="<"):
    """A TIFF file of directories without pixels; each tag is its type and how many values it has.

    All values are said to lie at the beginning, so that they cost nothing.
    """
    place, head = ("Q", 16) if big else ("I", 8)
    magic = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "H", 43 if big else 42)
    content = magic + (struct.pack(order + "HH", 8, 0) if big else b"")
    content += struct.pack(order + place, head)
    for number, tags in enumerate(tags_of_each):
        content += struct.pack(order + ("Q" if big else "H"), len(tags))
        for code, (kind, n) in enumerate(tags, start=256):
            content += struct.pack(order + "HH" + 2 * place, code, kind, n, 8)
        last = number == len(tags_of_each) - 1
        content += struct.pack(order + place, 0 if last else len(content) + struct.calcsize(place))
    return content


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_directories_that_share_a_long_list_are_refused_unread(big, order):
    few = directories(*[[(4, 10)]] * 3, big=big, order=order)
    check_directories(io.BytesIO(few))
    many = directories(*[[(4, 200 if big else 100)]] * 3, big=big, order=order)
    with pytest.raises(ValueError, match=r"3 directories with (1200|2400) bytes of values"):
        check_directories(io.BytesIO(many))
    with pytest.raises(DatasetError, match=r"x\.tif: the TIFF file is damaged"):
        open_image(many, origin="x.tif")


def test_tags_of_one_directory_that_share_a_long_list_are_refused():
    with pytest.raises(ValueError, match="1 directories with"):
        check_directories(io.BytesIO(directories([(4, 100)] * 100)))


def test_very_many_directories_are_refused(monkeypatch):
    monkeypatch.setattr(tiff_directories, "_MOST_DIRECTORIES", 10)
    check_directories(io.BytesIO(directories(*[[(3, 1)]] * 10)))
    with pytest.raises(ValueError, match="11 directories"):
        check_directories(io.BytesIO(directories(*[[(3, 1)]] * 11)))


def test_a_circle_of_directories_ends():
    content = bytearray(directories([(3, 1)], [(3, 1)]))
    content[-4:] = struct.pack("<I", 8)
    check_directories(io.BytesIO(bytes(content)))


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_other_files_are_where_they_were(kind):
    file = io.BytesIO(picture_file(PIXELS, kind))
    check_directories(file)
    assert file.tell() == (0 if kind == "TIFF" else 4)


def test_tiles_that_are_far_larger_than_their_picture_are_refused(monkeypatch):
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, PIXELS.astype(np.float64)[:16, :16], tile=(128, 128), compression="zlib")
    open_image(file.getvalue(), origin="x.tif", pixel_limit=128 * 128).pixels(0)
    monkeypatch.setattr("medbench.datasets.readers.tiff._BYTES_A_PIXEL", 7)
    with pytest.raises(DatasetError, match=r"x\.tif: a TIFF of 1 samples of 64 bits at that size"):
        open_image(file.getvalue(), origin="x.tif", pixel_limit=128 * 128)


# --- DICOM ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"comment": b"x" * 5000, "exif": b"Exif\0\0" + bytes(40)}),
        ("JPEG2000", {}),
        ("JPEG2000", {"no_jp2": True}),
    ],
)
def test_the_size_of_a_coded_frame_is_told_by_its_header(kind, options):
    content = picture_file(PIXELS, kind, **options)
    assert coded_size(content) == (56, 40)
    for end in range(0, len(content), 7):
        assert coded_size(content[:end]) in (None, (56, 40))
    assert coded_size(b"") is None and coded_size(picture_file(PIXELS)) is None


@pytest.mark.parametrize("table", [False, True])
def test_a_coded_frame_that_is_far_larger_than_its_file_says_is_not_decoded(monkeypatch, table):
    large = picture_file(np.zeros((600, 600), np.uint8), "JPEG")
    small = picture_file(PIXELS[:24, :24], "JPEG")
    content = dicom_file(
        PIXELS[None, :24, :24].repeat(2, axis=0),
        syntax=uid.JPEGBaseline8Bit,
        PixelData=encapsulate([small, large], has_bot=table),
    )
    opened = open_image(content, origin="x.dcm")
    assert opened.pixels(0).shape == (24, 24)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(DatasetError, match=r"x\.dcm: the compressed frame has 600 x 600 pixels"):
        opened.pixels(1)


def test_a_run_length_coded_frame_that_is_longer_than_any_coding_makes_it_is_not_decoded():
    content = dicom_file(
        PIXELS[:24, :24], syntax=uid.RLELossless, PixelData=encapsulate([bytes(80_000)])
    )
    with pytest.raises(DatasetError, match=r"the compressed frame has 80,000 bytes, and its pix"):
        open_image(content, origin="x.dcm").pixels(0)
