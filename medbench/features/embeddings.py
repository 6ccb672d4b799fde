"""Activations of a frozen, pretrained backbone at several depths, pooled over the image."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.errors import ModelError, unknown_name
from medbench.features.cache import Extractor

POOLINGS = ("avg", "max")
"""How an activation map becomes a vector; the order of the columns of one cut."""
_VERSION = 1
_RANDOM_SEED = 0
"""Seed of the weights where there are no pretrained ones: reproducible, and shared by all."""
_ENLARGED_SIDE = 96
_BATCH = 16
"""Images of a forward pass; always filled up, so that a row does not depend on its company."""
_KEPT_BACKBONES = 2


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A depth at which a backbone can be cut."""

    layer: str
    """The layer whose output is taken."""
    channels: int
    """Number of channels there."""
    below: str
    """The layer where the block that ends in ``layer`` begins."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network of ``keras.applications`` and how it is fed and cut."""

    application: str
    """Name of its function in ``keras.applications``."""
    minimum: int
    """Smallest side of an image that it takes, in pixels."""
    scale: float | tuple[float, float, float]
    """Its preprocessing: pixels (0 to 255, RGB) times ``scale`` plus ``offset``."""
    offset: float | tuple[float, float, float]
    """See ``scale``."""
    cuts: tuple[Cut, ...]
    """From shallow to deep."""

    def cut(self, layer: str) -> Cut:
        """The cut of that name.

        Raises:
            UnknownNameError: There is none; the message lists those there are.
        """
        for cut in self.cuts:
            if cut.layer == layer:
                return cut
        raise unknown_name(f"cut of {self.application}", layer, [c.layer for c in self.cuts])


BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "inception_v3": Backbone(
            application="InceptionV3",
            minimum=75,
            scale=1 / 127.5,
            offset=-1.0,
            cuts=(
                Cut(layer="mixed3", channels=768, below="mixed2"),
                Cut(layer="mixed5", channels=768, below="mixed4"),
                Cut(layer="mixed7", channels=768, below="mixed6"),
                Cut(layer="mixed8", channels=1280, below="mixed7"),
                Cut(layer="mixed10", channels=2048, below="mixed9"),
            ),
        ),
    }
)
"""The backbones by the name of their weights (``medbench.models.weights.KNOWN_WEIGHTS``)."""


