"""Random valid TIFF files agree with an independent reading of the standard."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile

from medbench.datasets.readers import open_image

from .tiff_reading import pictures
from .tiff_writing import random_opacity, random_samples, random_tiff

N_BY_HAND, N_BY_TIFFFILE, N_PLENTY = 400, 100, 5000
TYPES = ("u8", "u16", "u32", "i8", "i16", "f32", "f64")
ALPHAS = ("unspecified", "assocalpha", "unassalpha")
GREYS = ("minisblack", "miniswhite")


def check(content: bytes, name: str) -> None:
    expected = pictures(content)
    opened = open_image(content, origin=name)
    assert opened.header.n_slices == len(expected), name
    for index, picture in enumerate(expected):
        shown = opened.pixels(index)
        assert shown.dtype == np.uint8
        shown = shown if shown.ndim == 3 else shown[..., None]
        assert shown.shape[:2] == picture.shape[:2], name
        assert np.abs(shown - picture).max() <= 1, name


def by_tifffile(seed: int) -> bytes:
    """A valid file of another hand."""
    rng = np.random.default_rng(seed)
    colour = bool(rng.random() < 0.4)
    alpha = [None, None, *ALPHAS][rng.integers(5)]
    name = str(rng.choice(TYPES[:3] if alpha else TYPES))
    n = 1 + 2 * colour + (alpha is not None)
    height, width, pages = (int(k) for k in rng.integers((1, 1, 1), (40, 40, 4)))
    bits = int(name[1:])
    values = random_samples(rng, (pages, height, width, n), name[0], bits)
    for page in values:
        random_opacity(rng, page, n - 1, [] if alpha is None else [ALPHAS.index(alpha)], bits)
    greys = GREYS[:1] if alpha == "assocalpha" else GREYS
    planar = "separate" if n > 1 and rng.random() < 0.4 else "contig"
    if planar == "separate":
        values = np.moveaxis(values, -1, 1)
    packed = "zlib" if rng.random() < 0.5 else None
    stream = io.BytesIO()
    with tifffile.TiffWriter(
        stream, bigtiff=bool(rng.random() < 0.3), byteorder=str(rng.choice(["<", ">"]))
    ) as file:
        for page in values:
            file.write(
                page if n > 1 else page[..., 0],
                photometric="rgb" if colour else str(rng.choice(greys)),
                planarconfig=planar if n > 1 else None,
                extrasamples=None if alpha is None else [alpha],
                compression=packed,
                predictor=packed == "zlib" and name[0] != "f" and rng.random() < 0.5,
                tile=(16, 32) if rng.random() < 0.3 else None,
                rowsperstrip=int(rng.integers(1, height + 1)),
                metadata=None,
            )
    return stream.getvalue()


@pytest.mark.parametrize("part", range(4))
def test_files_by_hand(part: int) -> None:
    for seed in range(part, N_BY_HAND, 4):
        check(random_tiff(seed), f"seed {seed}")


def test_files_by_tifffile() -> None:
    for seed in range(N_BY_TIFFFILE):
        check(by_tifffile(seed), f"seed {seed} by tifffile")


@pytest.mark.slow
def test_plenty_of_files() -> None:
    for seed in range(N_PLENTY):
        make, name = (by_tifffile, " by tifffile") if seed % 5 == 0 else (random_tiff, "")
        check(make(10_000 + seed), f"seed {10_000 + seed}{name}")
