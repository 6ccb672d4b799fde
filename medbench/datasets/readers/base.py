"""What a reader of a format is: it opens a file, which then gives the pixels of its slices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, ClassVar

import numpy as np
from numpy.typing import NDArray

from medbench.counts import check_slices
from medbench.errors import DatasetError
from medbench.hashes import sha256_of_text

PIXEL_LIMIT = 50_000_000
"""Default largest image in pixels (a mammogram has 13 million); stops decompression bombs."""
HEAD_BYTES = 1 << 16
"""First bytes of a file by which its format is told; a gzipped one must be unpacked a little."""
_HASH_DIGITS = 32


BURNT_IN = "BurnedInAnnotation"
"""A field of headers, which ``Details`` has only where it says that text is burnt in."""


@dataclass(frozen=True, kw_only=True)
class Details:
    """What ``Reader.look`` may say beside: it is compared among files, and never written."""

    kind: str = ""
    """What the file holds instead of a picture, as ``"structured report"``; "" of a picture."""
    person: tuple[str, ...] = ()
    """Id and name of the patient as they stand in the file, by which they are found in the names of
    files and kept out of all that is written."""
    stack: str = ""
    """Opaque hash of the volume of which the file is one slice: of one series, orientation, echo
    and size. "" where it is of none that is known."""
    position: float | None = None
    """Where the slice lies along the normal of its volume, in mm; None where that is not said."""
    number: float | None = None
    """The slice's number in its series; None where it has none."""
    localizer: bool = False
    """Whether it is an overview on which others were planned."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """What says how the image was made, by the name of the field: the audit compares it with the
    labels. No model sees it."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of its images before any pixel is read."""

    n_slices: int = 1
    """Number of slices, frames or planes, at least one; of each volume where there are several."""
    n_volumes: int = 1
    """Number of volumes (times, directions or contrasts), at least one."""
    patient: str = ""
    """Opaque hash of the patient, see ``hashed``; "" where the file names none."""
    series: str = ""
    """Opaque hash of the series, whose images are all of one patient; "" where it names none."""
    details: Details | None = field(default=None, compare=False, repr=False)
    """What ``Reader.look`` says beside; None where there is nothing, or nobody looked."""


class OpenedImage(ABC):
    """A file (or array) that was opened: what its header says, and the pixels of each slice.

    It belongs to one thread at a time. Its attributes are the arguments of ``__init__``.
    """

    sliced: bool = True
    """Whether it is of a kind that may have several slices; ``predict`` shows others whatever slice
    is asked for."""
    planes: tuple[str, str, str] | None = None
    """Where its slices lie one behind the other, the lowest first, and share one range of grey
    levels, so that planes of other directions can be cut: how a slice, a plane through all rows of
    one number and one through all columns of one number are called. None elsewhere."""

    def __init__(self, *, origin: str, header: Header, mode: str, n_bytes: int, what: str) -> None:
        """Keep what the header says.

        Args:
            origin: Name of the image in messages.
            header: Slices, patient and series.
            mode: How the format itself calls what a pixel is: Pillow's mode of a picture, DICOM's
                photometric interpretation, or the name of the type of the values.
            n_bytes: Size of the file, or of an array in memory, in bytes.
            what: What it holds in words, for messages: "a DICOM file of 3 frames".

        Raises:
            DatasetError: Its header announces more slices than any file has.
        """
        check_slices(header.n_slices * header.n_volumes, origin)
        self.origin = origin
        self.header = header
        self.mode = mode
        self.n_bytes = n_bytes
        self.what = what

    @abstractmethod
    def pixels(self, index: int) -> NDArray[np.uint8]:
        """A slice at full size, as it is looked at.

        Args:
            index: Which slice, counted from 0, up to ``header.n_slices`` - 1; those of a second
                volume follow the last of the first.

        Returns:
            uint8, shape (height, width) of grey, or (height, width, 3) of RGB.

        Raises:
            DatasetError: The file is damaged, or its pixels cannot be shown; the message begins
                with the origin and tells the remedy.
        """

    def called(self, index: int) -> str:
        """Which of its slices it is, in words; "" where there is one only.

        Args:
            index: As of ``pixels``.
        """
        return f"slice {index + 1}" if self.header.n_slices > 1 else ""

    def warnings(self) -> tuple[str, ...]:
        """What a person must know of the slices that were decoded and cannot see in them.

        Short phrases without names, each the same for all files of which it is true, as they are
        counted: "the first of 3 pages or frames". ``predict`` prints them with the file, and they
        are a finding of the audit.
        """
        return ()


