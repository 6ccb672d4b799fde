"""SqueezeNet v1.1, which Keras Applications lacks, with the layer names of its weights files."""

from __future__ import annotations

from typing import Any

_FIRE_MODULES = (
    (16, 64),
    (16, 64),
    (32, 128),
    (32, 128),
    (48, 192),
    (48, 192),
    (64, 256),
    (64, 256),
)
"""Channels of the squeeze layer and of each of the two expand layers, from fire2 to fire9."""
_POOLED_AFTER = (3, 5)
"""Fire modules that are followed by max pooling."""


def squeezenet(input_shape: tuple[int, int, int]) -> Any:
    """The network without its top: everything before the classifier ``conv10``.

    Layers are called as in the published weights files, with ``_`` for ``/``, which Keras forbids.
    The last layer of fire module ``n`` is ``fire<n>_concat``.

    Args:
        input_shape: Height, width (from 31 pixels on) and 3 channels (RGB or BGR, minus the mean).

    Returns:
        A Keras model with random weights; its output has 512 channels.

    Source: Iandola et al. (2016), SqueezeNet, arXiv:1602.07360; v1.1 by its authors at
    github.com/forresti/SqueezeNet.
    """
    from keras import Input, Model, layers

    def convolution(x: Any, name: str, filters: int, size: int, **options: Any) -> Any:
        return layers.Conv2D(filters, size, activation="relu", name=name, **options)(x)

    inputs = Input(input_shape)
    x = convolution(inputs, "conv1", 64, 3, strides=2)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    for number, (squeezed, expanded) in enumerate(_FIRE_MODULES, start=2):
        name = f"fire{number}"
        x = convolution(x, f"{name}_squeeze1x1", squeezed, 1)
        parts = [
            convolution(x, f"{name}_expand1x1", expanded, 1),
            convolution(x, f"{name}_expand3x3", expanded, 3, padding="same"),
        ]
        x = layers.Concatenate(name=f"{name}_concat")(parts)
        if number in _POOLED_AFTER:
            x = layers.MaxPooling2D(3, strides=2, name=f"pool{number}")(x)
    return Model(inputs, x, name="squeezenet")
