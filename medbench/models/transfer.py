"""Transfer learning: a linear model on a pretrained backbone, or its top block fine-tuned."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from medbench.backbones import BACKBONES
from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.task import Task
from medbench.errors import ModelError
from medbench.features.embeddings import POOLINGS, Embedding
from medbench.features.feature_cache import FeatureCache
from medbench.features.networks import in_float32
from medbench.models.contract import Classifier, Context, ModelFamily, Progress
from medbench.models.frozen_file import FrozenFile, write_frozen
from medbench.models.linear_head import LinearHead, Standardised, fit_head
from medbench.models.space import SearchSpace
from medbench.models.weights import Weights
from medbench.opening import MODEL, read_regular

MODEL_FILE = "model.onnx"
_POOLINGS = ("avg", "both")
"""How a frozen backbone's activations become features; the maximum alone is worse than these."""
PENALTY = (1e-4, 0.1)
"""Range of C: with thousands of features beyond it nothing changes, as training is separated."""
DEFAULT_PENALTY = 3e-3
_KEPT_BYTES = 256 * 1024**2
"""Standardised features kept in memory for the next trial on the same images."""
_FINE_TUNING_EPOCHS = 8
_BATCH_SIZE = 16
_PREDICT_BATCH = 64
"""Images of a forward pass of a saved model; more only take more memory."""
_PATIENCE = 3
_WEIGHT_DECAY = 1e-4
_READ_AT_ONCE = 256
"""Images in memory at once while activations are computed."""
_ACTIVATION_BYTES = 2 * 1024**3
"""Up to here the activations below the top block are kept; beyond, computed again each epoch."""
_kept: WeakKeyDictionary[FeatureCache, OrderedDict[Any, Standardised]] = WeakKeyDictionary()
"""What trials of one cell share; it goes with the cell's cache of features, which charges it."""


class TransferFamily(ModelFamily):
    """A linear classifier on a frozen backbone.

    The linear model sees the features of all depths side by side, each depth with the same weight
    however many channels it has; trials choose their pooling and the penalty, on embeddings that
    are computed once a data set. Whether the top block is trained further as well, a subclass says
    by ``refinements``; see ``FineTunedInceptionV3``.
    A subclass names the backbone by ``weights``; see ``transfer_family``.
    """

    requires: ClassVar[tuple[str, ...]] = ("keras", "onnx", "onnxruntime")
    pruned: ClassVar[bool] = False
    multi_label: ClassVar[bool] = True
    export_formats: ClassVar[tuple[str, ...]] = ("onnx", "keras")

    def search_space(self, space: SearchSpace, task: Task) -> None:
        """Pooling and penalty of the linear model; every trial takes milliseconds.

        Depths are not chosen between: of a few hundred images the choice is mostly noise, and no
        single one was better than all together (``results/ablation.md`` has the figures).
        """
        space.choice("pooling", _POOLINGS)
        space.real("C", *PENALTY, default=DEFAULT_PENALTY, log=True)

    def build(self, params: Mapping[str, Any], task: Task, context: Context) -> Classifier:
        """An unfitted classifier: of all cuts and frozen, unless ``params`` say otherwise.

        Args:
            params: As the space has them; with ``fine_tune`` "top block", ``cut`` and
                ``learning_rate`` that block of the cut is trained further.
            task: What is to be learnt.
            context: Seed, threads, cache and weights.
        """
        embedding = self.embedding(task, context.weights)
        if params.get("fine_tune", "none") == "none":
            return FrozenClassifier(params, task, context, embedding)
        return FineTunedClassifier(params, task, context, embedding, max_steps=_FINE_TUNING_EPOCHS)

    def embedding(self, task: Task, weights: Weights | None) -> Embedding:
        """What turns the images of a task into features."""
        return Embedding(
            backbone=self._backbone(),
            image_shape=task.image_shape,
            weights_path=weights.path if weights else None,
            weights_sha256=weights.sha256 if weights else None,
        )

    def _backbone(self) -> str:
        """Name of the backbone, checked."""
        if self.weights is None or self.weights not in BACKBONES:
            raise ModelError(
                f"{type(self).__name__}: weights is {self.weights!r}; it must be one of "
                f"{', '.join(BACKBONES)}."
            )
        return self.weights


