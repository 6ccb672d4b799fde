"""Images that lie inside of another file are opened as those that are files of their own."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from pathlib import Path
from typing import BinaryIO

from medbench.datasets.remembered import state_of
from medbench.opening import IMAGE, open_regular, read_regular


class InsideFile(ABC):
    """An image file that is a part of another file; ``str`` of it names both."""

    container: Path
    """The file that it lies in."""

    @abstractmethod
    def read(self) -> bytes:
        """Its content; safe to call from several threads.

        Raises:
            DatasetError: It cannot be read, or is larger than an image file may be.
        """


AnyFile = str | Path | InsideFile
"""A file of its own, or one inside of another."""


def open_file(file: AnyFile) -> BinaryIO:
    """An image file, open at its beginning.

    Raises:
        OSError, DatasetError: It cannot be read, or is too large.
    """
    if isinstance(file, InsideFile):
        return io.BytesIO(file.read())
    return open_regular(file, IMAGE)


def read_file(file: AnyFile) -> bytes:
    """The content of an image file; errors as ``open_file``."""
    return file.read() if isinstance(file, InsideFile) else read_regular(file, IMAGE)


def state_of_file(file: AnyFile) -> list[int]:
    """What changes with the content; see ``medbench.datasets.remembered.state_of``."""
    return state_of(file.container if isinstance(file, InsideFile) else file)
