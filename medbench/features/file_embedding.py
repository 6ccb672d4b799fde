"""Embeddings by a backbone that a user gives as a file."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.errors import ModelError
from medbench.features import engines
from medbench.features.embeddings import Embedding
from medbench.features.onnx_backbone import EMBEDDING, PIXELS
from medbench.hashes import hash_of_file
from medbench.opening import MODEL, read_regular

_GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in grey: ITU-R BT.601."""


@dataclass(frozen=True, kw_only=True)
class FileEmbedding(Embedding):
    """One forward pass through a network that ``prepare_backbone`` has made ready.

    It has one cut and one vector of it, which make up the row. Images are brought to the network's
    size, whatever their own: bilinear, with a wider filter where they are made smaller. Grey ones
    are repeated to three channels, coloured ones made grey for a network of one channel. Computed
    by ONNX Runtime and nothing else.
    """

    engine: str = "onnxruntime"

    def __post_init__(self) -> None:
        engines.require(self.engine)

    @property
    def key(self) -> str:
        """Names the network and how it is fed, by the content of its file."""
        return f"file-embedding-{_sha256(self._path())[:32]}-{self.engine}"

    @property
    def width(self) -> int:
        """Number of columns of a row."""
        return _drawn(self)[1]

    def columns(self, cut: str, pooling: str) -> slice:
        """The whole row."""
        return slice(None)

    def vectors(self, cuts: Collection[str], poolings: Collection[str]) -> list[int]:
        """The only one."""
        return [0]

    def as_onnx(self) -> bytes:
        """From uint8 images to rows, as an ONNX model; see ``onnx_graph.pooled_onnx``.

        Raises:
            ModelError: There is no file to make it of.
        """
        return _drawn(self)[0]

    def needs_keras(self) -> bool:
        """Never."""
        return False

    def _path(self) -> Path:
        if self.weights_path is None:
            raise ModelError(
                f"{self.backbone}: its backbone's file is not here, and learning needs it. Name it "
                "as onnx:folder/file.onnx among the models."
            )
        return self.weights_path


@functools.lru_cache(maxsize=1)
def _sha256(path: Path) -> str:
    return hash_of_file(path)


@functools.lru_cache(maxsize=1)
def _drawn(embedding: FileEmbedding) -> tuple[bytes, int]:
    """See ``FileEmbedding.as_onnx``; and the number of columns."""
    from onnx import TensorProto, helper, load_model_from_string, numpy_helper

    model = load_model_from_string(read_regular(embedding._path(), MODEL))
    graph = model.graph
    _, channels, *size = (d.dim_value for d in graph.input[0].type.tensor_type.shape.dim)
    width = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    constants, before = _to_pixels(embedding.image_shape, channels, (size[0], size[1]))
    graph.initializer.extend(
        numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()
    )
    nodes = [*before, *graph.node, helper.make_node("Concat", [EMBEDDING], ["row"], axis=1)]
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "embedding",
            [
                helper.make_tensor_value_info(
                    "image", TensorProto.UINT8, ["n", *embedding.image_shape]
                )
            ],
            [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["n", width])],
            graph.initializer,
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    return made.SerializeToString(), width


def _to_pixels(
    image_shape: tuple[int, int, int], channels: int, size: tuple[int, int]
) -> tuple[dict[str, Any], list[Any]]:
    """Constants and nodes that lead from uint8 images to what the network takes.

    The nodes mean the same in every version of ONNX, so resizing is two multiplications by a
    matrix here: the rows and the columns of the result are mixtures of those of the image.
    """
    from onnx import TensorProto, helper

    height, width, of_image = image_shape
    constants: dict[str, Any] = {}
    nodes = [
        helper.make_node("Transpose", ["image"], ["image_maps"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["image_maps"], ["image_float"], to=TensorProto.FLOAT),
    ]
    last = "image_float"
    if (of_image, channels) == (1, 3):
        nodes.append(helper.make_node("Concat", [last] * 3, ["image_three"], axis=1))
        last = "image_three"
    elif (of_image, channels) == (3, 1):
        constants["grey"] = np.reshape(_GREY, (1, 3, 1, 1))
        nodes.append(helper.make_node("Conv", [last, "grey"], ["image_grey"]))
        last = "image_grey"
    if size[0] != height:
        constants["rows"] = interpolation(height, size[0])
        nodes.append(helper.make_node("MatMul", ["rows", last], ["image_high"]))
        last = "image_high"
    if size[1] != width:
        constants["columns"] = interpolation(width, size[1]).T
        nodes.append(helper.make_node("MatMul", [last, "columns"], ["image_wide"]))
        last = "image_wide"
    return constants, [*nodes, helper.make_node("Identity", [last], [PIXELS])]


def interpolation(n_before: int, n_after: int) -> NDArray[np.float32]:
    """What a line of pixels is multiplied with to have another length, bilinear.

    Args:
        n_before: Pixels of the line.
        n_after: Pixels that it gets; of fewer each is a mean over all that it stands for.

    Returns:
        float32, shape (n_after, n_before); rows sum to one.
    """
    step = n_before / n_after
    centres = (np.arange(n_after) + 0.5) * step - 0.5
    apart = np.abs(np.arange(n_before) - centres[:, np.newaxis])
    weights = np.maximum(0.0, 1.0 - apart / max(step, 1.0))
    scaled: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return scaled.astype(np.float32)
