"""The fitted models whose mean predicts, each with its calibration."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medbench import registry
from medbench.cache import cache_folder, keep_entry, read_entry
from medbench.cores import available_threads
from medbench.datasets.batch import Batch
from medbench.errors import ConfigurationError, ModelError, StoreError, UnknownNameError
from medbench.evaluation.ensemble import weighted_mean
from medbench.execution.environment import keras_backend
from medbench.execution.requirements import missing_requirement
from medbench.features.engines import fastest_installed, onnxruntime_session
from medbench.features.feature_cache import FeatureCache
from medbench.hashes import sha256_of_text
from medbench.inference.model_info import ModelInfo
from medbench.models.contract import Classifier, Context
from medbench.models.onnx_family import OnnxFamily
from medbench.models.per_label import build_classifier
from medbench.opening import MODEL, read_regular
from medbench.packed import BROKEN_CONTENT
from medbench.versions import code_version

_ONNX_FILE = "model.onnx"
_AT_ONCE = 64
"""Images of a forward pass by ONNX Runtime; more only take more memory."""
LARGEST_DIFFERENCE = 1e-4
"""Largest difference of a probability between a network and what was written of it."""


class FoldModels(Protocol):
    """Fitted models that see the same images."""

    def probabilities(self, batch: Batch) -> NDArray[np.float64]:
        """Calibrated probabilities by each of them, float64, shape (n_models, n_images, n_classes).

        Args:
            batch: Images in the shape of the model's task.

        Raises:
            ModelError: A model gave values that are not probabilities.
        """
        ...

    def networks(self) -> Sequence[Any] | None:
        """Each as a Keras model drawn for inference; None where they are none.

        See ``Classifier.network`` and ``medbench.models.inference_graph``.
        """
        ...


class FittedFoldModels:
    """Classifiers as their families save them, read from a folder each."""

    def __init__(self, info: ModelInfo, folders: Sequence[Path]) -> None:
        """Load them.

        Nothing but classes of registered families and of the libraries below them is made of what
        is in the files (see ``medbench.models.persistence`` and ``keras_support.read_keras``), and
        nothing is unpickled. Yet the libraries that read them were not made for files of people
        who mean harm: whoever calls has checked where they are from, as far as that is possible
        (see ``CellStore.whole_model``).

        Args:
            info: Which family and configurations.
            folders: The saved model of each fold, which is what was saved there.

        Raises:
            ModelError: A folder holds no such model.
            UnknownNameError: The family is not registered.
            ConfigurationError: What the family needs is not installed.
        """
        self._info = info
        family = _family(info.family)
        self._features = FeatureCache(None, threads=available_threads())
        context = Context(seed=0, threads=available_threads(), features=self._features)
        self.classifiers: list[Classifier] = []
        for fold, folder in zip(info.folds, folders, strict=True):
            try:
                classifier = build_classifier(family, fold.params, info.task, context)
                classifier.load(folder)
            except BROKEN_CONTENT as error:
                raise ModelError(
                    f"{folder}: cannot be loaded as {info.family} with its configuration "
                    f"({type(error).__name__}: {error}). Run or export again."
                ) from error
            self.classifiers.append(classifier)

    def probabilities(self, batch: Batch) -> NDArray[np.float64]:
        """See ``FoldModels.probabilities``; features that several share are computed once."""
        from medbench.tuning.inner_validation import predict

        try:
            return np.stack(
                [
                    fold.calibration.apply(
                        predict(classifier, batch, self._info.task),
                        multi_label=self._info.multi_label,
                    )
                    for fold, classifier in zip(self._info.folds, self.classifiers, strict=True)
                ]
            )
        finally:
            self._features.forget()

    def networks(self) -> Sequence[Any] | None:
        """See ``FoldModels.networks``."""
        return self._networks

    @cached_property
    def _networks(self) -> Sequence[Any] | None:
        found = [classifier.network() for classifier in self.classifiers]
        if any(network is None for network in found):
            return None
        from medbench.models.inference_graph import inference_graph

        return [inference_graph(network) for network in found]


class NetworkFoldModels:
    """Networks of a run, or what is saved as ONNX, as one ONNX model that the cache keeps.

    What folds have in common (a frozen backbone) is computed once for all of them, and nothing of
    Keras is imported: with onnxruntime this starts and predicts many times faster. Where it is
    not installed, or a GPU is, ``FittedFoldModels`` serve.
    """

    def __init__(self, info: ModelInfo, folders: Sequence[Path]) -> None:
        """Open the ONNX model, or write it.

        Raises:
            ModelError: The networks cannot be written as ONNX, or say something else so.
        """
        self._info, self._folders = info, folders
        self._session = onnxruntime_session(self._content(), available_threads())

    def probabilities(self, batch: Batch) -> NDArray[np.float64]:
        """See ``FoldModels.probabilities``."""
        by_fold = fold_probabilities(self._session, batch.images, self._info)
        return np.stack(
            [
                fold.calibration.apply(said, multi_label=self._info.multi_label)
                for fold, said in zip(self._info.folds, by_fold, strict=True)
            ]
        )

    def networks(self) -> Sequence[Any] | None:
        """See ``FoldModels.networks``; they are loaded when they are first asked for."""
        return None if are_saved_as_onnx(self._info) else self._fitted.networks()

    @cached_property
    def _fitted(self) -> FittedFoldModels:
        return FittedFoldModels(self._info, self._folders)

    def _content(self) -> bytes:
        """The ONNX model, from the cache if it is as it was put there."""
        version = code_version("medbench.models.onnx_export", _family(self._info.family).__class__)
        key = sha256_of_text(version, *(fold.sha256 for fold in self._info.folds))
        entry = cache_folder() / "networks" / key[:32]
        if kept := read_entry(entry):
            return kept[_ONNX_FILE]
        content = self._written()

        def write(folder: Path) -> None:
            (folder / _ONNX_FILE).write_bytes(content)

        keep_entry(entry, write)
        return content

    def _written(self) -> bytes:
        """The ONNX model, which says what the networks say of some images."""
        if are_saved_as_onnx(self._info):
            return joined_folds(self._folders)
        from medbench.models.onnx_export import classifiers_onnx

        networks = self.networks()
        if networks is None:
            raise ModelError(f"model {self._info.family!r}: has no network.")
        shape = self._info.task.image_shape
        content = classifiers_onnx(networks, shape)
        images = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
        expected = np.stack([np.asarray(network(images)) for network in networks])
        said = fold_probabilities(onnxruntime_session(content, 1), images, self._info)
        if not np.abs(said - expected).max() <= LARGEST_DIFFERENCE:
            raise ModelError(f"model {self._info.family!r}: says something else as ONNX.")
        return content


def are_saved_as_onnx(info: ModelInfo) -> bool:
    """Whether the family saves its classifiers as ONNX, and has no network of Keras."""
    return issubclass(registry.models.get(info.family), OnnxFamily)


def joined_folds(
    folders: Sequence[Path], temperatures: Sequence[Sequence[float]] | None = None
) -> bytes:
    """Classifiers that are saved as ONNX as one ONNX model; see ``join_frozen``.

    Raises:
        ModelError: A file of theirs is gone, or they are of different backbones.
    """
    from medbench.models.frozen_folds import join_frozen

    try:
        contents = [read_regular(folder / _ONNX_FILE, MODEL) for folder in folders]
        return join_frozen(contents, temperatures)
    except (OSError, *BROKEN_CONTENT) as error:
        raise ModelError(f"{folders[0]}: holds no model in ONNX ({error}).") from error


class EnsembleFoldModels:
    """The weighted mean of the fold models of several families, fold by fold."""

    def __init__(self, info: ModelInfo, members: Mapping[str, FoldModels]) -> None:
        """Put them together.

        Args:
            info: Which weights in which fold.
            members: The fold models of each family, as ``info.members`` has them.
        """
        self._info, self._members = info, members

    def probabilities(self, batch: Batch) -> NDArray[np.float64]:
        """See ``FoldModels.probabilities``; each family is asked once for all its folds."""
        said = {
            (name, fold.split): of_fold
            for name, models in self._members.items()
            for fold, of_fold in zip(
                self._info.members[name], models.probabilities(batch), strict=True
            )
        }
        several = self._info.multi_label
        by_fold = []
        for fold in self._info.folds:
            members = np.stack([said[name, fold.split] for name in fold.params])
            mean = weighted_mean(members, np.array([*fold.params.values()]), multi_label=several)
            by_fold.append(fold.calibration.apply(mean, multi_label=several))
        return np.stack(by_fold)

    def networks(self) -> None:
        """It is no network, whatever its members are."""
        return


_Open = Callable[[ModelInfo, Sequence[Path]], FoldModels]
"""Opens the fold models of one family."""


def open_fold_models(info: ModelInfo, folders: Mapping[str, Sequence[Path]]) -> FoldModels:
    """The fitted models of a run, by whatever predicts fastest here.

    Args:
        info: What is known of them.
        folders: The saved models of each family, one a fold, as ``info.members`` has them; of a
            model that is no ensemble those of its own family.

    Raises:
        ModelError, UnknownNameError, ConfigurationError: As ``FittedFoldModels``.
    """
    return _opened(info, folders, _fastest)


def fitted_fold_models(info: ModelInfo, folders: Mapping[str, Sequence[Path]]) -> FoldModels:
    """As ``open_fold_models``, by the classifiers themselves."""
    return _opened(info, folders, FittedFoldModels)


def _opened(info: ModelInfo, folders: Mapping[str, Sequence[Path]], opened: _Open) -> FoldModels:
    if not info.members:
        return opened(info, folders[info.family])
    return EnsembleFoldModels(
        info, {name: opened(info.member(name), folders[name]) for name in info.members}
    )


def _fastest(info: ModelInfo, folders: Sequence[Path]) -> FoldModels:
    formats = _family(info.family).export_formats
    if "onnx" in formats and fastest_installed() == "onnxruntime":
        # what cannot be written as ONNX is predicted by Keras
        with contextlib.suppress(ModelError, StoreError):
            return NetworkFoldModels(info, folders)
    return FittedFoldModels(info, folders)


def fold_probabilities(
    session: Any, images: NDArray[np.uint8], info: ModelInfo
) -> NDArray[np.float64]:
    """What an ONNX model of several folds says, shape (n_folds, n_images, n_classes)."""
    by_image = [
        session.run(["fold_probabilities"], {"image": np.ascontiguousarray(chunk)})[0]
        for chunk in np.split(images, range(_AT_ONCE, len(images), _AT_ONCE))
    ]
    return normalised(np.moveaxis(np.concatenate(by_image), 1, 0), info)


def normalised(probabilities: NDArray[np.float32], info: ModelInfo) -> NDArray[np.float64]:
    """float64, with rows of exclusive classes that sum to one beyond the seventh digit."""
    exact = probabilities.astype(np.float64)
    if info.multi_label:
        return exact
    summed: NDArray[np.float64] = exact / exact.sum(axis=-1, keepdims=True)
    return summed


def _family(name: str) -> Any:
    """A family that can be used here.

    Raises:
        UnknownNameError: It is not registered.
        ConfigurationError: What it needs is not installed.
    """
    try:
        family = registry.models.get(name)()
    except UnknownNameError as error:
        raise UnknownNameError(
            f"{error} If it is a plugin's, name its file with --plugin, or install its package."
        ) from error
    if missing := missing_requirement(family):
        raise ConfigurationError(f"model {name!r}: {missing}.")
    if "keras" in family.requires:
        choose_keras_backend()
    return family


def choose_keras_backend() -> None:
    """Have Keras, when it is imported, take a backend that is installed, and say little."""
    backend = keras_backend()
    if backend is not None:
        os.environ.setdefault("KERAS_BACKEND", backend)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # It warns that several networks were traced, which is what several folds are for.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
