"""List the data sets, show or fetch some, register your own, check the file they are in."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medbench.cli.options import add_catalog, add_plugin

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from medbench.datasets.catalog import Catalog
    from medbench.datasets.listing import Listing

_MOST_CLASSES_SHOWN = 20
_ROWS_SHOWN = 5
_FIELDS = (
    "file", "label", "group", "split", "images", "sheet", "task", "separator", "spelling",
    "unlabelled", "keep", "positive", "repeats", "folders", "exclude", "include", "suffix",
)  # fmt: skip
"""Options of ``datasets add`` that are fields of the entry as they are given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``datasets``."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="all registered data sets", allow_abbrev=False)
    listing.set_defaults(execute=list_datasets)
    show = verbs.add_parser(
        "show",
        help="one data set: licence, classes, counts, first rows, a picture of some images",
        allow_abbrev=False,
    )
    show.add_argument("name", metavar="NAME")
    show.add_argument(
        "--sheet",
        type=Path,
        metavar="FILE",
        help="where the picture of some images of each class goes (default: NAME-images.png)",
    )
    show.set_defaults(execute=show_dataset)
    get = verbs.add_parser(
        "fetch",
        allow_abbrev=False,
        help="download data sets",
        description="Download data sets into the cache, or below --data-dir where it is given, "
        "and check them against their official MD5 sums. What lies on Kaggle is "
        "fetched by Kaggle's client, into its own cache.",
    )
    get.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="a data set, or a place (kaggle:OWNER/NAME, openneuro:, doi:, https:)",
    )
    get.set_defaults(execute=fetch_datasets)
    add = verbs.add_parser(
        "add",
        allow_abbrev=False,
        help="look at a folder, BIDS tree, table, npz or archive and register it",
        description="Look at a folder of class folders, a BIDS tree, a table or an npz archive, "
        "show what was understood, and write its entry to ./datasets.yaml (or --datasets-file). A "
        "zip or tar archive is used as the folder that it holds; a table in it is "
        "films.zip/labels.csv.",
    )
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="the folder, table or archive; also in a place (kaggle:OWNER/NAME/FOLDER)",
    )
    add.add_argument("--file", metavar="COLUMN", help="the table's column of file names")
    add.add_argument(
        "--label",
        metavar="COLUMN",
        help="the table's column of labels; or A,B,C: columns that are 1 for images of a class; of "
        "a folder of DICOM files the element of their headers, as SeriesDescription",
    )
    add.add_argument("--group", metavar="COLUMN", help="the table's column of patients")
    add.add_argument("--split", metavar="COLUMN", help="the table's column of train, val and test")
    add.add_argument("--images", metavar="FOLDER", help="where the table's files lie")
    add.add_argument("--sheet", metavar="NAME", help="the sheet of an Excel workbook")
    add.add_argument(
        "--where",
        action="append",
        metavar="COLUMN=VALUE",
        help="keep only these rows of the table (of a BIDS tree, only files with these entities, "
        "as session=01); several values of a column may be given",
    )
    add.add_argument(
        "--keep",
        nargs="+",
        metavar="COLUMN",
        help="the table's columns that are stored beside the labels, such as age, sex or site",
    )
    add.add_argument("--task", choices=("multi-class", "multi-label"), help="what an image shows")
    add.add_argument("--separator", metavar="MARK", help="what joins several labels in a cell")
    add.add_argument(
        "--spelling",
        choices=("merge", "apart"),
        help="whether labels that differ in case, blanks or number format only are one class",
    )
    add.add_argument(
        "--unlabelled",
        choices=("skip", "absent", "class"),
        help="rows without a label: skip them, images that show no class, a class of their own",
    )
    add.add_argument(
        "--positive", metavar="CLASS", help="the positive of two classes, the one to be found"
    )
    add.add_argument(
        "--repeats",
        choices=("positive",),
        help="an image whose rows have different labels is of the positive class",
    )
    add.add_argument(
        "--folders",
        metavar="classes|parts|patients|paths|FOLDER/",
        help="what the folders in a folder are, where their names do not tell it",
    )
    add.add_argument(
        "--exclude", nargs="+", metavar="PATTERN", help="names in a folder that are left out"
    )
    add.add_argument(
        "--include",
        nargs="+",
        metavar="PATTERN",
        help="names in a folder that are images whatever they are called, such as '*_mask.png'",
    )
    add.add_argument(
        "--pattern",
        metavar="REGEX",
        help="where the names of files say the classes: '(?P<label>[a-z]+)_.*', perhaps with "
        "(?P<patient>...) and (?P<split>...)",
    )
    add.add_argument(
        "--suffix", metavar="SUFFIX", help="which images of a BIDS tree are taken, such as T1w"
    )
    add.set_defaults(execute=add_dataset)
    validate = verbs.add_parser(
        "validate",
        help="check a datasets.yaml, line by line",
        allow_abbrev=False,
        description="Check the entries of ./datasets.yaml (or --datasets-file), and whether their "
        "images are here and can be listed.",
    )
    validate.set_defaults(execute=validate_datasets)
    schema = verbs.add_parser(
        "schema",
        help="print the JSON Schema of datasets.yaml, by which editors complete it",
        allow_abbrev=False,
    )
    schema.set_defaults(execute=print_schema)
    for verb in (listing, show, get, add, validate):
        add_catalog(verb)
    for verb in (listing, show, get, add, validate, schema):
        add_plugin(verb)


