"""A convolutional network fitted to the image size and trained from scratch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.models.contract import Classifier, Context, ModelFamily, Progress
from medbench.models.space import SearchSpace

if TYPE_CHECKING:
    from medbench.models.keras_reuse import SharedNetwork, State

_SHRUNK = (1, 2, 3, 4, 6, 8)
"""Pixels that are averaged along each side before anything is computed: the choices of ``side``."""
_SMALLEST_SIDE, _LARGEST_SIDE = 28, 96
"""Images are not shrunk below the one (pixels), and not left above the other: from hundreds of
images a network from scratch learns no finer grain, and its cost grows with the square."""
_LARGE_SIDE = 32
"""From this side on (pixels) the first convolution halves the image: fine grain is noise there."""
_HUGE_SIDE = 160
"""From this side on a pooling after it halves once more."""
_LAST_SIDE = 4
"""Stages halve the image until its side would fall below this (pixels)."""
_MAX_STAGES = 4
_MAX_WIDTH = 256
_WIDTHS = (16, 32)
"""Multiples of 16: TensorFlow 2.21 crashes with some narrower networks."""
_EPOCHS = (6, 12, 24)
_STEPS = (32, 64)
"""Fewest and most gradient steps of an epoch. What a network learns depends on its steps more than
on its passes through the images; so one number of epochs suits a hundred images and 100,000."""
_SMALLEST_BATCH = 8
_BATCHES = 16
"""A batch is made smaller, down to the smallest, where fewer than this many would hold all images:
small steps from few images cost little."""
_MOMENTUM = 0.9
"""Of batch normalisation: Keras' 0.99 lags behind for many epochs of a small data set."""
_READ_AT_ONCE = 256 * 1024**2
"""Bytes of images up to which a fit reads them once, instead of at each step."""
_NOT_FITTED = "this network is neither fitted nor loaded: call fit or load first."

# Rotation (part of a full turn), translation and zoom (part of the side), contrast (part).
# No flips: chest films and organs are not mirror images of themselves.
_AUGMENTATION = {"light": (0.02, 0.05, 0.05, 0.1), "strong": (0.05, 0.1, 0.15, 0.25)}


class Cnn(ModelFamily):
    """Convolutional network with as many stages as the image size asks for.

    Images are shrunk to a side that is tuned. Each stage halves the side and doubles the filters;
    its blocks are plain convolutions or residual pairs, with batch normalisation, global pooling
    and a softmax (for several labels an image: sigmoids) on top.
    """

    reference: ClassVar[str] = (
        "He, Zhang, Ren & Sun (2016), Deep residual learning for image recognition, CVPR"
    )
    requires: ClassVar[tuple[str, ...]] = ("keras",)
    default_tuner: ClassVar[str] = "keras-tuner"
    max_steps: ClassVar[int | None] = max(_EPOCHS)
    step_name: ClassVar[str] = "epoch"
    screened: ClassVar[bool] = True
    multi_label: ClassVar[bool] = True
    export_formats: ClassVar[tuple[str, ...]] = ("onnx", "keras")

    def search_space(self, space: SearchSpace, task: Task) -> None:
        """Image side, length, size and regularisation; the default learns in seconds on a CPU.

        The configurations that are tried next change one thing each, the costly ones last: of
        thousands of images a small budget ends before them.
        """
        sides = side_choices(min(task.image_shape[:2]))
        space.choice("side", sides, default=sides[0])
        space.choice("epochs", _EPOCHS, default=12)
        space.choice("blocks", ["plain", "residual"], default="plain")
        space.integer("depth", 1, 2, default=1)
        space.choice("width", _WIDTHS, default=16)
        space.real("dropout", 0.0, 0.5, default=0.2)
        space.choice("augmentation", ["none", "light", "strong"], default="light")
        space.real("learning_rate", 1e-3, 3e-2, default=1e-2, log=True)
        space.choice("batch_size", [16, 32, 64], default=32)
        space.begin_with(blocks="residual")
        space.begin_with(epochs=6)
        space.begin_with(epochs=24)
        if len(sides) > 1:
            space.begin_with(side=sides[1])

    def warm_up(self, threads: int) -> None:
        """Import Keras and set up its backend."""
        from medbench.models import keras_backend

        keras_backend.prepare(threads)

    def build(self, params: Mapping[str, Any], task: Task, context: Context) -> Classifier:
        """An untrained network; nothing is built before ``fit`` or ``load``."""
        most = self.max_steps or 1
        epochs = params.get("epochs", most)  # runs of earlier versions name none
        return CnnClassifier(params, task, context, max_steps=min(epochs, most))


