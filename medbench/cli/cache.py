"""List what lies in the cache, check that it is sound, or clear it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from medbench.cache.upkeep import Item


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
    from medbench.cache.upkeep import SIZE_VARIABLE, bound, foreign
    from medbench.running.cached import by_name, cached_items
    from medbench.running.progress import make_console

    most, found = bound(), cached_items()
    table = Table("kind", "what", "number", "size", "last used", "", box=box.SIMPLE)
    for (kind, name), group in by_name(found).items():
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
    from medbench.running.cached import verified
    from medbench.running.progress import make_console

    console = make_console()
    checked = damaged = 0
    for item, sound in verified():
        checked += 1
        if sound:
            continue
        damaged += 1
        what = "removed" if item.remove() else "cannot be removed, so mend its permissions"
        console.print(
            f"{item.path}: damaged, or of an earlier version; {what}.",
            markup=False,
            soft_wrap=True,
        )
    again = " What is removed is computed or fetched again when it is needed." if damaged else ""
    console.print(f"{checked} checked, {damaged} damaged.{again}", markup=False)
    return 1 if damaged else 0


def clear(options: argparse.Namespace) -> int:
    """Remove what is not in use, and say what that freed."""
    from medbench.cache.upkeep import KINDS
    from medbench.running import cached
    from medbench.running.progress import make_console

    gone, kept = cached.clear(options.kind)
    console = make_console()
    for kind, what in KINDS.items():
        if of_kind := [item for item in gone if item.kind == kind]:
            _show(console, f"{kind} ({what}): {len(of_kind)} removed, {_size(of_kind)}")
    for item in kept:
        why = "in use" if item.in_use else "cannot be removed"
        _show(console, f"{item.path}: {why}, kept")
    _show(console, f"{_size(gone)} freed.")
    return 0


def _size(items: Sequence[Item]) -> str:
    return f"{sum(item.n_bytes for item in items) / 1e6:,.1f} MB"


def _when(items: Sequence[Item]) -> str:
    from datetime import UTC, datetime

    last = max(item.used for item in items)
    return datetime.fromtimestamp(last, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _show(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
