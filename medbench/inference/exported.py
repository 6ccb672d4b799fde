"""Reads a model that was exported: nothing is loaded of a file that was changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.atomic_files import read_json, read_parquet
from medbench.cores import available_threads
from medbench.datasets.batch import Batch
from medbench.datasets.task import label_columns, labels_in
from medbench.errors import (
    ConfigurationError,
    ModelError,
    ProtocolError,
    StoreError,
    unknown_name,
)
from medbench.hashes import sha256_of_files
from medbench.inference.fold_models import (
    EnsembleFoldModels,
    FittedFoldModels,
    FoldModels,
    choose_keras_backend,
    fold_probabilities,
    normalised,
)
from medbench.inference.model import Development, Model
from medbench.inference.model_info import ModelInfo
from medbench.opening import MODEL, read_regular

FORMAT = 1
"""Raised whenever another version could misread what is written."""
MANIFEST = "model.json"
ONNX_FILE = "model.onnx"
KERAS_FILE = "model.keras"
FOLDS = "folds"
DEVELOPMENT = "development.parquet"
OUT_OF_DISTRIBUTION = "out-of-distribution.npz"
MEMBERS = "members"
FORMATS = ("onnx", "keras", "skops", "xgboost")
ENSEMBLE = "ensemble"
"""Stands for a format where each family of an ensemble is exported in one of its own."""


def member_folder(folder: Path, number: int) -> Path:
    """Where the models of a family of an ensemble are, by its place among the members."""
    return folder / MEMBERS / str(number)


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model."""
    return (folder / MANIFEST).is_file()


def load(
    folder: Path, *, dataset: str | None = None, model: str = "best", checked: bool = True
) -> Model:
    """The model in a folder that ``export`` wrote.

    Args:
        folder: The folder.
        dataset: The data set that it must be of, if one is named.
        model: The family that it must be of, or ``"best"``.
        checked: Whether it must say that it was compared with the original.

    Raises:
        StoreError: The manifest is damaged or of another version.
        ModelError: A file is gone or was changed.
        ConfigurationError: It is of another data set or family; or what runs it is not installed.
    """
    formats, info, hashes = _manifest(folder, checked=checked)
    if dataset not in (None, info.dataset):
        raise unknown_name(f"data set of the model in {folder}", str(dataset), [info.dataset])
    if model not in ("best", info.family):
        raise unknown_name(f"model exported to {folder}", model, [info.family])
    _check_files(folder, hashes)
    fold_models: FoldModels
    if info.members:
        members = {
            name: _opened(formats[name], info.member(name), member_folder(folder, number))
            for number, name in enumerate(info.members)
        }
        fold_models = EnsembleFoldModels(info, members)
    else:
        fold_models = _opened(formats[info.family], info, folder)
    return Model(info, fold_models, ExportProvenance(folder, info))


def _opened(export_format: str, info: ModelInfo, folder: Path) -> FoldModels:
    """The fold models of one family."""
    if export_format == "onnx":
        return OnnxFoldModels(folder / ONNX_FILE, info)
    if export_format == "keras":
        return KerasFoldModels(folder / KERAS_FILE, info)
    folders = [folder / FOLDS / str(number) for number in range(len(info.folds))]
    return FittedFoldModels(info, folders)


class ExportProvenance:
    """The folder, as ``Provenance``."""

    def __init__(self, folder: Path, info: ModelInfo) -> None:
        from medbench.features.out_of_distribution import OutOfDistribution

        self._path = folder / DEVELOPMENT
        self._n_folds, self._n_classes = len(info.folds), len(info.task.classes)
        ood = folder / OUT_OF_DISTRIBUTION
        self.out_of_distribution = OutOfDistribution.load(ood) if ood.exists() else None

    def development(self) -> Sequence[Development]:
        """See ``Provenance.development``."""
        table = read_parquet(self._path)
        n_classes = self._n_classes
        columns = [f"p{k}" for k in range(n_classes)]
        parts = [table[table["fold"] == number] for number in range(self._n_folds)]
        return [
            Development(
                labels=labels_in(part[label_columns(part.columns)]),
                probabilities=part[columns].to_numpy(np.float64),
            )
            for part in parts
        ]


