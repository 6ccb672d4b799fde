"""The side to which images are brought where an entry says nothing."""

import numpy as np
import pytest
from PIL import Image

from medbench.datasets.image_size import side_of_archive, side_of_files
from medbench.datasets.prepared import prepare
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.sources.npz import NpzSource
from medbench.testing.image_files import dicom_file


def folder_of(root, sizes, suffix="png"):
    """A folder with a class folder each for a and b, and in each an image of every size."""
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number, (width, height) in enumerate(sizes):
            pixels = random.integers(0, 255, (height, width), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.{suffix}")
    return root


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        ([(28, 28)] * 3, 28),
        ([(70, 90)] * 3, 64),
        ([(500, 100), (120, 500), (96, 2000)], 96),
        ([(1000, 900)] * 2, 128),
        ([(9, 9)], 16),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_files_are_brought_down_to_a_common_side(tmp_path, sizes, side, suffix):
    root = folder_of(tmp_path / "set", sizes, suffix)
    source = FolderSource(path=str(root))
    assert source.side(source.listing()) == side


def test_files_that_cannot_be_read_have_no_median(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no image")
    assert side_of_files([tmp_path / "x.png", tmp_path / "not there.png"]) == 128


def test_a_size_that_is_said_is_taken(tmp_path):
    root = folder_of(tmp_path / "set", [(70, 70)] * 3)
    source = FolderSource(path=str(root), image_size=20)
    assert source.side(source.listing()) == 20


@pytest.mark.parametrize("channels_first", [False, True])
def test_an_archive_keeps_its_own_size(tmp_path, channels_first):
    random = np.random.default_rng(0)
    shape = (12, 3, 28, 28) if channels_first else (12, 28, 28, 3)
    images = random.integers(0, 255, shape, dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(12) % 2)
    source = NpzSource(path=str(tmp_path / "set.npz"))
    data = prepare("mine", source, cache=tmp_path / "cache", threads=1)
    assert data.task.image_shape == (28, 28, 3)
    native = images.transpose(0, 2, 3, 1) if channels_first else images
    np.testing.assert_array_equal(data.images[:], native)


@pytest.mark.parametrize(
    ("height", "width", "side"), [(28, 28, 28), (224, 224, 224), (40, 50, 40), (512, 600, 128)]
)
def test_archives_of_large_images_are_brought_down(height, width, side):
    assert side_of_archive(height, width) == side


def test_scans_tell_their_size_in_their_header(tmp_path):
    (tmp_path / "one.dcm").write_bytes(dicom_file(np.zeros((80, 70), np.uint16)))
    assert side_of_files([tmp_path / "one.dcm"]) == 64
