"""An ONNX file that somebody else made, read as one model that needs nothing else.

What the file says is not trusted: no path of it is followed out of its folder, no operator is run
but those that ONNX Runtime knows, and what is large is refused before it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from medbench.errors import ModelError
from medbench.hashes import hash_of_file, sha256_of_chunks, sha256_of_text
from medbench.opening import FileLimit, RefusedFileError, open_regular, read_regular

ONNX = FileLimit(name="an ONNX file with its weights", n_bytes=2 * 1024**3 - 16 * 1024**2)
"""A protocol buffer holds less than 2 GiB, and so does the fitted model with the network in it."""
_KNOWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Of the operators that come with ONNX Runtime."""
_AGAIN = "Export it again, or copy it again if it came from elsewhere."
_INSIDE = (
    "Export again with all weights inside the file (external_data=False of torch.onnx.export)."
)


def read_onnx(path: Path) -> tuple[Any, str]:
    """Read an ONNX file with the weights that lie beside it.

    Args:
        path: The file.

    Returns:
        The model (``onnx.ModelProto``): its weights are in it, and its functions are written out.
        And its SHA-256: that of the file, or of its sum and those of the files of its weights.

    Raises:
        ModelError: It cannot be read, is too large, is no ONNX model, has operators that ONNX
            Runtime does not know, or its weights are not beside it.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx import ModelProto
    from onnx.inliner import inline_local_functions

    model = ModelProto()
    try:
        content = read_regular(path, ONNX)
        model.ParseFromString(content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(
            f"{path}: cannot be read ({reason}). Name an ONNX file, as onnx:folder/backbone.onnx."
        ) from error
    except DecodeError as error:
        raise ModelError(f"{path}: is no ONNX model, or a damaged one. {_AGAIN}") from error
    if not model.graph.node:
        raise ModelError(f"{path}: is no ONNX model, or one without a network. {_AGAIN}")
    if not all(isinstance(name, str) for name in _names(model)):  # bytes, where it is no UTF-8
        raise ModelError(f"{path}: has names that are no text, so it is damaged. {_AGAIN}")
    sums = _take_in_weights(model, path)
    if model.functions:
        try:
            model = inline_local_functions(model)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"{path}: its functions cannot be read ({error}). {_AGAIN}") from error
    for node in _all_nodes(model.graph.node):
        if node.domain not in _KNOWN_DOMAINS:
            raise ModelError(
                f"{path}: has the operator {node.op_type!r} of the domain {node.domain!r}, which "
                "ONNX Runtime does not have. Export again with operators of ONNX only."
            )
    sha256 = sha256_of_chunks([content])
    return model, sha256_of_text(sha256, *sums) if sums else sha256


def nodes_for(nodes: Iterable[Any], wanted: Iterable[str]) -> tuple[list[Any], set[str]]:
    """What of a graph computes some tensors.

    Args:
        nodes: The nodes of the graph (``onnx.NodeProto``); each stands behind those that it reads.
        wanted: Names of tensors.

    Returns:
        The nodes, in the same order, and the names of all tensors that they read, with ``wanted``.
    """
    needed, kept = set(wanted), []
    for node in reversed(list(nodes)):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
            for graph in _subgraphs(node):  # which may read what is outside them
                needed.update(one.name for one in graph.output)
                needed.update(name for each in _all_nodes(graph.node) for name in each.input)
                needed.update(one.name for each in _all_graphs(graph) for one in each.output)
    return kept[::-1], needed


def prefix_names(nodes: Iterable[Any], prefix: str) -> None:
    """Put a prefix before the name of every tensor that nodes read or write, in place."""
    for node in nodes:
        for names in (node.input, node.output):
            for number, name in enumerate(names):
                names[number] = prefix + name if name else ""
        for graph in _subgraphs(node):
            prefix_names(graph.node, prefix)
            for one in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
                one.name = prefix + one.name


def _subgraphs(node: Any) -> Iterator[Any]:
    """The graphs in the attributes of a node: branches and bodies of loops."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _all_graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for inner in _subgraphs(node):
            yield from _all_graphs(inner)


def _all_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    """Nodes and those of the graphs in them."""
    for node in nodes:
        yield node
        for graph in _subgraphs(node):
            yield from _all_nodes(graph.node)


def _names(model: Any) -> Iterator[Any]:
    """Every name by which a graph or function of a model refers to something."""
    nodes = [*model.graph.node, *(node for one in model.functions for node in one.node)]
    graphs = [model.graph, *(graph for node in _all_nodes(nodes) for graph in _subgraphs(node))]
    for graph in graphs:
        for one in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
            yield one.name
    for node in _all_nodes(nodes):
        yield from (*node.input, *node.output, node.name, node.op_type, node.domain)
    yield from (entry.value for tensor in _tensors(model) for entry in tensor.external_data)


def _tensors(model: Any) -> Iterator[Any]:
    """Every tensor that is stored in a model."""
    nodes = [*model.graph.node, *(node for one in model.functions for node in one.node)]
    yield from model.graph.initializer
    for node in _all_nodes(nodes):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for graph in _subgraphs(node):
            yield from graph.initializer


def _take_in_weights(model: Any, path: Path) -> list[str]:
    """Put the weights that lie beside a file into its model.

    Returns:
        The SHA-256 of each file that they were in, by its name's order; none where all were inside.

    Raises:
        ModelError: One is not there, lies elsewhere, is too short, or all are too large.
    """
    from onnx import TensorProto

    outside = [one for one in _tensors(model) if one.data_location == TensorProto.EXTERNAL]
    names = sorted({_said(tensor, "location") for tensor in outside})
    for name in names:
        plain = name == PurePosixPath(name).name == PureWindowsPath(name).name
        if not plain or name in ("", ".", ".."):
            raise ModelError(
                f"{path}: says that its weights are in {name[:100]!r}, which is no file beside it, "
                f"so nothing is read from there. {_INSIDE}"
            )
    total = model.ByteSize()
    for tensor in outside:
        data = path.parent / _said(tensor, "location")
        try:
            begin, length = int(_said(tensor, "offset") or 0), int(_said(tensor, "length") or -1)
            with open_regular(data, ONNX) as file:
                size = file.seek(0, 2)
                length = size - begin if length < 0 else length
                if not 0 <= begin <= begin + length <= size:
                    raise RefusedFileError(f"{tensor.name!r} would end behind its end")
                total += length
                ONNX.refuse_above(total, unpacked=True)
                file.seek(begin)
                tensor.raw_data = file.read(length)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ModelError(
                f"{path}: its weights are in {data.name} beside it, which cannot be read "
                f"({reason}). Put that file into the same folder. Or: {_INSIDE}"
            ) from error
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]
    return [hash_of_file(path.parent / name) for name in names]


def _said(tensor: Any, key: str) -> str:
    """What a tensor says of where its numbers are; empty where it says nothing."""
    return next((str(one.value) for one in tensor.external_data if one.key == key), "")
