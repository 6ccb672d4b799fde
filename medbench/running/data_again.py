"""The images of a finished run, found again: a run keeps no path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medbench.datasets.catalog import Catalog, folder_data_set, load_catalog, name_of_folder
from medbench.errors import ConfigurationError


def catalog_of_run(
    names: Sequence[str],
    *,
    data: Path | None = None,
    data_dir: Path | None = None,
    datasets_file: Path | None = None,
) -> Catalog:
    """The catalog with the data sets of a finished run.

    Args:
        names: Data sets of the run.
        data: A folder of class folders, which stands for the data set of its name, or for the only
            one that is not registered.
        data_dir: As of ``load_catalog``.
        datasets_file: As of ``load_catalog``.

    Raises:
        ConfigurationError: One is not registered, or it cannot be told which one is meant.
    """
    catalog = load_catalog(data_dir=data_dir, datasets_file=datasets_file)
    lacking = [name for name in names if name not in catalog.sources]
    if data is not None:
        own = name_of_folder(data)
        meant = own if own in names else next(iter(lacking or names))
        if own not in names and len(lacking or names) > 1:
            raise ConfigurationError(
                f"--data {data}: no data set of the run is called {own}, it has "
                f"{', '.join(names)}. Name its folder so."
            )
        catalog.sources.update([folder_data_set(data, meant)])
        lacking = [name for name in lacking if name != meant]
    if lacking:
        raise ConfigurationError(
            f"data set {lacking[0]!r} of the run is not registered here. If the run was given its "
            "folder, give it with --data FOLDER; else name the file that has its entry with "
            "--datasets-file."
        )
    return catalog
