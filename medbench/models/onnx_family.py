"""Families made of an ONNX file: a linear model on a backbone of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from medbench.backbones import FILE_PREFIX
from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.features.file_embedding import FileEmbedding
from medbench.models.contract import Classifier, Context
from medbench.models.space import SearchSpace
from medbench.models.transfer import (
    DEFAULT_PENALTY,
    MODEL_FILE,
    PENALTY,
    FrozenClassifier,
    TransferFamily,
)
from medbench.models.weights import Weights

_ONE = {"cut": "output", "pooling": "avg"}
"""The only cut and vector of a ``FileEmbedding``, as ``FrozenClassifier`` is told."""


class OnnxFamily(TransferFamily):
    """A linear classifier on a frozen backbone that is not MedBench's.

    What is fitted has the backbone in it, so nobody who predicts needs its file.
    """

    requires: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")
    export_formats: ClassVar[tuple[str, ...]] = ("onnx",)

    def search_space(self, space: SearchSpace, task: Task) -> None:
        """The penalty of the linear model; every trial takes milliseconds."""
        space.real("C", *PENALTY, default=DEFAULT_PENALTY, log=True)

    def build(self, params: Mapping[str, Any], task: Task, context: Context) -> Classifier:
        """An unfitted classifier."""
        embedding = self.embedding(task, context.weights)
        return _OnnxClassifier({**params, **_ONE}, task, context, embedding)

    def embedding(self, task: Task, weights: Weights | None) -> FileEmbedding:
        """What turns the images of a task into features; without weights it computes none."""
        return FileEmbedding(
            backbone=self.weights or "",
            image_shape=task.image_shape,
            weights_path=weights.path if weights else None,
            weights_sha256=weights.sha256 if weights else None,
        )


class _OnnxClassifier(FrozenClassifier):
    """As ``FrozenClassifier``, without Keras: it is explained by occlusion."""

    def load(self, folder: Path) -> None:
        """Take the model from a folder; it then predicts from pixels, not from the cache.

        Raises:
            ModelError: There is none, or one for another task.
        """
        if not (folder / MODEL_FILE).is_file():
            raise ModelError(f"{folder}: holds no {MODEL_FILE}.")
        super().load(folder)

    def network(self) -> None:
        """None: ONNX Runtime gives no gradients."""
        return


@cache
def onnx_family(name: str) -> type[OnnxFamily]:
    """The family of a backbone's file, by its name; the file is given with the weights.

    Args:
        name: As ``backbone_files.family_name`` gives it.
    """
    stem = name.removeprefix(FILE_PREFIX)
    attributes = {
        "__doc__": f"The backbone {stem}.onnx of the user's own, as a feature extractor.",
        "__module__": __name__,
        "weights": name,
    }
    made: type[OnnxFamily] = type("OnnxFile", (OnnxFamily,), attributes)
    return made