class OnnxFoldModels:
    """All fold models in one ONNX file, with preprocessing and calibration."""

    def __init__(self, path: Path, info: ModelInfo) -> None:
        """Open it.

        Raises:
            ConfigurationError: ONNX Runtime is not installed.
            ModelError: The file is no such model.
        """
        try:
            from medbench.features.engines import onnxruntime_session

            self._session = onnxruntime_session(read_regular(path, MODEL), available_threads())
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"{path.name}: needs onnxruntime, which is not installed. pip install onnxruntime"
            ) from error
        self._info = info

    def probabilities(self, batch: Batch) -> NDArray[np.float64]:
        """See ``FoldModels.probabilities``."""
        return fold_probabilities(self._session, batch.images, self._info)

    def networks(self) -> None:
        """ONNX Runtime gives no gradients."""
        return


class KerasFoldModels:
    """All fold models in one Keras file, with preprocessing and calibration."""

    def __init__(self, path: Path, info: ModelInfo) -> None:
        """Load it.

        Raises:
            ModelError: The file is no such model, or would run code of its own.
        """
        choose_keras_backend()
        from medbench.models import keras_backend, keras_support

        keras_backend.prepare(available_threads())
        whole = keras_support.read_keras(path)
        try:
            self._folds = [whole.get_layer(f"fold_{i}") for i in range(len(info.folds))]
        except ValueError as error:
            raise ModelError(f"{path.name}: holds other fold models than its manifest.") from error
        self._joined = _joined(whole, self._folds)
        self._info = info

    def probabilities(self, batch: Batch) -> NDArray[np.float64]:
        """See ``FoldModels.probabilities``."""
        from medbench.models.keras_support import forward

        rows = forward(self._joined, batch.images)
        by_fold = rows.reshape(len(batch), len(self._folds), len(self._info.task.classes))
        return normalised(np.moveaxis(by_fold, 1, 0), self._info)

    def networks(self) -> Sequence[Any]:
        """See ``FoldModels.networks``."""
        return self._folds


def _joined(whole: Any, folds: Sequence[Any]) -> Any:
    """What all folds say, side by side, shape (n, n_folds * n_classes)."""
    import keras

    outputs = [fold(whole.input) for fold in folds]
    joined = keras.layers.Concatenate(axis=1)(outputs) if len(outputs) > 1 else outputs[0]
    model = keras.Model(whole.input, joined)
    model.compile(jit_compile=keras.backend.backend() == "jax")
    return model


def _manifest(folder: Path, *, checked: bool) -> tuple[dict[str, str], ModelInfo, dict[str, str]]:
    """Format by family, what is known of the model, and hashes.

    Raises:
        StoreError: It is damaged, or another version wrote it.
    """
    path = folder / MANIFEST
    record: Any = read_json(path)
    try:
        if record["format"] > FORMAT:
            raise StoreError(f"{path}: written by a newer MedBench. Update MedBench.")
        export_format, info = record["export"], ModelInfo.from_record(record["facts"])
        hashes = {str(name): str(value) for name, value in record["sha256"].items()}
        formats = {info.family: export_format}
        if export_format == ENSEMBLE:
            formats = {name: record["members"][name] for name in info.members}
        if not set(formats.values()) <= set(FORMATS) or not formats or not info.folds:
            raise ValueError(f"export is {export_format!r}")
        if checked and not isinstance(record["check"]["largest_difference"], float):
            raise ValueError("never checked")
    except (AttributeError, KeyError, TypeError, ValueError, ProtocolError) as error:
        raise StoreError(
            f"{path}: damaged ({type(error).__name__}: {error}). Export the model again."
        ) from error
    return formats, info, hashes


def _check_files(folder: Path, hashes: dict[str, str]) -> None:
    """Refuse a folder of which a file is gone or changed.

    Raises:
        ModelError: They are named.
    """
    there = file_hashes(folder)
    changed = sorted(name for name in {*hashes, *there} if there.get(name) != hashes.get(name))
    if changed:
        raise ModelError(
            f"{folder}: not as it was exported, so nothing was loaded; the hash does not match of "
            f"{', '.join(changed)}. Export the model again, or take it from where it came."
        )


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder but the manifest, by name."""
    return {name: sum_ for name, sum_ in sha256_of_files(folder).items() if name != MANIFEST}


def development_table(parts: Sequence[Development]) -> pd.DataFrame:
    """Development predictions of all folds as one table: ``fold``, labels, ``p0``, ``p1``, ..."""
    from medbench.datasets.task import label_frame

    frames = []
    for number, part in enumerate(parts):
        columns = {f"p{k}": part.probabilities[:, k] for k in range(part.probabilities.shape[1])}
        frames.append(label_frame(part.labels).assign(fold=number, **columns))
    return pd.concat(frames, ignore_index=True)
