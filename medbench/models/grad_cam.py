"""Grad-CAM: which regions of an image speak for a class, told by a Keras classifier itself."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from medbench.errors import ModelError
from medbench.models.inference_graph import own_graph

_CHUNK = 16
"""Images of a pass; their activations at every depth are in memory together."""


def grad_cam(model: Any, images: NDArray[np.uint8], classes: ArrayLike) -> NDArray[np.float32]:
    """Heat maps of what speaks for a class, one an image.

    The channels of the last activation map are added up, each weighed by the mean gradient of the
    class's logit over the map; what is below zero speaks for other classes and is cut off. Of two
    exclusive classes only the difference of their logits means anything, and that is taken.

    The map is as coarse as the activation map, often 4 x 4 or 8 x 8 cells, and only looks smooth
    because it is enlarged to the image. Of 4 x 4 cells the highest is seldom at the finding
    (``docs/explanations.md``).

    Args:
        model: A Keras classifier as the deep families save it: uint8 images in, and a dense layer
            with softmax or sigmoid at the end of global pooling; models may be nested in it.
        images: uint8, shape (n_images, height, width, channels).
        classes: Index of the class to explain, one an image, shape (n_images,).

    Returns:
        float32, shape (n_images, height, width), from 0 to 1; the highest value of each is 1,
        unless nothing speaks for the class and all is 0.

    Raises:
        ModelError: The model, the images or the classes are of another kind, Keras runs on a
            backend without automatic differentiation, or a gradient is not a finite number.

    Source: Selvaraju et al. (2017), "Grad-CAM: visual explanations from deep networks via
    gradient-based localization", ICCV.
    """
    import keras

    backend = keras.backend.backend()
    if backend not in _DIFFERENTIATE:
        raise ModelError(
            f"the Keras backend {backend!r} does not differentiate here, which Grad-CAM needs. "
            f"Set KERAS_BACKEND to one of {', '.join(_DIFFERENTIATE)}."
        )
    parts = _parts(model)
    images, chosen = np.asarray(images), np.asarray(classes)
    _check(model, parts, images, chosen)
    maps = np.empty(images.shape[:3], np.float32)
    for begin in range(0, len(images), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        activations, gradients = _differentiated(
            model, parts, images[part], _directions(chosen[part], parts), _DIFFERENTIATE[backend]
        )
        if not (np.isfinite(activations).all() and np.isfinite(gradients).all()):
            raise ModelError("Grad-CAM: an activation or a gradient is not a finite number.")
        weights = gradients.mean(axis=(1, 2), keepdims=True)
        coarse = np.maximum((weights * activations).sum(axis=3), 0)
        maps[part] = [_enlarged(cells, images.shape[1:3]) for cells in coarse]
    return maps


def map_shape(model: Any) -> tuple[int, int]:
    """Height and width of the activation map that ``grad_cam`` reads, in cells.

    Raises:
        ModelError: As ``grad_cam``, of the model.
    """
    height, width = _parts(model).shape[:2]
    return height, width


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """The layers of a classifier that matter here."""

    pooling: list[Any]
    """Those that read the last activation map."""
    shape: tuple[int, int, int]
    """Its height, width and channels."""
    head: Any
    """The dense layer that ends the model."""
    exclusive: bool
    """Whether it ends in a softmax, not in sigmoids."""


def _parts(model: Any) -> _Parts:
    from keras import activations, layers

    leaves = list(_leaves(model))
    head = leaves[-1]
    known = (activations.softmax, activations.sigmoid)
    if not isinstance(head, layers.Dense) or head.activation not in known:
        raise ModelError(
            f"Grad-CAM needs a model that ends in a dense layer with softmax or sigmoid; this one "
            f"ends in {head.name!r} ({type(head).__name__})."
        )
    pooling = [leaf for leaf in leaves if _rank(leaf, "input") == 4 and _rank(leaf, "output") == 2]
    if not pooling:
        raise ModelError("Grad-CAM needs a model that pools an activation map; this one does not.")
    # Attention inside a backbone pools too; the last map is what the head sees.
    last = pooling[-1].input
    shape = tuple(last.shape[1:])
    if None in shape:
        raise ModelError(f"Grad-CAM needs an activation map of fixed size; this one has {shape}.")
    return _Parts(
        pooling=[layer for layer in pooling if layer.input is last],
        shape=shape,
        head=head,
        exclusive=head.activation is activations.softmax,
    )


def _leaves(model: Any) -> Iterator[Any]:
    """The layers of a model and of the models in it, in the order in which they compute."""
    for layer in model.layers:
        if _is_graph(layer):
            yield from _leaves(layer)
        else:
            yield layer


def _is_graph(layer: Any) -> bool:
    """Whether a layer is a model made of layers, not one with code of its own."""
    from keras import Model

    return isinstance(layer, Model) and hasattr(layer, "inputs")


def _rank(layer: Any, side: str) -> int | None:
    """Number of dimensions of a layer's only input or output; None where it has several."""
    tensor = getattr(layer, side)
    return None if isinstance(tensor, list | tuple | dict) else len(tensor.shape)


def _check(
    model: Any, parts: _Parts, images: NDArray[np.uint8], classes: NDArray[np.int64]
) -> None:
    expected = tuple(model.input_shape[1:])
    if images.dtype != np.uint8 or images.shape[1:] != expected:
        raise ModelError(
            f"Grad-CAM: this model takes uint8 images of shape {expected}; it was given "
            f"{images.dtype} of shape {images.shape[1:]}."
        )
    if classes.shape != images.shape[:1]:
        raise ModelError(
            f"Grad-CAM: {len(images)} images need one class each; classes has shape "
            f"{classes.shape}."
        )
    known = parts.head.units
    if classes.size and not (classes.min() >= 0 and classes.max() < known):
        raise ModelError(
            f"Grad-CAM: classes are 0 to {known - 1} here; {classes.min()} to {classes.max()} "
            "were given."
        )


