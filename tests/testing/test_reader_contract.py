"""The contract of readers fails where a reader has one thing wrong."""

from __future__ import annotations

import re
import struct

import numpy as np
import pytest

from medbench.datasets.readers import Header, OpenedImage, Reader, check_size, hashed
from medbench.errors import DatasetError
from medbench.testing import ReaderContract, check_reader

VOXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 8), dtype=np.uint8)
CONTENT = b"STCK" + struct.pack("<3H", 8, 6, 5) + VOXELS.tobytes()


class Opened(OpenedImage):
    patient = hashed("4711")
    what = "planes"

    def __init__(self, voxels, origin):
        header = Header(n_slices=len(voxels), patient=self.patient)
        super().__init__(
            origin=origin, header=header, mode="stack", n_bytes=voxels.nbytes, what=self.what
        )
        self.voxels = voxels

    def pixels(self, index):
        return self.voxels[index]


class Stack(Reader):
    """A word, width, height and depth, and the pixels."""

    title = "Stack"
    suffixes = (".stack",)
    opened = Opened

    def recognises(self, start):
        return start.startswith(b"STCK")

    def open(self, content, *, origin, pixel_limit):
        width, height, depth = self.shape(content, origin)
        check_size(width, height, origin, pixel_limit)
        voxels = np.frombuffer(content[10:], np.uint8, width * height * depth)
        return self.opened(voxels.reshape(depth, height, width), origin)

    def shape(self, content, origin):
        shape = struct.unpack("<3H", content[4:10]) if len(content) >= 10 else (0, 0, 0)
        if not 0 < int(np.prod(shape)) <= len(content) - 10:
            raise DatasetError(f"{origin}: the stack is truncated. Copy it again.")
        return shape


def opens(**changes):
    """A reader that opens what has something changed."""
    return {"opened": type("WrongOpened", (Opened,), changes)}


def without_limit(self, content, *, origin, pixel_limit):
    return Stack().open(content, origin=origin, pixel_limit=10**9)


def without_a_look_at_the_length(self, content, origin):
    return struct.unpack("<3H", content[4:10])


def without_the_name(self, content, origin):
    return Stack.shape(self, content, "a file")


def remembers(self, content, *, origin, pixel_limit):
    type(self).files = getattr(type(self), "files", 0) + 1
    opened = Stack.open(self, content, origin=origin, pixel_limit=pixel_limit)
    opened.voxels = opened.voxels + np.uint8(type(self).files)
    return opened


WRONG = [
    ("recognises", "takes picture for its format", {"recognises": lambda self, start: True}),
    ("recognises", "its own file", {"recognises": lambda self, start: False}),
    ("description", "no title", {"title": ""}),
    ("description", "no suffixes", {"suffixes": ()}),
    ("description", "in lower case with the dot", {"suffixes": ("STACK",)}),
    ("description", "names of distributions", {"decoders": "pillow"}),
    ("pixels", "must be uint8", opens(pixels=lambda self, i: self.voxels[i].astype(float))),
    ("pixels", "must be uint8", opens(pixels=lambda self, i: self.voxels[i].tolist())),
    ("pixels", "must be uint8", opens(pixels=lambda self, i: np.stack([self.voxels[i]] * 2, -1))),
    ("pixels", "what is empty", opens(what="")),
    ("pixels", "origin is 'x'", {"open": lambda self, content, **_: Opened(VOXELS, "x")}),
    ("same_again", "differs when it is decoded again", {"open": remembers}),
    ("header", "patient of the header is no hash", opens(patient="4711")),
    ("header", "look says", {"look": lambda self, file, origin: Header(n_slices=7)}),
    ("shorter_side", r"says 8; the slices have \[6\]", {"shorter_side": lambda *_, **__: 8}),
    ("warnings", "names the file", opens(warnings=lambda self: (f"{self.origin} is odd",))),
    ("limit", "call .*check_size", {"open": without_limit}),
    (
        "damage",
        r"gives \w*[eE]rror: .* Raise a Data",
        {"shape": without_a_look_at_the_length},
    ),
    ("damage", "does not begin with the origin", {"shape": without_the_name}),
]


def test_a_sound_reader_keeps_the_contract():
    assert check_reader(Stack, CONTENT) == ()


@pytest.mark.parametrize(("name", "message", "changes"), WRONG)
@pytest.mark.filterwarnings("ignore")
def test_a_wrong_reader_is_told_what_to_do(told, name, message, changes):
    wrong = type("Wrong", (Stack,), changes)
    said = told(ReaderContract, f"test_{name}", reader=wrong, content=CONTENT)
    assert re.search(message, said)


def test_there_is_a_wrong_reader_for_every_demand():
    assert {f"test_{name}" for name, *_ in WRONG} == set(ReaderContract.names())
