"""Activations of a frozen, pretrained backbone at several depths, pooled over the image."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.backbones import BACKBONES
from medbench.cache import cache_folder, keep_entry, read_entry
from medbench.errors import ModelError, unknown_name
from medbench.features import engines
from medbench.features.extractor import Extractor
from medbench.features.networks import (
    build_body,
    give_weights,
    in_float32,
    input_size,
    random_weights_name,
)
from medbench.hashes import sha256_of_text
from medbench.versions import code_version

POOLINGS = ("avg", "max")
"""How an activation map becomes a vector; the order of the columns of one cut."""
_BATCH = 16
"""Images of a forward pass; always filled up, so that a row does not depend on its company."""
_KEPT_NETWORKS = 2
_ONNX_FILE = "model.onnx"


@dataclass(frozen=True, kw_only=True)
class Embedding(Extractor):
    """One forward pass through a backbone: every cut, pooled by average and by maximum.

    Images smaller than the backbone takes are enlarged (bilinear) to 96 pixels; grey ones are
    repeated to three channels. The vector holds, from the shallowest cut on, the averages and
    then the maxima of all channels.

    The engines agree to about 1e-5 of the size of a value; the key tells their rows apart all
    the same, so that one data set is never embedded by two.

    Source: Yosinski et al. (2014), How transferable are features in deep neural networks?
    """

    backbone: str
    """A name of ``medbench.backbones.BACKBONES``."""
    image_shape: tuple[int, int, int]
    """Height, width and channels (1 or 3) of the images."""
    weights_path: Path | None
    """The weights file; None for random weights."""
    weights_sha256: str | None
    """Its hash; None for random weights."""
    engine: str = field(default_factory=engines.fastest_installed)
    """A name of ``engines.ENGINES``."""

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise unknown_name("backbone", self.backbone, BACKBONES)
        engines.require(self.engine)

    @property
    def key(self) -> str:
        """Names the backbone, its weights (wherever they lie), input size and engine."""
        height, width = input_size(self.backbone, self.image_shape)
        weights = self.weights_sha256[:16] if self.weights_sha256 else random_weights_name()
        return f"embedding-{self.backbone}-{weights}-{height}x{width}-{self.engine}"

    @property
    def width(self) -> int:
        """Number of columns of a row."""
        return len(POOLINGS) * sum(cut.channels for cut in BACKBONES[self.backbone].cuts)

    def columns(self, cut: str, pooling: str) -> slice:
        """The columns of one cut and pooling in a row.

        Raises:
            UnknownNameError: The backbone has no such cut, or there is no such pooling.
        """
        if pooling not in POOLINGS:
            raise unknown_name("pooling", pooling, POOLINGS)
        wanted = BACKBONES[self.backbone].cut(cut)
        begin = 0
        for candidate in BACKBONES[self.backbone].cuts:
            if candidate == wanted:
                break
            begin += len(POOLINGS) * candidate.channels
        begin += POOLINGS.index(pooling) * wanted.channels
        return slice(begin, begin + wanted.channels)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pooled activations, float32, shape (n_images, ``width``).

        Args:
            images: uint8, shape (n_images, height, width, channels) as in ``image_shape``.

        Raises:
            ModelError: The images have another shape, or the weights file does not fit.
        """
        if images.shape[1:] != self.image_shape:
            raise ModelError(
                f"an embedding for images of shape {self.image_shape} was given {images.shape[1:]}."
            )
        rows = np.empty((len(images), self.width), np.float32)
        if len(images):
            run = _runner(self, engines.threads())
            for begin in range(0, len(images), _BATCH):
                chunk = images[begin : begin + _BATCH]
                missing = _BATCH - len(chunk)
                filled = np.pad(chunk, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge")
                rows[begin : begin + len(chunk)] = run(filled)[: len(chunk)]
        return rows

    def as_onnx(self) -> bytes:
        """The forward pass of one batch as an ONNX model; see ``onnx_graph.pooled_onnx``.

        It is kept in the cache folder, so that later processes need no Keras, whose import takes
        seconds and half a gigabyte of memory.

        Raises:
            ModelError: The weights file does not fit.
        """
        return _onnx(self)

    def needs_keras(self) -> bool:
        """Whether rows cannot be had without Keras: by that engine, or the first time."""
        kept = cache_folder() / "networks" / _onnx_key(self)
        return self.engine == "keras" or not kept.is_dir()

    def vectors(self, cuts: Collection[str], poolings: Collection[str]) -> list[int]:
        """Which of the pooled vectors that make up a row belong to these cuts and poolings."""
        known = [cut.layer for cut in BACKBONES[self.backbone].cuts]
        return [
            known.index(cut) * len(POOLINGS) + POOLINGS.index(pooling)
            for cut in cuts
            for pooling in poolings
        ]

    def body(self) -> Any:
        """The backbone itself, from prepared pixels on; shared, so never to be trained."""
        return _body(self.backbone, input_size(self.backbone, self.image_shape), self.weights_path)

    def body_with(self, weights: Sequence[NDArray[np.float32] | None]) -> Any:
        """The backbone with the numbers that an ONNX model of it holds; see ``give_weights``.

        Made anew each time: Keras cannot read back a model of several that share layers.
        """
        body = build_body(
            BACKBONES[self.backbone], input_size(self.backbone, self.image_shape), None
        )
        give_weights(body, weights)
        return body

    def prepared(self, inputs: Any) -> Any:
        """The layers between uint8 images and the backbone: channels, scale and size."""
        from keras import layers

        backbone = BACKBONES[self.backbone]
        x = inputs
        if self.image_shape[2] == 1:
            x = layers.Concatenate()([x, x, x])
        variance = [deviation**2 for deviation in backbone.deviation]
        x = layers.Normalization(mean=list(backbone.mean), variance=variance)(x)
        size = input_size(self.backbone, self.image_shape)
        if size != self.image_shape[:2]:
            x = layers.Resizing(*size, interpolation="bilinear")(x)
        return x


@functools.lru_cache(maxsize=_KEPT_NETWORKS)
def _body(backbone: str, size: tuple[int, int], weights_path: Path | None) -> Any:
    return build_body(BACKBONES[backbone], size, weights_path)


@functools.lru_cache(maxsize=_KEPT_NETWORKS)
def _runner(embedding: Embedding, threads: int) -> engines.Run:
    """A forward pass of one batch by the embedding's engine; made once a process."""
    if embedding.engine != "keras":
        return engines.open_onnx(embedding.engine, embedding.as_onnx(), threads)
    import keras

    with in_float32():
        inputs, prepared, cuts = _networks(embedding)
        vectors = []
        for activation in cuts(prepared(inputs)):
            vectors.append(keras.layers.GlobalAveragePooling2D()(activation))
            vectors.append(keras.layers.GlobalMaxPooling2D()(activation))
        pooled = keras.Model(inputs, keras.layers.Concatenate()(vectors))
    # Not compiled just in time: on a CPU that costs more than it saves.
    pooled.compile(jit_compile=keras.backend.backend() == "jax")
    return lambda images: np.asarray(pooled.predict_on_batch(images))


def _networks(embedding: Embedding) -> tuple[Any, Any, Any]:
    """Keras' tensor of images, what prepares them, and the backbone up to each of its cuts."""
    import keras

    inputs = keras.Input(embedding.image_shape, dtype="uint8", name="image")
    prepared = keras.Model(inputs, embedding.prepared(inputs))
    body = embedding.body()
    layers = [cut.layer for cut in BACKBONES[embedding.backbone].cuts]
    outputs = [body.get_layer(layer).output for layer in layers]
    return inputs, prepared, keras.Model(body.inputs, outputs)


@functools.lru_cache(maxsize=1)
def _onnx(embedding: Embedding) -> bytes:
    """See ``Embedding.as_onnx``."""
    entry = cache_folder() / "networks" / _onnx_key(embedding)
    if kept := read_entry(entry):
        return kept[_ONNX_FILE]
    from medbench.features.onnx_graph import pooled_onnx

    with in_float32():
        _, prepared, cuts = _networks(embedding)
    content = pooled_onnx(prepared, cuts, embedding.image_shape, _BATCH)

    def write(folder: Path) -> None:
        (folder / _ONNX_FILE).write_bytes(content)

    keep_entry(entry, write)
    return content


def _onnx_key(embedding: Embedding) -> str:
    """Changes with the weights, the images' shape, the code and the libraries."""
    shape = "x".join(map(str, embedding.image_shape))
    return sha256_of_text(code_version(Embedding), embedding.key, shape)[:32]
