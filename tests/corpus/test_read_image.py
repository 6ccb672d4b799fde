"""People can look at what MedBench sees."""

from __future__ import annotations

import numpy as np
import pytest

import medbench
from medbench.errors import DatasetError, SliceError
from medbench.testing.image_files import dicom_file, picture_file

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 20, 30), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
AS_STORED = {"WindowCenter": 127.5, "WindowWidth": 255, "VOILUTFunction": "LINEAR_EXACT"}


@pytest.fixture
def write(tmp_path):
    def written(content: bytes):
        path = tmp_path / "image"
        path.write_bytes(content)
        return path

    return written


@pytest.mark.parametrize("pixels", [FRAMES[0], COLOUR])
def test_a_picture_is_given_at_full_size(write, pixels) -> None:
    path = write(picture_file(pixels))
    for asked in (path, str(path)):
        read = medbench.read_image(asked)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, pixels)


def test_grey_that_is_stored_as_colour_is_grey(write) -> None:
    path = write(picture_file(np.dstack([FRAMES[0]] * 3)))
    np.testing.assert_array_equal(medbench.read_image(path), FRAMES[0])


def test_slices_are_counted_from_1_and_one_must_be_named(write) -> None:
    path = write(dicom_file(FRAMES, **AS_STORED))
    for number in (1, 2, 3):
        np.testing.assert_array_equal(medbench.read_image(path, number), FRAMES[number - 1])
    with pytest.raises(SliceError, match="from 1 to 3"):
        medbench.read_image(path)
    for number in (0, 4, -1):
        with pytest.raises(SliceError, match=f"slice {number} was asked for"):
            medbench.read_image(path, slice_number=number)


def test_what_is_no_image_or_not_there_is_named(write, tmp_path) -> None:
    with pytest.raises(DatasetError, match=r"image: not an image"):
        medbench.read_image(write(b"patient,label\n"))
    with pytest.raises(DatasetError, match=r"gone: cannot be read \(No such file"):
        medbench.read_image(tmp_path / "gone")
    with pytest.raises(DatasetError, match="cannot be the name of a file"):
        medbench.read_image("a\0b")
