"""List what lies in the cache, check that it is sound, or clear it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from medbench.cache.upkeep import Item

_TOGETHER = ("headers", "networks", "checked", "costs", "jax", "work", "data", "weights")
"""Kinds that are shown in one line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``cache``."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="what lies in it, how large, when last used")
    listing.set_defaults(execute=list_cache)
    check = verbs.add_parser("verify", help="check all checksums and remove what is damaged")
    check.set_defaults(execute=verify)
    clearing = verbs.add_parser("clear", help="remove what is not in use")
    clearing.add_argument(
        "--kind",
        nargs="+",
        metavar="KIND",
        help="only these, as cache list calls them; what was downloaded (weights, data) goes only "
        "if it is named here",
    )
    clearing.set_defaults(execute=clear)


def list_cache(options: argparse.Namespace) -> int:
    """Everything by kind: prepared sets one by one, features by extractor, the rest together."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from medbench.cache import cache_folder
    from medbench.cache.upkeep import KINDS, SIZE_VARIABLE, bound, check_readable, foreign, items
    from medbench.running.progress import make_console

    check_readable()
    most, found = bound(), items(downloads=_downloads())
    table = Table("kind", "what", "number", "size", "last used", "", box=box.SIMPLE)
    for kind in KINDS:
        by_name: dict[str, list[Item]] = {}
        for item in found:
            if item.kind == kind:
                by_name.setdefault(_name(item), []).append(item)
        for name, group in by_name.items():
            used = "in use" if any(item.in_use for item in group) else ""
            table.add_row(kind, escape(name), f"{len(group)}", _size(group), _when(group), used)
    console = make_console()
    console.print(f"{cache_folder()}: {_size(found)}", markup=False, soft_wrap=True)
    if found:
        console.print(table)
    if most is not None:
        said = f"{SIZE_VARIABLE}: at most {most / 1e6:,.1f} MB of what can be computed again."
        console.print(said, markup=False, soft_wrap=True)
    if strangers := foreign(found):
        which = f"{len(strangers)} other files and links, which are left alone: "
        names = ", ".join(map(str, strangers[:3])) + (", ..." if len(strangers) > 3 else "")
        console.print(which + names, markup=False, soft_wrap=True)
    return 0


def verify(options: argparse.Namespace) -> int:
    """Check everything that has checksums; 1 if anything was damaged."""
    from medbench.cache.upkeep import CHECKED, check_readable, items
    from medbench.models.weights import is_whole
    from medbench.running.progress import make_console

    check_readable()
    console, found = make_console(), items(CHECKED)
    damaged = 0
    for item in found:
        if item.is_sound() and (item.kind != "weights" or is_whole(item.path)):
            continue
        damaged += 1
        gone = item.remove()
        what = "removed" if gone else "cannot be removed, so mend its permissions"
        console.print(
            f"{item.path}: damaged, or of an earlier version; {what}.",
            markup=False,
            soft_wrap=True,
        )
    again = " What is removed is computed or fetched again when it is needed." if damaged else ""
    console.print(f"{len(found)} checked, {damaged} damaged.{again}", markup=False)
    return 1 if damaged else 0


def clear(options: argparse.Namespace) -> int:
    """Remove what is not in use, and say what that freed.

    Raises:
        ConfigurationError: There is no such kind.
    """
    from medbench.cache import upkeep
    from medbench.errors import unknown_name
    from medbench.running.progress import make_console

    for kind in options.kind or ():
        if kind not in upkeep.KINDS:
            raise unknown_name("kind of what lies in the cache", kind, upkeep.KINDS)
    upkeep.check_readable()
    gone, kept = upkeep.clear(options.kind, downloads=_downloads())
    console = make_console()
    for kind, what in upkeep.KINDS.items():
        if of_kind := [item for item in gone if item.kind == kind]:
            _show(console, f"{kind} ({what}): {len(of_kind)} removed, {_size(of_kind)}")
    for item in kept:
        why = "in use" if item.in_use else "cannot be removed"
        _show(console, f"{item.path}: {why}, kept")
    _show(console, f"{_size(gone)} freed.")
    return 0


def _downloads() -> list[str]:
    """Files of data sets that can be fetched, as far as the catalog can be read."""
    from medbench.datasets.catalog import load_catalog
    from medbench.errors import MedBenchError

    try:
        sources = load_catalog().sources.values()
    except MedBenchError:  # whose remedies are of other commands
        return []
    return sorted({source.download.path for source in sources if source.download is not None})


def _name(item: Item) -> str:
    if item.kind in _TOGETHER:
        return ""
    return item.path.parent.name if item.kind == "features" else item.path.name


def _size(items: Sequence[Item]) -> str:
    return f"{sum(item.n_bytes for item in items) / 1e6:,.1f} MB"


def _when(items: Sequence[Item]) -> str:
    from datetime import UTC, datetime

    last = max(item.used for item in items)
    return datetime.fromtimestamp(last, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _show(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
