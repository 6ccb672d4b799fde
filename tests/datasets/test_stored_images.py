"""Images in a file are read as NumPy would index them, and only those asked for."""

import numpy as np
import pytest

from medbench.datasets.batch import Batch, LabelledBatch, image_key
from medbench.datasets.stored_images import ImageFile, StoredImages, write_images

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 6, 5, 3), dtype=np.uint8)


@pytest.fixture
def stored(tmp_path):
    write_images(tmp_path / "images.npy", IMAGES)
    return StoredImages(tmp_path / "images.npy")


@pytest.mark.parametrize(
    "which", (0, -1, 7, slice(3, 9), slice(None), slice(None, None, -7), [4, 4, 1], []), ids=str
)
def test_every_kind_of_index_reads_what_numpy_reads(stored, which):
    which = np.array(which, dtype=np.int64) if isinstance(which, list) else which
    np.testing.assert_array_equal(stored[which], IMAGES[which])
    some = np.array([9, 3, 3, 40, 12, 0, 1, 2, 5, 6])
    part = stored.take(some)
    np.testing.assert_array_equal(part[which], IMAGES[some][which])
    assert part.shape == (10, 6, 5, 3)


def test_a_truth_an_image_selects_those_where_it_holds(stored):
    held = np.arange(50) % 3 == 0
    np.testing.assert_array_equal(stored[held], IMAGES[held])


def test_copying_in_blocks_gives_the_same(stored, tmp_path, monkeypatch):
    monkeypatch.setattr("medbench.datasets.stored_images._BLOCK_BYTES", 200)
    write_images(tmp_path / "copy.npy", stored)
    np.testing.assert_array_equal(np.load(tmp_path / "copy.npy"), IMAGES)


def test_a_file_that_became_shorter_is_an_error(stored, tmp_path):
    path = tmp_path / "images.npy"
    path.write_bytes(path.read_bytes()[:-100])
    np.testing.assert_array_equal(stored[:48], IMAGES[:48])
    with pytest.raises(OSError, match=r"ends before its last image.*images\.npy"):
        stored[:]
    path.write_bytes(b"")
    with pytest.raises(OSError, match="ends before its last image"):
        stored[3]


def test_an_image_that_is_not_there_is_refused(stored):
    with pytest.raises(IndexError):
        stored[50]
    with pytest.raises(IndexError):
        StoredImages(stored._path, np.array([0, 50]))[:]


@pytest.mark.parametrize(
    "content", [np.zeros(5, np.uint8), np.zeros((2, 2, 2, 1)), np.asfortranarray(IMAGES)]
)
def test_a_file_of_something_else_is_refused(tmp_path, content):
    np.save(tmp_path / "other.npy", content)
    with pytest.raises(ValueError, match="holds no uint8 images"):
        StoredImages(tmp_path / "other.npy")


def test_images_that_were_never_put_are_black(tmp_path, monkeypatch):
    monkeypatch.delattr("os.posix_fallocate", raising=False)
    with ImageFile(tmp_path / "images.npy", IMAGES.shape) as file:
        file.put(3, IMAGES[3])
    stored = np.load(tmp_path / "images.npy")
    np.testing.assert_array_equal(stored[3], IMAGES[3])
    assert not stored[:3].any() and not stored[4:].any() and stored.shape == IMAGES.shape


def test_images_can_be_written_in_any_order(tmp_path):
    with ImageFile(tmp_path / "images.npy", IMAGES.shape) as file:
        for i in np.random.default_rng(1).permutation(50):
            file.put(int(i), IMAGES[i])
    np.testing.assert_array_equal(np.load(tmp_path / "images.npy"), IMAGES)


def test_a_batch_of_stored_images_is_a_batch_of_arrays_read_late(stored):
    import pandas as pd

    properties = pd.DataFrame({"width": range(50), "height": 6, "mode": "RGB", "bytes": 90})
    labels, groups = np.arange(50) % 2, np.arange(50)
    late, early = (
        LabelledBatch(images=images, properties=properties, labels=labels, groups=groups)
        for images in (stored, IMAGES)
    )
    rows = np.array([30, 2, 11, 2])
    for batch in (late, late.take(np.arange(50)), early):
        taken = batch.take(rows)
        assert len(taken) == 4 and taken.image_shape == (6, 5, 3)
        np.testing.assert_array_equal(taken.images, IMAGES[rows])
        np.testing.assert_array_equal(taken.pixels(np.array([1, 0])), IMAGES[[2, 30]])
        assert taken.keys.tolist() == [image_key(IMAGES[i]).encode() for i in rows]
        assert taken.labels.tolist() == [0, 0, 1, 0] and taken.groups.tolist() == rows.tolist()
        assert taken.properties["width"].tolist() == rows.tolist()
        assert type(taken.unlabelled()) is Batch
        assert taken.with_labels(np.ones(4, int)).labels.tolist() == [1] * 4
