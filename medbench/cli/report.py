"""Make the page of a run, or of several together, from what is stored; nothing is trained."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medbench.cli.options import add_images
from medbench.running.options import FORMATS

if TYPE_CHECKING:
    from rich.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``report``."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run folders; several are joined"
    )
    parser.add_argument(
        "--format",
        nargs="+",
        choices=FORMATS,
        default=["html"],
        help="the page (html, the default), or tables",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where it goes (default: the run folder; of several runs results/A-and-B)",
    )
    parser.add_argument("--open", action="store_true", help="open the page in your browser")
    add_images(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Read, write, and say where it is."""
    from medbench.reports.text import plain
    from medbench.running.progress import make_console
    from medbench.running.report import read_runs

    console = make_console()
    found = read_runs(options.runs, options.out)
    run = found.run
    known = [run.unfinished, *(f"Not shown: {gap}" for gap in run.gaps)]
    if not run.hashed:
        known.append(
            "Written before hashes were kept: damage that can still be read is not noticed."
        )
    for words in filter(None, known):
        console.print(plain(words), style="yellow", markup=False)
    for folder, files in found.left_over().items():
        words = _left_over(folder, files)
        console.print(words, style="yellow", markup=False, soft_wrap=True)
    written = found.write(options.format, options.images)
    for path in written:
        console.print(str(path), soft_wrap=True, markup=False, highlight=False)
    if options.open:
        _open(written[0], console)
    return 0


def _left_over(folder: Path, files: Sequence[Path]) -> str:
    """A line on files that no run writes, which may be images of patients."""
    n = len(files)
    what = "1 file or folder here is" if n == 1 else f"{n} files or folders here are"
    return (
        f"{folder}: {what} no part of a run (first {files[0].relative_to(folder)}). A "
        "killed process or an earlier version may have left images of patients there: look, and "
        "remove what you do not need."
    )


def _open(path: Path, console: Console) -> None:
    """Show a file in the user's browser, or say that there is none."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        console.print("No browser was found; open the file by hand.")
