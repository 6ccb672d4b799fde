"""The catalog: data sets by name, from ``datasets.yaml`` files that are checked line by line."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from medbench import registry
from medbench.datasets.places import OpenNeuroPlace, place_of
from medbench.datasets.sources.base import Source
from medbench.datasets.sources.bids import BidsSource
from medbench.datasets.sources.bids_tree import is_bids
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.sources.table_reading import SUFFIXES
from medbench.datasets.unpacked import archive_in, opened, without_suffix
from medbench.datasets.yaml_document import YamlDocument, quoted
from medbench.errors import ConfigurationError, PluginError, UnknownNameError, unknown_name

DATA_FOLDER_VARIABLE = "MEDBENCH_DATA"
NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What the name of a data set can be, whole, as a regular expression."""


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Data sets by name, each with the folders in which its paths are looked for."""

    sources: dict[str, Source]
    """The source of each data set, by its name."""

    def get(self, name: str) -> Source:
        """The source of one data set.

        Args:
            name: Name of the data set.

        Raises:
            UnknownNameError: No such data set; the message lists the close ones.
        """
        if name not in self.sources:
            raise unknown_name("data set", name, self.sources)
        return self.sources[name]

    def check_free(self, name: str) -> None:
        """Refuse a name for a new data set that cannot be one, or is taken.

        Raises:
            ConfigurationError: It is so.
        """
        check_name(name)
        if name in self.sources:
            raise ConfigurationError(
                f"data set {name!r} is registered already. Choose another name."
            )

    def other_sizes(self) -> list[str]:
        """Names of data sets that are another one at another size, as ``pathmnist-64``."""
        found: dict[str, None] = {}
        for name, source in self.sources.items():
            if name not in found:
                found.update(dict.fromkeys(one for one in source.variants(name) if one != name))
        return list(found)

    def downloads(self) -> list[str]:
        """Files that can be fetched, relative to the folder of downloads."""
        found = (source.to_fetch for source in self.sources.values())
        return sorted({download.path for download in found if download is not None} - {""})

    def decide(self, name: str, **fields: str) -> None:
        """Give fields of a data set's entry a value, in this command and not in its file.

        Args:
            name: Name of the data set.
            **fields: The values, by the name of the field.

        Raises:
            UnknownNameError: As ``get``.
        """
        self.sources[name] = self.get(name).model_copy(update=fields)


def load_catalog(
    *, data_dir: Path | None = None, datasets_file: Path | None = None, folder: Path | None = None
) -> Catalog:
    """The shipped data sets, those of a ``datasets.yaml`` in the current folder, and more.

    Args:
        data_dir: Where the images are; before ``MEDBENCH_DATA``.
        datasets_file: Another YAML file of data sets.
        folder: A folder of class folders, a BIDS tree, or an archive of one, which becomes a data
            set under its own name.

    Returns:
        All data sets that can be named; no image is looked for yet.

    Raises:
        ConfigurationError: A file is missing or wrong (with its line), or a name is taken.
    """
    given = _data_folders(data_dir)
    ours, *others = _catalog_files(datasets_file)
    sources = {name: source.within(*given) for name, source in _shipped_datasets(ours).items()}
    shipped_once = dict(
        sources
    )  # in a checkout of MedBench, its file is also the one of the folder
    for file in others:
        for name, source in read_datasets(file).items():
            same = shipped_once.pop(name, None)
            if name in sources and (same is None or same.model_dump() != source.model_dump()):
                raise ConfigurationError(
                    f"{file}: data set {name!r} is registered already. Give it another name."
                )
            sources[name] = source.within(file.resolve().parent, *given)
    if folder is not None:
        name, source = folder_data_set(folder)
        sources[name] = source
    return Catalog(sources=sources)


def _data_folders(data_dir: Path | None) -> list[Path]:
    folders = [] if data_dir is None else [("--data-dir", data_dir)]
    if os.environ.get(DATA_FOLDER_VARIABLE):
        folders.append((DATA_FOLDER_VARIABLE, Path(os.environ[DATA_FOLDER_VARIABLE])))
    for said_by, folder in folders:
        if not folder.is_dir():
            raise ConfigurationError(f"{said_by} {folder}: there is no such folder.")
    return [folder for _, folder in folders]


def _catalog_files(datasets_file: Path | None) -> list[Path]:
    """The shipped file first, then the one where the user works, then the one that was named."""
    if datasets_file is not None and not datasets_file.exists():
        raise ConfigurationError(f"--datasets-file {datasets_file}: there is no such file.")
    files = [shipped("datasets.yaml")]
    for file in (Path("datasets.yaml"), datasets_file):
        if file is not None and file.exists() and not any(file.samefile(f) for f in files):
            files.append(file)
    return files


def folder_data_set(folder: Path, name: str = "") -> tuple[str, Source]:
    """A data set out of a folder of class folders, a BIDS tree, or an archive of one.

    Args:
        folder: The folder or archive, or a place that has it.
        name: What the data set is called; as the folder where nothing is said.

    Raises:
        ConfigurationError: There is no such folder.
    """
    archive = archive_in(folder)
    name = name or name_of_folder(folder)
    if (place := place_of(folder)) is not None:
        of_place = BidsSource if isinstance(place, OpenNeuroPlace) else FolderSource
        return next(iter(of_place(path=str(folder), title=name).variants(name).items()))
    if archive != folder and (folder.is_file() or (archive is not None and _is_table(folder))):
        raise ConfigurationError(f"--data {folder}: is a file. {_instead_of_folder(folder)}")
    if archive is None and not folder.is_dir():
        raise ConfigurationError(
            f"--data {folder}: there is no such folder. Name a folder that has one sub-folder of "
            "images per class."
        )
    kind = BidsSource if is_bids(opened(folder.resolve())) else FolderSource
    source = kind(path=str(folder.resolve()), title=name)
    return next(iter(source.variants(name).items()))


def _instead_of_folder(file: Path) -> str:
    """What to do with a file where a folder is wanted."""
    if _is_table(file):
        return f"Register it first: python -m medbench datasets add NAME {file}"
    return (
        "Name a folder that has one sub-folder of images per class, or a .zip or .tar archive of "
        "one; unpack what is packed otherwise."
    )


def _is_table(file: Path) -> bool:
    """Whether a file is called as those that ``datasets add`` describes."""
    return file.suffix.lower() in (*SUFFIXES, ".npz")


def name_of_folder(folder: Path) -> str:
    """What a data set out of a folder, an archive or a place is called where nothing is said."""
    if (place := place_of(folder)) is not None:
        return safe_name(place.title)
    name = folder.resolve().name
    return safe_name(without_suffix(name) if folder.is_file() else name)


def safe_name(text: str) -> str:
    """A valid data set name that resembles a text."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:64]
    return name or "data"


