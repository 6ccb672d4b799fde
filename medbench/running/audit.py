"""``medbench.audit``: look for copies, leaks, wrong labels and shortcuts; nothing is trained."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from medbench.atomic_files import write_json, write_text
from medbench.cache import cache_folder
from medbench.cores import available_threads
from medbench.datasets.audit import AuditReport
from medbench.datasets.audit import audit as audit_prepared
from medbench.datasets.catalog import Catalog
from medbench.datasets.positive import in_words
from medbench.datasets.prepared import PreparedDataset, prepare
from medbench.datasets.progress_callback import ProgressCallback
from medbench.errors import AuditError, ConfigurationError, DatasetError
from medbench.reports.audit_text import audit_markdown, print_audit
from medbench.reports.contact_sheet import write_contact_sheet
from medbench.reports.text import plain
from medbench.running.ask import asking
from medbench.running.call import call
from medbench.running.options import AUDIT_OUT, AuditOptions
from medbench.running.progress import make_console
from medbench.running.wanted import registered

_Path = str | os.PathLike[str]


def audit(
    datasets: str | Iterable[str] | None = None,
    *,
    data: _Path | None = None,
    data_dir: _Path | None = None,
    datasets_file: _Path | None = None,
    plugin: _Path | Iterable[_Path] = (),
    out: _Path = AUDIT_OUT,
    skip_unreadable: bool = False,
    fail_on_audit: bool | Literal["serious", "warning"] | None = None,
    **unknown: Any,
) -> dict[str, AuditReport]:
    """Look for copies, leaks, wrong labels and shortcuts in data sets; nothing is trained.

    This is ``python -m medbench audit``, with its names, defaults and errors. It prints what it
    finds, and writes it, with names of files, to ``OUT/DATASET/``.

    Args:
        datasets: Names of registered data sets; one or several.
        data: A folder with one sub-folder of images per class, or a BIDS tree.
        data_dir: Folder with the images of registered data sets, in which they are looked for
            before that of the environment variable ``MEDBENCH_DATA``.
        datasets_file: A YAML file of more data sets.
        plugin: Python files that register sources or readers; one or several.
        out: A folder where the findings go.
        skip_unreadable: Leave unreadable images out, instead of refusing their data set.
        fail_on_audit: ``"serious"`` (or True) to raise an ``AuditError`` where there is a serious
            finding, ``"warning"`` where there is a warning or worse; None to raise none.
        **unknown: No other name is taken: the ``ConfigurationError`` proposes the closest one.

    Returns:
        By the name of the data set what was found: ``findings``, the worst first, each with
        ``severity``, ``text``, ``remedy`` and ``images`` (row numbers, from 0); ``n_images`` and
        ``n_groups`` (patients, or images that are alike).

    Raises:
        ConfigurationError: A name or a value cannot be, or no data set is named. The message is
            that of the command line, where ``data_dir`` is called ``--data-dir``.
        PluginError: A plugin cannot be loaded.
        DatasetError: A data set cannot be read. The others are audited first.
        AuditError: ``fail_on_audit`` asks for it. Everything is written first.
        StoreError: The folder cannot be written.
        MachineError: There is nowhere space for the prepared images, or this process is a fork of
            one that had imported MedBench.
        OSError: The operating system refuses something else, such as a file of the cache.
    """
    return call(_audit, AuditOptions, locals())


def _audit(options: AuditOptions) -> dict[str, AuditReport]:
    """As ``audit``."""
    catalog, names = registered(options)
    if not names:
        raise ConfigurationError(
            "no data set is named. Give the names of some (python -m medbench datasets list), or "
            "--data FOLDER."
        )
    for name in names:
        catalog.get(name)  # all of them are known before the first is read
    console = make_console()
    say = functools.partial(console.print, markup=False, soft_wrap=True)
    found: dict[str, AuditReport] = {}
    errors: list[DatasetError] = []
    for name in names:
        read = functools.partial(_prepared, name, catalog, options.skip_unreadable, say)
        try:
            dataset = asking(catalog, read)
        except DatasetError as error:
            errors.append(error)
            continue
        found[name] = audit_prepared(dataset)
        _report(dataset, found[name], (options.out or AUDIT_OUT) / name, console)
    if errors:
        raise _together(errors)
    fatal = [name for name, one in found.items() if one.reaches(options.fail_on_audit)]
    if fatal:
        raise AuditError(
            f"{', '.join(fatal)}: --fail-on-audit {options.fail_on_audit} finds it fatal."
        )
    return found


def _together(errors: list[DatasetError]) -> DatasetError:
    """What is wrong with several data sets, as one error."""
    if len(errors) == 1:
        return errors[0]
    remedies = {option: does for error in errors for option, does in error.options.items()}
    return DatasetError("\n".join(map(str, errors)), options=remedies)


def _prepared(
    name: str, catalog: Catalog, skip_unreadable: bool, say: ProgressCallback
) -> PreparedDataset:
    return prepare(
        name,
        catalog.get(name),
        cache=cache_folder() / "prepared",
        threads=available_threads(),
        skip_unreadable=skip_unreadable,
        say=say,
    )


def _report(dataset: PreparedDataset, found: AuditReport, folder: Path, console: Console) -> None:
    """Print the findings first: what cannot be written can still be read."""
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


def _with_files(dataset: PreparedDataset, found: AuditReport) -> dict[str, Any]:
    """The record of an audit, and which file each of the images concerned is."""
    record = found.as_record()
    rows = sorted({row for finding in found.findings for row in finding.images})
    for entry, finding in zip(record["findings"], found.findings, strict=True):
        entry["images"] = list(finding.images)
    table = dataset.table.iloc[rows]
    columns = (table[name] for name in ("origin", "shown", "group", "split"))
    files = zip(rows, *columns, strict=True)
    return {
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        **record,
        "files": [
            {"image": row, "file": origin, "shown": shown, "group": int(group), "split": split}
            for row, origin, shown, group, split in files
        ],
        "unreadable": list(dataset.unreadable),
    }
