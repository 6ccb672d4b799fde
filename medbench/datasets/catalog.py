"""The catalog: data sets by name, from ``datasets.yaml`` files that are checked line by line."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from medbench import registry
from medbench.datasets.csv_files import TABLE_SUFFIXES
from medbench.datasets.sources.base import Source
from medbench.datasets.sources.folder import FolderSource
from medbench.errors import ConfigurationError, PluginError, UnknownNameError, unknown_name

DATA_FOLDER_VARIABLE = "MEDBENCH_DATA"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """Data sets by name, each with the folders in which its paths are looked for."""

    sources: dict[str, Source]

    def get(self, name: str) -> Source:
        """The source of one data set.

        Raises:
            UnknownNameError: No such data set; the message lists the close ones.
        """
        if name not in self.sources:
            raise unknown_name("data set", name, self.sources)
        return self.sources[name]

    def decide(self, name: str, **fields: str) -> None:
        """Give fields of a data set's entry a value, in this command and not in its file.

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
        folder: A folder of class folders, which becomes a data set under its own name.

    Raises:
        ConfigurationError: A file is missing or wrong (with its line), or a name is taken.
    """
    given = _data_folders(data_dir)
    files = _catalog_files(datasets_file)
    sources: dict[str, Source] = {}
    for file in files:
        for name, source in read_datasets(file).items():
            if name in sources:
                raise ConfigurationError(
                    f"{file}: data set {name!r} is registered already. Give it another name."
                )
            own = () if file == files[0] else (file.resolve().parent,)
            sources[name] = source.within(*given, *own)
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
    if datasets_file is not None and not datasets_file.is_file():
        raise ConfigurationError(f"--datasets-file {datasets_file}: there is no such file.")
    files = [shipped("datasets.yaml")]
    for file in (Path("datasets.yaml"), datasets_file):
        if file is not None and file.is_file() and not any(file.samefile(f) for f in files):
            files.append(file)
    return files


def folder_data_set(folder: Path, name: str = "") -> tuple[str, Source]:
    """A data set out of a folder of class folders: its name and source.

    Args:
        folder: The folder.
        name: What the data set is called; as the folder where nothing is said.

    Raises:
        ConfigurationError: There is no such folder.
    """
    if folder.is_file():
        raise ConfigurationError(f"--data {folder}: is a file. {_instead_of_folder(folder)}")
    if not folder.is_dir():
        raise ConfigurationError(
            f"--data {folder}: there is no such folder. Name a folder that has one sub-folder of "
            "images per class."
        )
    name = name or safe_name(folder.resolve().name)
    source = FolderSource(path=str(folder.resolve()), title=name)
    return next(iter(source.variants(name).items()))


def _instead_of_folder(file: Path) -> str:
    """What to do with a file where a folder is wanted."""
    if file.suffix.lower() in (*TABLE_SUFFIXES, ".npz"):
        return f"Register it first: python -m medbench datasets add NAME {file}"
    return "Name a folder that has one sub-folder of images per class; unpack an archive first."


def safe_name(text: str) -> str:
    """A valid data set name that resembles a text."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:64]
    return name or "data"


def check_name(name: str) -> None:
    """Refuse names that could not be a folder's.

    Raises:
        ConfigurationError: The name has other characters or is too long.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a data set: use up to 64 letters, digits, '-', '_' "
            "and '.', beginning with a letter or digit."
        )


def shipped(name: str) -> Path:
    """A file that comes with MedBench: from the wheel, or from the checkout it runs in."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "shipped" / name
    in_checkout = {"datasets.yaml": "datasets.yaml", "suites": "benchmarks/suites"}[name]
    return installed if installed.exists() else package.parent / in_checkout


def read_datasets(file: Path) -> dict[str, Source]:
    """The entries of one ``datasets.yaml``.

    Raises:
        ConfigurationError: The YAML or an entry is wrong; file, line, entry and field are named.
    """
    document = YamlDocument(file)
    sources: dict[str, Source] = {}
    for name, entry in document.mapping.items():
        where = document.place(name)
        if not isinstance(name, str):
            raise ConfigurationError(f'{where}: {name!r} is no name. Write it in quotes: "{name}".')
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
            cls = registry.sources.get(str(entry["source"]))
        except (UnknownNameError, PluginError) as error:
            where = document.place(name, "source")
            raise ConfigurationError(f'{where}: data set "{name}": {error}') from None
        source = document.validate(cls, entry, (name,), f'data set "{name}"', entry["source"])
        for variant, of_variant in source.variants(name).items():
            if variant in sources:
                raise ConfigurationError(
                    f'{where}: data set "{variant}" is registered already. Give it another name.'
                )
            sources[variant] = of_variant
    return sources


