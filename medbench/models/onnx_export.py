"""Fitted Keras classifiers as one ONNX model: raw images in, probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medbench.errors import ModelError
from medbench.features.onnx_graph import Graph, write

_BATCH = "n"
"""Name of the axis of images, whose length is free."""


def classifiers_onnx(models: Sequence[Any], image_shape: tuple[int, int, int]) -> bytes:
    """The mean of fitted classifiers as one ONNX model, which needs neither Keras nor MedBench.

    Computes in float32, also what was trained in mixed precision. What the classifiers have in
    common, a frozen backbone for instance, is stored and computed once.

    Args:
        models: Keras models as ``CnnClassifier`` and the transfer classifiers save them, from
            uint8 images to probabilities; of the folds of one benchmark cell for instance.
        image_shape: Height, width and channels of the images.

    Returns:
        An ONNX model. Input ``image``: uint8, shape (n, height, width, channels), any n. Output
        ``probabilities``: float32, shape (n, classes), the mean over the models. Output
        ``fold_probabilities``: float32, shape (n, models, classes).

    Raises:
        ModelError: There is no model; one is for other images or other classes; it has a layer
            that is not known here; together they are too large for one ONNX file (2 GB).
    """
    from onnx import checker

    classes = _check(models, image_shape)
    graph = Graph("save it as Keras' model.keras instead, or export fewer models at once.")
    axis = graph.constant(np.array([1], np.int64))
    folds = []
    for model in models:
        (probabilities,) = write(graph, model, [graph.image()])
        vector = graph.add("Flatten", probabilities, axis=1)
        folds.append(graph.add("Unsqueeze", vector, axis))
    joined = graph.add("Concat", *folds, axis=1)
    mean = graph.add("ReduceMean", joined, axis, keepdims=0)
    model = graph.model(
        "classifier",
        image_shape,
        _BATCH,
        {
            "probabilities": (mean, [classes]),
            "fold_probabilities": (joined, [len(models), classes]),
        },
    )
    data: bytes = model.SerializeToString()
    checker.check_model(data)
    return data


def _check(models: Sequence[Any], image_shape: tuple[int, int, int]) -> int:
    """The number of classes, once it is clear that all models are for the same task."""
    if not models:
        raise ModelError("there is no classifier to write as ONNX.")
    classes = int(models[0].output_shape[-1])
    for number, model in enumerate(models):
        shapes = (tuple(model.input_shape[1:]), tuple(model.output_shape[1:]))
        if shapes != (tuple(image_shape), (classes,)):
            raise ModelError(
                f"classifier {number} takes images of shape {shapes[0]} and gives probabilities "
                f"of shape {shapes[1]}; wanted are {tuple(image_shape)} and {(classes,)}."
            )
    return classes
