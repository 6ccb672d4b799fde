"""A Keras network written as ONNX, layer by layer, whatever the backend of Keras.

Keras' own ``Model.export`` needs another converter for each backend, and the one for TensorFlow
takes half a minute for InceptionV3. The few kinds of layers that MedBench's networks are made of
are written here within a second, with channels first as the engines like them.

Everything is a map of shape (images, channels, height, width) and float32; a flat vector is a
map of one pixel. So one operator serves for maps and vectors, and a dense layer is a convolution
of one pixel. Layers are written as they compute after training: augmentation and dropout do
nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.errors import ModelError

_OPSET = 18
_IR_VERSION = 10
"""Versions of the operators and of the file format, old enough for every engine of late."""
_MOST_BYTES = 2 * 1024**3 - 16 * 1024**2
"""Of the weights: a protocol buffer holds less than 2 GiB, and the nodes are in it as well."""

WEIGHTS_PROPERTY = "medbench.weights"
"""Of the metadata of ``pooled_onnx``: in JSON the name of the constant that holds each weight of
the Keras model, in its order; null for what is not needed after training."""

ONLY_IN_TRAINING = frozenset(
    {
        "ActivityRegularization",
        "AlphaDropout",
        "Dropout",
        "GaussianDropout",
        "GaussianNoise",
        "RandAugment",
        "RandomBrightness",
        "RandomColorDegeneration",
        "RandomColorJitter",
        "RandomContrast",
        "RandomElasticTransform",
        "RandomErasing",
        "RandomFlip",
        "RandomGaussianBlur",
        "RandomGrayscale",
        "RandomHue",
        "RandomInvert",
        "RandomPerspective",
        "RandomPosterization",
        "RandomRotation",
        "RandomSaturation",
        "RandomSharpness",
        "RandomShear",
        "RandomTranslation",
        "RandomZoom",
        "SpatialDropout1D",
        "SpatialDropout2D",
        "SpatialDropout3D",
    }
)
"""Kinds of Keras layers that do nothing after training."""

Shape = tuple[int | None, ...]
"""A shape as Keras gives it: images (None), height, width, channels; a vector has no sides."""


class Graph:
    """The ONNX graph under construction; what is added twice is stored and computed once."""

    def __init__(self, remedy: str) -> None:
        """An empty graph.

        Args:
            remedy: What errors advise to do instead.
        """
        self._remedy = remedy
        self._nodes: list[Any] = []
        self._outputs: dict[tuple[str, tuple[str, ...], str], str] = {}
        self._constants: list[Any] = []
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._bytes = 0
        self.held: dict[int, str] = {}
        """The constant that holds a Keras weight, by the weight's ``id``."""

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, unless it is there already, and give the output's name."""
        from onnx import helper

        key = (operator, inputs, repr(sorted(attributes.items())))
        if key not in self._outputs:
            output = f"x{len(self._nodes)}"
            self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
            self._outputs[key] = output
        return self._outputs[key]

    def constant(self, value: Any) -> str:
        """Add an array (a Keras weight too), unless it is there already, and give its name.

        Raises:
            ModelError: The weights became too large for one file.
        """
        from onnx import numpy_helper

        array = np.ascontiguousarray(_array(value))
        key = (array.dtype.str, array.shape, hashlib.sha256(array.data).digest())
        if key not in self._names:
            self._bytes += array.nbytes
            if self._bytes > _MOST_BYTES:
                raise ModelError(
                    f"more than {_MOST_BYTES / 1024**3:.1f} GiB of weights do not fit into one "
                    f"ONNX file; {self._remedy}"
                )
            name = f"c{len(self._constants)}"
            self._constants.append(numpy_helper.from_array(array, name))
            self._names[key] = name
        return self._names[key]

    def weight(self, weight: Any, turned: NDArray[Any] | None = None) -> str:
        """Add a Keras weight, as it is or as ``turned``, and remember where it is."""
        name = self.constant(weight if turned is None else turned)
        self.held[id(weight)] = name
        return name

    def channels(self, value: Any) -> str:
        """Add one number a channel, shaped to meet an activation map."""
        return self.constant(_map_of(np.asarray(value, np.float32)))

    def image(self) -> str:
        """Add the maps of the input ``image``: float32, channels first."""
        from onnx import TensorProto

        x = self.add("Transpose", "image", perm=[0, 3, 1, 2])
        return self.add("Cast", x, to=TensorProto.FLOAT)

    def model(
        self,
        name: str,
        image_shape: tuple[int, int, int],
        batch: int | str,
        outputs: Mapping[str, tuple[str, Sequence[int]]],
    ) -> Any:
        """The finished ONNX model.

        Args:
            name: Name of the graph.
            image_shape: Height, width and channels of the input ``image``, which is uint8.
            batch: Number of images of a forward pass, or the name of one that is not fixed.
            outputs: By the name of each output, what was added for it and its shape without
                the batch; float32.
        """
        from onnx import TensorProto, helper

        # An output has a name of its own, so its last node is not one that others may share.
        ends = [helper.make_node("Identity", [x], [end]) for end, (x, _) in outputs.items()]
        return helper.make_model(
            helper.make_graph(
                [*self._nodes, *ends],
                name,
                [helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, *image_shape])],
                [
                    helper.make_tensor_value_info(end, TensorProto.FLOAT, [batch, *shape])
                    for end, (_, shape) in outputs.items()
                ],
                self._constants,
            ),
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
        )

    def refusal(self, what: str) -> ModelError:
        """The error that says what cannot be written, and what to do."""
        return ModelError(f"{what} cannot be written as ONNX; {self._remedy}")


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
        the body its averages, then its maxima. Its metadata say where the body's weights are:
        kernels of convolutions with the axes (outputs, inputs, height, width), others of the
        same numbers in the same order.

    Raises:
        ModelError: A layer is of a kind that is not known here.
    """
    from onnx import helper

    graph = Graph('use engine="keras" for this backbone.')
    vectors = []
    for activation in write(graph, body, write(graph, prepared, [graph.image()])):
        vectors += [graph.add(f"Global{kind}Pool", activation) for kind in ("Average", "Max")]
    row = graph.add("Flatten", graph.add("Concat", *vectors, axis=1), axis=1)
    width = 2 * sum(output.shape[-1] for output in body.outputs)
    model = graph.model("embedding", image_shape, batch, {"row": (row, [width])})
    held = [graph.held.get(id(weight)) for weight in body.weights]
    helper.set_model_props(model, {WEIGHTS_PROPERTY: json.dumps(held)})
    data: bytes = model.SerializeToString()
    return data


def write(graph: Graph, model: Any, inputs: Sequence[str]) -> list[str]:
    """Add the layers of a Keras model and of the models in it, and give its outputs' names.

    Args:
        graph: Where to.
        model: A functional or sequential model.
        inputs: The names of its inputs.

    Raises:
        ModelError: A layer is of a kind, or does something, that is not known here.
    """
    import keras

    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs)
    names = dict(zip(map(id, model.inputs), inputs, strict=True))
    # Nodes, not layers: a layer belongs to several models here, and a model that is used as a
    # layer tells its own inputs, not what it was called on.
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            given = [names[id(tensor)] for tensor in node.input_tensors]
            written = _written(graph, node.operation, node.input_tensors[0].shape, given)
            names.update(zip(map(id, node.outputs), written, strict=True))
    return [names[id(output)] for output in model.outputs]


def _written(graph: Graph, layer: Any, shape: Shape, inputs: list[str]) -> list[str]:
    """Add what one layer does with inputs of which the first has a shape."""
    kind = type(layer).__name__
    if kind in ("Functional", "Sequential"):
        return write(graph, layer, inputs)
    if kind not in _WRITERS:
        raise graph.refusal(f"layer {layer.name!r} of kind {kind}")
    return [_WRITERS[kind](graph, layer, shape, *inputs)]


def _array(value: Any) -> NDArray[Any]:
    """A NumPy array or a Keras weight as an array; numbers that are not whole in float32."""
    from keras import ops

    array = np.asarray(value if isinstance(value, np.ndarray) else ops.convert_to_numpy(value))
    return array if array.dtype.kind in "iu" else array.astype(np.float32, copy=False)


def _map_of(array: NDArray[Any]) -> NDArray[Any]:
    """One number a channel, shaped to meet an activation map."""
    return array.reshape(1, -1, 1, 1)


def _sides(shape: Shape) -> Shape:
    """Height and width; a vector is a map of one pixel."""
    return shape[1:-1] or (1, 1)


def _check_axis(graph: Graph, layer: Any, shape: Shape) -> None:
    """Make sure that a layer works along the channels, which are last in Keras."""
    if layer.axis not in (-1, len(shape) - 1):
        raise graph.refusal(f"axis {layer.axis}, not the channels, of layer {layer.name!r}")


def _activated(graph: Graph, layer: Any, shape: Shape, x: str) -> str:
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
    if name == "softmax":
        return graph.add("Softmax", x, axis=1)
    raise graph.refusal(f"activation {name!r} of layer {layer.name!r}")


def _pads(layer: Any, shape: Shape, size: Sequence[int]) -> list[int]:
    """Rows and columns added before and behind, as Keras' ``padding`` says."""
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    begin, end = [], []
    for pixels, width, step in zip(_sides(shape), size, layer.strides, strict=True):
        missing = max((-(-(pixels or 0) // step) - 1) * step + width - (pixels or 0), 0)
        begin.append(missing // 2)
        end.append(missing - missing // 2)
    return begin + end


def _convolution(graph: Graph, layer: Any, shape: Shape, x: str) -> str:
    kernel = _array(layer.kernel)
    groups = getattr(layer, "groups", 1)
    if type(layer).__name__ == "DepthwiseConv2D":  # (height, width, in, outputs of each)
        groups = kernel.shape[2]
        kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
    if any(rate != 1 for rate in layer.dilation_rate):
        raise graph.refusal(f"dilated convolution {layer.name!r}")
    weights = [graph.weight(layer.kernel, kernel.transpose(3, 2, 0, 1))]
    if layer.use_bias:
        weights.append(graph.weight(layer.bias))
    x = graph.add(
        "Conv",
        x,
        *weights,
        group=groups,
        strides=layer.strides,
        pads=_pads(layer, shape, layer.kernel_size),
    )
    return _activated(graph, layer, shape, x)


def _dense(graph: Graph, layer: Any, shape: Shape, x: str) -> str:
    weights = [graph.constant(_array(layer.kernel).T[:, :, np.newaxis, np.newaxis])]
    if layer.use_bias:
        weights.append(graph.constant(layer.bias))
    return _activated(graph, layer, shape, graph.add("Conv", x, *weights))


def _normalised_batch(graph: Graph, layer: Any, shape: Shape, x: str) -> str:
    _check_axis(graph, layer, shape)
    mean, variance = _array(layer.moving_mean), _array(layer.moving_variance)
    gamma = _array(layer.gamma) if layer.scale else np.ones_like(mean)
    beta = _array(layer.beta) if layer.center else np.zeros_like(mean)
    if len(shape) > 2:
        constants = [
            graph.weight(layer.gamma) if layer.scale else graph.constant(gamma),
            graph.weight(layer.beta) if layer.center else graph.constant(beta),
            graph.weight(layer.moving_mean),
            graph.weight(layer.moving_variance),
        ]
        return graph.add("BatchNormalization", x, *constants, epsilon=layer.epsilon)
    # The operator computes x * factor - mean * factor, which for a vector with little spread
    # around a large mean (the standardised embeddings of a frozen backbone) loses most digits.
    factor = gamma / np.sqrt(variance.astype(np.float64) + layer.epsilon)
    x = graph.add("Mul", graph.add("Sub", x, graph.channels(mean)), graph.channels(factor))
    return graph.add("Add", x, graph.channels(beta)) if beta.any() else x


def _normalised(graph: Graph, layer: Any, shape: Shape, x: str) -> str:
    mean, variance = (_map_of(_array(value)) for value in (layer.mean, layer.variance))
    if layer.input_mean is not None:  # numbers that it was made with, not weights
        x = graph.add("Sub", x, graph.constant(mean))
        return graph.add("Div", x, graph.constant(np.sqrt(variance)))
    x = graph.add("Sub", x, graph.weight(layer.adapt_mean, mean))
    spread = graph.add("Sqrt", graph.weight(layer.adapt_variance, variance))
    return graph.add("Div", x, spread)


def _rescaled(graph: Graph, layer: Any, shape: Shape, x: str) -> str:
    x = graph.add("Mul", x, graph.channels(layer.scale))
    return graph.add("Add", x, graph.channels(layer.offset))


def _resized(graph: Graph, layer: Any, shape: Shape, x: str) -> str:
    plain = not (layer.antialias or layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio)
    if layer.interpolation != "bilinear" or not plain:
        raise graph.refusal(f"resizing {layer.name!r}, which is not plainly bilinear,")
    sizes = graph.constant(np.array([layer.height, layer.width], np.int64))
    return graph.add("Resize", x, "", "", sizes, axes=[2, 3], mode="linear")


def _padded(graph: Graph, layer: Any, shape: Shape, x: str) -> str:
    (top, bottom), (left, right) = layer.padding
    pads = graph.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    return graph.add("Pad", x, pads)


def _pool(operator: str) -> Callable[..., str]:
    def write_pool(graph: Graph, layer: Any, shape: Shape, x: str) -> str:
        return graph.add(
            operator,
            x,
            kernel_shape=layer.pool_size,
            strides=layer.strides,
            pads=_pads(layer, shape, layer.pool_size),
        )

    return write_pool


def _clipped(graph: Graph, layer: Any, shape: Shape, x: str) -> str:
    if layer.negative_slope or layer.threshold:
        raise graph.refusal(f"slope or threshold of layer {layer.name!r}")
    if layer.max_value is None:
        return graph.add("Relu", x)
    limits = [graph.constant(np.array(limit, np.float32)) for limit in (0, layer.max_value)]
    return graph.add("Clip", x, *limits)


def _concatenated(graph: Graph, layer: Any, shape: Shape, *inputs: str) -> str:
    _check_axis(graph, layer, shape)
    return graph.add("Concat", *inputs, axis=1)


def _operator(operator: str) -> Callable[..., str]:
    """A layer that is one operator, whatever the number of its inputs."""
    return lambda graph, layer, shape, *inputs: graph.add(operator, *inputs)


def _same(graph: Graph, layer: Any, shape: Shape, x: str) -> str:
    """A layer that does nothing after training."""
    return x


def _reshaped(graph: Graph, layer: Any, shape: Shape, x: str) -> str:
    """A vector made a map of one pixel, which it is here already."""
    if _sides(shape) != (1, 1) or tuple(layer.target_shape[:-1]) not in ((), (1, 1)):
        raise graph.refusal(f"layer {layer.name!r} from {shape[1:]} to {layer.target_shape}")
    return x


def _cast(graph: Graph, layer: Any, shape: Shape, x: str) -> str:
    """Another precision, as mixed precision has it; here all is float32."""
    if "float" not in str(layer.dtype):
        raise graph.refusal(f"cast {layer.name!r} to {layer.dtype}")
    return x


_WRITERS: dict[str, Callable[..., str]] = {
    **dict.fromkeys(ONLY_IN_TRAINING, _same),
    "Activation": _activated,
    "Add": _operator("Sum"),
    "AveragePooling2D": _pool("AveragePool"),
    "BatchNormalization": _normalised_batch,
    "Cast": _cast,
    "Concatenate": _concatenated,
    "Conv2D": _convolution,
    "Dense": _dense,
    "DepthwiseConv2D": _convolution,
    "GlobalAveragePooling2D": _operator("GlobalAveragePool"),
    "GlobalMaxPooling2D": _operator("GlobalMaxPool"),
    "MaxPooling2D": _pool("MaxPool"),
    "Multiply": _operator("Mul"),
    "Normalization": _normalised,
    "ReLU": _clipped,
    "Rescaling": _rescaled,
    "Reshape": _reshaped,
    "Resizing": _resized,
    "ZeroPadding2D": _padded,
}
