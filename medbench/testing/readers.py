"""The contract of an image reader."""

from __future__ import annotations

import gzip
import io
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medbench.datasets.readers import HEAD_BYTES, PIXEL_LIMIT, OpenedImage, Reader
from medbench.errors import DatasetError
from medbench.testing.contract import Contract, needed, refusal, require

_THREADS = 4
_SLICES_LOOKED_AT = 3
_DAMAGED = 60
"""Files that are made of a sound one by damaging it."""
_DAMAGED_BYTES = 4
_ORIGIN = "the-file"
_HASH = re.compile("[0-9a-f]{32}")


class ReaderContract(Contract):
    """What an image reader promises; a subclass that names one is a test class of pytest.

    ::

        class TestMyReader(ReaderContract):
            reader = MyReader
            content = Path("a-small-file.stack").read_bytes()
    """

    reader: type[Reader] = needed("MyReader")
    """The class, registered or not."""
    content: bytes = needed('Path("a-small-sound-file").read_bytes()')
    """A small sound file of its format."""

    def test_recognises(self) -> None:
        """It knows its format by the first bytes, and takes no other format for it.

        Files are often called otherwise than they are; readers are asked one after the other, and
        the first that recognises a file gets it.
        """
        reader = self.reader()
        require(reader.recognises(self.content[:HEAD_BYTES]), "does not recognise its own file.")
        for name, other in _others().items():
            require(
                name == self.reader.name or not reader.recognises(other[:HEAD_BYTES]),
                f"recognises takes {name} for its format; compare more of the first bytes.",
            )

    def test_description(self) -> None:
        """Its title and the ends of its files' names are said: messages and listings need them."""
        reader = self.reader
        require(bool(reader.title), "has no title; set it to what people call the format.")
        require(bool(reader.suffixes), "has no suffixes; name the usual ends of names, as '.x'.")
        for suffix in reader.suffixes:
            require(
                suffix.startswith(".") and suffix == suffix.lower(),
                f"suffix {suffix!r}: write it in lower case with the dot, as '.x'.",
            )
        require(
            isinstance(reader.decoders, tuple) and all(isinstance(d, str) for d in reader.decoders),
            f"decoders is {reader.decoders!r}; make it a tuple of names of distributions.",
        )

    def test_pixels(self) -> None:
        """Every slice is uint8, (height, width) of grey or (height, width, 3) of RGB."""
        opened = self._opened()
        n_slices = opened.header.n_slices
        require(n_slices >= 1, f"n_slices is {n_slices}; there is at least one slice.")
        n_volumes = opened.header.n_volumes
        require(n_volumes >= 1, f"n_volumes is {n_volumes}; there is at least one volume.")
        require(bool(opened.mode) and bool(opened.what), "mode or what is empty; say what it is.")
        require(
            opened.origin == _ORIGIN, f"origin is {opened.origin!r}; keep the one open is given."
        )
        for index in self._slices():
            pixels = opened.pixels(index)
            require(
                isinstance(pixels, np.ndarray)
                and pixels.dtype == np.uint8
                and (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3))
                and pixels.size > 0,
                f"slice {index} is {getattr(pixels, 'dtype', type(pixels).__name__)} "
                f"{np.shape(pixels)}; it must be uint8, (height, width) or (height, width, 3).",
            )

    def test_same_again(self) -> None:
        """A slice is the same whenever, in whatever order and in whichever thread it is decoded."""
        reader, slices = self.reader(), self._slices()
        opened = self._opened()
        in_order = [opened.pixels(index) for index in slices]

        def decoded(index: int) -> NDArray[np.uint8]:
            again = reader.open(self.content, origin=_ORIGIN, pixel_limit=PIXEL_LIMIT)
            return again.pixels(index)

        with ThreadPoolExecutor(_THREADS) as pool:
            for index, pixels in zip(slices, in_order, strict=True):
                require(
                    np.array_equal(pixels, opened.pixels(index))
                    and all(np.array_equal(pixels, p) for p in pool.map(decoded, [index] * 4)),
                    f"slice {index} differs when it is decoded again; keep what belongs to a file "
                    "in what open returns, and nothing in the reader.",
                )

    def test_header(self) -> None:
        """``look`` says what ``open`` says, and patient and series are hashes.

        All files of a data set are looked at before any is opened; images of one patient are kept
        in one part of a split by the hash, and no name of a patient is written anywhere.
        """
        header = self._opened().header
        for name in ("patient", "series"):
            value = getattr(header, name)
            require(
                not value or bool(_HASH.fullmatch(value)),
                f"{name} of the header is no hash; use medbench.datasets.readers.hashed.",
            )
        looked = self.reader().look(io.BytesIO(self.content), origin=_ORIGIN)
        stack = looked.details.stack if looked.details else ""
        require(
            not stack or bool(_HASH.fullmatch(stack)),
            "stack of the header's details is no hash; use medbench.datasets.readers.hashed.",
        )
        require(looked == header, f"look says {looked}, and open {header}; they must agree.")

    def test_shorter_side(self) -> None:
        """``shorter_side`` is that of a slice: it decides at which size a data set is prepared."""
        said = self.reader().shorter_side(io.BytesIO(self.content), origin=_ORIGIN)
        sides = {min(self._opened().pixels(index).shape[:2]) for index in self._slices()}
        require(said in sides, f"shorter_side says {said}; the slices have {sorted(sides)}.")

    def test_warnings(self) -> None:
        """Warnings are phrases without a name: equal ones of all files are counted."""
        opened = self._opened()
        for index in self._slices():
            opened.pixels(index)
        for warning in opened.warnings():
            require(
                isinstance(warning, str) and bool(warning) and _ORIGIN not in warning,
                f"the warning {warning!r} names the file; say the same words of every file.",
            )

    def test_limit(self) -> None:
        """An image of more pixels than the limit is refused before its memory is needed."""
        height, width = self._opened().pixels(0).shape[:2]
        self._opened(limit=height * width).pixels(0)
        error = refusal(
            lambda: self._opened(limit=height * width - 1).pixels(0),
            f"an image of {height * width} pixels is opened where pixel_limit is one less; call "
            "medbench.datasets.readers.check_size.",
        )
        _check_names_the_file(error)

    def test_damage(self) -> None:
        """A damaged file gives an image or a ``DatasetError`` that begins with its name.

        One file in ten thousand is damaged: the person must learn which, and a run goes on.

        Raises:
            AssertionError: It gives another error.
        """
        generator = np.random.default_rng(0)
        for number in range(_DAMAGED):
            damaged = bytearray(self.content)
            if number % 2:
                del damaged[int(generator.integers(len(damaged))) :]
            for _ in range(_DAMAGED_BYTES if damaged else 0):
                damaged[generator.integers(len(damaged))] = int(generator.integers(256))
            try:
                self._opened(bytes(damaged)).pixels(0)
            except DatasetError as error:
                _check_names_the_file(error)
            except Exception as error:  # whatever it is, it is the one thing it must not be
                raise AssertionError(
                    f"a damaged file gives {type(error).__name__}: {error}. Raise a DatasetError "
                    "that begins with the origin and says what to do."
                ) from error

    def _slices(self) -> list[int]:
        """The first, middle and last slice of all volumes."""
        header = self._opened().header
        last = header.n_slices * header.n_volumes - 1
        found: list[int] = np.unique(np.linspace(0, last, _SLICES_LOOKED_AT).astype(int)).tolist()
        return found

    def _opened(self, content: bytes | None = None, limit: int = PIXEL_LIMIT) -> OpenedImage:
        content = self.content if content is None else content
        return self.reader().open(content, origin=_ORIGIN, pixel_limit=limit)


def check_reader(reader: type[Reader], content: bytes) -> tuple[str, ...]:
    """Check that an image reader keeps its contract; returns if it does.

    Args:
        reader: The class, registered or not.
        content: A small sound file of its format.

    Returns:
        Names of the tests that do not apply to it.

    Raises:
        AssertionError: A test failed; the message says what is wrong and what to do.
        DatasetError: The file cannot be read.
    """
    return ReaderContract.check(reader=reader, content=content)


def _check_names_the_file(error: DatasetError) -> None:
    require(
        str(error).startswith(_ORIGIN),
        f"an error does not begin with the origin that open is given: {error}",
    )


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
