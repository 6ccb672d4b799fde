"""The frozen classifiers of several folds as one ONNX file, which has their backbone once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from medbench.errors import ModelError
from medbench.models.frozen_file import BIAS, HEAD, KERNEL, OUTPUT

_FOLDS = "fold_probabilities"


def join_frozen(
    contents: Sequence[bytes], temperatures: Sequence[Sequence[float]] | None = None
) -> bytes:
    """Join classifiers on one backbone, which is then computed once for all of them.

    Args:
        contents: What ``write_frozen`` made, of the folds of one row for instance; at least one.
        temperatures: Of each classifier what its logits are divided by, one a class or one for
            all; None leaves them as they are.

    Returns:
        An ONNX model as that of ``onnx_export.classifiers_onnx``: input ``image``, outputs
        ``probabilities`` (their mean) and ``fold_probabilities``.

    Raises:
        ModelError: They are on different backbones.
    """
    from onnx import TensorProto, helper, load_model_from_string, numpy_helper

    nodes, constants, sums, rows = [], [], set(), []
    for number, content in enumerate(contents):
        model = load_model_from_string(content)
        graph, fold = model.graph, f"fold_{number}/"
        backbone = [node for node in graph.node if not _of_head(node.output[0])]
        shared = [one for one in graph.initializer if not _of_head(one.name)]
        sums.add(_sum_of([*graph.input, *backbone, *shared]))
        for node in graph.node:
            if _of_head(node.output[0]):
                for names in (node.input, node.output):
                    names[:] = [fold + name if _of_head(name) else name for name in names]
                nodes.append(node)
        for one in graph.initializer:
            if _of_head(one.name):
                value = numpy_helper.to_array(one)
                if temperatures is not None and one.name in (KERNEL, BIAS):
                    value = np.float32(value / np.asarray(temperatures[number]))
                constants.append(numpy_helper.from_array(value, fold + one.name))
        rows.append(f"{fold}row")
        nodes.append(helper.make_node("Reshape", [fold + OUTPUT, "fold_shape"], rows[-1:]))
        n_classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    if len(sums) != 1:
        raise ModelError("these classifiers are on different backbones, and cannot be joined.")
    constants.append(numpy_helper.from_array(np.array([-1, 1, n_classes]), "fold_shape"))
    # A mean by operators that mean the same in every version of ONNX.
    nodes += [
        helper.make_node("Concat", rows, [_FOLDS], axis=1),
        helper.make_node("Transpose", [_FOLDS], ["fold_last"], perm=[0, 2, 1]),
        helper.make_node("GlobalAveragePool", ["fold_last"], ["fold_mean"]),
        helper.make_node("Flatten", ["fold_mean"], [OUTPUT], axis=1),
    ]
    shapes = {OUTPUT: ["n", n_classes], _FOLDS: ["n", len(contents), n_classes]}
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    made = helper.make_model(
        helper.make_graph(
            [*backbone, *nodes], "classifier", graph.input, outputs, [*shared, *constants]
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    data: bytes = made.SerializeToString()
    return data


def _of_head(name: str) -> bool:
    """Whether a tensor is the linear model's, not the backbone's."""
    return name.startswith(HEAD) or name == OUTPUT


def _sum_of(messages: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for message in messages:
        digest.update(message.SerializeToString())
    return digest.hexdigest()
