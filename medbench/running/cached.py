"""The cache as a person looks after it: with what data sets and weights tell of what lies there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from medbench.cache import upkeep
from medbench.cache.upkeep import CHECKED, KINDS, Item, check_readable, items
from medbench.datasets.catalog import load_catalog
from medbench.errors import MedBenchError, unknown_name
from medbench.models.weights import is_whole

_TOGETHER = (
    "unpacked", "headers", "networks", "checked", "costs", "jax", "work", "data", "weights",
)  # fmt: skip
"""Kinds of which nothing has a name of its own."""


def cached_items() -> list[Item]:
    """All that lies in the cache.

    Raises:
        MachineError: It cannot be read.
    """
    check_readable()
    return items(downloads=_downloads())


def by_name(found: Sequence[Item]) -> Mapping[tuple[str, str], Sequence[Item]]:
    """Items by kind, in the order of ``KINDS``, and name.

    Of prepared sets that is their own, of features that of the extractor; the others have none.
    """
    groups: dict[tuple[str, str], list[Item]] = {}
    for kind in KINDS:
        for item in found:
            if item.kind == kind:
                groups.setdefault((kind, _name(item)), []).append(item)
    return groups


def verified() -> Iterator[tuple[Item, bool]]:
    """Everything that has checksums, and whether it is sound.

    Raises:
        MachineError: The cache cannot be read.
    """
    check_readable()
    for item in items(CHECKED):
        yield item, item.is_sound() and (item.kind != "weights" or is_whole(item.path))


def clear(kinds: Collection[str] | None = None) -> tuple[list[Item], list[Item]]:
    """Remove what is not in use; see ``medbench.cache.upkeep.clear``.

    Raises:
        UnknownNameError: There is no such kind.
        MachineError: The cache cannot be read.
    """
    for kind in kinds or ():
        if kind not in KINDS:
            raise unknown_name("kind of what lies in the cache", kind, KINDS)
    check_readable()
    return upkeep.clear(kinds, downloads=_downloads())


def _downloads() -> list[str]:
    """Files of data sets that can be fetched, as far as the catalog can be read."""
    try:
        return load_catalog().downloads()
    except MedBenchError:  # whose remedies are of other commands
        return []


def _name(item: Item) -> str:
    if item.kind in _TOGETHER:
        return ""
    return item.path.parent.name if item.kind == "features" else item.path.name
