"""The directories of a TIFF file: what each page holds, and which pages are slices."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import IO, Any

import numpy as np

from medbench.datasets.readers.quiet import Quiet
from medbench.datasets.readers.tiff_directories import check_directories
from medbench.errors import DatasetError

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
"""Photometric interpretations that are read."""
_CHANNELS = {MIN_IS_WHITE: 1, MIN_IS_BLACK: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
_ASSOCIATED_ALPHA, _ALPHAS = 1, (1, 2, 999)
"""Extra samples that are an opacity: premultiplied, plain, and plain as Corel Draw calls it."""
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4
_TYPES = {
    _UNSIGNED: ("u", (*range(1, 17), 32, 64)),
    _SIGNED: ("i", (8, 16, 32, 64)),
    _FLOAT: ("f", (16, 32, 64)),
    _UNDEFINED: ("u", (*range(1, 17), 32, 64)),
}
"""numpy's letter of each sample format, and the bits that are read."""
_LUMA, _FULL = (0.299, 0.587, 0.114), (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)
"""Default coefficients and reference values of YCbCr."""
_MOST_SAMPLES = 64
_TAG_BYTES, _SUB_DIRECTORIES = 12, 330
"""Bytes of a tag in a directory; the tag that names further directories."""
_QUIET = Quiet("tifffile")


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a directory says; the tags' names are those of TIFF 6.0."""

    offset: int
    """Where in the file the directory is."""
    width: int
    height: int
    bits: int
    """Of a sample."""
    kind: str
    """numpy's letter of a sample's type: u, i or f."""
    samples: int
    photometric: int
    extra: tuple[int, ...]
    """Kind of each sample beyond the colours."""
    compression: int
    predictor: int
    planar: bool
    """Whether the samples are stored apart."""
    reversed_bits: bool
    orientation: int
    tile: tuple[int, int] | None
    """Width and height of the tiles; None where there are strips."""
    rows_per_strip: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    big_endian: bool
    big_tiff: bool
    """Whether offsets take 64 bits."""
    color_map: tuple[int, ...]
    subsampling: tuple[int, ...]
    """Of the colour of YCbCr, across and down."""
    default_ycbcr: bool
    """Whether its coefficients and reference values are those of JPEG."""
    said_top: int | None
    """Largest value, where the file states it."""

    @property
    def channels(self) -> int:
        """Samples of colour or grey."""
        return _CHANNELS[self.photometric]

    @property
    def alpha(self) -> int | None:
        """Which sample is the opacity."""
        found = [n for n, kind in enumerate(self.extra) if kind in _ALPHAS]
        return self.channels + found[0] if found else None

    @property
    def premultiplied(self) -> bool:
        """Whether the colours have been multiplied by the opacity."""
        return self.alpha is not None and (
            self.extra[self.alpha - self.channels] == _ASSOCIATED_ALPHA
        )

    @property
    def top(self) -> int | None:
        """Full light of unsigned numbers."""
        return 2**self.bits - 1 if self.kind == "u" else None