@dataclass(frozen=True, kw_only=True)
class Embedding(Extractor):
    """One forward pass through a backbone: every cut, pooled by average and by maximum.

    Images smaller than the backbone takes are enlarged (bilinear) to 96 pixels; grey ones are
    repeated to three channels. The vector holds, from the shallowest cut on, the averages and
    then the maxima of all channels.

    Source: Yosinski et al. (2014), How transferable are features in deep neural networks?
    """

    backbone: str
    """A name of ``BACKBONES``."""
    image_shape: tuple[int, int, int]
    """Height, width and channels (1 or 3) of the images."""
    weights_path: Path | None
    """The weights file; None for random weights."""
    weights_sha256: str | None
    """Its hash; None for random weights."""

    key: str = field(init=False)
    parallel: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        height, width = input_size(self.backbone, self.image_shape)
        weights = self.weights_sha256[:16] if self.weights_sha256 else _random_name()
        key = f"embedding-{_VERSION}-{self.backbone}-{weights}-{height}x{width}"
        object.__setattr__(self, "key", key)

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
        network = self.network()
        parts = []
        for begin in range(0, len(images), _BATCH):
            chunk = images[begin : begin + _BATCH]
            missing = _BATCH - len(chunk)
            filled = np.pad(chunk, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge")
            parts.append(np.asarray(network.predict_on_batch(filled))[: len(chunk)])
        if not parts:
            width = len(POOLINGS) * sum(cut.channels for cut in BACKBONES[self.backbone].cuts)
            return np.empty((0, width), np.float32)
        return np.concatenate(parts).astype(np.float32, copy=False)

    def network(self) -> Any:
        """The Keras model behind the rows; built once a process, never trained."""
        return _networks(self.backbone, self.image_shape, self.weights_path).pooled

    def body(self) -> Any:
        """The backbone itself, from prepared pixels on; shared, so never to be trained."""
        return _networks(self.backbone, self.image_shape, self.weights_path).body

    def prepared(self, inputs: Any) -> Any:
        """The layers between uint8 images and the backbone: channels, scale and size."""
        from keras import layers

        backbone = BACKBONES[self.backbone]
        x = inputs
        if self.image_shape[2] == 1:
            x = layers.Concatenate()([x, x, x])
        x = layers.Rescaling(backbone.scale, offset=backbone.offset)(x)
        size = input_size(self.backbone, self.image_shape)
        if size != self.image_shape[:2]:
            x = layers.Resizing(*size, interpolation="bilinear")(x)
        return x


def input_size(backbone: str, image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Height and width in pixels at which a backbone sees images of some shape."""
    height, width = image_shape[:2]
    smaller = min(height, width)
    if smaller >= BACKBONES[backbone].minimum:
        return height, width
    side = max(_ENLARGED_SIDE, BACKBONES[backbone].minimum)
    return round(height * side / smaller), round(width * side / smaller)


@dataclass(frozen=True, kw_only=True)
class _Networks:
    """The two views on one set of layers."""

    body: Any
    pooled: Any


@functools.lru_cache(maxsize=_KEPT_BACKBONES)
def _networks(name: str, image_shape: tuple[int, int, int], weights_path: Path | None) -> _Networks:
    import keras
    from keras import Input, Model, layers

    backbone = BACKBONES[name]
    # Always float32, whatever the model before us was trained in: rows are shared by all.
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        if weights_path is None:
            keras.utils.set_random_seed(_RANDOM_SEED)
        body = getattr(keras.applications, backbone.application)(
            include_top=False, weights=None, input_shape=(*input_size(name, image_shape), 3)
        )
        if weights_path is not None:
            _load(body, weights_path, backbone.application)
        body.trainable = False
        inputs = Input(image_shape, dtype="uint8", name="image")
        embedding = Embedding(
            backbone=name, image_shape=image_shape, weights_path=weights_path, weights_sha256=None
        )
        cuts = Model(body.inputs, [body.get_layer(cut.layer).output for cut in backbone.cuts])
        vectors = []
        for activation in cuts(embedding.prepared(inputs)):
            vectors.append(layers.GlobalAveragePooling2D()(activation))
            vectors.append(layers.GlobalMaxPooling2D()(activation))
        pooled = Model(inputs, layers.Concatenate()(vectors))
        # Not compiled just in time: on a CPU that costs more than it saves.
        pooled.compile(jit_compile=keras.backend.backend() == "jax")
    finally:
        keras.config.set_dtype_policy(policy)
    return _Networks(body=body, pooled=pooled)


def _load(body: Any, path: Path, application: str) -> None:
    """Load weights, and make sure that every convolution took some: Keras only warns."""
    from keras import ops

    remedy = "Take it out of the folder of --weights-dir, or replace it."
    kernels = [layer.kernel for layer in body.layers if hasattr(layer, "kernel")]
    random = [np.array(ops.convert_to_numpy(kernel)) for kernel in kernels]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            body.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(
            f"{path}: these weights do not fit {application} without its top "
            f"({str(error).splitlines()[0]}). {remedy}"
        ) from error
    untouched = sum(
        np.array_equal(old, ops.convert_to_numpy(new))
        for old, new in zip(random, kernels, strict=True)
    )
    if untouched:
        raise ModelError(
            f"{path}: holds nothing for {untouched} of the {len(kernels)} convolutions of "
            f"{application}, which would stay random. {remedy}"
        )


def _random_name() -> str:
    """Random weights in a key; backends draw different numbers from one seed."""
    import keras

    return f"random-seed{_RANDOM_SEED}-{keras.backend.backend()}"
