"""Write the model of a run into a folder of its own, checked on held-out images."""

from __future__ import annotations

import argparse
from pathlib import Path

from medbench.cli.options import (
    add_catalog,
    add_dataset_and_model,
    add_plugin,
    catalog_of_run,
)

_FORMATS = ("onnx", "keras", "skops", "xgboost")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``export``."""
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    add_dataset_and_model(parser)
    parser.add_argument(
        "--format",
        choices=_FORMATS,
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
    from medbench.cli.apart import apart

    return apart(options.run, options, _execute)


def _execute(options: argparse.Namespace) -> int:
    """As ``execute``, in the process in which the models work."""
    from medbench.atomic_files import folder_name
    from medbench.inference.export import export
    from medbench.inference.held_out import held_out_images
    from medbench.inference.load import load_model
    from medbench.running.ask import asking
    from medbench.running.progress import make_console
    from medbench.store import RunStore

    store = RunStore(options.run)
    store.read()  # an exported model is no run, and says so here
    model = load_model(
        options.run, dataset=options.dataset, model=options.models, plugins=options.plugin
    )
    info = model.info
    catalog = catalog_of_run(options, [info.dataset])
    images = asking(catalog, lambda: held_out_images(store, info.dataset, catalog))
    name = folder_name(f"{info.family}-{info.dataset}")
    out = options.out or Path("results") / "exported" / name
    difference = export(model, options.format, out, images)
    console = make_console()
    for line in (
        f"{info.family} on {info.dataset}: {info.why}",
        f"Checked on {len(images)} held-out images: its probabilities are the original's (largest "
        f"difference {difference:.1g}).",
        f"Written: {out}/ (model, model-card.md, model.json)",
        f"Use it:  python -m medbench predict IMAGE --run {out}",
    ):
        console.print(line, soft_wrap=True, markup=False)
    return 0
