"""All images of a listing, each decoded once, into a file of prepared images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np

from medbench.datasets.decode import (
    Channels,
    Decoded,
    Picture,
    is_coloured,
    read_slice,
)
from medbench.datasets.listing import Listing
from medbench.datasets.progress_callback import ProgressCallback, no_progress, with_progress
from medbench.datasets.readers import Content, open_image
from medbench.datasets.stored_images import ImageFile
from medbench.datasets.volume_rule import VolumeRule
from medbench.errors import DatasetError, SliceError
from medbench.hashes import sha256_of_arrays, sha256_of_chunks, sha256_of_json

_CHANNEL_SAMPLE = 48
"""Images looked at to decide whether a set is in colour."""
_COLOURED_SHARE = 0.05
"""From this share of coloured images on, colour is kept."""
_STORED = np.empty(0, np.uint8)
"""Stands for pixels that are in the file."""

Unreadable = str
"""Why an image cannot be read; begins with its name."""


class ListedImages:
    """The images of a listing, decoded on all threads of a pool."""

    def __init__(
        self,
        listing: Listing,
        size: int,
        pool: ThreadPoolExecutor,
        say: ProgressCallback = no_progress,
    ) -> None:
        """Nothing is read yet.

        Args:
            listing: What there is.
            size: Height and width to which images are brought, in pixels.
            pool: Threads.
            say: Shows how far a long step is.
        """
        self._read = listing.read
        self._volumes = listing.volumes or VolumeRule()
        self._origins: list[str] = listing.table["origin"].tolist()
        self._slices: list[int] = listing.table["slice"].tolist()
        self._size = size
        self._pool = pool
        self._say = say
        self._contents: dict[str, str] = {}
        """Hash of the content of each file that was read, by its origin; see ``content``."""
        self._seen: dict[int, dict[Channels, Decoded] | Unreadable] = {}
        """Images that were decoded to see whether the set is in colour, both ways."""

    def channels(self) -> Channels:
        """3 where a sample of the images is in colour, else 1; what is decoded for it is kept."""
        positions = np.linspace(0, len(self._origins) - 1, _CHANNEL_SAMPLE)
        sample = dict.fromkeys(np.unique(positions.astype(int)).tolist())

        def both(picture: Picture | Unreadable) -> dict[Channels, Decoded] | Unreadable:
            if isinstance(picture, Unreadable):
                return picture  # reported with all others when everything is decoded
            return {1: picture.decoded(self._size, 1), 3: picture.decoded(self._size, 3)}

        def of_file(rows: list[int]) -> list[dict[Channels, Decoded] | Unreadable]:
            return [both(picture) for picture in self._pictures(rows)]

        files = [[row for row in rows if row in sample] for rows in self._files()]
        files = [rows for rows in files if rows]
        found = [each for of_one in self._pool.map(of_file, files) for each in of_one]
        self._seen = dict(zip(sample, found, strict=True))
        coloured = [
            is_coloured(seen[3].pixels)
            for seen in self._seen.values()
            if not isinstance(seen, Unreadable)
        ]
        return 3 if coloured and np.mean(coloured) > _COLOURED_SHARE else 1

    def write(self, file: ImageFile, channels: Channels) -> list[Decoded | Unreadable]:
        """Decode every image and write its pixels; what cannot be read stays black.

        Args:
            file: Takes each image at its row.
            channels: 1 for grey, 3 for RGB.

        Returns:
            One entry a row: what is known of the image, without its pixels, or why it cannot be
            read.
        """

        def kept(row: int, found: Picture | Decoded | Unreadable) -> Decoded | Unreadable:
            if isinstance(found, Unreadable):
                return found
            decoded = found.decoded(self._size, channels) if isinstance(found, Picture) else found
            file.put(row, decoded.pixels)
            return replace(decoded, pixels=_STORED)  # else all of them would stay in memory

        def of_file(rows: range) -> list[Decoded | Unreadable]:
            results: dict[int, Decoded | Unreadable] = {}
            new = [row for row in rows if row not in self._seen]
            for row, picture in zip(new, self._pictures(new), strict=True):
                results[row] = kept(row, picture)
            for row in set(rows) - set(new):
                seen = self._seen.pop(row)
                results[row] = kept(row, seen if isinstance(seen, Unreadable) else seen[channels])
            return [results[row] for row in rows]

        files = self._files()
        done = self._pool.map(of_file, files)
        decoded = with_progress(done, len(files), "decoding images", self._say)
        return [result for found in decoded for result in found]

    def content(self) -> str:
        """Hash of the content of all files; those are read that were not read yet.

        What cannot be read counts as such, so that it is another content when it can be.
        """
        files = self._files()
        firsts = [rows[0] for rows in files if self._origins[rows[0]] not in self._contents]

        def read(row: int) -> None:
            with contextlib.suppress(OSError, DatasetError):
                self._note_content(row, self._read(row))

        done = self._pool.map(read, firsts)
        for _ in with_progress(done, len(firsts), "comparing files with those prepared", self._say):
            pass
        names = [self._origins[rows[0]] for rows in files]
        return sha256_of_json([self._contents.get(name) for name in names])

    def any_file_to_be_had(self, rows: Sequence[int]) -> bool:
        """Whether the content of the file of one of these rows can be read, whatever it is."""

        def to_be_had(row: int) -> bool:
            try:
                self._read(row)
            except (OSError, DatasetError):
                return False
            return True

        return any(self._pool.map(to_be_had, rows))

    def had(self, row: int) -> bool:
        """Whether the content of the file of a row was read, whatever became of it."""
        return self._origins[row] in self._contents

    def _note_content(self, row: int, content: Content) -> None:
        self._contents[self._origins[row]] = (
            sha256_of_arrays(content)
            if isinstance(content, np.ndarray)
            else sha256_of_chunks([content])
        )

    def _files(self) -> list[range]:
        """Rows that follow each other and are of one file, which is opened once for them."""
        names = self._origins
        starts = [row for row, name in enumerate(names) if row == 0 or name != names[row - 1]]
        return [range(*ends) for ends in pairwise([*starts, len(names)])]

    def _pictures(self, rows: Sequence[int]) -> Iterator[Picture | Unreadable]:
        """The images in rows of one file, in order."""
        if not rows:
            return
        origin = self._origins[rows[0]]
        try:
            content = self._read(rows[0])
            self._note_content(rows[0], content)
            opened = self._volumes.of(open_image(content, origin=origin))
        except (OSError, DatasetError) as error:
            why = getattr(error, "strerror", None) or error
            said = (
                f"{origin}: cannot be read ({why})." if isinstance(error, OSError) else str(error)
            )
            yield from [said] * len(rows)
            return
        for row in rows:
            number = self._slices[row]
            try:
                yield read_slice(opened, number)
            except SliceError:
                yield f"{origin}: has no slice {number} any more. Give the command again."
            except DatasetError as error:
                yield str(error)
