"""Places: where data sets are published. A path of an entry may name one: ``kaggle:OWNER/NAME``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from medbench.datasets.places.base import Place
from medbench.datasets.places.kaggle import KagglePlace

__all__ = ["Place", "place_of"]

_SCHEMES: Mapping[str, Callable[[str], Place]] = {"kaggle": KagglePlace.parse}
"""How a place is read, by what stands before the colon."""


def place_of(path: str | Path) -> Place | None:
    """The place that a path names; None where it is the path of a file or folder.

    Args:
        path: As an entry or a command line has it.

    Raises:
        ConfigurationError: It begins like a place and cannot be one; says how to write it.
    """
    scheme, colon, rest = str(path).partition(":")
    parse = _SCHEMES.get(scheme)
    return parse(rest) if colon and parse is not None else None
