"""The pretrained networks as Keras models: how each is built, and how its weights are read."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.backbones import BACKBONES, Backbone
from medbench.errors import ModelError
from medbench.features.efficientnet_lite import by_layer, efficientnet_lite0
from medbench.opening import WEIGHTS, open_regular
from medbench.packed import BROKEN_CONTENT, open_npz

_RANDOM_SEED = 0
"""Seed of the weights where there are no pretrained ones: reproducible, and shared by all."""
_ENLARGED_SIDE = 96


def input_size(backbone: str, image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Height and width in pixels at which a backbone sees images of some shape."""
    height, width = image_shape[:2]
    smaller = min(height, width)
    if smaller >= BACKBONES[backbone].minimum:
        return height, width
    side = max(_ENLARGED_SIDE, BACKBONES[backbone].minimum)
    return round(height * side / smaller), round(width * side / smaller)


def random_weights_name() -> str:
    """What names random weights in a key; backends draw different numbers from one seed."""
    loaded = sys.modules.get("keras")
    backend = loaded.backend.backend() if loaded else os.environ.get("KERAS_BACKEND")
    if not backend:
        import keras

        backend = keras.backend.backend()
    return f"random-seed{_RANDOM_SEED}-{backend}"


@contextlib.contextmanager
def in_float32() -> Iterator[None]:
    """Draw a network in float32, whatever the model before it in this process was trained in."""
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def build_body(backbone: Backbone, size: tuple[int, int], weights_path: Path | None) -> Any:
    """The network from prepared pixels up to its deepest cut, as a Keras model.

    Args:
        backbone: Which one.
        size: Height and width of its input in pixels.
        weights_path: The weights file, HDF5 or ``.npz``; None for random weights.

    Raises:
        ModelError: The file does not fit, or leaves a layer with random weights.
    """
    import keras

    with in_float32():  # rows are shared by all
        if weights_path is None:
            keras.utils.set_random_seed(_RANDOM_SEED)
        whole = _network(backbone, (*size, 3))
        body = keras.Model(whole.inputs, whole.get_layer(backbone.cuts[-1].layer).output)
        if weights_path is None:
            _revive(body)
        else:
            _load(whole, body, weights_path, backbone)
    body.trainable = False
    return body


def give_weights(body: Any, weights: Sequence[NDArray[np.float32] | None]) -> None:
    """Give a network the numbers that an ONNX model of it holds; see ``onnx_graph.pooled_onnx``.

    Args:
        body: What ``build_body`` made.
        weights: The numbers of each of its weights; None for those that stay as they are.
    """
    for weight, stored in zip(body.weights, weights, strict=True):
        if stored is not None:  # kernels lie with channels first in ONNX
            turned = stored.transpose(2, 3, 1, 0) if stored.ndim == 4 else stored
            weight.assign(turned.reshape(weight.shape))
    for layer in body.layers:
        if type(layer).__name__ == "Normalization":
            layer.finalize_state()  # it computes by a copy of its weights


def _network(backbone: Backbone, input_shape: tuple[int, int, int]) -> Any:
    if backbone.application == "SqueezeNet":
        from medbench.features.squeezenet import squeezenet

        return squeezenet(input_shape)
    if backbone.application == "EfficientNetLite0":
        return efficientnet_lite0(input_shape)
    import keras

    application = getattr(keras.applications, backbone.application)
    return application(include_top=False, weights=None, input_shape=input_shape)


def _revive(body: Any) -> None:
    """Give random depthwise kernels the spread of He et al. (2015).

    Keras draws them as if each channel saw all others, so that a random MobileNet fades to 1e-18
    within its twelve blocks, where float32 knows no variance any more.
    """
    from keras import ops

    for layer in body.layers:
        if type(layer).__name__ == "DepthwiseConv2D":
            kernel = np.asarray(ops.convert_to_numpy(layer.kernel))
            wanted = math.sqrt(2 / math.prod(layer.kernel_size))
            layer.kernel.assign(kernel * (wanted / kernel.std()))


def _load(whole: Any, body: Any, path: Path, backbone: Backbone) -> None:
    """Load weights, and make sure that every convolution took some: Keras only warns."""
    from keras import ops

    remedy = "Take it out of that folder, or replace it."
    kernels = [layer.kernel for layer in body.layers if hasattr(layer, "kernel")]
    random = [np.array(ops.convert_to_numpy(kernel)) for kernel in kernels]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            if path.suffix == ".npz":
                arrays = _from_npz(path)
                if backbone.weights.pytorch:
                    arrays = by_layer(arrays.get("", {}))
                _assign(body, arrays)
            elif backbone.weights.by_name:
                _assign(body, _from_hdf5(path))
            else:
                whole.load_weights(path)
    except BROKEN_CONTENT as error:
        raise ModelError(
            f"{path}: these weights do not fit {backbone.title} without its top "
            f"({str(error).splitlines()[0]}). {remedy}"
        ) from error
    untouched = sum(
        np.array_equal(old, ops.convert_to_numpy(new))
        for old, new in zip(random, kernels, strict=True)
    )
    if untouched:
        raise ModelError(
            f"{path}: holds nothing for {untouched} of the {len(kernels)} convolutions of "
            f"{backbone.title}, which would stay random. {remedy}"
        )
    if backbone.weights.bgr:
        kernels[0].assign(ops.flip(kernels[0], axis=2))


def _assign(body: Any, arrays: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
    """Give each layer the arrays under its name; arrays of other layers are left aside.

    Raises:
        ValueError: A layer gets no array for one of its weights, or one of another shape.
    """
    for layer in body.layers:
        for weight in layer.weights:
            value = arrays.get(layer.name, {}).get(weight.name)
            if value is None:
                raise ValueError(f"there is no {layer.name}/{weight.name} in it")
            if value.shape != tuple(weight.shape):
                raise ValueError(
                    f"{layer.name}/{weight.name} has shape {value.shape}, not {tuple(weight.shape)}"
                )
            weight.assign(value)


def _from_npz(path: Path) -> dict[str, dict[str, NDArray[Any]]]:
    """Arrays called ``<layer>/<weight>``, by layer and weight; others by "" and their name."""
    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    with open_npz(path, WEIGHTS) as file:
        for name in file.files:
            layer, _, weight = name.rpartition("/")
            # Keras 3 calls the kernel of every convolution just that.
            arrays.setdefault(layer, {})[weight.removeprefix("depthwise_")] = file[name]
    return arrays


def _from_hdf5(path: Path) -> dict[str, dict[str, NDArray[Any]]]:
    """Kernel and bias of each convolution of a file of Keras 1 or 2, by layer and weight."""
    import h5py

    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    with open_regular(path, WEIGHTS) as stream, h5py.File(stream, "r") as file:
        for layer in file.attrs["layer_names"]:
            group = file[layer]
            found = [group[name] for name in group.attrs["weight_names"]]
            WEIGHTS.refuse_above(sum(weight.nbytes for weight in found), unpacked=True)
            values = [np.asarray(weight) for weight in found]
            name = os.fsdecode(layer).replace("/", "_")  # bytes or text
            arrays[name] = dict(zip(("kernel", "bias"), values, strict=False))
    return arrays
