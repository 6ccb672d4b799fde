"""New images are opened and decoded once, whatever they come in, and what is doubtful is said."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import Image

from medbench.datasets.task import Task
from medbench.datasets.volume_rule import VolumeRule
from medbench.errors import DatasetError, SliceError
from medbench.inference import images
from medbench.inference.find_files import find_files
from medbench.inference.images import new_image, new_images
from medbench.testing.image_files import dicom_file, nifti_file, picture_file

GREY = np.random.default_rng(0).integers(0, 256, (24, 24), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
VOLUME = np.random.default_rng(2).integers(0, 256, (4, 24, 24), dtype=np.uint8)


def task(channels: int = 1) -> Task:
    return Task(classes=("a", "b"), image_shape=(24, 24, channels))


@pytest.fixture
def decodings(monkeypatch):
    """How many slices were decoded of what was opened."""
    counted = []
    real = images.open_image

    def opening(content, *, origin):
        opened = real(content, origin=origin)
        pixels = opened.pixels
        opened.pixels = lambda index: counted.append(index) or pixels(index)
        return opened

    monkeypatch.setattr(images, "open_image", opening)
    return counted


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "content",
    [
        picture_file(GREY),
        picture_file(COLOUR),
        picture_file(np.dstack([GREY] * 3)),
        dicom_file(GREY),
        dicom_file(COLOUR),
        nifti_file(GREY[..., None]),
        GREY,
        COLOUR,
    ],
)
def test_an_image_is_decoded_once(content, channels, decodings):
    read = new_image(content, task(channels), name="x")
    assert decodings == [0]
    assert read.pixels.shape == (24, 24, channels)


@pytest.mark.parametrize("make", [picture_file, dicom_file, lambda pixels: pixels])
def test_colour_is_doubtful_for_a_model_of_grey_images_only(make):
    assert "colour" in str(new_image(make(COLOUR), task(1)).warnings)
    assert not new_image(make(COLOUR), task(3)).warnings
    assert not new_image(make(GREY), task(1)).warnings
    assert not new_image(make(np.dstack([GREY] * 3)), task(1)).warnings


@pytest.mark.parametrize("kind", ["TIFF", "GIF"])
def test_a_page_or_frame_is_chosen(kind):
    stream = io.BytesIO()
    pages = [GREY, GREY.T, 255 - GREY]
    first, *rest = [Image.fromarray(page) for page in pages]
    first.save(stream, kind, save_all=True, append_images=rest)
    with pytest.raises(SliceError, match=r"x: .* of 3 .*slice_number, from 1 to 3"):
        new_image(stream.getvalue(), task(), name="x")
    for number, page in enumerate(pages, start=1):
        read = new_image(stream.getvalue(), task(), slice_number=number)
        np.testing.assert_array_equal(read.pixels[..., 0], page)


def test_a_slice_is_chosen_of_volumes_and_pictures_have_nothing_to_choose(tmp_path):
    clip = dicom_file(VOLUME, WindowCenter=127.5, WindowWidth=255, VOILUTFunction="LINEAR_EXACT")
    with pytest.raises(SliceError, match=r"x: .*slice_number, from 1 to 4"):
        new_image(clip, task(), name="x")
    read = new_image(clip, task(), slice_number=3)
    np.testing.assert_array_equal(read.pixels[..., 0], VOLUME[2])
    np.testing.assert_array_equal(
        new_image(picture_file(GREY), task(), slice_number=3).pixels[..., 0], GREY
    )
    with pytest.raises(SliceError, match="slice 9 was asked for"):
        new_image(clip, task(), slice_number=9)
    with pytest.raises(DatasetError, match=r"gone.png: cannot be read"):
        new_image(tmp_path / "gone.png", task())


def test_of_several_volumes_that_of_the_model_or_the_chosen_one_is_taken():
    both = nifti_file(np.stack([VOLUME.T, 255 - VOLUME.T], axis=-1))
    for number, voxels in ((1, VOLUME.T), (2, 255 - VOLUME.T)):
        wanted = new_image(nifti_file(voxels), task(), slice_number=3).pixels
        chosen = {"slice_number": 3, "volume_number": number}
        np.testing.assert_array_equal(new_image(both, task(), **chosen).pixels, wanted)
        rule = VolumeRule(volume=number)
        (read,) = new_images(both, task(), slice_number=3, volumes=rule)
        np.testing.assert_array_equal(read.pixels, wanted)
        other = new_image(both, task(), **chosen, volumes=VolumeRule(volume=3 - number))
        np.testing.assert_array_equal(other.pixels, wanted)
    with pytest.raises(DatasetError, match=r"x: 2 volumes .* volume_number in Python"):
        new_image(both, task(), name="x", volumes=VolumeRule())


def test_files_of_volumes_and_scans_are_found_by_content(tmp_path):
    for name, content in {
        "1.2.840": dicom_file(GREY),
        "no-suffix": nifti_file(GREY[..., None]),
        "SCAN.PNG": picture_file(GREY),
        "v.nii.gz": b"whatever it holds",
        "notes.txt": b"not meant",
        ".hidden.png": picture_file(GREY),
    }.items():
        (tmp_path / name).write_bytes(content)
    found = [path.rsplit("/", 1)[-1] for path in find_files([str(tmp_path)], io.StringIO())]
    assert found == ["1.2.840", "SCAN.PNG", "no-suffix", "v.nii.gz"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="there are no links here")
def test_a_pattern_goes_into_no_link_and_so_has_an_end(tmp_path, monkeypatch):
    for name in ("a/1.png", "a/b/2.png", ".hidden/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    for name in ("up", "again", "a/up"):
        (tmp_path / name).symlink_to(tmp_path)
    expected = [str(tmp_path / name) for name in ("a/1.png", "a/b/2.png")]
    assert find_files([f"{tmp_path}/**/*.png"], io.StringIO()) == expected
    monkeypatch.chdir(tmp_path)
    assert find_files(["a/**/*.png"], io.StringIO()) == ["a/1.png", "a/b/2.png"]
    assert find_files(["**/x*.png"], io.StringIO()) == ["**/x*.png"]
    assert find_files(["a**b/*.png"], io.StringIO()) == ["a**b/*.png"]
    assert find_files([".hidden/**/*.png"], io.StringIO()) == [".hidden/3.png"]
