"""A backbone of the user's own: an ONNX file, and a YAML file beside it that says how it is fed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medbench.errors import ConfigurationError, ModelError, unknown_name
from medbench.features.backbone_settings import BackboneSettings, read_settings, settings_path
from medbench.features.onnx_file import nodes_for, prefix_names, read_onnx

PIXELS, EMBEDDING = "pixels", "embedding"
"""Names of the input and the output of ``PreparedBackbone.content``."""
_PREFIX = "backbone/"
"""Before the names of the user's file, so that none is one of ours."""
_MOST_FEATURES = 65536
_APART = 1e-3
"""How far a row may be from the same image's in other company, as a part of the largest number."""


@dataclass(frozen=True, kw_only=True)
class PreparedBackbone:
    """A backbone that was read, checked, and made to take pixels and give a vector."""

    content: bytes
    """An ONNX model. Input ``pixels``: float32 from 0 to 255, shape (n, channels, height, width)
    with 3 channels (RGB) or 1. Output ``embedding``: float32, shape (n, features)."""
    sha256: str
    """Of the user's file; see ``read_onnx``."""
    settings: Mapping[str, Any]
    """How it is fed and read, JSON-ready: what the YAML file and the file itself say."""


def prepare_backbone(path: Path) -> PreparedBackbone:
    """Read a backbone and try it on two images of noise.

    A map (rank 4) is pooled by average and by maximum; of tokens (rank 3) the settings say what is
    taken; a vector (rank 2) is taken as it is.

    Args:
        path: The ONNX file.

    Raises:
        ConfigurationError: Its settings are missing, or wrong.
        ModelError: It is no network from images to embeddings, or none that ONNX Runtime computes.
    """
    model, sha256 = read_onnx(path)
    settings = read_settings(path, _fixed_side(model))
    output = _output(path, model, settings)
    nodes, needed = nodes_for(model.graph.node, [output])
    weights = [one for one in model.graph.initializer if one.name in needed]
    entry = _input(path, model, needed - {one.name for one in weights}, output)
    form = _form(path, entry, settings)
    network = _Network(model, nodes, weights, entry.name, output)
    images = np.random.default_rng(0).integers(0, 256, (2, form.channels, *form.size))
    maps = _tried(path, network.model(form, settings), images.astype(np.float32))
    reading = _reading(path, maps, settings, output, form)
    said = {
        **settings.model_dump(mode="json"),
        "size": list(form.size),
        "output": output,
        "read_as": reading.how,
    }
    return PreparedBackbone(
        content=network.model(form, settings, reading).SerializeToString(),
        sha256=sha256,
        settings=said,
    )


# --- what the files say -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Form:
    """The form of a network's input."""

    size: tuple[int, int]
    channels: int
    channels_last: bool


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """How an embedding becomes a vector: as it is, a token of it, the mean of all, or pooled."""

    how: Literal["vector", "class token", "mean of tokens", "map"]
    features: int


def _output(path: Path, model: Any, settings: BackboneSettings) -> str:
    """The tensor that is the embedding."""
    outputs: list[str] = [one.name for one in model.graph.output]
    if settings.output is None:
        if len(outputs) == 1:
            return outputs[0]
        raise ConfigurationError(
            f"{path}: has {len(outputs)} outputs ({', '.join(outputs)}). Say which one is the "
            f"embedding in {settings_path(path).name}, as output: {outputs[0] if outputs else 'x'}"
        )
    within = [name for node in model.graph.node for name in node.output if name]
    if settings.output not in within:
        names = list(dict.fromkeys([*outputs, *within]))
        raise unknown_name(f"tensor of {path}", settings.output, names)
    return settings.output


def _input(path: Path, model: Any, needed: set[str], output: str) -> Any:
    """The input that takes the images, checked."""
    from onnx import TensorProto

    inputs = [one for one in model.graph.input if one.name in needed]
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs) or "none"
        raise ModelError(
            f"{path}: {output!r} needs {len(inputs)} inputs ({names}), and a backbone takes one, "
            "the images. Export its image encoder alone, or name a tensor that needs the images "
            f"only as output in {settings_path(path).name}."
        )
    dtype = inputs[0].type.tensor_type.elem_type
    if dtype != TensorProto.FLOAT:
        raise ModelError(
            f"{path}: its input {inputs[0].name!r} is {_dtype(dtype)}, and float32 is fed. Export "
            "the network in float32 (model.float() in PyTorch)."
        )
    return inputs[0]


