"""Look for copies, leaks, wrong labels and shortcuts in data sets; nothing is trained."""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medbench.cli.options import (
    add_catalog,
    add_plugin,
    add_skip_unreadable,
    named_datasets,
)

if TYPE_CHECKING:
    from rich.console import Console

    from medbench.datasets.audit import Audit
    from medbench.datasets.catalog import Catalog
    from medbench.datasets.how_far import Say
    from medbench.datasets.prepared import PreparedDataset

_DEFAULT_OUT = Path("results") / "audit"
_FATAL = ("serious", "warning")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``audit``."""
    parser.add_argument("datasets", nargs="*", metavar="DATASET", help="registered data sets")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="a folder with one sub-folder per class"
    )
    add_catalog(parser)
    add_plugin(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=_DEFAULT_OUT,
        metavar="FOLDER",
        help=f"where the findings go, with names of files (default: {_DEFAULT_OUT})",
    )
    add_skip_unreadable(parser)
    add_fail_on_audit(parser)
    parser.set_defaults(execute=execute)


def add_fail_on_audit(parser: argparse._ActionsContainer) -> None:
    """``--fail-on-audit``: the severity at which a finding is fatal, or None."""
    parser.add_argument(
        "--fail-on-audit",
        nargs="?",
        const=_FATAL[0],
        choices=_FATAL,
        help="make findings fatal that are serious (the default), or warnings too",
    )


def execute(options: argparse.Namespace) -> int:
    """Audit each data set; 1 if a finding is fatal, 2 if a data set cannot be read."""
    from medbench import registry
    from medbench.cli.ask import asking
    from medbench.cli.progress import make_console
    from medbench.cli.remedies import message
    from medbench.datasets.audit import audit
    from medbench.datasets.catalog import load_catalog
    from medbench.errors import DatasetError

    for plugin in options.plugin:
        registry.load_plugin(plugin)
    catalog = load_catalog(
        data_dir=options.data_dir, datasets_file=options.datasets_file, folder=options.data
    )
    names = _names(options)
    for name in names:
        catalog.get(name)  # all of them are known before the first is read
    console = make_console()
    say = functools.partial(console.print, markup=False, soft_wrap=True)
    fatal = failed = False
    for name in names:
        try:
            dataset = asking(
                catalog,
                functools.partial(_prepared, name, catalog, options.skip_unreadable, say),
            )
        except DatasetError as error:
            print(f"medbench: error: {message(error, options)}", file=sys.stderr)
            failed = True
            continue
        found = audit(dataset)
        fatal |= found.reaches(options.fail_on_audit)
        _report(dataset, found, options.out / name, console)
    return 2 if failed else int(fatal)


def _names(options: argparse.Namespace) -> list[str]:
    """The data sets that are named, and the folder that was given; each once."""
    from medbench.errors import ConfigurationError

    names = named_datasets(options.datasets, options.data)
    if not names:
        raise ConfigurationError(
            "no data set is named. Give the names of some (python -m medbench datasets list), or "
            "--data FOLDER."
        )
    return names


def _prepared(name: str, catalog: Catalog, skip_unreadable: bool, say: Say) -> PreparedDataset:
    from medbench.cache import cache_folder
    from medbench.cores import available_threads
    from medbench.datasets.prepared import prepare

    return prepare(
        name,
        catalog.get(name),
        cache=cache_folder() / "prepared",
        threads=available_threads(),
        skip_unreadable=skip_unreadable,
        say=say,
    )


def _report(dataset: PreparedDataset, found: Audit, folder: Path, console: Console) -> None:
    """Print the findings first: what cannot be written can still be read."""
    from medbench.datasets.positive import in_words
    from medbench.files import write_json, write_text
    from medbench.reports.audit import audit_markdown, print_audit
    from medbench.reports.contact_sheet import write_contact_sheet
    from medbench.reports.text import plain

    title = dataset.name
    if dataset.source.title not in ("", title):
        title = f"{title}: {dataset.source.title}"
    names = dataset.names
    for note in dataset.notes:
        console.print(f"{dataset.name}: {plain(note)}", markup=False, soft_wrap=True)
    if words := in_words(dataset.task.positive, dataset.positive_decided):
        console.print(f"{dataset.name}: {plain(words)}", markup=False, soft_wrap=True)
    print_audit(found, title, console, names, unreadable=dataset.unreadable)
    write_json(folder / "audit.json", _with_files(dataset, found))
    page = audit_markdown(found, title, names, unreadable=dataset.unreadable)
    write_text(folder / "audit.md", page)
    sheet = folder / "duplicates.png"
    drawn = write_contact_sheet(dataset, sheet)
    if not drawn:
        sheet.unlink(missing_ok=True)  # of an audit before the images were mended
    console.print(
        f"Written: {folder}/audit.md, audit.json{' and duplicates.png' if drawn else ''}\n",
        soft_wrap=True,
        markup=False,
    )


def _with_files(dataset: PreparedDataset, found: Audit) -> dict[str, Any]:
    """The record of an audit, and which file each of the images concerned is."""
    record = found.as_record()
    rows = sorted({row for finding in found.findings for row in finding.images})
    for entry, finding in zip(record["findings"], found.findings, strict=True):
        entry["images"] = list(finding.images)
    table = dataset.table.iloc[rows]
    columns = (table[name] for name in ("origin", "slice", "group", "split"))
    files = zip(rows, *columns, strict=True)
    return {
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        **record,
        "files": [
            {"image": row, "file": origin, "slice": n, "group": int(group), "split": split}
            for row, origin, n, group, split in files
        ],
        "unreadable": list(dataset.unreadable),
    }