@cache
def transfer_family(backbone: str) -> type[TransferFamily]:
    """The family that starts from a backbone of the table.

    Args:
        backbone: A name of ``medbench.backbones.BACKBONES``.
    """
    known = BACKBONES[backbone]
    described = f"{known.title}, pretrained on ImageNet, as a feature extractor."
    attributes = {
        "__doc__": described,
        "__module__": __name__,
        "reference": known.reference,
        "weights": backbone,
    }
    made: type[TransferFamily] = type(known.application, (TransferFamily,), attributes)
    return made


class _TransferClassifier(Classifier):
    """What the frozen and the fine-tuned classifier share: features, linear model, Keras model."""

    def __init__(
        self, params: Mapping[str, Any], task: Task, context: Context, embedding: Embedding
    ) -> None:
        self._params = params
        self._task = task
        self._context = context
        self._embedding = embedding
        self._network: Any = None

    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """Probabilities of the task's classes, float64, shape (n_images, n_classes).

        Raises:
            ModelError: Neither ``fit`` nor ``load`` was called.
        """
        from medbench.models import keras_support

        network = self.network()
        if network is None:
            raise ModelError("this classifier is neither fitted nor loaded: call fit or load.")
        return keras_support.predict(
            network, batch.pixels, len(batch), multi_label=self._task.task_type == "multi-label"
        )

    def save(self, folder: Path) -> None:
        """Write ``model.keras``, which needs nothing else: uint8 images in, probabilities out."""
        from medbench.models import keras_support

        if self._network is None:
            raise ModelError("this classifier is neither fitted nor loaded: nothing to save.")
        keras_support.save_model(self._network, folder, self.best_step)

    def load(self, folder: Path) -> None:
        """Take the model from a folder; it then predicts from pixels, not from the cache."""
        from medbench.models import keras_backend, keras_support

        self.device = keras_backend.prepare(self._context.threads)
        self._network, self.best_step = keras_support.load_model(
            folder,
            image_shape=self._task.image_shape,
            n_classes=len(self._task.classes),
            trainable=False,
        )

    def network(self) -> Any | None:
        """See ``Classifier.network``."""
        return self._network

    def _features(self, batch: Batch) -> NDArray[np.float32]:
        """The columns of the chosen cuts and poolings, from the cache."""
        return np.concatenate(self._blocks(batch), axis=1)

    def _blocks(self, batch: Batch) -> list[NDArray[np.float32]]:
        """Those of each cut and pooling."""
        rows = self._context.features.get(self._embedding, batch)
        return [
            rows[:, self._embedding.columns(cut, pooling)]
            for cut in self._cuts()
            for pooling in self._poolings()
        ]

    def _cuts(self) -> tuple[str, ...]:
        """The cut that is named, else all of them, from shallow to deep."""
        if (cut := self._params.get("cut")) is not None:
            return (cut,)
        return tuple(known.layer for known in BACKBONES[self._embedding.backbone].cuts)

    def _poolings(self) -> tuple[str, ...]:
        pooling = self._params["pooling"]
        return POOLINGS if pooling == "both" else (pooling,)

    def _fit_head(self, train: LabelledBatch) -> LinearHead:
        return fit_head(
            self._standardised(train), train.labels, len(self._task.classes), self._params["C"]
        )

    def _standardised(self, train: LabelledBatch) -> Standardised:
        """The training images' columns, standardised; kept for the next trial on these images."""
        kept = _kept.setdefault(self._context.features, OrderedDict())
        key = (
            self._embedding.key,
            self._cuts(),
            self._poolings(),
            hashlib.sha256(train.keys.tobytes()).digest(),
        )
        if key in kept:
            kept.move_to_end(key)
            return kept[key]
        blocks = self._blocks(train)
        widths = [block.shape[1] for block in blocks]
        standardised = kept[key] = Standardised(np.concatenate(blocks, axis=1), widths)
        while len(kept) > 1 and sum(one.nbytes for one in kept.values()) > _KEPT_BYTES:
            kept.popitem(last=False)
        return standardised

    def _head_model(self, head: LinearHead, activations: Sequence[Any]) -> Any:
        """Pooling, standardisation and linear model as Keras layers on maps like ``activations``.

        The deepest map comes last, which is the one that Grad-CAM reads.
        """
        from keras import Input, Model, layers

        from medbench.models.keras_support import output_layer

        pools = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}
        inputs = [Input(activation.shape[1:]) for activation in activations]
        vectors = [pools[pooling]()(x) for x in inputs for pooling in self._poolings()]
        x = layers.Concatenate()(vectors) if len(vectors) > 1 else vectors[0]
        # Batch normalisation that is never trained: the scaler with its numbers as weights.
        # Its epsilon must vanish beside variances of 1e-15, which random backbones produce.
        standardise = layers.BatchNormalization(
            center=False, scale=False, epsilon=1e-30, trainable=False, name="standardise"
        )
        dense = output_layer(self._task)
        outputs = dense(standardise(x, training=False))
        model = Model(inputs if len(inputs) > 1 else inputs[0], outputs, name="head")
        standardise.set_weights([head.mean, head.scale**2])
        dense.set_weights([head.kernel, head.bias])
        return model

    def _part(self, body: Any, first: str | None, *last: str) -> Any:
        """The backbone's layers after ``first`` (None: from the input) up to each of ``last``."""
        from keras import Model

        inputs = body.input if first is None else body.get_layer(first).output
        outputs = [body.get_layer(layer).output for layer in last]
        return Model(inputs, outputs if len(outputs) > 1 else outputs[0])

    def _whole(self, *parts: Any) -> Any:
        """From uint8 images through the preprocessing and the given models, for inference."""
        from keras import Input, Model

        from medbench.models.inference_graph import inference_graph

        inputs = Input(self._task.image_shape, dtype="uint8", name="image")
        x = self._embedding.prepared(inputs)
        for part in parts:
            x = part(x)
        return inference_graph(Model(inputs, x))