def _form(path: Path, entry: Any, settings: BackboneSettings) -> _Form:
    """Channels and size of the input, from the file and the settings, which must agree."""
    name, file = entry.name, settings_path(path).name
    dimensions = _dimensions(entry)
    if len(dimensions) != 4:
        raise ModelError(
            f"{path}: its input {name!r} has {len(dimensions)} axes, and images have four: "
            "(n, channels, height, width), or (n, height, width, channels). Export it so."
        )
    n, *sides = map(_side, dimensions)
    if n is not None:
        raise ModelError(
            f"{path}: its input {name!r} takes {n} image{'s' * (n > 1)} at a time, no more and no "
            "less. Export again with a free first axis (dynamic_shapes of torch.onnx.export)."
        )
    channels = len(settings.mean)
    channels_last = sides[2] in (1, 3) and sides[0] not in (1, 3)
    *fixed, there = sides if channels_last else [*sides[1:], sides[0]]
    if there not in (None, channels):
        raise ConfigurationError(
            f"{path}: its input {name!r} has {there} channels, and {file} has {channels} numbers "
            "for mean and deviation. Give a number a channel (3 for RGB, 1 for grey)."
        )
    size = settings.size
    wanted = (size, size) if isinstance(size, int) or size is None else size
    for side, asked in zip(fixed, wanted, strict=True):
        if side is None and asked is None:
            raise ConfigurationError(
                f'{path}: takes images of any size. Say which in {file}, as "size: 224".'
            )
        if side is not None and asked not in (None, side):
            raise ConfigurationError(
                f"{path}: its input {name!r} has fixed sides of {fixed[0]} x {fixed[1]}, and size "
                f"in {file} is {size}. Leave size out there, or export again for that size."
            )
    height, width = (side or asked or 0 for side, asked in zip(fixed, wanted, strict=True))
    return _Form(size=(height, width), channels=channels, channels_last=channels_last)


def _fixed_side(model: Any) -> int | None:
    """A side of the image that the file has fixed, as far as that can be told of its inputs."""
    sides = [_side(one) for value in model.graph.input for one in _dimensions(value)[2:3]]
    return next((side for side in sides if side), None)


def _dimensions(value: Any) -> Sequence[Any]:
    return list(value.type.tensor_type.shape.dim)


def _side(dimension: Any) -> int | None:
    """The length of an axis; None where it is free."""
    return int(dimension.dim_value) if dimension.HasField("dim_value") else None


def _dtype(number: int) -> str:
    from onnx import TensorProto

    return str(TensorProto.DataType.Name(number)).lower()


# --- the network --------------------------------------------------------------------------


class _Network:
    """The user's network without what the embedding does not need, its names made ours."""

    def __init__(
        self, model: Any, nodes: list[Any], weights: list[Any], entry: str, output: str
    ) -> None:
        prefix_names(nodes, _PREFIX)
        for one in weights:
            one.name = _PREFIX + one.name
        self._nodes, self._weights = nodes, weights
        self._entry, self._output = _PREFIX + entry, _PREFIX + output
        self._opsets = list(model.opset_import)
        self._ir_version = max(model.ir_version, 4)  # before, constants had to be inputs as well

    def model(
        self, form: _Form, settings: BackboneSettings, reading: _Reading | None = None
    ) -> Any:
        """From pixels to the embedding as it comes (None), or read into a vector."""
        from onnx import TensorProto, helper, numpy_helper

        low, high = settings.range
        deviation = np.array(settings.deviation)
        shape = (1, -1, 1, 1)
        constants = {
            "pixel_factor": (high - low) / 255 / deviation.reshape(shape),
            "pixel_shift": ((low - np.array(settings.mean)) / deviation).reshape(shape),
        }
        fed = "pixels_scaled" if form.channels_last else self._entry
        nodes = [
            helper.make_node("Mul", [PIXELS, "pixel_factor"], ["pixels_spread"]),
            helper.make_node("Add", ["pixels_spread", "pixel_shift"], [fed]),
        ]
        if form.channels_last:
            nodes.append(helper.make_node("Transpose", [fed], [self._entry], perm=[0, 2, 3, 1]))
        nodes += self._nodes
        end = helper.make_empty_tensor_value_info(self._output)
        stored = [*self._weights]
        stored += [numpy_helper.from_array(np.float32(v), name) for name, v in constants.items()]
        if reading is not None:
            nodes += _read(self._output, reading.how, form.channels_last)
            end = helper.make_tensor_value_info(
                EMBEDDING, TensorProto.FLOAT, ["n", reading.features]
            )
            if reading.how == "class token":
                stored.append(numpy_helper.from_array(np.array(0, np.int64), "first"))
        entry = helper.make_tensor_value_info(
            PIXELS, TensorProto.FLOAT, ["n", form.channels, *form.size]
        )
        return helper.make_model(
            helper.make_graph(nodes, "backbone", [entry], [end], stored),
            opset_imports=self._opsets,
            ir_version=self._ir_version,
        )


