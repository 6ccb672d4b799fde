"""The contract of sources fails where a source has one thing wrong."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ConfigDict

from medbench.datasets.download import Download
from medbench.datasets.listing import Listing
from medbench.datasets.sources.base import Source
from medbench.errors import DatasetError
from medbench.testing import SourceContract, check_source

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 20, 20), dtype=np.uint8)
counted = itertools.count()


class Squares(Source):
    """Six images that it holds itself."""

    source: str = "squares"

    def list_images(self, found):
        table = {
            "origin": [f"square-{i}" for i in range(len(PIXELS))],
            "slice": 1,
            "label": np.arange(len(PIXELS)) % 2,
            "group": "",
            "split": "",
        }
        return Listing(
            classes=("plain", "square"),
            table=pd.DataFrame(table),
            read=PIXELS.__getitem__,
            signature="squares",
        )


class Columns(Squares):
    """Six images, a line a row of a file."""

    source: str = "columns"
    path: str

    def list_images(self, found):
        assert found["path"].is_file()
        return super().list_images(found)


def lists(**changes):
    """A source whose listing has something changed, by column or by field."""

    def list_images(self, found):
        listing = Squares.list_images(self, found)
        made = {name: v() if callable(v) else v for name, v in changes.items()}
        of_listing = {n: made.pop(n) for n in list(made) if hasattr(listing, n)}
        return replace(listing, table=listing.table.assign(**made), **of_listing)

    return {"list_images": list_images}


def another_image_each_time():
    return lambda row: PIXELS[next(counted) % len(PIXELS)]


class Somewhere(Download):
    address = "https://example.org"

    def __init__(self, path, megabytes):
        self.path, self.megabytes = path, megabytes

    def fetch(self, target, progress=None):
        raise NotImplementedError


def at(path, megabytes=1):
    """A source that is fetched, and says that it is here."""
    download = property(lambda self: Somewhere(path, megabytes))
    return {"download": download, "paths": lambda self: {}}


WRONG = [
    ("listing", "two or more, all different", lists(classes=("plain", "plain"))),
    ("listing", "listed twice", lists(origin=list("abcdee"))),
    ("listing", "must follow each other", lists(origin=list("abacde"), slice=[1, 1, 2, 1, 1, 1])),
    ("listing", "counted from 1", lists(slice=[1, 1, 0, 1, 1, 1])),
    ("listing", "no image of class square", lists(label=0)),
    ("listing", "labels must be from 0 to 1", lists(label=2)),
    ("listing", "split is", lists(split=["train", "", "", "", "", ""])),
    ("listing", "a group is a str", lists(group=3)),
    ("names", "relative to the data set", lists(origin=[f"/home/{i}.png" for i in range(6)])),
    ("names", "relative to the data set", lists(origin=[f"../{i}.png" for i in range(6)])),
    ("same_again", "compute it from names", lists(signature=lambda: str(next(counted)))),
    ("same_again", "sort what", lists(origin=lambda: [f"{next(counted)}" for _ in range(6)])),
    ("images", "must depend on the row alone", lists(read=another_image_each_time)),
    ("fields", "extra='forbid'", {"model_config": ConfigDict(extra="ignore")}),
    ("missing_files", "the files are here", {"is_here": lambda self: False}),
    ("missing_files", "has to give it", {"is_here": lambda self: True}),
    ("missing_files", "has to give it", {"paths": lambda self: {}}),
    ("missing_files", "is listed", {"locate": lambda self: {"path": Path(__file__)}}),
    ("download", "relative to a data folder", at("/data/squares.npz")),
    ("download", "relative to a data folder", at("../squares.npz")),
    ("download", "most megabytes", at("squares.npz", megabytes=0)),
]


def made(changes, tmp_path=None):
    """A source with something changed; one of a file where a folder is given."""
    base = Squares if tmp_path is None else Columns
    cls = type("Wrong", (base,), {**changes, "__module__": __name__})
    if tmp_path is None:
        return cls()
    (tmp_path / "columns").write_text("")
    return cls(path=str(tmp_path / "columns"))


def test_a_sound_source_keeps_the_contract(tmp_path):
    assert check_source(Squares) == ()
    assert check_source(made({}, tmp_path)) == ()


@pytest.mark.parametrize(("name", "message", "changes"), WRONG)
def test_a_wrong_source_is_told_what_to_do(told, tmp_path, name, message, changes):
    wrong = made(changes, tmp_path if name == "missing_files" else None)
    assert re.search(message, told(SourceContract, f"test_{name}", source=wrong))


@pytest.mark.parametrize("column", [{"label": 0.5}, {"more": 1}])
def test_a_listing_with_other_columns_is_refused_where_it_is_made(column):
    with pytest.raises(DatasetError, match="origin, slice, label"):
        check_source(made(lists(**column)))


def test_there_is_a_wrong_source_for_every_demand():
    assert {f"test_{name}" for name, *_ in WRONG} == set(SourceContract.names())
