"""The contract of a data source."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.decode import read_slice
from medbench.datasets.listing import Listing
from medbench.datasets.readers import open_image
from medbench.datasets.sources.base import Source
from medbench.datasets.task import labels_in, membership
from medbench.datasets.volume_rule import VolumeRule
from medbench.testing.contract import Contract, needed, refusal, require

_THREADS = 4
_LOOKED_AT = 24
"""Images of a source that are decoded."""
_NOWHERE = "nowhere/at/all"


class SourceContract(Contract):
    """What a data source promises; a subclass that names one is a test class of pytest.

    ::

        class TestMySource(SourceContract):
            source = MySource(path="a-small-data-set")

    A source whose files are made for the test is set by a fixture::

        @pytest.fixture(autouse=True)
        def make(self, tmp_path):
            write_files(tmp_path)
            self.source = MySource(path=str(tmp_path))
    """

    source: Source = needed('MySource(path="...")')
    """One that has at least two classes and two images."""

    def test_listing(self) -> None:
        """Every class has images, every row names one image, and groups and splits are texts.

        Labels are counted, patients kept together and official splits used by this table alone.
        """
        listing = self.source.listing()
        table, classes = listing.table, listing.classes
        distinct = len(set(classes)) == len(classes) >= 2
        require(distinct, f"classes are {classes}; give two or more, all different.")
        labels = labels_in(table)
        highest = 1 if listing.task_type == "multi-label" else len(classes) - 1
        require(
            len(labels) > 0 and labels.min() >= 0 and labels.max() <= highest,
            f"labels must be from 0 to {highest}: each is an index into classes.",
        )
        empty = np.flatnonzero(~membership(labels, len(classes)).any(axis=0))
        require(
            not len(empty),
            f"no image of class {', '.join(classes[k] for k in empty)}; name only classes of which "
            "there are images.",
        )
        require(bool((table["slice"] >= 1).all()), "slices are counted from 1.")
        twice = table[table.duplicated(["origin", "slice"])]
        require(
            twice.empty,
            f"listed twice: {twice['origin'].head(1).tolist()}; list every image once.",
        )
        starts = table["origin"] != table["origin"].shift()
        require(
            int(starts.sum()) == table["origin"].nunique(),
            "slices of one file must follow each other.",
        )
        require(
            all(isinstance(group, str) for group in table["group"]),
            "a group is a str, or '' where it is not known.",
        )
        parts = set(table["split"])
        require(
            parts <= {"train", "val", "test"} or parts == {""},
            f"split is {sorted(parts)}; write train, val and test, or '' in every row.",
        )

    def test_names(self) -> None:
        """Names of images are relative: no place of this machine gets into what is stored."""
        for origin in self.source.listing().table["origin"]:
            path = PurePosixPath(origin)
            require(
                bool(origin) and not path.is_absolute() and ".." not in path.parts,
                f"origin {origin!r} must be relative to the data set and stay in it.",
            )

    def test_same_again(self) -> None:
        """What is listed twice is the same twice: all that is kept of a data set hangs on it."""
        one, other = self.source.listing(), self.source.listing()
        require(
            bool(one.signature) and one.signature == other.signature,
            f"the signature is {one.signature!r} and then {other.signature!r}; compute it from "
            "names, sizes and times of the files, or from the fields.",
        )
        require(
            one.table.equals(other.table) and one.classes == other.classes,
            "the table or the classes differ from call to call; sort what a folder lists.",
        )

    def test_images(self) -> None:
        """Every image is read, and is the same in any order and from any thread."""
        listing = self.source.listing()
        rows = np.unique(np.linspace(0, len(listing.table) - 1, _LOOKED_AT).astype(int)).tolist()
        in_order = [_pixels(listing, row) for row in rows]
        with ThreadPoolExecutor(_THREADS) as pool:
            backwards = list(pool.map(lambda row: _pixels(listing, row), reversed(rows)))
        for row, one, other in zip(rows, in_order, reversed(backwards), strict=True):
            require(
                np.array_equal(one, other),
                f"image {row} differs when several threads read; read(row) must depend on the row "
                "alone.",
            )

    def test_fields(self) -> None:
        """A misspelt field of an entry in datasets.yaml is refused."""
        require(
            type(self.source).model_config.get("extra") == "forbid",
            "model_config must keep extra='forbid', so that misspelt fields are noticed.",
        )

    def test_missing_files(self) -> None:
        """Files that are not here are told before anything is read, by where they should be."""
        source = self.source
        require(source.is_here(), "is_here() is False, and the files are here.")
        if "path" not in type(source).model_fields:
            return  # it makes its images itself
        gone = source.model_copy(update={"path": _NOWHERE})
        if gone.download is not None and gone.paths().get("path") != _NOWHERE:
            return  # what is downloaded lies at the path of the download
        require(
            gone.paths().get("path") == _NOWHERE and not gone.is_here(),
            "is_here() is True where path leads nowhere: paths() has to give it.",
        )
        error = refusal(gone.listing, "a source whose path leads nowhere is listed.")
        require(_NOWHERE in str(error), f"the error does not name the missing path: {error}")

    def test_download(self) -> None:
        """Where ``datasets fetch`` gets it, if it does, is said beforehand, with its size."""
        download = self.source.download
        if download is None:
            return
        path = PurePosixPath(download.path)
        require(
            bool(path.parts) and not path.is_absolute() and ".." not in path.parts,
            f"path of its download is {download.path!r}; it is relative to a data folder and stays "
            "in it.",
        )
        require(
            bool(download.address) and (download.megabytes is None or download.megabytes > 0),
            "its download must say its address and the most megabytes that come from there.",
        )


def check_source(source: Source | type[Source], **fields: Any) -> tuple[str, ...]:
    """Check that a data source keeps its contract; returns if it does.

    Args:
        source: The source, or its class, of which one is made.
        fields: Fields of the entry, where a class is given.

    Returns:
        Names of the tests that do not apply to it.

    Raises:
        AssertionError: A test failed; the message says what is wrong and what to do.
        DatasetError: The source cannot be listed, or an image of it cannot be read.
    """
    made = source(**fields) if isinstance(source, type) else source
    return SourceContract.check(source=made)


def _pixels(listing: Listing, row: int) -> NDArray[np.uint8]:
    """An image of a source at full size."""
    origin, number = listing.table["origin"].tolist()[row], listing.table["slice"].tolist()[row]
    opened = (listing.volumes or VolumeRule()).of(open_image(listing.read(row), origin=origin))
    return read_slice(opened, number).pixels
