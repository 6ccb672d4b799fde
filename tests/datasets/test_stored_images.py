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


def test_reading_in_blocks_gives_the_same(stored, monkeypatch):
    monkeypatch.setattr("medbench.datasets.stored_images._BLOCK_BYTES", 200)
    np.testing.assert_array_equal(np.asarray(stored), IMAGES)


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
