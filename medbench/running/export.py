"""A model of a run in a folder of its own, checked on held-out images; see ``Run.export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medbench.atomic_files import folder_name
from medbench.inference.export import export as export_model
from medbench.inference.held_out import held_out_images
from medbench.inference.load import load_model
from medbench.inference.model_info import ModelInfo
from medbench.running.ask import asking
from medbench.running.data_again import catalog_of_run
from medbench.running.options import ExportOptions
from medbench.store import RunStore


@dataclass(frozen=True, kw_only=True)
class Export:
    """A model that was exported."""

    folder: Path
    """Where it is; ``medbench.load_model`` opens it."""
    info: ModelInfo
    """What is known of the model."""
    checked_images: int
    """Held-out images on which it was compared with the original."""
    largest_difference: float
    """Of a probability on them."""


def export(run_folder: Path, options: ExportOptions) -> Export:
    """Write the model of a run into a folder of its own, compared with the original.

    Args:
        run_folder: The run.
        options: Which model, how and where to.

    Raises:
        StoreError: There is no run, it is damaged, its images are others now, or the folder is in
            use or cannot be written.
        ConfigurationError: A name is unknown, or the family has no such format.
        PluginError: A plugin cannot be loaded.
        DatasetError: The held-out images are not here.
        ModelError: A model file was changed, or the exported model does not say the same; nothing
            is left of it.
    """
    store = RunStore(run_folder)
    store.read()  # an exported model is no run, and says so here
    model = load_model(
        run_folder, dataset=options.dataset, model=options.model, plugins=options.plugin
    )
    info = model.info
    catalog = catalog_of_run(
        [info.dataset],
        data=options.data,
        data_dir=options.data_dir,
        datasets_file=options.datasets_file,
    )
    images = asking(catalog, lambda: held_out_images(store, info.dataset, catalog))
    name = folder_name(f"{info.family}-{info.dataset}")
    folder = options.out or Path("results") / "exported" / name
    difference = export_model(model, options.format, folder, images)
    return Export(
        folder=folder, info=info, checked_images=len(images), largest_difference=difference
    )