class YamlDocument:
    """A YAML mapping that remembers the line of everything in it."""

    def __init__(self, file: Path) -> None:
        """Read a file.

        Raises:
            ConfigurationError: It cannot be read, is not a mapping, or names a key twice.
        """
        self.file = file
        try:
            text = file.read_text(encoding="utf-8")
            loader = yaml.SafeLoader(text)
            self._node = loader.get_single_node()
            content = None if self._node is None else loader.construct_document(self._node)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file}: cannot be read ({error}).") from error
        except RecursionError:
            raise ConfigurationError(
                f"{file}: entries are nested too deeply or contain themselves. Write them plainly."
            ) from None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or error
            raise ConfigurationError(f"{file}{line}: not valid YAML ({problem}).") from error
        if content is None:
            content = {}
        if not isinstance(content, dict):
            raise ConfigurationError(f"{file}: must be a mapping of names to entries.")
        self.mapping: dict[str, Any] = content
        try:
            self._refuse_repeated_keys(self._node)
        except RecursionError:
            raise ConfigurationError(
                f"{file}: entries contain themselves. Write them plainly."
            ) from None

    def _refuse_repeated_keys(self, node: yaml.Node | None) -> None:
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen:
                    raise ConfigurationError(
                        f"{self.file}, line {key.start_mark.line + 1}: {key.value!r} is given "
                        "twice. Keep one of them."
                    )
                seen.add(key.value)
                self._refuse_repeated_keys(value)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                self._refuse_repeated_keys(value)

    def place(self, *keys: str | int) -> str:
        """File and line of a key, as ``datasets.yaml, line 14``."""
        node, line = self._node, 1
        for key in keys:
            found = None
            if isinstance(node, yaml.MappingNode):
                found = next((kv for kv in node.value if kv[0].value == str(key)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int):
                found = (node.value[key], node.value[key]) if key < len(node.value) else None
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return f"{self.file}, line {line}"

    def validate(
        self, cls: type[BaseModel], entry: Any, keys: Sequence[str], what: str, kind: str
    ) -> Any:
        """Turn a part of the document into a ``cls``.

        Args:
            cls: The pydantic model.
            entry: The part.
            keys: Where the part stands in the document.
            what: What it is, for the message: ``data set "brain-mri"``.
            kind: What kind of thing has the fields: ``folder``.

        Raises:
            ConfigurationError: A field is unknown, missing or wrong; the message has the line.
        """
        try:
            return cls.model_validate(entry)
        except ValidationError as error:
            # A misspelt key is also a missing one; the misspelling is what helps. Of the kinds
            # that a field may have, the one that was followed deepest is the one that was meant.
            problem = min(
                error.errors(), key=lambda p: (p["type"] != "extra_forbidden", -len(p["loc"]))
            )
            # pydantic also names the kind, as "tuple[str, ...]", which stands nowhere in the file
            location = [part for part in problem["loc"] if "[" not in str(part)]
            place = self.place(*keys, *location)
            words = _explain(problem, location, cls, kind)
            raise ConfigurationError(f"{place}: {what}: {words}") from None


def _explain(problem: Any, location: Sequence[str | int], cls: type[BaseModel], kind: str) -> str:
    """One pydantic problem in words."""
    field = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        fields = _fields_at(cls, location[:-1])
        close = difflib.get_close_matches(str(location[-1]), fields, n=1, cutoff=0.5)
        hint = f' Did you mean "{close[0]}"?' if close else ""
        return f'"{field}" is not a field of a {kind}.{hint} Fields: {", ".join(fields)}.'
    if problem["type"] == "missing":
        return f'"{field}" is missing. Every {kind} needs it.'
    if problem["type"] == "value_error":
        where = f'"{field}": ' if field else ""
        return f"{where}{problem['ctx']['error']}."
    return f'"{field}": {problem["msg"]}, not {problem["input"]!r}.'


def _fields_at(cls: type[BaseModel], location: Iterable[str | int]) -> list[str]:
    """Names of the fields of the model, or of the nested model at ``location``."""
    for part in location:
        annotation = cls.model_fields[str(part)].annotation
        nested = [a for a in (annotation, *getattr(annotation, "__args__", ())) if _is_model(a)]
        if not nested:
            break
        cls = nested[0]
    return list(cls.model_fields)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
