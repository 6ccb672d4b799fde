"""Write the model of a run into a folder of its own, checked on held-out images."""

from __future__ import annotations

import argparse
from pathlib import Path

from medbench.cli.options import add_catalog, add_dataset_and_model, add_plugin, given
from medbench.running.options import EXPORTED, ExportOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``export``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    add_dataset_and_model(parser)
    parser.add_argument(
        "--format",
        choices=EXPORTED,
        help="networks: onnx (the default where it is installed) or keras; hog-svm and the sanity "
        "rows: skops; xgboost: xgboost",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="where it goes (default: results/exported/MODEL-DATASET)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="the folder, if the run was given one"
    )
    add_catalog(parser)
    add_plugin(parser)
    parser.set_defaults(execute=execute)


def execute(options: argparse.Namespace) -> int:
    """Load, write, compare, and say where it is."""
    from medbench.inference.apart import apart

    return apart(options.run, options.command, lambda: _execute(options))


def _execute(options: argparse.Namespace) -> int:
    """As ``execute``, in the process in which the models work."""
    from medbench.running.export import export
    from medbench.running.progress import make_console

    wanted = given(options)
    wanted["model"] = wanted.pop("models")  # which is one
    done = export(options.run, ExportOptions.of(wanted))
    info, console = done.info, make_console()
    for line in (
        f"{info.family} on {info.dataset}: {info.why}",
        f"Checked on {done.checked_images} held-out images: its probabilities are the original's "
        f"(largest difference {done.largest_difference:.1g}).",
        f"Written: {done.folder}/ (model, model-card.md, model.json)",
        f"Use it:  python -m medbench predict IMAGE --run {done.folder}",
    ):
        console.print(line, soft_wrap=True, markup=False)
    return 0