def check_name(name: str) -> None:
    """Refuse names that could not be a folder's.

    Raises:
        ConfigurationError: The name has other characters or is too long.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigurationError(
            f"{quoted(name)} cannot be the name of a data set: use up to 64 letters, digits, '-', "
            "'_' and '.', beginning with a letter or digit."
        )


def shipped(name: str) -> Path:
    """A file that comes with MedBench: from the wheel, or from the checkout it runs in."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "shipped" / name
    in_checkout = {"datasets.yaml": "datasets.yaml", "suites": "benchmarks/suites"}[name]
    return installed if installed.exists() else package.parent / in_checkout


def _shipped_datasets(file: Path) -> dict[str, Source]:
    """Copies of the entries that come with MedBench; a process reads them once."""
    status = file.stat()
    read = _read_in_state(file, status.st_mtime_ns, status.st_size)
    return {name: source.model_copy() for name, source in read.items()}


@lru_cache(maxsize=1)
def _read_in_state(file: Path, time: int, size: int) -> dict[str, Source]:
    return read_datasets(file)


def read_datasets(file: Path) -> dict[str, Source]:
    """The entries of one ``datasets.yaml``.

    Raises:
        ConfigurationError: The YAML or an entry is wrong; file, line, entry and field are named.
    """
    document = YamlDocument(file)
    sources: dict[str, Source] = {}
    for name, entry in document.mapping.items():
        where = document.location(name)
        if not isinstance(name, str):
            said = quoted(name)
            raise ConfigurationError(f'{where}: {said} is no name. Write it in quotes: "{said}".')
        try:
            check_name(name)
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {error}") from None
        if not isinstance(entry, dict) or "source" not in entry:
            raise ConfigurationError(
                f'{where}: data set "{name}" must name its source. '
                f"Sources: {', '.join(registry.sources.names())}."
            )
        try:
            cls = registry.sources.get(quoted(entry["source"], str))
        except (UnknownNameError, PluginError) as error:
            where = document.location(name, "source")
            raise ConfigurationError(f'{where}: data set "{name}": {error}') from None
        source = document.validate(cls, entry, (name,), f'data set "{name}"', entry["source"])
        for variant, of_variant in source.variants(name).items():
            if variant in sources:
                raise ConfigurationError(
                    f'{where}: data set "{variant}" is registered already. Give it another name.'
                )
            sources[variant] = of_variant
    return sources