class CnnClassifier(Classifier):
    """One configuration of ``Cnn``."""

    def __init__(
        self, params: Mapping[str, Any], task: Task, context: Context, *, max_steps: int
    ) -> None:
        self._params = params
        self._task = task
        self._context = context
        self.max_steps: int = max_steps
        self._state: State | None = None
        """The network as it is trained, with its optimiser; None after ``load``."""
        self._network: Any = None
        """The network as it predicts; drawn when it is first wanted."""

    def fit(
        self, train: LabelledBatch, validation: LabelledBatch | None, progress: Progress
    ) -> None:
        """Train; goes on from a resumed state if ``progress`` says so.

        Raises:
            ModelError: Training diverged.
        """
        from medbench.models import keras_backend, keras_support

        self.device = keras_backend.prepare(self._context.threads)
        shared = self._shared()
        goes_on = self._state is not None and progress.first_step > 0
        if goes_on and self._state is not None:
            shared.hold(self._state)
            shared.release()
        else:
            shared.start(self._context.seed)
        self._network = self._state = None
        training = keras_support.Training(
            max_steps=self.max_steps,
            batch_size=batch_size(self._params["batch_size"], len(train)),
            learning_rate=self._params["learning_rate"],
            schedule="cosine",
            patience=self.max_steps,
            seed=self._context.seed,
            steps=_STEPS,
        )
        self.best_step = keras_support.train(
            shared.model,
            _examples(train),
            None if validation is None else _examples(validation),
            training,
            progress,
            first_step=progress.first_step if goes_on else 0,
            start_step=(self.best_step or progress.first_step) if goes_on else None,
        )
        self._state = shared.take()

    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """Probabilities of the task's classes, float64, shape (n_images, n_classes).

        Raises:
            ModelError: Neither ``fit`` nor ``load`` was called.
        """
        from medbench.models import keras_support

        return keras_support.predict(
            self._trained() if self._network is None else self._network,
            batch.pixels,
            len(batch),
            multi_label=self._task.task_type == "multi-label",
        )

    def save(self, folder: Path) -> None:
        """Write ``model.keras``: uint8 images in, probabilities out, nothing of training in it."""
        from medbench.models import keras_support

        keras_support.save_model(self.network(), folder, self.best_step)

    def load(self, folder: Path) -> None:
        """Take the network from a folder, ready to predict."""
        self._network, self.best_step = self._read(folder, trainable=False)
        self._state = None

    def checkpoint(self, folder: Path) -> None:
        """Write the network as it is trained, with the optimiser's state.

        Raises:
            ModelError: There is none: it was not fitted, or loaded to predict only.
        """
        from medbench.models import keras_support

        keras_support.save_model(self._trained(), folder, self.best_step)

    def resume(self, folder: Path) -> None:
        """Take the network from a checkpoint, to be trained on."""
        from medbench.models.keras_reuse import snapshot

        model, self.best_step = self._read(folder, trainable=True)
        self._state, self._network = snapshot(model), None

    def network(self) -> Any | None:
        """See ``Classifier.network``; drawn for inference."""
        from medbench.models.inference_graph import inference_graph

        if self._network is None:
            self._network = inference_graph(self._trained())
        return self._network

    def _shared(self) -> SharedNetwork:
        """The compiled network of this configuration, which other classifiers use as well."""
        from medbench.models import keras_support
        from medbench.models.keras_reuse import shared_network

        def build() -> Any:
            from keras import optimizers

            keras_support.start(self._context.seed, mixed_precision=True)
            model = build_network(self._params, self._task)
            keras_support.compile_model(model, optimizers.Adam(), self._task)
            return model

        drawn = {name: self._params[name] for name in _OF_THE_NETWORK}
        task = (self._task.image_shape, len(self._task.classes), self._task.task_type)
        return shared_network((*drawn.items(), task), build)

    def _trained(self) -> Any:
        """The compiled network in the state of this classifier."""
        if self._state is None:
            raise ModelError(_NOT_FITTED)
        return self._shared().hold(self._state)

    def _read(self, folder: Path, *, trainable: bool) -> tuple[Any, int | None]:
        from medbench.models import keras_backend, keras_support

        self.device = keras_backend.prepare(self._context.threads)
        return keras_support.load_model(
            folder,
            image_shape=self._task.image_shape,
            n_classes=len(self._task.classes),
            trainable=trainable,
        )


