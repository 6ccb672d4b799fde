import dataclasses

import numpy as np
import pandas as pd
import pytest

from medbench.datasets.batch import image_key
from medbench.datasets.stored_images import StoredImages, write_images
from medbench.errors import MachineError
from medbench.execution.parts import DevelopmentPart, read_development


def part(width: int = 4, label: int = 0, shade: int = 0) -> DevelopmentPart:
    images = np.zeros((3, 4, 4, 1), np.uint8)
    images[0] = shade
    table = pd.DataFrame({"width": [width, 4, 4], "height": 4, "mode": "L", "bytes": 16})
    return DevelopmentPart(
        images=images,
        table=table.assign(key=[image_key(image) for image in images]),
        rows=np.arange(2),
        labels=np.array([label, 1]),
        groups=np.arange(2),
        validation=None,
    )


def test_parts_have_one_key_where_all_that_is_written_is_equal():
    assert part().key == part().key
    others = {part(width=5).key, part(label=1).key, part(shade=1).key}
    assert len(others) == 3 and part().key not in others


def test_images_that_were_changed_since_the_run_began_are_refused(tmp_path):
    given = part()
    path = tmp_path / "images.npy"
    write_images(path, given.images)
    given = dataclasses.replace(given, images=StoredImages(path))
    given.write(tmp_path / "sound")
    content = bytearray(path.read_bytes())
    content[-20] ^= 1  # of an image that is in the part
    path.write_bytes(content)
    with pytest.raises(MachineError, match=r"were changed while the run was at work.*again"):
        given.write(tmp_path / "damaged")


def test_a_part_is_read_back_as_it_was_written(tmp_path):
    given = part(width=5, label=1, shade=9)
    given.write(tmp_path / "part")
    batch, validation = read_development(tmp_path / "part")
    np.testing.assert_array_equal(batch.images, given.images[:2])
    assert batch.labels.tolist() == [1, 1] and validation is None
    assert batch.properties["width"].tolist() == [5, 4]