def list_datasets(options: argparse.Namespace) -> int:
    """Name, title and whether the files are there."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from medbench.running.progress import make_console

    catalog = _catalog(options)
    other_sizes = catalog.other_sizes()
    table = Table("data set", "what it is", "here", box=box.SIMPLE)
    for name, source in catalog.sources.items():
        here = source.is_here()
        if here or name not in other_sizes:  # forty rows of those would hide the rest
            place = source.place_name().partition("#")[0]
            table.add_row(
                name, escape(source.title), ("yes" if here else "no") + f", {place}" * bool(place)
            )
    console = make_console()
    console.print(table)
    console.print(
        "Where it says no, fetch it where that is possible (python -m medbench datasets fetch "
        "NAME), or name the folder that holds the files with --data-dir or MEDBENCH_DATA.",
        soft_wrap=True,
    )
    if other_sizes:
        console.print(
            "The MedMNIST sets are also known with 64 pixels, those of pictures with 128 and 224 "
            f"too, as {other_sizes[0]}.",
            soft_wrap=True,
        )
    return 0


def fetch_datasets(options: argparse.Namespace) -> int:
    """Fetch every data set that is named; 1 if one of them could not be had."""
    from medbench.running.downloading import download_each
    from medbench.running.progress import make_console

    failed = download_each(options.names, _catalog(options), options.data_dir, make_console())
    n_failed = 0
    for name, error in failed:
        said = str(error)
        print(said if said.startswith(f"{name}: ") else f"{name}: {said}", file=sys.stderr)
        n_failed += 1
    return int(n_failed > 0)


def show_dataset(options: argparse.Namespace) -> int:
    """What is known of a data set without decoding all of it, and a picture of some images."""
    from medbench.reports.sample_sheet import write_sample_sheet
    from medbench.running.ask import asking
    from medbench.running.progress import make_console

    catalog = _catalog(options)
    source = catalog.get(options.name)
    console = make_console()
    for field in ("title", "source", "licence", "citation", "homepage"):
        if value := getattr(source, field):
            console.print(f"{field}: {value}", markup=False, soft_wrap=True)
    if place := source.place_name():
        console.print(f"place: {place}", markup=False, soft_wrap=True)
    for note in source.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    listing = asking(catalog, lambda: catalog.get(options.name).listing())
    _show_listing(listing, source.side(listing), console)
    console.print(_first_rows(listing))
    sheet = options.sheet or Path(f"{options.name}-images.png")
    write_sample_sheet(options.name, listing, sheet)
    console.print(f"Some images of each class: {sheet}", markup=False, soft_wrap=True)
    return 0


def validate_datasets(options: argparse.Namespace) -> int:
    """Every entry of a file; 1 if one cannot be listed."""
    from medbench.datasets.catalog import read_datasets
    from medbench.errors import DatasetError

    file = options.datasets_file or Path("datasets.yaml")
    catalog = _catalog(options)
    failed = 0
    for name in read_datasets(file):
        try:
            source = catalog.get(name)
            if not source.is_here():
                print(f"{name}: its images are not here; the entry is well-formed")
                continue
            n_images = len(source.listing().table)
        except DatasetError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed += 1
        else:
            print(f"{name}: {n_images} images")
    return int(failed > 0)


def print_schema(options: argparse.Namespace) -> int:
    """The JSON Schema of ``datasets.yaml``, with the sources of plugins."""
    import json

    from medbench import registry
    from medbench.datasets.schema import catalog_schema

    for plugin in options.plugin:
        registry.load_plugin(plugin)
    print(json.dumps(catalog_schema(), indent=1))
    return 0


def add_dataset(options: argparse.Namespace) -> int:
    """Guess an entry, show it, try it, and append it to the user's file."""
    from medbench.datasets.add_entry import append_entry, guessed_entry, tried
    from medbench.datasets.positive import GUESSED
    from medbench.running.ask import answer
    from medbench.running.progress import make_console

    file = options.datasets_file or Path("datasets.yaml")
    options.datasets_file = file if file.exists() else None
    _catalog(options).check_free(options.name)
    given = {field: getattr(options, field) for field in _FIELDS}
    given["where"] = _where(options.where)
    given["labels"] = None if options.pattern is None else {"pattern": options.pattern}
    entry = guessed_entry(options.path, given, answer)
    listing = tried(entry, answer)
    console = make_console()
    console.print(f"{options.path} is a {entry['source']} data set:", markup=False)
    _show_listing(listing, entry["image_size"], console)
    if listing.positive_decided == GUESSED:
        console.print("If another class is to be found, say so with --positive.")
    text = append_entry(file, options.name, entry)
    console.print(f"Written to {file}:\n\n{text}", markup=False, soft_wrap=True)
    more = "" if file == Path("datasets.yaml") else f" --datasets-file {file}"
    console.print(
        f"Run it: python -m medbench run --datasets {options.name}{more}",
        markup=False,
        soft_wrap=True,
    )
    return 0


