"""Random valid PNG files agree with an independent reading of the standard."""

from __future__ import annotations

import numpy as np
import pytest

from medbench.datasets.readers import open_image

from .png_reading import picture
from .png_writing import random_png

N_FILES = 200


@pytest.mark.parametrize("part", range(4))
def test_random_files(part: int) -> None:
    for seed in range(part, N_FILES, 4):
        content = random_png(seed)
        expected = picture(content)
        shown = open_image(content, origin="x").pixels(0)
        shown = shown if shown.ndim == 3 else shown[..., None]
        assert shown.shape[:2] == expected.shape[:2], seed
        assert np.abs(shown - expected).max() <= 1, seed
