"""Contract checks of data sources and image readers, shared by ours and by plugin authors.

One call checks all: ``check_source(MySource(path="..."))``, ``check_reader(MyReader, content)``
with the content of a small sound file. Or let pytest show each check by itself::

    @pytest.mark.parametrize("check", SOURCE_CHECKS.values(), ids=SOURCE_CHECKS.keys())
    def test_my_source_keeps_the_contract(check):
        check(MySource(path="..."))
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medbench.datasets.decode import read_slice
from medbench.datasets.listing import Listing
from medbench.datasets.readers import HEAD_BYTES, PIXEL_LIMIT, OpenedImage, Reader, open_image
from medbench.datasets.sources.base import Source
from medbench.datasets.task import labels_in, membership
from medbench.errors import DatasetError
from medbench.testing.fits import require

_THREADS = 4
_LOOKED_AT = 24
"""Images of a source that are decoded."""
_SLICES_LOOKED_AT = 3
_DAMAGED = 60
"""Files that are made of a sound one by damaging it."""
_DAMAGED_BYTES = 4
_ORIGIN = "the-file"
_NOWHERE = "nowhere/at/all"
_HASH = re.compile("[0-9a-f]{32}")

SourceCheck = Callable[[Source], None]
ReaderCheck = Callable[[type[Reader], bytes], None]


# --- sources ------------------------------------------------------------------------------


def check_listing(source: Source) -> None:
    """The table is complete: every class has images, every image a name of its own."""
    listing = source.listing()
    table, classes = listing.table, listing.classes
    distinct = len(set(classes)) == len(classes) >= 2
    require(distinct, f"classes are {classes}: two or more, all different.")
    labels = labels_in(table)
    highest = 1 if listing.kind == "multi-label" else len(classes) - 1
    require(
        len(labels) > 0 and labels.min() >= 0 and labels.max() <= highest,
        f"labels must be from 0 to {highest}.",
    )
    empty = np.flatnonzero(~membership(labels, len(classes)).any(axis=0))
    require(not len(empty), f"no image of class {', '.join(classes[k] for k in empty)}.")
    require(bool((table["slice"] >= 1).all()), "slices are counted from 1.")
    twice = table[table.duplicated(["origin", "slice"])]
    require(twice.empty, f"listed twice: {twice['origin'].head(1).tolist()}.")
    starts = table["origin"] != table["origin"].shift()
    require(
        int(starts.sum()) == table["origin"].nunique(), "slices of one file must follow each other."
    )
    require(all(isinstance(group, str) for group in table["group"]), "a group is a str, or ''.")
    parts = set(table["split"])
    require(
        parts <= {"train", "val", "test"} or parts == {""},
        f"split is {sorted(parts)}: train, val and test, or '' in every row.",
    )


def check_names(source: Source) -> None:
    """No place of this machine gets into what is stored."""
    for origin in source.listing().table["origin"]:
        path = PurePosixPath(origin)
        require(
            bool(origin) and not path.is_absolute() and ".." not in path.parts,
            f"origin {origin!r} must be relative to the data set and stay in it.",
        )


def check_same_again(source: Source) -> None:
    """What is listed twice is the same twice: all that is kept hangs on it."""
    one, other = source.listing(), source.listing()
    require(one.signature == other.signature, "the signature differs from call to call.")
    require(one.table.equals(other.table), "the table differs from call to call.")
    require(one.classes == other.classes, "the classes differ from call to call.")


def check_images(source: Source) -> None:
    """Every image is read, and is the same from any thread and in any order."""
    listing = source.listing()
    rows = np.unique(np.linspace(0, len(listing.table) - 1, _LOOKED_AT).astype(int)).tolist()
    in_order = [_pixels(listing, row) for row in rows]
    with ThreadPoolExecutor(_THREADS) as pool:
        backwards = list(pool.map(lambda row: _pixels(listing, row), reversed(rows)))
    for row, one, other in zip(rows, in_order, reversed(backwards), strict=True):
        require(np.array_equal(one, other), f"image {row} differs when threads read it.")


def check_fields(source: Source) -> None:
    """A misspelt field of an entry is refused, and missing files are named."""
    require(
        type(source).model_config.get("extra") == "forbid",
        "model_config must keep extra='forbid', so that misspelt fields are noticed.",
    )
    if "path" not in type(source).model_fields:
        return
    require(source.is_here(), "is_here() is False, and the files are here.")
    gone = source.model_copy(update={"path": _NOWHERE})
    if gone.paths().get("path") != _NOWHERE:
        return  # a place has a path of its own
    require(not gone.is_here(), "is_here() is True where the files are not here.")
    error = _refusal(gone.listing)
    require(_NOWHERE in str(error), f"the error does not name the missing path: {error}")


SOURCE_CHECKS: Mapping[str, SourceCheck] = {
    "listing": check_listing,
    "names": check_names,
    "same-again": check_same_again,
    "images": check_images,
    "fields": check_fields,
}
"""Every check by name; each takes the source."""


def check_source(source: Source | type[Source], **fields: Any) -> None:
    """Everything that a data source promises.

    Args:
        source: The source, or its class, of which one is made.
        fields: Fields of the entry, where a class is given.

    Raises:
        AssertionError: A promise is broken; the message says which.
        DatasetError: The source cannot be listed, or an image of it cannot be read.
    """
    made = source(**fields) if isinstance(source, type) else source
    for check in SOURCE_CHECKS.values():
        check(made)


# --- readers ------------------------------------------------------------------------------


def check_recognised(reader: type[Reader], content: bytes) -> None:
    """The format is told by its content, and no other one is taken for it."""
    require(reader().recognises(content[:HEAD_BYTES]), "does not recognise its own file.")
    for name, other in _others().items():
        if name != reader.name:
            require(not reader().recognises(other[:HEAD_BYTES]), f"takes {name} for its format.")
    for suffix in reader.suffixes:
        require(suffix.startswith(".") and suffix == suffix.lower(), f"suffix {suffix!r}: as '.x'.")
    require(bool(reader.title), "has no title: what people call the format.")


def check_pixels(reader: type[Reader], content: bytes) -> None:
    """Every slice is grey or RGB in 8 bits, the same whenever and wherever it is decoded."""
    opened = _opened(reader, content)
    n_slices = opened.header.n_slices
    require(n_slices >= 1, f"n_slices is {n_slices}: at least one.")
    require(bool(opened.mode) and bool(opened.what), "mode or what is empty.")
    slices = np.unique(np.linspace(0, n_slices - 1, _SLICES_LOOKED_AT).astype(int)).tolist()
    for index in slices:
        pixels = opened.pixels(index)
        require(
            pixels.dtype == np.uint8
            and (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3))
            and pixels.size > 0,
            f"slice {index} is {pixels.dtype} {pixels.shape}; it must be uint8, (height, width) or "
            "(height, width, 3).",
        )
        with ThreadPoolExecutor(_THREADS) as pool:
            again = pool.map(lambda i: _opened(reader, content).pixels(i), [index] * _THREADS)
            require(
                all(np.array_equal(pixels, one) for one in again),
                f"slice {index} differs when it is decoded again.",
            )


def check_header(reader: type[Reader], content: bytes) -> None:
    """Patient and series are opaque, and a look says what opening says."""
    header = _opened(reader, content).header
    for name in ("patient", "series"):
        value = getattr(header, name)
        require(not value or bool(_HASH.fullmatch(value)), f"{name} is no hash: use hashed().")
    looked = reader().look(io.BytesIO(content), origin=_ORIGIN)
    require(looked == header, f"look says {looked}, and open {header}.")


def check_limit(reader: type[Reader], content: bytes) -> None:
    """An image above the pixel limit is refused."""
    height, width = _opened(reader, content).pixels(0).shape[:2]
    _opened(reader, content, height * width).pixels(0)
    error = _refusal(lambda: _opened(reader, content, height * width - 1).pixels(0))
    require(str(error).startswith(_ORIGIN), f"the error does not begin with the file: {error}")


def check_damage(reader: type[Reader], content: bytes) -> None:
    """A damaged file gives an image or an error that names it, and never anything else."""
    generator = np.random.default_rng(0)
    for number in range(_DAMAGED):
        damaged = bytearray(content)
        if number % 2:
            del damaged[int(generator.integers(len(damaged))) :]
        for _ in range(_DAMAGED_BYTES if damaged else 0):
            damaged[generator.integers(len(damaged))] = int(generator.integers(256))
        try:
            _opened(reader, bytes(damaged)).pixels(0)
        except DatasetError as error:
            require(
                str(error).startswith(_ORIGIN), f"the error does not begin with the file: {error}"
            )


READER_CHECKS: Mapping[str, ReaderCheck] = {
    "recognised": check_recognised,
    "pixels": check_pixels,
    "header": check_header,
    "limit": check_limit,
    "damage": check_damage,
}
"""Every check by name; each takes the class of the reader and the content of a sound file."""


def check_reader(reader: type[Reader], content: bytes) -> None:
    """Everything that an image reader promises.

    Args:
        reader: Its class.
        content: A small sound file of its format.

    Raises:
        AssertionError: A promise is broken; the message says which.
        DatasetError: The file cannot be read.
    """
    for check in READER_CHECKS.values():
        check(reader, content)


def _opened(reader: type[Reader], content: bytes, limit: int = PIXEL_LIMIT) -> OpenedImage:
    return reader().open(content, origin=_ORIGIN, pixel_limit=limit)


def _others() -> dict[str, bytes]:
    """Beginnings of files of other formats, by the name of their reader."""
    pictures = {kind: io.BytesIO() for kind in ("PNG", "TIFF")}
    for kind, stream in pictures.items():
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(stream, kind)
    nifti = bytearray(352)
    nifti[:4], nifti[344:348] = (348).to_bytes(4, "little"), b"n+1\0"
    return {
        "picture": pictures["PNG"].getvalue(),
        "tiff": pictures["TIFF"].getvalue(),
        "dicom": bytes(128) + b"DICM" + bytes(64),
        "nifti": bytes(nifti),
        "a text": b"patient,label\n1,healthy\n" * 20,
        "a packed text": gzip.compress(b"patient,label\n1,healthy\n" * 20),
        "nothing": b"",
    }


def _pixels(listing: Listing, row: int) -> NDArray[np.uint8]:
    """An image of a source at full size."""
    origin, number = listing.table["origin"].tolist()[row], listing.table["slice"].tolist()[row]
    opened = open_image(listing.read(row), origin=origin)
    return read_slice(opened, number).pixels


def _refusal(call: Callable[[], object]) -> DatasetError:
    """The error that a call raises.

    Raises:
        AssertionError: It raises none.
    """
    try:
        call()
    except DatasetError as error:
        return error
    raise AssertionError("nothing is refused where a DatasetError must be raised.")
