"""Backbones that are asked for by the path of a file, made ready for attempts to start from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from medbench.backbones import FILE_PREFIX
from medbench.cache import working_folder
from medbench.errors import ConfigurationError, MachineError
from medbench.features.onnx_backbone import prepare_backbone
from medbench.hashes import sha256_of_chunks
from medbench.models.weights import Weights
from medbench.names import as_text

ASKED = "onnx:"
"""What stands before the path of a file among the models of a run."""
_OTHER = re.compile("[^a-z0-9._-]+")
"""What the name of a family has not."""
_LONGEST = 64
"""Characters of a file's name that are in that of its family."""


def family_name(model: str) -> str:
    """The name of a family that is asked for by its name, or by a file with ``ASKED`` before it.

    That of ``onnx:models/DINOv2.onnx`` is ``onnx-dinov2``.
    """
    if not is_file(model):
        return model
    stem = _path(model).stem.lower()
    return FILE_PREFIX + (_OTHER.sub("-", stem).strip("-._")[:_LONGEST] or "backbone")


def is_file(model: str) -> bool:
    """Whether a model is asked for by the path of a file."""
    return model.startswith(ASKED)


def seen_from(folder: Path, model: str) -> str:
    """A model as asked for, where a path that is not absolute begins in a folder."""
    return f"{ASKED}{folder / _path(model)}" if is_file(model) else model


def _path(model: str) -> Path:
    path = Path(model.removeprefix(ASKED))
    try:
        return path.expanduser()
    except RuntimeError:  # of a user whom nobody knows
        return path


def take_backbones(models: Iterable[str]) -> dict[str, Weights]:
    """Read, check and try the backbones that are asked for by the path of a file.

    Args:
        models: Names of families, and paths with ``ASKED`` before them.

    Returns:
        What the families of these files start from, by the families' names.

    Raises:
        ConfigurationError: Two files would have one name, the settings of one are missing or
            wrong, or ONNX Runtime is not installed.
        ModelError: A file is no backbone that ONNX Runtime computes.
        MachineError: There is nowhere space for it.
    """
    files: dict[str, Path] = {}
    for model in models:
        if is_file(model):
            name = family_name(model)
            if files.setdefault(name, _path(model)) != _path(model):
                raise ConfigurationError(
                    f"model {model}: {files[name]} would have the same name, {name}. Rename one "
                    "of the files, with its YAML file."
                )
    return {name: _weights_of(path) for name, path in files.items()}


def _weights_of(path: Path) -> Weights:
    """A backbone's file, read, checked and tried, and put where attempts at cells find it."""
    try:
        prepared = prepare_backbone(path)
    except ImportError as error:
        raise ConfigurationError(
            f"model {ASKED}{path}: needs onnx and onnxruntime. pip install onnx onnxruntime"
        ) from error
    content = prepared.content
    file = working_folder(len(content)) / f"backbone-{sha256_of_chunks([content])}.onnx"
    try:
        part = file.with_suffix(".part")
        part.write_bytes(content)
        part.replace(file)  # of an earlier run of this process, perhaps
    except OSError as error:
        raise MachineError(
            f"{file}: cannot be written ({error.strerror or error}). Free space there, or name "
            "another folder with the environment variable MEDBENCH_CACHE."
        ) from error
    return Weights(
        path=file,
        sha256=prepared.sha256,
        note=f"weights of {as_text(path.name)}",
        settings=prepared.settings,
    )
