"""Places: where data sets are published. A path may name one: ``kaggle:OWNER/NAME``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from medbench.datasets.places.base import Place
from medbench.datasets.places.doi import DoiPlace
from medbench.datasets.places.kaggle import KagglePlace
from medbench.datasets.places.openneuro import OpenNeuroPlace
from medbench.datasets.places.web import WebPlace
from medbench.errors import ConfigurationError

__all__ = ["OpenNeuroPlace", "Place", "place_of"]

_SCHEMES: Mapping[str, Callable[[str], Place]] = {
    "kaggle": lambda text: KagglePlace.parse(text.removeprefix("kaggle:")),
    "doi": lambda text: DoiPlace.parse(text.removeprefix("doi:")),
    "openneuro": lambda text: OpenNeuroPlace.parse(text.removeprefix("openneuro:")),
    "https": WebPlace.parse,
    "http": WebPlace.parse,
}
"""How a place is read, by what stands before the colon."""


def place_of(path: str | Path, *, to_fetch: bool = False) -> Place | None:
    """The place that a path names; None where it is the path of a file or folder.

    Args:
        path: As an entry or a command line has it.
        to_fetch: Whether it is fetched only, so that it need not say all that an entry has to.

    Raises:
        ConfigurationError: It begins like a place and cannot be one; says how to write it.
    """
    text = path.as_posix() if isinstance(path, Path) else path
    scheme, colon, _ = text.partition(":")
    parse = _SCHEMES.get(scheme)
    if not colon or parse is None:
        return None
    place = parse(text)
    if place.lacks and not to_fetch:
        raise ConfigurationError(place.lacks)
    return place