def _read(output: str, how: str, channels_last: bool) -> list[Any]:
    """Nodes that make the embedding a vector; they mean the same in every version of ONNX."""
    from onnx import helper

    if how == "vector":
        return [helper.make_node("Flatten", [output], [EMBEDDING], axis=1)]
    if how == "class token":
        return [helper.make_node("Gather", [output, "first"], [EMBEDDING], axis=1)]
    nodes, maps = [], output
    if how == "mean of tokens":
        maps = "tokens_last"
        nodes.append(helper.make_node("Transpose", [output], [maps], perm=[0, 2, 1]))
    elif channels_last:
        maps = "channels_first"
        nodes.append(helper.make_node("Transpose", [output], [maps], perm=[0, 3, 1, 2]))
    nodes.append(helper.make_node("GlobalAveragePool", [maps], ["pooled"]))
    if how == "map":
        nodes += [
            helper.make_node("GlobalMaxPool", [maps], ["maxima"]),
            helper.make_node("Concat", ["pooled", "maxima"], ["both"], axis=1),
        ]
    pooled = "both" if how == "map" else "pooled"
    return [*nodes, helper.make_node("Flatten", [pooled], [EMBEDDING], axis=1)]


def _tried(path: Path, model: Any, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The embedding of two images, the same of each alone.

    Raises:
        ModelError: ONNX Runtime cannot compute it, or it is of no use as features.
    """
    from medbench.features.engines import onnxruntime_session, threads

    height, width = images.shape[2:]
    try:
        session = onnxruntime_session(model.SerializeToString(), threads())
    except ModelError as error:
        said = " ".join(str(error).split())
        raise ModelError(
            f"{path}: {said} Export again for an opset that it knows (opset_version=18 of "
            "torch.onnx.export), or update onnxruntime."
        ) from error
    try:
        both, alone = (session.run(None, {PIXELS: one})[0] for one in (images, images[:1]))
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):  # they share no other base
            raise
        raise ModelError(
            f"{path}: ONNX Runtime cannot compute it on images of {height} x {width} pixels, two "
            f"and one at a time ({str(error).splitlines()[0][:300]}). Give the size it was made "
            f"for in {settings_path(path).name}, and export with a free first axis "
            "(dynamic_shapes of torch.onnx.export)."
        ) from error
    if not isinstance(both, np.ndarray) or both.dtype != np.float32:
        kind = both.dtype if isinstance(both, np.ndarray) else type(both).__name__
        raise ModelError(
            f"{path}: its embedding is {kind}, and must be float32. Export the network in float32 "
            "(model.float() in PyTorch)."
        )
    if both.shape[:1] != (2,) or alone.shape[:1] != (1,):
        raise ModelError(
            f"{path}: of two images its embedding has shape {both.shape}, so it is none an image. "
            f"Name a tensor with a row an image as output in {settings_path(path).name}."
        )
    largest = np.abs(both).max(initial=0.0)
    if not math.isfinite(largest):
        raise ModelError(
            f"{path}: gives numbers that are not finite for images of noise. Look at range, mean "
            f"and deviation in {settings_path(path).name}, or export it again."
        )
    if np.abs(both[:1] - alone).max(initial=0.0) > _APART * largest:
        raise ModelError(
            f"{path}: what it says of an image depends on the others beside it. Export it as it "
            "computes after training (model.eval() in PyTorch)."
        )
    tried: NDArray[np.float32] = both
    return tried


def _reading(
    path: Path, maps: NDArray[np.float32], settings: BackboneSettings, output: str, form: _Form
) -> _Reading:
    """How an embedding becomes a vector, by its rank."""
    file, shape = settings_path(path).name, maps.shape[1:]
    if len(shape) == 2:
        if settings.tokens is None:
            raise ConfigurationError(
                f"{path}: {output!r} has shape {shape} an image: tokens. Say in {file} which "
                'vector is the embedding: "tokens: class" (the first one) or "tokens: mean".'
            )
        how: Any = {"class": "class token", "mean": "mean of tokens"}[settings.tokens]
        return _checked(path, output, _Reading(how=how, features=shape[1]))
    if settings.tokens is not None:
        raise ConfigurationError(
            f"{path}: {output!r} has shape {shape} an image, and no tokens. Leave tokens out of "
            f"{file}."
        )
    if len(shape) == 1:
        return _checked(path, output, _Reading(how="vector", features=shape[0]))
    if len(shape) == 3:
        *sides, channels = shape if form.channels_last else (*shape[1:], shape[0])
        if max(sides) > 1:
            return _checked(path, output, _Reading(how="map", features=2 * channels))
        return _checked(path, output, _Reading(how="vector", features=channels))
    raise ModelError(
        f"{path}: {output!r} has shape {shape} an image: no vector, no tokens and no map. Name "
        f"another tensor as output in {file}."
    )


def _checked(path: Path, output: str, reading: _Reading) -> _Reading:
    if not 0 < reading.features <= _MOST_FEATURES:
        raise ModelError(
            f"{path}: {output!r} has {reading.features:,} numbers an image, and may have 1 to "
            f"{_MOST_FEATURES:,}. Name another tensor as output in {settings_path(path).name}."
        )
    return reading
