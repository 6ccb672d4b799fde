"""What a place is: something that is published, and lies on this machine once it is fetched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medbench.datasets.download import Download
from medbench.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Place(ABC):
    """A data set where it is published, and what of it a path names."""

    inside: str = ""
    """The file or folder in it, with ``/``; empty for all of it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """How a path names all of it, as ``kaggle:OWNER/NAME@3``."""

    @property
    def title(self) -> str:
        """What a data set out of it is called where nobody says it: the last name in its path."""
        return (self.inside or self.name.partition("@")[0]).rpartition("/")[2]

    @property
    @abstractmethod
    def download(self) -> Download:
        """How it is fetched."""

    @abstractmethod
    def candidates(self, roots: Sequence[Path]) -> Sequence[Path]:
        """Where all of it may lie on this machine, whole; the first that is there is taken.

        Args:
            roots: The data folders, and last where MedBench itself puts what it fetches.
        """

    @property
    def lacks(self) -> str:
        """What an entry must say beside it, as a message; empty where it says all."""
        return ""

    def pinned(self, found: Path) -> str:
        """How a path names just what lies here, for the record; ``name`` where that says it.

        Args:
            found: Where it lies, one of ``candidates``.
        """
        return self.name


def path_inside(text: str, place: str) -> str:
    """The path of something in a data set, of a text from outside.

    Args:
        text: With ``/``; one at the end means nothing.
        place: The whole text, for the message.

    Raises:
        ConfigurationError: It could lead out of the data set.
    """
    path = text.removesuffix("/")
    parts = path.split("/")
    if path and (
        any(part in ("", ".", "..") for part in parts) or "\\" in path or not path.isprintable()
    ):
        raise ConfigurationError(
            f"{place[:200]!r}: what stands behind the data set must be the path of a file or "
            "folder in it, with single '/' and without '..'."
        )
    return path