_OF_THE_NETWORK = ("side", "blocks", "depth", "width", "dropout", "augmentation")
"""Parameters by which networks differ; the others only say how they are trained."""


def side_choices(side: int) -> list[int]:
    """Sides to which images of ``side`` pixels can be shrunk by averaging, the smallest first."""
    possible = {side // k for k in _SHRUNK if k == 1 or side // k >= _SMALLEST_SIDE}
    return sorted(s for s in possible if s <= _LARGEST_SIDE or s == min(possible))


def batch_size(largest: int, n: int) -> int:
    """Images a gradient step, a power of two or ``largest``, for ``n`` images to learn from."""
    few = 1 << max(n // _BATCHES, 1).bit_length() - 1
    return min(largest, max(few, _SMALLEST_BATCH))


def build_network(params: Mapping[str, Any], task: Task) -> Any:
    """The untrained Keras model of a configuration: uint8 images in, probabilities out."""
    from keras import Input, Model, layers

    from medbench.models.keras_support import output_layer

    inputs = Input(task.image_shape, dtype="uint8", name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    side, width = min(params["side"], *task.image_shape[:2]), params["width"]
    shrunk = min(task.image_shape[:2]) // side
    if shrunk > 1:
        x = layers.AveragePooling2D(shrunk)(x)
    x = _augment(x, params["augmentation"])
    if side >= _LARGE_SIDE:
        x = _convolution(x, width, size=5, stride=2)
        side //= 2
    if side >= _HUGE_SIDE // 2:
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        side //= 2
    block = _residual_block if params["blocks"] == "residual" else _convolution
    for stage in range(stage_count(side)):
        for number in range(params["depth"]):
            stride = 2 if stage > 0 and number == 0 else 1
            x = block(x, min(width * 2**stage, _MAX_WIDTH), stride=stride)
    # The mean tells how much there is of something, the maximum whether it is anywhere.
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
    x = layers.Dropout(params["dropout"])(x)
    # float32 also under mixed precision: float16 is too coarse for probabilities.
    return Model(inputs, output_layer(task, dtype="float32")(x))


def stage_count(side: int) -> int:
    """Number of stages for an image of ``side`` pixels after the first convolution."""
    return min(max(side // _LAST_SIDE, 1).bit_length(), _MAX_STAGES)


def _augment(x: Any, strength: str) -> Any:
    """Small changes that a patient's position and the exposure make anyway; in training only."""
    from keras import layers

    if strength == "none":
        return x
    rotation, translation, zoom, contrast = _AUGMENTATION[strength]
    x = layers.RandomRotation(rotation, fill_mode="nearest")(x)
    x = layers.RandomTranslation(translation, translation, fill_mode="nearest")(x)
    x = layers.RandomZoom(zoom, fill_mode="nearest")(x)
    return layers.RandomContrast(contrast, value_range=(-1.0, 1.0))(x)


def _convolution(x: Any, width: int, *, size: int = 3, stride: int = 1, active: bool = True) -> Any:
    """Convolution, batch normalisation and, unless the caller adds something first, ReLU."""
    from keras import layers

    x = layers.Conv2D(
        width,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    x = layers.BatchNormalization(momentum=_MOMENTUM)(x)
    return layers.ReLU()(x) if active else x


def _residual_block(x: Any, width: int, *, stride: int) -> Any:
    """Two convolutions beside a shortcut, which is projected where the shape changes."""
    from keras import layers

    shortcut = x
    if stride > 1 or x.shape[-1] != width:
        shortcut = _convolution(x, width, size=1, stride=stride, active=False)
    x = _convolution(x, width, stride=stride)
    x = _convolution(x, width, active=False)
    return layers.ReLU()(layers.Add()([x, shortcut]))


def _examples(batch: LabelledBatch) -> Any:
    from medbench.models.keras_support import Examples

    small = len(batch) * math.prod(batch.image_shape) <= _READ_AT_ONCE
    inputs = batch.images.__getitem__ if small else batch.pixels
    return Examples(inputs=inputs, labels=batch.labels)
