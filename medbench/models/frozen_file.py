"""A linear model on a frozen backbone as one ONNX file: raw images in, probabilities out.

Neither writing nor predicting needs Keras: the file is the backbone as it computed the features,
without what the linear model does not look at, and the linear model behind it. All of it can be
read back: the backbone's weights, and the linear model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medbench.errors import ModelError
from medbench.features.onnx_file import nodes_for
from medbench.features.onnx_graph import WEIGHTS_PROPERTY
from medbench.models.linear_head import LinearHead

_IMAGES = "n"
"""Name of the axis of images, whose length is free."""
HEAD = "head_"
"""What all names of the linear model begin with, but ``OUTPUT``, and none of a backbone."""
_MEAN, _FACTOR, KERNEL, BIAS = "head_mean", "head_factor", "head_kernel", "head_bias"
OUTPUT = "probabilities"


def write_frozen(embedding: bytes, vectors: Sequence[int], head: LinearHead) -> bytes:
    """The classifier as an ONNX model.

    Args:
        embedding: An ONNX model by ``pooled_onnx``.
        vectors: Which of its pooled vectors the linear model takes, in its order: of cut i the
            average is 2 * i, the maximum 2 * i + 1.
        head: The linear model.

    Returns:
        An ONNX model. Input ``image``: uint8, shape (n, height, width, channels), any n. Output
        ``probabilities``: float32, shape (n, n_classes).
    """
    from onnx import TensorProto, helper, load_model_from_string, numpy_helper

    model = load_model_from_string(embedding)
    graph = model.graph
    by_output = {node.output[0]: node for node in graph.node}
    joined = by_output["row"]
    while joined.op_type != "Concat":
        joined = by_output[joined.input[0]]
    constants = {
        _MEAN: head.mean,
        _FACTOR: 1 / head.scale,
        KERNEL: head.kernel,
        BIAS: head.bias,
    }
    last = "Sigmoid" if head.multi_label else "Softmax"
    nodes = [
        helper.make_node("Concat", [joined.input[i] for i in vectors], ["head_maps"], axis=1),
        helper.make_node("Flatten", ["head_maps"], ["head_row"], axis=1),
        helper.make_node("Sub", ["head_row", _MEAN], ["head_centred"]),
        helper.make_node("Mul", ["head_centred", _FACTOR], ["head_standard"]),
        helper.make_node("MatMul", ["head_standard", KERNEL], ["head_weighed"]),
        helper.make_node("Add", ["head_weighed", BIAS], ["head_logits"]),
        helper.make_node(last, ["head_logits"], [OUTPUT]),
    ]
    kept, needed = nodes_for(graph.node, [joined.input[i] for i in vectors])
    constant = [each for each in graph.initializer if each.name in needed]
    constant += [numpy_helper.from_array(np.float32(v), name) for name, v in constants.items()]
    _, *image_shape = (d.dim_value for d in graph.input[0].type.tensor_type.shape.dim)
    made = helper.make_model(
        helper.make_graph(
            [*kept, *nodes],
            "classifier",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, [_IMAGES, *image_shape])],
            [
                helper.make_tensor_value_info(
                    OUTPUT, TensorProto.FLOAT, [_IMAGES, head.kernel.shape[1]]
                )
            ],
            constant,
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    helper.set_model_props(made, {each.key: each.value for each in model.metadata_props})
    data: bytes = made.SerializeToString()
    return data


class FrozenFile:
    """What ``write_frozen`` wrote, opened to predict."""

    def __init__(self, content: bytes, threads: int) -> None:
        """Open it.

        Args:
            content: The ONNX model.
            threads: Threads to predict with.

        Raises:
            ModelError: It is damaged, or another kind of model.
        """
        from medbench.features.engines import onnxruntime_session

        self.content = content
        """The ONNX model."""
        self._session = onnxruntime_session(content, threads)
        shapes = [
            [tuple(port.shape[1:]) for port in ports]
            for ports in (self._session.get_inputs(), self._session.get_outputs())
        ]
        if [len(shape) for one in shapes for shape in one] != [3, 1]:
            raise ModelError("this ONNX model takes no images, or tells no probabilities of them.")
        self.image_shape, (self.n_classes,) = shapes[0][0], shapes[1][0]

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities, float64, shape (n_images, n_classes)."""
        given = {"image": np.ascontiguousarray(images)}
        said: NDArray[np.float32] = self._session.run([OUTPUT], given)[0]
        return said.astype(np.float64)

    def parts(self, multi_label: bool) -> tuple[list[NDArray[np.float32] | None], LinearHead]:
        """The backbone's weights and the linear model.

        Returns:
            Of each weight of the backbone, in Keras' order, its numbers (see ``pooled_onnx``),
            None for what only deeper cuts need; and the linear model.
        """
        from onnx import load_model_from_string, numpy_helper

        model = load_model_from_string(self.content)
        stored = {each.name: each for each in model.graph.initializer}
        names = {each.key: each.value for each in model.metadata_props}[WEIGHTS_PROPERTY]
        weights = [
            numpy_helper.to_array(stored[name]) if name in stored else None
            for name in json.loads(names)
        ]
        mean, factor, kernel, bias = (
            numpy_helper.to_array(stored[name]).astype(np.float64)
            for name in (_MEAN, _FACTOR, KERNEL, BIAS)
        )
        head = LinearHead(
            mean=mean, scale=1 / factor, kernel=kernel, bias=bias, multi_label=multi_label
        )
        return weights, head