def has_one_page(file: IO[bytes]) -> bool:
    """Whether a file has a single directory, by a few bytes: so have nearly all of many files.

    Args:
        file: The file, at its beginning.
    """
    head = file.read(8)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
    if order is None or len(head) < 8:
        return False
    file.seek(struct.unpack(order + "I", head[4:])[0])
    n_tags = int.from_bytes(file.read(2), "little" if order == "<" else "big")
    tags = file.read(n_tags * _TAG_BYTES)
    numbers = np.frombuffer(tags[: len(tags) // _TAG_BYTES * _TAG_BYTES], f"{order}u2")
    return file.read(4) == bytes(4) and _SUB_DIRECTORIES not in numbers[:: _TAG_BYTES // 2]


def pages_of(file: IO[bytes], origin: str) -> tuple[list[Page], int]:
    """The pages of a file that are its slices.

    These are all of the largest size that are neither masks nor reduced copies of another page;
    where there is no other kind, what is a page's own sub-directory counts too.

    Args:
        file: The file, at its beginning.
        origin: Name of the file in messages.

    Returns:
        The pages, at least one; and how many that are no copies are left out for their size.

    Raises:
        DatasetError: One of them is of a kind that is not read.
        ValueError: The file is damaged; likewise what ``tifffile`` raises.
    """
    import tifffile

    check_directories(file)
    try:
        with _QUIET, tifffile.TiffFile(file, is_ndpi=False, is_lsm=False, is_scanimage=False) as t:
            chosen, n_left_out = _chosen(t.pages, t.filehandle.size, origin)
            return [_page(page, t, origin) for page in chosen], n_left_out
    except tifffile.TiffFileError as error:
        raise ValueError(str(error)) from error


def _chosen(pages: Any, n_bytes: int, origin: str) -> tuple[list[Any], int]:
    """The pages that are slices, and how many are left out for their size."""
    found = list(_walk(pages))
    whole = [page for page in found if not _is_copy(page)]
    if not whole:
        below = [page for parent in found if parent.pages for page in _walk(parent.pages)]
        whole = [page for page in below if not _is_copy(page)] or found
    if not whole:
        raise ValueError("no page")
    if len(found) == 1:
        _refuse_hidden_images(found[0], n_bytes, origin)
    sizes = [(page.imagewidth, page.imagelength) for page in whole]
    largest = max(sizes, key=lambda size: size[0] * size[1])
    chosen = [page for page, size in zip(whole, sizes, strict=True) if size == largest]
    return chosen, len(whole) - len(chosen)


def refusal(origin: str, what: str) -> DatasetError:
    """The error for a valid file of a kind that is not read."""
    return DatasetError(
        f"{origin}: a TIFF {what}, which is not read here. "
        "Convert it to PNG, or to a TIFF of grey or RGB without compression."
    )


def _walk(pages: Any) -> Iterator[Any]:
    """The chain of directories, which a damaged file may close to a circle."""
    seen: set[int] = set()
    for number in count():
        try:
            page = pages.get(number, aspage=True)
        except IndexError:
            return
        if page.offset in seen:
            return
        seen.add(page.offset)
        yield page


def _is_copy(page: Any) -> bool:
    """Whether it is a reduced copy of another page, or a mask of one."""
    kind, old_kind = _number(page, 254, 0), _number(page, 255, 0)
    return bool(kind & (_REDUCED | _MASK)) or old_kind == _OLD_REDUCED


def _refuse_hidden_images(page: Any, n_bytes: int, origin: str) -> None:
    """The samples of a directory's image may be followed by those of others that it only mentions.

    Args:
        page: The only page of its file.
        n_bytes: Size of the file, which tells whether the others are there.
        origin: Name of the file in messages.

    Raises:
        DatasetError: They are there.
    """
    text, images = page.description, 1
    n_samples = page.imagewidth * page.imagelength * page.samplesperpixel
    if text.startswith("ImageJ=") and (said := re.search(r"^images=(\d{1,9})$", text, re.M)):
        images = int(said[1])
    elif said := re.search(r'^{.*"shape": \[([\d, ]{1,90})\]', text):  # written by tifffile
        images = math.prod(map(int, said[1].split(","))) // n_samples
    elif 33629 in page.tags:  # MetaMorph's stacks
        images = page.tags[33629].count
    end = page.dataoffsets[0] + images * n_samples * _number(page, 258, 1) // 8
    if images > 1 and page.compression == 1 and end <= n_bytes:
        raise refusal(origin, "of several images behind one directory")


def _page(page: Any, file: Any, origin: str) -> Page:
    width, height, samples = (_number(page, 256), _number(page, 257), _number(page, 277, 1))
    if not (width > 0 and height > 0 and samples > 0):
        raise ValueError(f"{width} x {height} pixels of {samples} samples")
    if samples > _MOST_SAMPLES:
        raise refusal(origin, f"of {samples} samples a pixel")
    if _number(page, 32997, 1) > 1:  # ImageDepth
        raise refusal(origin, "volume of several images behind one directory")
    bits, kind = _type_of_samples(page, samples, origin)
    photometric, extra = _meaning_of_samples(page, samples, origin)
    tiled = 324 in page.tags
    return Page(
        offset=page.offset,
        width=width,
        height=height,
        bits=bits,
        kind=kind,
        samples=samples,
        photometric=photometric,
        extra=extra,
        compression=_number(page, 259, 1),
        predictor=_number(page, 317, 1),
        planar=_number(page, 284, 1) == 2 and samples > 1,
        reversed_bits=_number(page, 266, 1) == 2,
        orientation=_number(page, 274, 1),
        tile=(_number(page, 322), _number(page, 323)) if tiled else None,
        rows_per_strip=min(_number(page, 278, height), height),
        offsets=_numbers(page, 324 if tiled else 273),
        counts=_numbers(page, 325 if tiled else 279),
        big_endian=file.byteorder == ">",
        big_tiff=file.is_bigtiff,
        color_map=_numbers(page, 320),
        subsampling=_numbers(page, 530, (2, 2)),
        default_ycbcr=_ratios(page, 529, _LUMA) == _LUMA and _ratios(page, 532, _FULL) == _FULL,
        said_top=_said_top(page) if kind == "u" else None,
    )


def _type_of_samples(page: Any, samples: int, origin: str) -> tuple[int, str]:
    """Bits of a sample, and numpy's letter of its type.

    Raises:
        DatasetError: It is none that is read.
    """
    bits = set(_numbers(page, 258, (1,))[:samples])
    formats = set(_numbers(page, 339, (_UNSIGNED,))[:samples])
    if len(bits) > 1 or len(formats) > 1:
        raise refusal(origin, "whose samples are of different types")
    (n_bits,), (format_,) = bits, formats
    kind, known = _TYPES.get(format_, ("", ()))
    if n_bits not in known:
        raise refusal(origin, f"of samples of {n_bits} bits (SampleFormat {format_})")
    return n_bits, kind


def _meaning_of_samples(page: Any, samples: int, origin: str) -> tuple[int, tuple[int, ...]]:
    """Photometric interpretation, and the kinds of the samples beyond the colours.

    Raises:
        DatasetError: They are none that are read.
    """
    photometric = _number(page, 262, RGB if samples == 3 else MIN_IS_BLACK)  # as libtiff
    if photometric not in _CHANNELS:
        raise refusal(origin, f"of photometric interpretation {photometric}")
    if photometric == CMYK and _number(page, 332, 1) != 1:
        raise refusal(origin, "of inks that are not CMYK")
    n_extra = samples - _CHANNELS[photometric]
    if n_extra < 0:
        raise ValueError(f"photometric interpretation {photometric} of {samples} samples")
    extra = _numbers(page, 338, (2,) if (photometric, n_extra) == (RGB, 1) else ())
    grey = photometric in (MIN_IS_WHITE, MIN_IS_BLACK)
    if len(extra) < n_extra or (grey and n_extra > 1 and not set(extra) & set(_ALPHAS)):
        raise refusal(origin, f"of {samples} samples a pixel, whose meaning it does not tell")
    return photometric, extra[:n_extra]


def _said_top(page: Any) -> int | None:
    """Largest value, by either tag that may state it: MaxSampleValue, SMaxSampleValue."""
    return max(number for code in (281, 341) for number in _numbers(page, code, (0,))) or None


def _number(page: Any, code: int, default: int | None = None) -> int:
    """The first whole number of a tag.

    Raises:
        ValueError: There is none.
    """
    values = _numbers(page, code, () if default is None else (default,))
    if not values:
        raise ValueError(f"tag {code} is missing")
    return values[0]


def _numbers(page: Any, code: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The whole numbers of a tag.

    Raises:
        ValueError: It holds something else.
    """
    tag = page.tags.get(code)
    if tag is None:
        return default
    value = list(tag.value) if isinstance(tag.value, bytes) else tag.value
    numbers = np.atleast_1d(np.asarray(value))
    if numbers.dtype.kind not in "iu" or not numbers.size:
        raise ValueError(f"tag {code} is no number")
    return tuple(numbers.ravel().tolist())


def _ratios(page: Any, code: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """The numbers of a tag that are stored as numerators and denominators, to three digits."""
    numbers = _numbers(page, code)
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    return tuple(round(above / below, 3) for above, below in pairs) or default
