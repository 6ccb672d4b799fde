"""List the data sets, show one, or register one of your own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from medbench.cli.options import add_catalog, add_plugin

if TYPE_CHECKING:
    from rich.console import Console

    from medbench.datasets.catalog import Catalog
    from medbench.datasets.sources.base import Source

HELP = "list the data sets, show one, or add your own"
_MOST_CLASSES_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``datasets``."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="all registered data sets")
    listing.set_defaults(execute=list_datasets)
    info = verbs.add_parser("info", help="one data set: classes, counts, licence")
    info.add_argument("name", metavar="NAME")
    info.set_defaults(execute=show_dataset)
    add = verbs.add_parser(
        "add",
        help="look at a folder, table or npz and register it",
        description="Look at a folder of class folders, a CSV table or an npz archive, show what "
        "was understood, and write its entry to ./datasets.yaml (or --datasets-file).",
    )
    add.add_argument("name", metavar="NAME")
    add.add_argument("path", type=Path, metavar="PATH")
    add.add_argument("--file", metavar="COLUMN", help="the table's column of file names")
    add.add_argument("--label", metavar="COLUMN", help="the table's column of labels")
    add.add_argument("--group", metavar="COLUMN", help="the table's column of patients")
    add.set_defaults(execute=add_dataset)
    for verb in (listing, info, add):
        add_catalog(verb)
        add_plugin(verb)


def list_datasets(options: argparse.Namespace) -> int:
    """Name, title and whether the files are there."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from medbench.cli.progress import make_console

    catalog = _catalog(options)
    table = Table("data set", "what it is", "here", box=box.SIMPLE)
    for name, source in catalog.sources.items():
        table.add_row(name, escape(source.title), "yes" if _is_here(source) else "no")
    console = make_console()
    console.print(table)
    console.print(
        "Where it says no, name the folder that holds the files with --data-dir or MEDBENCH_DATA.",
        soft_wrap=True,
    )
    return 0


def show_dataset(options: argparse.Namespace) -> int:
    """Everything that is known of a data set without decoding it."""
    from medbench.cli.progress import make_console

    source = _catalog(options).get(options.name)
    console = make_console()
    for field in ("title", "source", "licence", "citation", "homepage"):
        if value := getattr(source, field):
            console.print(f"{field}: {value}", markup=False, soft_wrap=True)
    for note in source.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    _show_listing(source, console)
    return 0


def add_dataset(options: argparse.Namespace) -> int:
    """Guess an entry, show it, try it, and append it to the user's file."""
    import yaml

    from medbench import registry
    from medbench.cli.progress import make_console
    from medbench.datasets.catalog import check_name
    from medbench.datasets.detect import detect, unused_split
    from medbench.errors import ConfigurationError
    from medbench.store import write_text

    file = options.datasets_file or Path("datasets.yaml")
    options.datasets_file = file if file.exists() else None
    check_name(options.name)
    if options.name in _catalog(options).sources:
        raise ConfigurationError(
            f"data set {options.name!r} is registered already. Choose another name."
        )
    entry = detect(options.path, file=options.file, label=options.label, group=options.group)
    source = registry.sources.get(entry["source"]).model_validate(entry)
    console = make_console()
    console.print(f"{options.path} is a {entry['source']} data set:", markup=False)
    _show_listing(source, console)
    if split := unused_split(entry):
        console.print(
            f"column {split!r} is not used as the official split: not every row says train, val "
            "or test",
            markup=False,
        )
    text = yaml.safe_dump({options.name: entry}, sort_keys=False, allow_unicode=True)
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    whole = f"{before.rstrip()}\n\n{text}" if before.strip() else text
    try:
        appended = yaml.safe_load(whole)[options.name] == entry
    except yaml.YAMLError:
        appended = False
    if not appended:
        raise ConfigurationError(
            f"{file}: an entry cannot be added below what stands there. Paste this into it:\n\n"
            f"{text}"
        )
    write_text(file, whole)
    console.print(f"Written to {file}:\n\n{text}", markup=False, soft_wrap=True)
    more = "" if file == Path("datasets.yaml") else f" --datasets-file {file}"
    console.print(
        f"Run it: python -m medbench run --datasets {options.name}{more}",
        markup=False,
        soft_wrap=True,
    )
    return 0


def _catalog(options: argparse.Namespace) -> Catalog:
    from medbench import registry
    from medbench.datasets.catalog import load_catalog

    for plugin in options.plugin:
        registry.load_plugin(plugin)
    return load_catalog(data_dir=options.data_dir, datasets_file=options.datasets_file)


def _is_here(source: Source) -> bool:
    from medbench.errors import DatasetError

    path = getattr(source, "path", None)
    if path is None:
        return True
    try:
        source.locate(path)
    except DatasetError:
        return False
    return True


def _show_listing(source: Source, console: Console) -> None:
    from medbench.reports.text import plain

    listing = source.listing()
    counts = listing.table["label"].value_counts()
    console.print(f"images: {len(listing.table)}")
    for index, name in enumerate(listing.classes[:_MOST_CLASSES_SHOWN]):
        console.print(f"  {plain(name)}: {counts.get(index, 0)}", markup=False)
    if len(listing.classes) > _MOST_CLASSES_SHOWN:
        console.print(f"  and {len(listing.classes) - _MOST_CLASSES_SHOWN} more classes")
    named = listing.table["group"] != ""
    if named.any():
        console.print(f"groups (patients): {listing.table.loc[named, 'group'].nunique()}")
        if not named.all():
            console.print(f"  {(~named).sum()} images name none and stand for themselves")
    else:
        console.print("groups (patients): not known; only identical images are kept together")
    if (listing.table["split"] != "").any():
        parts = listing.table["split"].value_counts()
        console.print("official split: " + ", ".join(f"{p} {n}" for p, n in parts.items()))
