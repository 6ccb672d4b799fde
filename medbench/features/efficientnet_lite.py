"""EfficientNet-Lite0, which Keras Applications lacks, with the layer names of its weights file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

_STAGES = (
    # blocks, side of the kernel, stride of the first block, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Those of EfficientNet-B0."""
_STEM, _HEAD = 32, 1280
_EPSILON = 1e-3
_LARGEST = 6.0
"""Where ReLU6 ends."""
_STATISTICS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
"""What Keras calls the vectors of batch normalisation, by PyTorch's names."""


def efficientnet_lite0(input_shape: tuple[int, int, int]) -> Any:
    """The network without its top: everything before the global pooling and the classifier.

    EfficientNet-B0 without squeeze-and-excitation, and with ReLU6 for swish. Layers are called as
    in the weights file, without its dots and leading underscores: ``blocks5_expand_conv``, with
    ``blocks5_expand_relu`` behind its batch normalisation ``blocks5_bn0``.

    Args:
        input_shape: Height, width (from 32 pixels on) and 3 channels (RGB, minus 127, through 128).

    Returns:
        A Keras model with random weights; its output has 1280 channels.

    Source: Tan & Le (2019), EfficientNet, arXiv:1905.11946; Lite by Google at
    github.com/tensorflow/tpu, models/official/efficientnet/lite.
    """
    from keras import Input, Model, layers

    def convolved(x: Any, name: str, norm: str, filters: int, size: int, stride: int = 1) -> Any:
        """Convolution (depthwise for no ``filters``) and batch normalisation."""
        options = {"strides": stride, "padding": "same", "use_bias": False, "name": name}
        if filters:
            x = layers.Conv2D(filters, size, **options)(x)
        else:
            x = layers.DepthwiseConv2D(size, **options)(x)
        return layers.BatchNormalization(epsilon=_EPSILON, name=norm)(x)

    def rectified(x: Any, name: str) -> Any:
        return layers.ReLU(_LARGEST, name=name)(x)

    inputs = Input(input_shape)
    x = rectified(convolved(inputs, "conv_stem", "bn0", _STEM, 3, 2), "stem_relu")
    number = 0
    for blocks, size, first_stride, expansion, channels in _STAGES:
        for stride in (first_stride, *[1] * (blocks - 1)):
            name, before = f"blocks{number}", x
            if expansion > 1:
                wide = expansion * before.shape[-1]
                x = convolved(x, f"{name}_expand_conv", f"{name}_bn0", wide, 1)
                x = rectified(x, f"{name}_expand_relu")
            x = convolved(x, f"{name}_depthwise_conv", f"{name}_bn1", 0, size, stride)
            x = rectified(x, f"{name}_depthwise_relu")
            x = convolved(x, f"{name}_project_conv", f"{name}_bn2", channels, 1)
            if stride == 1 and before.shape[-1] == channels:
                x = layers.Add(name=f"{name}_add")([before, x])
            number += 1
    x = rectified(convolved(x, "conv_head", "bn1", _HEAD, 1), "head_relu")
    return Model(inputs, x, name="efficientnet_lite0")


def by_layer(arrays: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    """PyTorch's arrays as Keras has them, by layer and weight.

    Args:
        arrays: By name, as ``_blocks.0._depthwise_conv.weight``; kernels of shape (outputs,
            inputs, height, width).
    """
    turned: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        module, _, weight = name.rpartition(".")
        layer = module.replace(".", "").lstrip("_")
        if array.ndim == 4:
            axes = (2, 3, 0, 1) if "depthwise" in layer else (2, 3, 1, 0)
            turned.setdefault(layer, {})["kernel"] = array.transpose(axes)
        else:
            turned.setdefault(layer, {})[_STATISTICS.get(weight, weight)] = array
    return turned
