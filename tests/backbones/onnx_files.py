"""Small ONNX files that stand for backbones, made when a test needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
KERNEL = np.random.default_rng(1).normal(size=(5, 3, 4, 4)).astype(np.float32)
"""Of the convolution in ``patches``: a patch of 4 x 4 pixels becomes 5 numbers."""


def write_settings(path: Path, **settings: Any) -> None:
    """Write the YAML file beside a backbone; None leaves a field out."""
    fields = {"range": [0, 1], "mean": MEAN.tolist(), "deviation": DEVIATION.tolist(), **settings}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    path.with_suffix(".yaml").write_text("\n".join(lines) + "\n")


def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    """A node of ONNX with one output."""
    from onnx import helper

    return helper.make_node(operator, inputs, [output], **attributes)


def patches(
    path: Path,
    *nodes: Any,
    shape: tuple[int | str, ...] = ("n", 3, 16, 16),
    dtype: int = 1,
    constants: dict[str, np.ndarray] | None = None,
    first: Any = None,
    more: tuple[Any, ...] = (),
    outputs: tuple[str, ...] = (),
    domains: dict[str, int] | None = None,
    opset: int = 18,
    ir_version: int = 9,
    functions: tuple[Any, ...] = (),
) -> Path:
    """Write a network of one convolution, which ends in ``patches``, and of further nodes.

    Args:
        path: Where to.
        nodes: Behind the convolution.
        shape: Of the input ``image``.
        dtype: Its type, as ONNX numbers them; 1 is float32.
        constants: Arrays by name, beside ``kernel``.
        first: A node between the input and the convolution.
        more: Further inputs.
        outputs: Names; the last node's where there are none.
        domains: Versions of further operators by their domain.
        opset: Version of ONNX's own operators.
        ir_version: Version of the format.
        functions: Of ONNX, written into the file.
    """
    from onnx import helper, numpy_helper

    stored = {"kernel": KERNEL.astype(helper.tensor_dtype_to_np_dtype(dtype)), **(constants or {})}
    before = [] if first is None else [first]
    read = "image" if first is None else first.output[0]
    all_nodes = [*before, node("Conv", [read, "kernel"], "patches", strides=[4, 4]), *nodes]
    graph = helper.make_graph(
        all_nodes,
        "backbone",
        [helper.make_tensor_value_info("image", dtype, shape), *more],
        [helper.make_empty_tensor_value_info(name) for name in outputs or all_nodes[-1].output],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*one) for one in {"": opset, **(domains or {})}.items()],
        ir_version=ir_version,
        functions=functions,
    )
    path.write_bytes(model.SerializeToString())
    return path
