"""Classify new images with the model that a run found, or with an exported one."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medbench.cli.options import add_model, add_operating_point, add_plugin, as_type
from medbench.counts import MOST_SLICES
from medbench.names import harmless
from medbench.running.values import whole

if TYPE_CHECKING:
    from medbench.inference.model import Model
    from medbench.inference.model_info import ModelInfo
    from medbench.inference.prediction import Prediction

_FORMATS = ("table", "json", "csv")
_MOST_COLUMNS = 4
"""Up to this many classes each has a column of the table; of more the likeliest are named."""
_LIKELIEST = 3
_UNLIKE = "! unlike the images of development, with their out-of-distribution score"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``predict``."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="files (PNG, JPEG, TIFF, DICOM, NIfTI), folders, patterns, or - for a list of names",
    )
    add_model(parser)
    add_operating_point(parser)
    parser.add_argument(
        "--format", choices=_FORMATS, default="table", help="what is printed (default: table)"
    )
    parser.add_argument(
        "--slice",
        type=as_type(whole(1, MOST_SLICES)),
        metavar="N",
        help="of volumes, stacks and animations, the slice to classify, counted from 1 (default: "
        "what the model has learnt from)",
    )
    parser.add_argument(
        "--volume",
        type=as_type(whole(1, MOST_SLICES)),
        metavar="N",
        help="of files with several volumes (times, directions or contrasts) the one to classify, "
        "counted from 1 (default: that which the model has learnt from)",
    )
    parser.add_argument(
        "--explain",
        type=Path,
        metavar="PATH",
        help="show where the evidence lies: a PNG file, or of several images a folder",
    )
    add_plugin(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """0 if every image was classified, 1 if one could not be."""
    from medbench.inference.apart import apart

    return apart(options.run, options.command, lambda: _execute(options))


def _execute(options: argparse.Namespace) -> int:
    """As ``execute``, in the process in which the models work."""
    from medbench.cli.options import chosen_model
    from medbench.inference.explanation import check_path, explained
    from medbench.inference.find_files import find_files

    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # names need not be text
    files = find_files(options.images, sys.stdin, _say)
    if options.explain is not None:
        check_path(options.explain, len(files))
    model = chosen_model(options)
    chosen = {"slice_number": options.slice, "volume_number": options.volume}
    if options.explain is None:
        predictions = model.classified(files, **chosen, keep_going=True)
    else:
        predictions = explained(model, files, options.explain, **chosen, keep_going=True)
    write = {"table": _table, "csv": _csv, "json": _json}[options.format]
    n_failed = write(model, _worded(predictions, options))
    if n_failed:
        _say(f"{n_failed} of {len(files)} images could not be classified.")
    return int(n_failed > 0)


def _worded(predictions: Iterator[Prediction], options: argparse.Namespace) -> Iterator[Prediction]:
    """The predictions in harmless text, their errors with what this verb can do about them."""
    from medbench.cli.remedies import message

    for one in predictions:
        error = one.error if one.cause is None else message(one.cause, options)
        shown = harmless(one.image)  # also where the error names it, on one line
        error = harmless(error.replace(one.image, shown), lines=True)
        yield replace(one, image=shown, error=error)


def _say(text: str) -> None:
    """What is no result goes to standard error."""
    from medbench.reports.text import plain

    print(plain(text), file=sys.stderr)


# --- what is printed; each says how many images could not be classified --------------------------


def _table(model: Model, predictions: Iterator[Prediction]) -> int:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from medbench.cli.model_info import print_model_info
    from medbench.errors import grouped
    from medbench.inference.model_info import RESEARCH_ONLY
    from medbench.inference.prediction import WHAT_UNLIKE_MEANS, unlike
    from medbench.reports.text import plain
    from medbench.running.progress import make_console

    console = make_console()
    print_model_info(model.info, console)
    done = list(predictions)
    classes = model.task.classes
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("decision", overflow="fold")
    wide = len(classes) <= _MOST_COLUMNS
    heads = [f"p({plain(name)})" for name in classes] if wide else ["likeliest"]
    for head in heads:
        table.add_column(Text(head), justify="right" if wide else "left", overflow="fold")
    notes: dict[str, list[str]] = {}
    for one in done:
        if one.error:
            cells = ["-", *["-"] * len(heads)]
        else:
            cells = [one.decided, *(_each(one) if wide else [_likeliest(one, classes)])]
        for warning in one.warnings:
            if warning in unlike(one.ood_score):
                named = f"{one.image} {one.ood_score:.2f}"
                notes.setdefault(_UNLIKE, []).append(named)
            else:
                notes.setdefault(f"! {warning}", []).append(one.image)
        name = f"{one.image}, {one.shown}" if one.shown else one.image
        name = f"{name} !" if one.warnings else name
        table.add_row(*(Text(plain(cell)) for cell in (name, *cells)))
    console.print(table)
    for reason in grouped([one.error for one in done if one.error]):
        console.print(Text(plain(f"Not classified: {reason}"), style="yellow"))
    for note, names in notes.items():
        console.print(Text(plain(f"{note}: {', '.join(names)}"), style="yellow"))
    if any(unlike(one.ood_score) for one in done):
        console.print(WHAT_UNLIKE_MEANS)
    if len(model.info.folds) > 1:
        console.print(
            "In brackets: the lowest and highest of the fold models. It is their disagreement, "
            "not a confidence interval."
        )
    console.print(RESEARCH_ONLY, markup=False)
    return sum(bool(one.error) for one in done)


def _each(one: Prediction) -> list[str]:
    """The probability of each class, with the spread over the folds."""
    return [_with_spread(*each) for each in zip(one.probabilities, one.low, one.high, strict=True)]


def _likeliest(one: Prediction, classes: Sequence[str]) -> str:
    order = sorted(range(len(classes)), key=lambda k: -one.probabilities[k])[:_LIKELIEST]
    return ", ".join(
        f"{classes[k]} {_with_spread(one.probabilities[k], one.low[k], one.high[k])}" for k in order
    )


def _with_spread(mean: float, low: float, high: float) -> str:
    from medbench.reports.text import format_interval, format_score

    return format_score(mean) if low == high else format_interval(mean, low, high)


def _csv(model: Model, predictions: Iterator[Prediction]) -> int:
    import csv

    from medbench.inference.prediction import as_row, columns
    from medbench.reports.text import no_formula, plain

    _info_to_standard_error(model.info)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([plain(name) for name in columns(model.info)])
    n_failed = 0
    for one in predictions:
        image, *cells = as_row(one, model.info)
        texts = [plain(cell) if isinstance(cell, str) else cell for cell in cells]
        writer.writerow([no_formula(x) if isinstance(x, str) else x for x in (image, *texts)])
        sys.stdout.flush()
        n_failed += bool(one.error)
    return n_failed


def _json(model: Model, predictions: Iterator[Prediction]) -> int:
    import json

    from medbench.inference.prediction import about_model, as_record

    done = list(predictions)
    about = about_model(model.info, model.threshold)
    images = [as_record(one, model.info) for one in done]
    print(json.dumps({"about": about, "images": images}, indent=2))
    return sum(bool(one.error) for one in done)


def _info_to_standard_error(info: ModelInfo) -> None:
    """Beside a table for machines, what a person must know goes to standard error."""
    from rich.console import Console

    from medbench.cli.model_info import print_model_info
    from medbench.inference.model_info import RESEARCH_ONLY

    console = Console(stderr=True, highlight=False)
    print_model_info(info, console)
    console.print(RESEARCH_ONLY, markup=False)