class FrozenClassifier(_TransferClassifier):
    """The backbone as it came; until loaded it lives on cached embeddings and a matrix.

    What is saved is one ONNX file, with the backbone in it, by which it predicts once loaded.
    Neither needs Keras. Where Keras computes the embeddings (on a GPU), it predicts as well.
    """

    _head: LinearHead | None = None
    _file: FrozenFile | None = None

    def fit(
        self, train: LabelledBatch, validation: LabelledBatch | None, progress: Progress
    ) -> None:
        """Fit the linear model; it has no steps, so nothing is reported."""
        self.device = self._prepare()
        self._file = self._network = None
        self._head = self._fit_head(train)

    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """Probabilities of the task's classes, float64, shape (n_images, n_classes)."""
        if self._file is None or self._embedding.engine == "keras":
            if self._head is None or self._file is not None:
                return super().predict_proba(batch)
            return self._head.predict(self._features(batch))
        blocks = np.split(np.arange(len(batch)), range(_PREDICT_BATCH, len(batch), _PREDICT_BATCH))
        said = [self._file.predict(batch.pixels(block)) for block in blocks]
        probabilities: NDArray[np.float64] = np.concatenate(said)
        if self._task.task_type == "multi-label":
            return probabilities
        normalised: NDArray[np.float64] = probabilities / probabilities.sum(axis=1, keepdims=True)
        return normalised

    def save(self, folder: Path) -> None:
        """Write ``model.onnx``, which needs nothing else: uint8 images in, probabilities out."""
        content = self._file.content if self._file is not None else None
        if self._head is not None:
            vectors = self._embedding.vectors(self._cuts(), self._poolings())
            content = write_frozen(self._embedding.as_onnx(), vectors, self._head)
        if content is None:
            super().save(folder)
        else:
            (folder / MODEL_FILE).write_bytes(content)

    def load(self, folder: Path) -> None:
        """Take the model from a folder; it then predicts from pixels, not from the cache.

        Raises:
            ModelError: There is none, or one for another task.
        """
        self._head = self._file = self._network = None
        path = folder / MODEL_FILE
        if not path.is_file():  # as earlier versions saved it, or there is none
            super().load(folder)
            return
        self.device = self._prepare()
        self._file = FrozenFile(read_regular(path, MODEL), self._context.threads)
        shapes = (self._file.image_shape, self._file.n_classes)
        if shapes != (self._task.image_shape, len(self._task.classes)):
            raise ModelError(
                f"{path}: the saved model takes images of shape {shapes[0]} and tells {shapes[1]} "
                f"classes; this task has {self._task.image_shape} and {len(self._task.classes)}."
            )

    def network(self) -> Any | None:
        """See ``Classifier.network``; it is made when it is first asked for."""
        if self._network is None and self._file is not None:
            weights, head = self._file.parts(self._task.task_type == "multi-label")
            self._network = self._drawn(self._embedding.body_with(weights), head)
        elif self._network is None and self._head is not None:
            self._network = self._drawn(self._embedding.body(), self._head)
        return self._network

    def _drawn(self, body: Any, head: LinearHead) -> Any:
        with in_float32():
            frozen = self._part(body, None, *self._cuts())
            return self._whole(frozen, self._head_model(head, frozen.outputs))

    def _prepare(self) -> str:
        """Where it computes; Keras is made ready only where it is what embeds."""
        if self._embedding.engine != "keras":
            return "cpu"
        from medbench.models import keras_backend

        return keras_backend.prepare(self._context.threads)


