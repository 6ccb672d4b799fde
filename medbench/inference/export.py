"""Writes a model into a folder of its own, and checks that it says the same from there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import medbench
from medbench import registry
from medbench.atomic_files import replacing_folder, write_json, write_parquet, write_text, writing
from medbench.errors import ConfigurationError, ModelError, StoreError
from medbench.inference import exported
from medbench.inference.fold_models import (
    LARGEST_DIFFERENCE,
    FittedFoldModels,
    are_saved_as_onnx,
    fitted_fold_models,
    joined_folds,
)
from medbench.inference.from_run import RunProvenance
from medbench.inference.model import Model
from medbench.inference.model_info import ModelInfo
from medbench.store import signature


def export(
    model: Model, export_format: str | None, folder: Path, images: NDArray[np.uint8]
) -> float:
    """Write a model of a run into a new folder.

    Args:
        model: As ``load_model`` gives it for a run folder.
        export_format: One of ``exported.FORMATS``; None for the first that the family has.
        folder: Where; it must not exist, or be empty.
        images: Held-out images by which it is checked, uint8, shape (n, height, width, channels).

    Returns:
        The largest difference of a probability on these images.

    Raises:
        ConfigurationError: The family has no such format, or what writes it is not installed.
        StoreError: The folder is in use or cannot be written.
        ModelError: The exported model does not say the same; nothing is left of it.
    """
    provenance = model.provenance
    if not isinstance(provenance, RunProvenance):
        raise ConfigurationError("only a model of a run is exported, not one that was exported.")
    formats = _formats(model.info, export_format)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"--out {folder}: is there already. Name a new or empty folder.")
    with writing(folder):
        try:
            with replacing_folder(folder, there="refuse") as temporary:
                return _write(model, provenance, formats, temporary, images)
        except FileExistsError as error:  # another export was faster
            raise StoreError(f"--out {folder}: is there already. Name a new folder.") from error


def _write(
    model: Model,
    provenance: RunProvenance,
    formats: Mapping[str, str],
    folder: Path,
    images: NDArray[np.uint8],
) -> float:
    """Write everything into an empty folder, and compare it with the original.

    ``formats`` has that of each family that is written.
    """
    info = model.info
    for number, (family, export_format) in enumerate(formats.items()):
        of_family, target = info, folder
        if info.members:
            of_family, target = info.member(family), exported.member_folder(folder, number)
            target.mkdir(parents=True)
        _write_model(of_family, provenance.folders[family], export_format, target)
    if provenance.ood_path.exists():
        shutil.copyfile(provenance.ood_path, folder / exported.OUT_OF_DISTRIBUTION)
    table = exported.development_table(provenance.development())
    write_parquet(folder / exported.DEVELOPMENT, table)
    for name, page in provenance.cards().items():
        write_text(folder / name, page)
    manifest = {
        "format": exported.FORMAT,
        "medbench": medbench.__version__,
        "export": exported.ENSEMBLE if info.members else formats[info.family],
        "members": formats if info.members else {},
        "facts": info.as_record(),
        "sha256": exported.file_hashes(folder),
    }
    write_json(folder / exported.MANIFEST, manifest)
    original = Model(info, fitted_fold_models(info, provenance.folders), provenance)
    copy = exported.load(folder, checked=False)
    difference = _difference(original, copy, images)
    checked = {"images": len(images), "largest_difference": difference}
    write_json(folder / exported.MANIFEST, signature.signed({**manifest, "check": checked}))
    return difference


def _formats(info: ModelInfo, wanted: str | None) -> dict[str, str]:
    """The format of each family to write; of an ensemble, of each of its members.

    Raises:
        ConfigurationError: A family does not have it.
    """
    if not info.members:
        return {info.family: _export_format(info, wanted)}
    if wanted is not None:
        raise ConfigurationError(
            f"--format {wanted}: {info.family} consists of {', '.join(info.members)}, each of "
            "which is exported in a format of its own. Leave --format out."
        )
    return {name: _export_format(info.member(name), None) for name in info.members}


def _export_format(info: ModelInfo, wanted: str | None) -> str:
    """The format to write, if the family has it.

    Raises:
        ConfigurationError: It does not; the message says why and what it has.
    """
    formats: tuple[str, ...] = registry.models.get(info.family).export_formats
    if not formats:
        raise ConfigurationError(
            f"model {info.family!r}: its family names no format for export (export_formats)."
        )
    if wanted is None:
        return formats[0] if formats[0] != "onnx" or _onnx_is_here() else formats[-1]
    if wanted in formats:
        return wanted
    why = "is no network, so what it computes cannot be written in that format"
    if wanted == "onnx":
        why = (
            "computes image features before its classifier (MedBench's extractor), which ONNX has "
            "no operators for"
        )
    elif "keras" in formats:
        why = "is a network"
    elif formats == ("onnx",):
        why = "has its network in ONNX only"
    raise ConfigurationError(
        f"--format {wanted}: {info.family} {why}. It is exported as {' or '.join(formats)}."
    )


def _onnx_is_here() -> bool:
    from importlib.util import find_spec

    return find_spec("onnx") is not None and find_spec("onnxruntime") is not None


def _write_model(
    info: ModelInfo, folders: Sequence[Path], export_format: str, target: Path
) -> None:
    if export_format in ("skops", "xgboost"):
        for number, folder in enumerate(folders):
            shutil.copytree(folder, target / exported.FOLDS / str(number))
        return
    if export_format == "onnx" and not _onnx_is_here():
        raise ConfigurationError(
            "--format onnx: needs onnx and onnxruntime. pip install onnx onnxruntime"
        )
    if are_saved_as_onnx(info):
        temperatures = [fold.calibration.temperatures for fold in info.folds]
        (target / exported.ONNX_FILE).write_bytes(joined_folds(folders, temperatures))
        return
    # Loaded once more, since the calibration is worked into the weights.
    networks = FittedFoldModels(info, folders).networks()
    if networks is None:
        raise ModelError(f"model {info.family!r}: has no network, although its family says so.")
    for network, fold in zip(networks, info.folds, strict=True):
        _work_in(network, fold.calibration.temperatures)
    if export_format == "onnx":
        from medbench.models.onnx_export import classifiers_onnx

        content = classifiers_onnx(networks, info.task.image_shape)
        (target / exported.ONNX_FILE).write_bytes(content)
    else:
        _whole(networks, info.task.image_shape).save(target / exported.KERAS_FILE)


def _work_in(network: Any, temperatures: Sequence[float]) -> None:
    """Divide the logits by the temperatures: what calibration does, done by the last layer."""
    dense = _last_layer(network)
    kernel, bias = dense.get_weights()
    dense.set_weights([kernel / np.asarray(temperatures), bias / np.asarray(temperatures)])


def _last_layer(network: Any) -> Any:
    """The dense layer called "probabilities", in whatever model within the model it is."""
    for layer in reversed(network.layers):
        if layer.name == "probabilities":
            return layer
        if getattr(layer, "layers", None):
            return _last_layer(layer)
    raise ModelError('this network has no layer "probabilities", which its family must give it.')


def _whole(networks: Sequence[Any], image_shape: tuple[int, int, int]) -> Any:
    """One Keras model whose output is the mean of all; see ``exported.KerasFoldModels``."""
    from keras import Input, Model, layers

    inputs = Input(image_shape, dtype="uint8", name="image")
    outputs = []
    for number, network in enumerate(networks):
        own = Input(image_shape, dtype="uint8")
        outputs.append(Model(own, network(own), name=f"fold_{number}")(inputs))
    mean = layers.Average(name="mean")(outputs) if len(outputs) > 1 else outputs[0]
    return Model(inputs, mean)


def _difference(original: Model, copy: Model, images: NDArray[np.uint8]) -> float:
    """The largest difference of a probability.

    Raises:
        ModelError: It is too large.
    """
    if not len(images):
        raise ModelError("there are no held-out images by which the exported model is checked.")
    apart = np.abs(original.predict_proba(images) - copy.predict_proba(images)).max()
    if not apart <= LARGEST_DIFFERENCE:
        raise ModelError(
            f"the exported model gives other probabilities than the original (by up to {apart:.2g} "
            f"on {len(images)} held-out images), so it was not kept. Please report this."
        )
    return float(apart)