class Reader(ABC):
    """Opens files of one format, which is told by their content, whatever they are called.

    Instances keep nothing; one may be used by several threads.
    """

    name: ClassVar[str] = ""
    """Its name in the registry."""
    title: ClassVar[str] = ""
    """What people call the format, or several formats: "PNG, JPEG"."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """How the names of such files usually end: in lower case, with the dot, as ``".nii.gz"``."""
    decoders: ClassVar[tuple[str, ...]] = ()
    """Names of distributions that it uses where they are installed: what can be read depends on
    them."""

    @abstractmethod
    def recognises(self, start: bytes) -> bool:
        """Whether a file is of this format.

        Args:
            start: Its first ``HEAD_BYTES`` bytes, or all if it has fewer.
        """

    @abstractmethod
    def open(self, content: bytes, *, origin: str, pixel_limit: int) -> OpenedImage:
        """Read the header of a file that is recognised.

        Args:
            content: The whole file.
            origin: Name of the file in messages.
            pixel_limit: Most pixels of a slice (width x height), checked before any is decoded.

        Returns:
            The opened file, with its ``origin`` as it was given.

        Raises:
            DatasetError: Not sound, too large, or of a kind that cannot be read here; the message
                begins with ``origin`` and tells the remedy.
        """

    def look(self, file: IO[bytes], *, origin: str) -> Header:
        """Only what the header says, with as little reading as the format allows.

        Args:
            file: The file, at its beginning.
            origin: Name of the file in messages.

        Raises:
            DatasetError: As ``open``.
        """
        return self.open(file.read(), origin=origin, pixel_limit=PIXEL_LIMIT).header

    def tag(self, file: IO[bytes], keyword: str, *, origin: str) -> str:
        """What one element of the header says, as text; "" where the format has none.

        Args:
            file: The file, at its beginning.
            keyword: The element, as DICOM calls it: ``"SeriesDescription"``.
            origin: Name of the file in messages.

        Returns:
            Its text without blanks around it; several values are joined by back slashes.

        Raises:
            DatasetError: As ``open``.
        """
        return ""

    def shorter_side(self, file: IO[bytes], *, origin: str) -> int:
        """Pixels along the shorter side of a slice, with as little reading as the format allows.

        Args:
            file: The file, at its beginning.
            origin: Name of the file in messages.

        Raises:
            DatasetError: As ``open`` and ``OpenedImage.pixels``.
        """
        opened = self.open(file.read(), origin=origin, pixel_limit=PIXEL_LIMIT)
        height, width = opened.pixels(opened.header.n_slices // 2).shape[:2]
        return int(min(height, width))


def hashed(*parts: object) -> str:
    """An opaque hash of what names a patient or a series: 32 hexadecimal digits.

    It tells whether two files name the same one. Whoever guesses a short id finds it again by its
    hash, so neither is ever written anywhere.

    Args:
        parts: Values that together name it, as they stand in the file.
    """
    return sha256_of_text(*parts)[:_HASH_DIGITS]


def check_size(width: int, height: int, origin: str, pixel_limit: int) -> None:
    """Refuse an image of too many pixels.

    Args:
        width: In pixels.
        height: In pixels.
        origin: Name of the image, with which the message begins.
        pixel_limit: Most pixels (width x height).

    Raises:
        DatasetError: It is larger than the limit.
    """
    if width * height > pixel_limit:
        raise DatasetError(
            f"{origin}: {width} x {height} pixels is above the limit of {pixel_limit:,} pixels. "
            "Shrink or crop the image, or remove it."
        )