def _where(conditions: Sequence[str] | None) -> dict[str, list[str]] | None:
    """The field where, of conditions as ``view=PA``.

    Raises:
        ConfigurationError: One has no equals sign.
    """
    from medbench.errors import ConfigurationError

    if conditions is None:
        return None
    where: dict[str, list[str]] = {}
    for condition in conditions:
        column, equals, value = condition.partition("=")
        if not equals:
            raise ConfigurationError(f"--where {condition}: write it as COLUMN=VALUE.")
        where.setdefault(column, []).append(value)
    return where


def _catalog(options: argparse.Namespace) -> Catalog:
    from medbench import registry
    from medbench.datasets.catalog import load_catalog

    for plugin in options.plugin:
        registry.load_plugin(plugin)
    return load_catalog(data_dir=options.data_dir, datasets_file=options.datasets_file)


def _first_rows(listing: Listing) -> Table:
    """The first images with what was understood of them."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from medbench.datasets.task import labels_in, membership
    from medbench.reports.text import plain

    shown = listing.table.head(_ROWS_SHOWN)
    classes, labels = listing.classes, membership(labels_in(shown), len(listing.classes))
    table = Table("image", "slice", "class", "group", "split", box=box.SIMPLE)
    for row, has in zip(shown.itertuples(index=False), labels, strict=True):
        named = ", ".join(classes[k] for k in has.nonzero()[0]) or "none"
        cells = (row.origin, row.slice, named, row.group or "-", row.split or "-")
        table.add_row(*(escape(plain(str(cell))) for cell in cells))
    return table


def _show_listing(listing: Listing, side: int, console: Console) -> None:
    from medbench.datasets.positive import in_words
    from medbench.datasets.spellings import counted
    from medbench.reports.text import plain

    for note in listing.notes:
        console.print(f"note: {plain(note)}", markup=False, soft_wrap=True)
    task_type = "" if listing.task_type == "multi-class" else f" ({listing.task_type})"
    console.print(f"images: {len(listing.table)}{task_type}")
    console.print(f"  brought to {side} x {side} pixels (field image_size)")
    for name, n in list(listing.images_per_class().items())[:_MOST_CLASSES_SHOWN]:
        console.print(f"  {plain(name)}: {n}", markup=False)
    if listing.positive_decided:
        words = in_words(listing.classes[-1], listing.positive_decided)
        console.print(plain(words), markup=False, soft_wrap=True)
    if len(listing.classes) > _MOST_CLASSES_SHOWN:
        console.print(f"  and {len(listing.classes) - _MOST_CLASSES_SHOWN} more classes")
    if n_groups := listing.n_groups():
        console.print(f"groups (patients): {n_groups}")
        if alone := listing.n_without_group():
            console.print(f"  {alone} images name none and stand for themselves")
    else:
        console.print("groups (patients): not known; only identical images are kept together")
    for column in listing.kept:
        said = counted(Counter(listing.kept[column].tolist()))
        console.print(f"kept: {plain(str(column))}: {plain(said)}", markup=False, soft_wrap=True)
    if parts := listing.images_per_part():
        console.print("official split: " + ", ".join(f"{p} {n}" for p, n in parts.items()))
