"""Sound files of every format that gets in, and seeded ways to damage them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
from pydicom import uid
from pydicom.encaps import encapsulate

from medbench.testing.image_files import dicom_file, nifti_file, picture_file

SIDE = 24


def _pixels(seed: int, *shape: int, kind: str = "u1") -> np.ndarray:
    top = np.iinfo(kind).max
    return np.random.default_rng(seed).integers(0, top, shape).astype(kind)


def _frames(kind: str, **options: object) -> bytes:
    from PIL import Image

    first, *others = (Image.fromarray(_pixels(k, SIDE, SIDE)) for k in range(3))
    stream = io.BytesIO()
    first.save(stream, kind, save_all=True, append_images=others, **options)
    return stream.getvalue()


def _tiff(**options: object) -> bytes:
    import tifffile

    stream = io.BytesIO()
    pixels = _pixels(0, 3, SIDE, SIDE, kind="u2")
    tifffile.imwrite(stream, pixels, photometric="minisblack", **options)
    return stream.getvalue()


def _dicom(pixels: np.ndarray, **elements: object) -> bytes:
    return dicom_file(pixels, SOPInstanceUID="1.2.3", **elements)


def _coded_dicom() -> bytes:
    coded = picture_file(_pixels(0, SIDE, SIDE), "JPEG")
    return _dicom(
        _pixels(0, SIDE, SIDE), syntax=uid.JPEGBaseline8Bit, PixelData=encapsulate([coded])
    )


def _packed_dicom() -> bytes:
    file = pydicom.dcmread(io.BytesIO(_dicom(_pixels(0, SIDE, SIDE))))
    file.compress(uid.RLELossless, generate_instance_uid=False)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, file, enforce_file_format=True)
    return stream.getvalue()


def _npz(**more: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, images=_pixels(0, 8, SIDE, SIDE), labels=np.arange(8) % 2, **more)
    return stream.getvalue()


def _npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.random.default_rng(0).random((20, 3)))
    return stream.getvalue()


def _parquet() -> bytes:
    frame = pd.DataFrame(
        {"origin": [f"{n}.png" for n in range(50)], "label": np.arange(50) % 2, "p0": 0.5}
    )
    stream = io.BytesIO()
    frame.to_parquet(stream, index=False)
    return stream.getvalue()


def _parquet_of_images() -> bytes:
    images = [{"bytes": picture_file(_pixels(n, SIDE, SIDE)), "path": None} for n in range(8)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(images, kind), "label": [0, 1] * 4, "tags": [["x"]] * 8})
    names = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}}}
    stream = io.BytesIO()
    table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
    pq.write_table(table, stream, row_group_size=4)
    return stream.getvalue()


@cache  # the time is in it
def _xlsx() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    for row in csv.reader(CSV.splitlines()):
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _skops() -> bytes:
    import skops.io
    from sklearn.linear_model import LogisticRegression

    features = np.random.default_rng(0).random((20, 3))
    return bytes(skops.io.dumps(LogisticRegression().fit(features, np.arange(20) % 2)))


def _ood() -> bytes:
    arrays = {"version": np.int64(1), "centre": np.zeros(4, np.float32)}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


CSV = "\n".join(["file,label,patient", *(f"{n}.png,{'ab'[n % 2]},p{n // 2}" for n in range(30))])
YAML = (
    "a: &a\n  source: folder\n  path: films\n  classes: [x, y]\n"
    "b:\n  <<: *a\n  image_size: 64\nc:\n  source: phantoms\n  patients: 12\n"
)
JSON = json.dumps({"format": 4, "cells": [{"id": n, "scores": [0.5, None]} for n in range(9)]})

SOUND: Mapping[str, Callable[[], bytes]] = {
    "grey.png": lambda: picture_file(_pixels(0, SIDE, SIDE)),
    "colour.png": lambda: picture_file(_pixels(0, SIDE, SIDE, 3)),
    "animated.png": lambda: _frames("PNG"),
    "x.jpg": lambda: picture_file(_pixels(0, SIDE, SIDE, 3), "JPEG"),
    "strips.tif": _tiff,
    "tiles.tif": lambda: _tiff(tile=(16, 16), compression="zlib", predictor=True),
    "lzw.tif": lambda: picture_file(_pixels(0, SIDE, SIDE), "TIFF", compression="tiff_lzw"),
    "big.tif": lambda: _tiff(bigtiff=True),
    "x.bmp": lambda: picture_file(_pixels(0, SIDE, SIDE), "BMP"),
    "x.gif": lambda: _frames("GIF"),
    "x.webp": lambda: picture_file(_pixels(0, SIDE, SIDE, 3), "WEBP", lossless=True),
    "x.pgm": lambda: picture_file(_pixels(0, SIDE, SIDE), "PPM"),
    "plain.dcm": lambda: _dicom(_pixels(0, 3, SIDE, SIDE, kind="u2"), PatientID="4711"),
    "deflated.dcm": lambda: _dicom(
        _pixels(0, SIDE, SIDE, kind="u2"), syntax=uid.DeflatedExplicitVRLittleEndian
    ),
    "coded.dcm": _coded_dicom,
    "rle.dcm": _packed_dicom,
    "x.nii": lambda: nifti_file(_pixels(0, SIDE, SIDE, 4, kind="i2")),
    "x.nii.gz": lambda: gzip.compress(nifti_file(_pixels(0, SIDE, SIDE, 4, kind="i2")), mtime=0),
    "two.nii": lambda: nifti_file(_pixels(0, SIDE, SIDE, 4), version=2),
    "x.npz": _npz,
    "oof.npy": _npy,
    "x.csv": CSV.encode,
    **({"x.xlsx": _xlsx} if find_spec("openpyxl") else {}),
    "x.yaml": YAML.encode,
    "x.parquet": _parquet,
    "images.parquet": _parquet_of_images,
    "x.json": JSON.encode,
    "x.jsonl": lambda: (JSON + "\n").encode() * 3,
    "x.skops": _skops,
    "out-of-distribution.npz": _ood,
}
"""Small sound files by what they are called."""


def _truncated(content: bytearray, rng: np.random.Generator) -> None:
    del content[int(rng.integers(len(content))) :]


def _flipped(content: bytearray, rng: np.random.Generator) -> None:
    for offset in rng.integers(len(content), size=int(rng.integers(1, 9))):
        content[offset] ^= 1 << int(rng.integers(8))


def _zeros(content: bytearray, rng: np.random.Generator) -> None:
    begin = int(rng.integers(len(content)))
    length = int(rng.integers(1, 64))
    content[begin : begin + length] = bytes(len(content[begin : begin + length]))


def _longer_or_shorter(content: bytearray, rng: np.random.Generator) -> None:
    offset, n = int(rng.integers(len(content))), int(rng.integers(1, 40))
    if rng.random() < 0.5:
        del content[offset : offset + n]
    else:
        content[offset:offset] = rng.bytes(n)


def _doubled(content: bytearray, rng: np.random.Generator) -> None:
    begin, end = sorted(rng.integers(len(content), size=2).tolist())
    content[end:end] = content[begin:end] if rng.random() < 0.7 else content


def _announced(content: bytearray, rng: np.random.Generator) -> None:
    """A number in the head or the tail, where formats say sizes, becomes a very large one."""
    size = int(rng.choice([1, 2, 4, 8]))
    head = rng.random() < 0.8
    offset = int(rng.integers(min(len(content), 400)))
    offset = offset if head else max(len(content) - size - offset, 0)
    order = rng.choice(["little", "big"])
    top = 2 ** (8 * size)
    value = (top - 1, top // 2, top // 2 - 1, top // 16, 0)[rng.integers(5)]
    content[offset : offset + size] = value.to_bytes(size, order)


def _other_text(content: bytearray, rng: np.random.Generator) -> None:
    """Digits become other digits, or words: of texts and of headers that are text."""
    digits = [offset for offset, byte in enumerate(content) if 48 <= byte <= 57]
    if digits:
        offset = int(rng.choice(digits))
        words = [b"9" * 30, b"-1", b"1e999", b"nan", b"[]", b"null", b"\xff", b"\0", b'"', b"&a *a"]
        content[offset : offset + 1] = words[rng.integers(len(words))]


def _other_kind(content: bytearray, rng: np.random.Generator) -> None:
    """The content of another format, or its beginning before this one."""
    names = list(SOUND)
    other = SOUND[names[rng.integers(len(names))]]()
    content[: int(rng.integers(len(content))) if rng.random() < 0.5 else len(content)] = other


WAYS: Mapping[str, Callable[[bytearray, np.random.Generator], None]] = {
    "truncated": _truncated,
    "flipped": _flipped,
    "zeros": _zeros,
    "longer or shorter": _longer_or_shorter,
    "doubled": _doubled,
    "announced": _announced,
    "other text": _other_text,
    "other kind": _other_kind,
}
"""Categories of damage."""


def malformed(name: str, seed: int) -> tuple[str, bytes]:
    """A damaged file, and the category of what was done to it.

    Args:
        name: One of ``SOUND``.
        seed: Of the category and the damage; the same gives the same.
    """
    ways = list(WAYS)
    way = ways[seed % len(ways)]
    content = bytearray(SOUND[name]())
    WAYS[way](content, np.random.default_rng([seed, *name.encode()]))
    return way, bytes(content)