class FineTunedClassifier(_TransferClassifier):
    """The top block below the cut trained further, starting from the frozen classifier.

    The frozen classifier is epoch 0 and a candidate like every other, so on the validation
    images fine-tuning is never worse than no fine-tuning. A refit of 0 epochs is the frozen one.
    """

    def __init__(
        self,
        params: Mapping[str, Any],
        task: Task,
        context: Context,
        embedding: Embedding,
        *,
        max_steps: int,
    ) -> None:
        super().__init__(params, task, context, embedding)
        self._max_steps = max_steps

    def fit(
        self, train: LabelledBatch, validation: LabelledBatch | None, progress: Progress
    ) -> None:
        """Fit the frozen classifier, then train its top block and head together.

        Always from the start, also after ``load``: epochs are few, and seeded.

        Raises:
            ModelError: Training diverged.
        """
        from keras import models, optimizers

        from medbench.models import keras_backend, keras_support

        self.device = keras_backend.prepare(self._context.threads)
        head = self._fit_head(train)
        body = self._embedding.body()
        cut = BACKBONES[self._embedding.backbone].cut(self._params["cut"])
        keras_support.start(self._context.seed)
        frozen = self._whole(self._part(body, None, cut.below))
        block = _trainable_copy(self._part(body, cut.below, cut.layer))
        top = models.Sequential([block, self._head_model(head, block.outputs)])
        rate = self._params["learning_rate"]
        keras_support.compile_model(
            top, optimizers.AdamW(rate, weight_decay=_WEIGHT_DECAY, clipnorm=1.0), self._task
        )
        training = keras_support.Training(
            max_steps=self._max_steps,
            batch_size=_BATCH_SIZE,
            learning_rate=rate,
            schedule="constant",
            patience=_PATIENCE,
            seed=self._context.seed,
        )
        self.best_step = keras_support.train(
            top,
            _below(frozen, train),
            None if validation is None else _below(frozen, validation),
            training,
            progress,
            start_step=0,
        )
        self._network = self._whole(self._part(body, None, cut.below), top)


def _trainable_copy(block: Any) -> Any:
    """A copy of part of the shared backbone, whose convolutions may change.

    Batch normalisation stays as it was pretrained: its statistics of a few small batches would
    be worse (Keras' own guide to fine-tuning says the same).
    """
    from keras import layers, models

    copy = models.clone_model(block)
    copy.set_weights(block.get_weights())
    copy.trainable = True
    for layer in copy.layers:  # each by itself: clones are frozen as their originals are
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
    return copy


def _below(frozen: Any, batch: LabelledBatch) -> Any:
    """Activations below the top block: kept where they fit into memory, else made anew."""
    from medbench.models.keras_support import Examples, forward

    size = 4 * int(np.prod(frozen.output.shape[1:])) * len(batch)
    if size > _ACTIVATION_BYTES:
        return Examples(
            inputs=lambda chosen: forward(frozen, batch.pixels(chosen)), labels=batch.labels
        )
    blocks = np.array_split(np.arange(len(batch)), math.ceil(len(batch) / _READ_AT_ONCE))
    activations = np.concatenate([forward(frozen, batch.pixels(block)) for block in blocks])
    return Examples(inputs=lambda chosen: activations[chosen], labels=batch.labels)
