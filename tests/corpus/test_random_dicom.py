"""Random valid DICOM files show what an independent reading of the standard says they show."""

from __future__ import annotations

import random

import numpy as np
import pytest

from medbench.datasets.readers.dicom import DicomReader
from medbench.errors import DatasetError

from .dicom_random import draw
from .dicom_standard import picture
from .dicom_writer import encoded

FILES, MANY_FILES, AT_ONCE = 500, 5000, 100


def check(seed: int) -> None:
    file = draw(seed)
    content = encoded(file)
    assert DicomReader().recognises(content)
    opened = DicomReader().open(content, origin=f"file {seed}", pixel_limit=10**5)
    assert opened.header.n_slices == len(file.pixels)
    for frame, stored in enumerate(file.pixels):
        expected = picture(file.elements, stored, frame)
        shown = opened.pixels(frame)
        assert shown.shape == expected.shape
        difference = np.abs(shown - expected).max()
        assert difference <= 1, f"seed {seed}, frame {frame + 1}: {difference:.0f} grey levels"


@pytest.mark.parametrize("start", range(0, FILES, AT_ONCE))
def test_random_files_show_what_the_standard_says(start: int) -> None:
    for seed in range(start, start + AT_ONCE):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(FILES, MANY_FILES, AT_ONCE))
def test_many_random_files_show_what_the_standard_says(start: int) -> None:
    for seed in range(start, start + AT_ONCE):
        check(seed)


@pytest.mark.parametrize("start", range(0, 400, 100))
def test_random_files_with_damaged_bytes_give_a_picture_or_a_clear_error(start: int) -> None:
    for seed in range(start, start + 100):
        rng = random.Random(seed)
        content = bytearray(encoded(draw(seed)))
        span = min(len(content), rng.choice([500, 900, len(content)]))
        for _ in range(rng.choice([1, 2, 8, 30])):
            content[rng.randrange(132, span)] = rng.randrange(256)
        try:
            opened = DicomReader().open(bytes(content), origin="scan-7", pixel_limit=10**6)
            assert opened.pixels(opened.header.n_slices - 1).dtype == np.uint8
        except DatasetError as error:
            assert str(error).startswith("scan-7: ")
