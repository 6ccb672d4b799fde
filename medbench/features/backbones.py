"""The pretrained networks: how each is fed, where it can be cut, and how its weights are read."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.errors import ModelError, unknown_name

_RANDOM_SEED = 0
"""Seed of the weights where there are no pretrained ones: reproducible, and shared by all."""
_ENLARGED_SIDE = 96

Channels = tuple[float, float, float]
"""One number for each of red, green and blue."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A depth at which a backbone can be cut."""

    layer: str
    """The layer whose output is taken."""
    channels: int
    """Number of channels there."""
    below: str
    """The layer where the block that ends in ``layer`` begins; no path goes around it."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network, and how it is fed and cut."""

    application: str
    """Name of its function in ``keras.applications``, or "SqueezeNet"."""
    minimum: int
    """Images whose smaller side has fewer pixels are enlarged."""
    mean: Channels
    """Its preprocessing: pixels (0 to 255, RGB) minus ``mean``, divided by ``deviation``."""
    deviation: Channels
    """See ``mean``."""
    bgr: bool = False
    """Whether its weights files want blue first; the first kernel is then turned around."""
    by_name: bool = False
    """Whether its HDF5 files are read by the names of their layers, not by their order."""
    cuts: tuple[Cut, ...]
    """From shallow to deep; the second one is the default."""

    def cut(self, layer: str) -> Cut:
        """The cut of that name.

        Raises:
            UnknownNameError: There is none; the message lists those there are.
        """
        for cut in self.cuts:
            if cut.layer == layer:
                return cut
        raise unknown_name(f"cut of {self.application}", layer, [c.layer for c in self.cuts])


_HALF = (127.5, 127.5, 127.5)
"""As mean and as deviation: pixels from -1 to 1."""
_MEAN = (0.485, 0.456, 0.406)
"""Mean and standard deviation of ImageNet's pixels, from 0 to 1."""
_DEVIATION = (0.229, 0.224, 0.225)
_CAFFE_MEAN = (123.68, 116.779, 103.939)
_ONE = (1.0, 1.0, 1.0)


def _times(factor: float, values: Channels) -> Channels:
    red, green, blue = values
    return (factor * red, factor * green, factor * blue)


def _roots(values: Channels) -> Channels:
    red, green, blue = values
    return (math.sqrt(red), math.sqrt(green), math.sqrt(blue))


def _efficientnet_mean() -> Channels:
    """What stands for a layer that Keras adds to EfficientNet only where it loads the weights.

    The network subtracts the mean m, divides by the root of the deviation d (both out of the
    weights file), and Keras' added layer divides by that root once more. Dividing beforehand
    moves the mean, unless the pixels are divided around it: (x - m) / r = x' - m where
    x' = (x - m * (1 - r)) / r.
    """
    red, green, blue = (
        255 * mean * (1 - root) for mean, root in zip(_MEAN, _roots(_DEVIATION), strict=True)
    )
    return (red, green, blue)


BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "inception_v3": Backbone(
            application="InceptionV3",
            minimum=75,
            mean=_HALF,
            deviation=_HALF,
            cuts=(
                Cut(layer="mixed3", channels=768, below="mixed2"),
                Cut(layer="mixed5", channels=768, below="mixed4"),
                Cut(layer="mixed7", channels=768, below="mixed6"),
                Cut(layer="mixed8", channels=1280, below="mixed7"),
                Cut(layer="mixed10", channels=2048, below="mixed9"),
            ),
        ),
        # Without its last block, 13: so that files which end before it serve as well.
        "mobilenet": Backbone(
            application="MobileNet",
            minimum=64,
            mean=_HALF,
            deviation=_HALF,
            cuts=(
                Cut(layer="conv_pw_5_relu", channels=256, below="conv_pw_3_relu"),
                Cut(layer="conv_pw_9_relu", channels=512, below="conv_pw_7_relu"),
                Cut(layer="conv_pw_11_relu", channels=512, below="conv_pw_9_relu"),
                Cut(layer="conv_pw_12_relu", channels=1024, below="conv_pw_10_relu"),
            ),
        ),
        "densenet121": Backbone(
            application="DenseNet121",
            minimum=64,
            mean=_times(255, _MEAN),
            deviation=_times(255, _DEVIATION),
            cuts=(
                Cut(layer="pool3_relu", channels=512, below="pool2_pool"),
                Cut(layer="pool4_relu", channels=1024, below="conv4_block12_concat"),
                Cut(layer="relu", channels=1024, below="pool4_pool"),
            ),
        ),
        "efficientnetb0": Backbone(
            application="EfficientNetB0",
            minimum=64,
            mean=_efficientnet_mean(),
            deviation=_roots(_DEVIATION),
            # Expanded layers: the narrow ones between blocks have a sixth of their channels.
            cuts=(
                Cut(layer="block4a_expand_activation", channels=240, below="block3a_project_bn"),
                Cut(layer="block6a_expand_activation", channels=672, below="block5b_add"),
                Cut(layer="block7a_expand_activation", channels=1152, below="block6c_add"),
                Cut(layer="top_activation", channels=1280, below="block6d_add"),
            ),
        ),
        "resnet50": Backbone(
            application="ResNet50",
            minimum=64,
            mean=_CAFFE_MEAN,
            deviation=_ONE,
            bgr=True,
            cuts=(
                Cut(layer="conv3_block4_out", channels=512, below="conv3_block3_out"),
                Cut(layer="conv4_block6_out", channels=1024, below="conv4_block5_out"),
                Cut(layer="conv5_block3_out", channels=2048, below="conv5_block2_out"),
            ),
        ),
        "squeezenet": Backbone(
            application="SqueezeNet",
            minimum=64,
            mean=_CAFFE_MEAN,
            deviation=_ONE,
            bgr=True,
            by_name=True,
            cuts=(
                Cut(layer="fire5_concat", channels=256, below="fire4_concat"),
                Cut(layer="fire7_concat", channels=384, below="fire6_concat"),
                Cut(layer="fire8_concat", channels=512, below="fire7_concat"),
                Cut(layer="fire9_concat", channels=512, below="fire8_concat"),
            ),
        ),
    }
)
"""The backbones by the name of their weights (``medbench.models.weights.KNOWN_WEIGHTS``)."""


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
    import keras

    return f"random-seed{_RANDOM_SEED}-{keras.backend.backend()}"


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

    # Always float32, whatever the model before us was trained in: rows are shared by all.
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        if weights_path is None:
            keras.utils.set_random_seed(_RANDOM_SEED)
        whole = _network(backbone, (*size, 3))
        body = keras.Model(whole.inputs, whole.get_layer(backbone.cuts[-1].layer).output)
        if weights_path is None:
            _revive(body)
        else:
            _load(whole, body, weights_path, backbone)
    finally:
        keras.config.set_dtype_policy(policy)
    body.trainable = False
    return body


def _network(backbone: Backbone, input_shape: tuple[int, int, int]) -> Any:
    if backbone.application == "SqueezeNet":
        from medbench.features.squeezenet import squeezenet

        return squeezenet(input_shape)
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

    remedy = "Take it out of the folder of --weights-dir, or replace it."
    kernels = [layer.kernel for layer in body.layers if hasattr(layer, "kernel")]
    random = [np.array(ops.convert_to_numpy(kernel)) for kernel in kernels]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            if path.suffix == ".npz":
                _assign(body, _from_npz(path))
            elif backbone.by_name:
                _assign(body, _from_hdf5(path))
            else:
                whole.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(
            f"{path}: these weights do not fit {backbone.application} without its top "
            f"({str(error).splitlines()[0]}). {remedy}"
        ) from error
    untouched = sum(
        np.array_equal(old, ops.convert_to_numpy(new))
        for old, new in zip(random, kernels, strict=True)
    )
    if untouched:
        raise ModelError(
            f"{path}: holds nothing for {untouched} of the {len(kernels)} convolutions of "
            f"{backbone.application}, which would stay random. {remedy}"
        )
    if backbone.bgr:
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
    """Arrays called ``<layer>/<weight>``, by layer and weight."""
    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            layer, _, weight = name.rpartition("/")
            # Keras 3 calls the kernel of every convolution just that.
            arrays.setdefault(layer, {})[weight.removeprefix("depthwise_")] = file[name]
    return arrays


def _from_hdf5(path: Path) -> dict[str, dict[str, NDArray[Any]]]:
    """Kernel and bias of each convolution of a file of Keras 1 or 2, by layer and weight."""
    import h5py

    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    with h5py.File(path, "r") as file:
        for layer in file.attrs["layer_names"]:
            group = file[layer]
            values = [np.asarray(group[name]) for name in group.attrs["weight_names"]]
            name = os.fsdecode(layer).replace("/", "_")  # bytes or text
            arrays[name] = dict(zip(("kernel", "bias"), values, strict=False))
    return arrays
