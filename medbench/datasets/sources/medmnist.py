"""The eighteen sets of MedMNIST: official archives, known by their MD5, in all their sizes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from pydantic import PrivateAttr

from medbench.datasets.download import RemoteFile
from medbench.datasets.remembered import md5_of
from medbench.datasets.sources.base import Source
from medbench.datasets.sources.npz import NpzSource
from medbench.datasets.volume_rule import VolumeRule
from medbench.errors import DatasetError

RECORD = "https://zenodo.org/records/10519652/files"
"""Where MedMNIST v3 publishes its archives."""
BASE_SIZE = 28
"""Side in pixels of the set that bears the plain name, and of all published results."""


class MedMnistSource(NpzSource):
    """One set; the entry stands for one data set a size, ``NAME``, ``NAME-64``, ...

    Source: J. Yang et al. (2023), "MedMNIST v2", Scientific Data 10(41); addresses and sums as in
    the package medmnist 3.0.2.
    """

    official_file: ClassVar[bool] = True

    source: str = "medmnist"
    path: str
    """The archive of 28 pixels; the others have ``_64``, ``_128``, ``_224`` behind its name."""
    dimensions: Literal[2, 3] = 2
    """3 where its images are volumes."""
    classes: tuple[str, ...]
    md5: dict[Literal[28, 64, 128, 224], str]
    """The official sum of each size."""
    n_images: int
    """Images of the official file, by which the size of the download is known."""
    image_size: Literal[28] = 28
    """Comes from the name: images of ``NAME-64`` are left at 64, and montages at a multiple."""

    _archive_size: Literal[28, 64, 128, 224] = PrivateAttr(default=28)
    """Which of the archives it is, whatever size its images are brought to."""

    def variants(self, name: str) -> dict[str, Source]:
        """One data set for each size."""
        stem = PurePosixPath(self.path).stem
        found: dict[str, Source] = {}
        for size in self.md5:
            base = size == BASE_SIZE
            change = {
                "image_size": size * VolumeRule(slices=self.slices).rows,
                "path": self.path if base else self.path.replace(stem, f"{stem}_{size}"),
                "collection": self.collection or name,
                "title": self.title if base else f"{self.title}, {size} px",
                # what is published of volumes judges them whole, and not a picture made of them
                "published": (self.published or stem) if base and self.dimensions == 2 else "",
            }
            copy = self.model_copy(update=change)
            copy._archive_size = size
            copy._entry = name if base else f"{name}-{size}"
            found[copy._entry] = copy
        return found

    @property
    def download(self) -> RemoteFile:
        """The archive at Zenodo."""
        channels = 1 if self.channels == "grey" else 3
        raw = self.n_images * self._archive_size**self.dimensions * channels
        return RemoteFile(
            url=f"{RECORD}/{PurePosixPath(self.path).name}?download=1",
            checksum=self.md5[self._archive_size],
            path=self.path,
            megabytes=raw // 10**6 + 1,
        )

    def check_file(self, path: Path) -> None:
        """Make sure that it is the official file.

        Raises:
            DatasetError: It is another one, or cannot be read.
        """
        try:
            found = md5_of(path)
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error.strerror or error}).") from error
        official = self.download.checksum
        if found != official:
            raise DatasetError(
                f"{path}: its MD5 sum is {found}, but that of the official file is "
                f"{official}, so it is not used. Take it away and get the official one "
                f"(python -m medbench datasets fetch {self._entry}), or give it another name and "
                "register it as a set of your own (python -m medbench datasets add NAME FILE)."
            )
