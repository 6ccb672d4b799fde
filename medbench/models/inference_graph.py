"""A network drawn for inference: what it says of an image is the same however it is called.

Keras' layers for augmentation and resizing take it for granted that they are called in training
(``training=True`` is their default), and tell the layers behind them so. A model with such a layer
that is called as a function, ``model(images)``, augments, drops and changes its batch statistics,
and so does a SavedModel made of it; ``model.predict`` does not. What MedBench stores and passes on
is free of that.
"""

from __future__ import annotations

import inspect
from typing import Any

from medbench.features.onnx_graph import ONLY_IN_TRAINING


def inference_graph(model: Any) -> Any:
    """The same network without what belongs to training, ready to predict.

    Augmentation, dropout and noise are gone, batch normalisation keeps its statistics, and no
    weight is trainable. Weights that were trainable are copied, others are shared.

    Args:
        model: A functional or sequential Keras model, with any models nested in it.
    """
    copied: list[tuple[Any, Any]] = []
    graph = _redrawn(model, copied)
    for original, copy in copied:
        copy.set_weights(original.get_weights())
    graph.trainable = False
    ready_to_predict(graph)
    return graph


def ready_to_predict(graph: Any) -> None:
    """Have a network that was drawn for inference compiled as its backend likes it."""
    import keras

    graph.compile(jit_compile=keras.backend.backend() == "jax")


def _redrawn(model: Any, copied: list[tuple[Any, Any]]) -> Any:
    """The model's graph in inference; layers and their copies are added to ``copied``."""
    import keras

    def own(layer: Any) -> Any:
        if isinstance(layer, keras.Model):
            return _redrawn(layer, copied)
        if not (isinstance(layer, keras.Layer) and layer.trainable and layer.weights):
            return layer
        copy = layer.from_config(layer.get_config())
        copied.append((layer, copy))
        return copy

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        # What turns whole numbers into others does that in inference as well.
        if type(layer).__name__ in ONLY_IN_TRAINING and args[0].dtype == layer.compute_dtype:
            return args[0]
        if kwargs.get("training") or _believes_in_training(layer):
            kwargs["training"] = False
        return layer(*args, **kwargs)

    return keras.models.clone_model(own_graph(model), clone_function=own, call_function=call)


def own_graph(model: Any) -> Any:
    """A functional model of the tensors inside a model, not of those of where it is called.

    So a Sequential has a graph too.

    Args:
        model: A functional or sequential Keras model.
    """
    import keras

    return keras.Model(_one_or_all(model.inputs), _one_or_all(model.outputs), name=model.name)


def _one_or_all(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors


def _believes_in_training(layer: Any) -> bool:
    """Whether a layer that is not told takes it that it is called in training."""
    training = inspect.signature(layer.call).parameters.get("training")
    return training is not None and training.default is True