def _directions(classes: NDArray[np.int64], parts: _Parts) -> NDArray[np.float32]:
    """What the logits of each image are weighed with, float32, shape (n_images, n_classes)."""
    weights = np.eye(parts.head.units, dtype=np.float32)[classes]
    if parts.exclusive and parts.head.units == 2:
        weights = 2 * weights - 1
    return weights


class _Graph:
    """A classifier drawn again for Grad-CAM, with its own layers: logits out, and a sum at the map.

    The gradient by the last activation map is that by zeros added to it. So models nested in each
    other need no taking apart: all layers compute as they always do, and those that read the map
    read the sum.
    """

    def __init__(self, model: Any, parts: _Parts) -> None:
        self._parts = parts
        self._guard = threading.Lock()
        self._added = self._map = None
        self._network = self._redrawn(model)

    def logits(self, images: Any, added: Any) -> tuple[Any, Any]:
        """The logits of images with something added to their activation map, and the map before.

        Args:
            images: uint8, shape (n_images, height, width, channels).
            added: float32, of the shape of the map.
        """
        with self._guard:
            self._added = added
            try:
                # A graph may have been drawn as in training.
                return self._network(images, training=False), self._map
            finally:
                self._added = self._map = None

    def _redrawn(self, model: Any) -> Any:
        import keras

        def own(layer: Any) -> Any:
            return self._redrawn(layer) if _is_graph(layer) else layer

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if any(layer is pooling for pooling in self._parts.pooling):
                summed = keras.layers.Lambda(self._sum, dtype=args[0].dtype)(args[0])
                args = (summed, *args[1:])
            if layer is self._parts.head:
                return keras.layers.Lambda(self._logits, dtype="float32")(args[0])
            # Augmentation layers take it for granted that they are called in training.
            if "training" in inspect.signature(layer.call).parameters:
                kwargs["training"] = False
            return layer(*args, **kwargs)

        return keras.models.clone_model(own_graph(model), clone_function=own, call_function=call)

    def _sum(self, activation: Any) -> Any:
        from keras import ops

        if self._added is None:  # it is being drawn
            return activation
        self._map = activation
        return activation + ops.cast(self._added, activation.dtype)

    def _logits(self, pooled: Any) -> Any:
        from keras import ops

        head = self._parts.head
        logits = ops.matmul(pooled, head.kernel)
        return logits if head.bias is None else logits + head.bias


_GRAPHS: weakref.WeakKeyDictionary[Any, _Graph] = weakref.WeakKeyDictionary()
"""By model: drawing one takes as long as explaining an image."""


def _differentiated(
    model: Any,
    parts: _Parts,
    images: NDArray[np.uint8],
    directions: NDArray[np.float32],
    differentiate: Callable[..., tuple[Any, Any]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The last activation map and the gradient of the weighed logits, both float64."""
    from keras import ops

    graph = _GRAPHS.get(model)
    if graph is None:
        graph = _GRAPHS[model] = _Graph(model, parts)

    def weighed_logits(added: Any) -> tuple[Any, Any]:
        logits, activation = graph.logits(ops.convert_to_tensor(images), added)
        return ops.sum(logits * ops.convert_to_tensor(directions)), activation

    gradient, activation = differentiate(weighed_logits, (len(images), *parts.shape))
    return _as_float64(activation), _as_float64(gradient)


def _as_float64(tensor: Any) -> NDArray[np.float64]:
    from keras import ops

    return np.asarray(ops.convert_to_numpy(tensor)).astype(np.float64)


def _by_tensorflow(function: Callable[..., Any], shape: tuple[int, ...]) -> tuple[Any, Any]:
    import tensorflow as tf

    at = tf.zeros(shape)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(at)
        value, activation = function(at)
    return tape.gradient(value, at), activation


def _by_jax(function: Callable[..., Any], shape: tuple[int, ...]) -> tuple[Any, Any]:
    import jax

    gradient, activation = jax.grad(function, has_aux=True)(jax.numpy.zeros(shape))
    return gradient, activation


def _by_torch(function: Callable[..., Any], shape: tuple[int, ...]) -> tuple[Any, Any]:
    import torch
    from keras import ops

    at = ops.zeros(shape, "float32").requires_grad_(True)  # on the device that Keras computes on
    # Whoever called us may be predicting, where gradients are switched off.
    with torch.enable_grad():
        value, activation = function(at)
    (gradient,) = torch.autograd.grad(value, [at])
    return gradient, activation


_DIFFERENTIATE: dict[str, Callable[..., tuple[Any, Any]]] = {
    "tensorflow": _by_tensorflow,
    "jax": _by_jax,
    "torch": _by_torch,
}
"""How each Keras backend finds the gradient of the first of a function's two results at zero, and
what it gives as second result there."""


def _enlarged(cells: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """A map at the size (height, width) of the image, scaled to a maximum of 1."""
    if not (highest := cells.max()):
        return np.zeros(size, np.float32)
    # Scaled before, so that float32 holds it, and after, since enlarging can flatten a peak.
    small = Image.fromarray((cells / highest).astype(np.float32))
    large = np.asarray(small.resize(size[::-1], Image.Resampling.BILINEAR))
    scaled: NDArray[np.float32] = np.clip(large / large.max(), 0, 1)
    return scaled
