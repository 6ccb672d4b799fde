"""Activations of a frozen, pretrained backbone at several depths, pooled over the image."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.backbones import BACKBONES
from medbench.errors import ModelError, unknown_name
from medbench.features import engines
from medbench.features.extractor import Extractor
from medbench.features.networks import build_body, input_size, random_weights_name

POOLINGS = ("avg", "max")
"""How an activation map becomes a vector; the order of the columns of one cut."""
_BATCH = 16
"""Images of a forward pass; always filled up, so that a row does not depend on its company."""
_KEPT_NETWORKS = 2


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
        """Pooled activations, float32, shape (n_images, 2 * sum of the cuts' channels).

        Args:
            images: uint8, shape (n_images, height, width, channels) as in ``image_shape``.

        Raises:
            ModelError: The images have another shape, or the weights file does not fit.
        """
        if images.shape[1:] != self.image_shape:
            raise ModelError(
                f"an embedding for images of shape {self.image_shape} was given {images.shape[1:]}."
            )
        width = len(POOLINGS) * sum(cut.channels for cut in BACKBONES[self.backbone].cuts)
        rows = np.empty((len(images), width), np.float32)
        if len(images):
            run = _runner(self, engines.threads())
            for begin in range(0, len(images), _BATCH):
                chunk = images[begin : begin + _BATCH]
                missing = _BATCH - len(chunk)
                filled = np.pad(chunk, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge")
                rows[begin : begin + len(chunk)] = run(filled)[: len(chunk)]
        return rows

    def body(self) -> Any:
        """The backbone itself, from prepared pixels on; shared, so never to be trained."""
        return _body(self.backbone, input_size(self.backbone, self.image_shape), self.weights_path)

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
    """A forward pass of one batch by the embedding's engine; made once a process.

    The ONNX model lives in memory only: it is written in 0.05 to 0.8 s and opened in 0.1 to 0.4,
    which with the first batch is half of what Keras takes to trace its own network. So an engine
    pays from the first image on, and a file kept for later would save little.
    """
    import keras

    # Always float32, whatever the model before us was trained in: rows are shared by all.
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        inputs = keras.Input(embedding.image_shape, dtype="uint8", name="image")
        prepared = keras.Model(inputs, embedding.prepared(inputs))
        body = embedding.body()
        layers = [cut.layer for cut in BACKBONES[embedding.backbone].cuts]
        cuts = keras.Model(body.inputs, [body.get_layer(layer).output for layer in layers])
        if embedding.engine == "keras":
            return _keras_runner(inputs, cuts(prepared(inputs)))
    finally:
        keras.config.set_dtype_policy(policy)
    from medbench.features.onnx_graph import pooled_onnx

    model = pooled_onnx(prepared, cuts, embedding.image_shape, _BATCH)
    return engines.open_onnx(embedding.engine, model, threads)


def _keras_runner(inputs: Any, activations: Any) -> engines.Run:
    import keras
    from keras import layers

    vectors = []
    for activation in activations:
        vectors.append(layers.GlobalAveragePooling2D()(activation))
        vectors.append(layers.GlobalMaxPooling2D()(activation))
    pooled = keras.Model(inputs, layers.Concatenate()(vectors))
    # Not compiled just in time: on a CPU that costs more than it saves.
    pooled.compile(jit_compile=keras.backend.backend() == "jax")
    return lambda images: np.asarray(pooled.predict_on_batch(images))
