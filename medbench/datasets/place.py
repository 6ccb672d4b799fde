"""Where MedBench itself can get the files of a data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any


class Place(ABC):
    """One data set as somebody publishes it.

    A source that has a place need not know how its files get here: it lists what is located, and
    what a place gives is located at ``path`` below a data folder.
    """

    path: str
    """Where the file or folder belongs, relative to a data folder."""
    megabytes: int
    """The most it can have, told before the download begins."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Where it is published, for people to read and to get it by hand."""

    @abstractmethod
    def fetch(self, target: Path, progress: Any | None = None) -> str:
        """Get it, whole or not at all.

        Args:
            target: Where it goes: ``path`` below the data folder that was chosen.
            progress: Progress bar as pooch asks for it (``total``, ``update``, ``reset``,
                ``close``).

        Returns:
            How it is known to be what it should be, as "its MD5 is the official one".

        Raises:
            DatasetError: It cannot be had, or what came is not what it should be; says what to
                put where by hand.
        """
