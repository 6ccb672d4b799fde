"""A Keras network written as ONNX, layer by layer, whatever the backend of Keras.

Keras' own ``Model.export`` needs another converter for each backend, and the one for TensorFlow
takes half a minute for InceptionV3. The few kinds of layers that the backbones are made of are
written here within a second, with channels first as the engines like them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.errors import ModelError

_OPSET = 18
_IR_VERSION = 10
"""Versions of the operators and of the file format, old enough for every engine of late."""


class Graph:
    """The ONNX graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and give the output's name."""
        from onnx import helper

        output = f"x{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, value: Any) -> str:
        """Add an array (a Keras weight too), and give its name."""
        from keras import ops
        from onnx import numpy_helper

        array = value if isinstance(value, np.ndarray) else ops.convert_to_numpy(value)
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def channels(self, value: Any) -> str:
        """Add one number a channel, shaped to meet an activation map."""
        array = np.asarray(value, np.float32).reshape(1, -1, 1, 1)
        return self.constant(array)


def pooled_onnx(prepared: Any, body: Any, image_shape: tuple[int, int, int], batch: int) -> bytes:
    """The network from images to the pooled activations of every output of ``body``.

    Args:
        prepared: Keras model from uint8 images to what the body takes.
        body: Keras model with activation maps as outputs.
        image_shape: Height, width and channels of the images.
        batch: Number of images of a forward pass; fixed.

    Returns:
        An ONNX model. Input ``image``: uint8, shape (batch, height, width, channels). Output
        ``row``: float32, shape (batch, 2 * sum of the outputs' channels); for each output of
        the body its averages, then its maxima.

    Raises:
        ModelError: A layer is of a kind that is not known here.
    """
    from onnx import TensorProto, helper

    graph = Graph()
    x = graph.add("Transpose", "image", perm=[0, 3, 1, 2])
    (x,) = _write(graph, prepared, [graph.add("Cast", x, to=TensorProto.FLOAT)])
    vectors = []
    for activation in _write(graph, body, [x]):
        vectors += [graph.add(f"Global{kind}Pool", activation) for kind in ("Average", "Max")]
    joined = graph.add("Concat", *vectors, axis=1)
    graph.nodes.append(helper.make_node("Flatten", [joined], ["row"], axis=1))
    width = 2 * sum(output.shape[-1] for output in body.outputs)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "embedding",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, *image_shape])],
            [helper.make_tensor_value_info("row", TensorProto.FLOAT, [batch, width])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    data: bytes = model.SerializeToString()
    return data


def _write(graph: Graph, model: Any, inputs: Sequence[str]) -> list[str]:
    """Add the layers of a Keras model, and give the names of its outputs."""
    from keras import tree

    names = dict(zip(map(id, model.inputs), inputs, strict=True))
    for layer in model.layers:
        kind = type(layer).__name__
        if kind == "InputLayer":
            continue
        if kind not in _WRITERS:
            raise ModelError(
                f"layer {layer.name!r} of kind {kind} cannot be written as ONNX; "
                'use engine="keras" for this backbone.'
            )
        given = [names[id(tensor)] for tensor in tree.flatten(layer.input)]
        names[id(layer.output)] = _WRITERS[kind](graph, layer, *given)
    return [names[id(output)] for output in model.outputs]


def _activated(graph: Graph, layer: Any, x: str) -> str:
    """Add the activation that a layer ends in."""
    name = layer.activation.__name__
    if name == "linear":
        return x
    if name == "relu":
        return graph.add("Relu", x)
    if name == "sigmoid":
        return graph.add("Sigmoid", x)
    if name == "silu":
        return graph.add("Mul", x, graph.add("Sigmoid", x))
    raise ModelError(
        f"activation {name!r} of layer {layer.name!r} cannot be written as ONNX; "
        'use engine="keras" for this backbone.'
    )


def _pads(layer: Any, size: Sequence[int]) -> list[int]:
    """Rows and columns added before and behind, as Keras' ``padding`` says."""
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    begin, end = [], []
    for pixels, width, step in zip(layer.input.shape[1:3], size, layer.strides, strict=True):
        missing = max((-(-pixels // step) - 1) * step + width - pixels, 0)
        begin.append(missing // 2)
        end.append(missing - missing // 2)
    return begin + end


def _convolution(graph: Graph, layer: Any, x: str) -> str:
    from keras import ops

    kernel: NDArray[np.float32] = np.asarray(ops.convert_to_numpy(layer.kernel))
    groups = 1
    if type(layer).__name__ == "DepthwiseConv2D":  # (height, width, in, outputs of each)
        groups = kernel.shape[2]
        kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
    weights = [graph.constant(kernel.transpose(3, 2, 0, 1))]
    if layer.use_bias:
        weights.append(graph.constant(layer.bias))
    x = graph.add(
        "Conv",
        x,
        *weights,
        group=groups,
        strides=layer.strides,
        pads=_pads(layer, layer.kernel_size),
    )
    return _activated(graph, layer, x)


def _normalised_batch(graph: Graph, layer: Any, x: str) -> str:
    channels = layer.moving_mean.shape[0]
    gamma = layer.gamma if layer.scale else np.ones(channels, np.float32)
    beta = layer.beta if layer.center else np.zeros(channels, np.float32)
    values = (gamma, beta, layer.moving_mean, layer.moving_variance)
    constants = [graph.constant(value) for value in values]
    return graph.add("BatchNormalization", x, *constants, epsilon=layer.epsilon)


def _normalised(graph: Graph, layer: Any, x: str) -> str:
    from keras import ops

    deviation = np.sqrt(ops.convert_to_numpy(layer.variance))
    x = graph.add("Sub", x, graph.channels(ops.convert_to_numpy(layer.mean)))
    return graph.add("Div", x, graph.channels(deviation))


def _rescaled(graph: Graph, layer: Any, x: str) -> str:
    x = graph.add("Mul", x, graph.channels(layer.scale))
    return graph.add("Add", x, graph.channels(layer.offset))


def _resized(graph: Graph, layer: Any, x: str) -> str:
    sizes = graph.constant(np.array([layer.height, layer.width], np.int64))
    return graph.add("Resize", x, "", "", sizes, axes=[2, 3], mode=_linear(layer))


def _linear(layer: Any) -> str:
    if layer.interpolation != "bilinear" or layer.antialias:
        raise ModelError(f"layer {layer.name!r}: only bilinear resizing can be written as ONNX.")
    return "linear"


def _padded(graph: Graph, layer: Any, x: str) -> str:
    (top, bottom), (left, right) = layer.padding
    pads = graph.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    return graph.add("Pad", x, pads)


def _pool(operator: str) -> Callable[..., str]:
    def write(graph: Graph, layer: Any, x: str) -> str:
        return graph.add(
            operator,
            x,
            kernel_shape=layer.pool_size,
            strides=layer.strides,
            pads=_pads(layer, layer.pool_size),
        )

    return write


def _clipped(graph: Graph, layer: Any, x: str) -> str:
    if layer.max_value is None:
        return graph.add("Relu", x)
    limits = [graph.constant(np.array(limit, np.float32)) for limit in (0, layer.max_value)]
    return graph.add("Clip", x, *limits)


def _operator(operator: str, **attributes: Any) -> Callable[..., str]:
    """A layer that is one operator, whatever the number of its inputs."""
    return lambda graph, layer, *inputs: graph.add(operator, *inputs, **attributes)


def _same(graph: Graph, layer: Any, x: str) -> str:
    """A layer that does nothing: dropout; a reshape of channels whose places were kept."""
    return x


_WRITERS: dict[str, Callable[..., str]] = {
    "Activation": _activated,
    "Add": _operator("Sum"),
    "AveragePooling2D": _pool("AveragePool"),
    "BatchNormalization": _normalised_batch,
    "Concatenate": _operator("Concat", axis=1),
    "Conv2D": _convolution,
    "DepthwiseConv2D": _convolution,
    "Dropout": _same,
    "GlobalAveragePooling2D": _operator("GlobalAveragePool"),
    "MaxPooling2D": _pool("MaxPool"),
    "Multiply": _operator("Mul"),
    "Normalization": _normalised,
    "ReLU": _clipped,
    "Rescaling": _rescaled,
    "Reshape": _same,
    "Resizing": _resized,
    "ZeroPadding2D": _padded,
}
