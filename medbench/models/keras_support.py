"""What the deep families share: a reproducible start, training by epochs, prediction, files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medbench.atomic_files import read_json
from medbench.datasets.task import Task, membership
from medbench.errors import ModelError
from medbench.evaluation.metrics import auroc
from medbench.models.contract import Progress
from medbench.models.inference_graph import inference_graph, ready_to_predict
from medbench.models.keras_backend import has_gpu
from medbench.models.keras_reuse import State, restore, snapshot
from medbench.opening import MODEL
from medbench.packed import BROKEN_CONTENT, open_zip

MODEL_FILE = "model.keras"
_STATE_FILE = "state.json"
_PREDICT_BATCH = 64
_SMALLEST_PROBABILITY = 1e-12
_WARM_UP_SHARE = 0.1
"""Share of the epochs over which a learning rate that falls rises first: large steps from random
weights, before batch statistics have settled, are hard to make good."""
_FIRST_SHARE = 0.01
"""Share of the epochs by which that has begun already, so that the first step is not lost."""
_SEED_STATE = "seed_generator_state"
"""Name that Keras gives to the state variable of a layer's random numbers."""


def start(seed: int, *, mixed_precision: bool = False) -> None:
    """Begin a new model: whatever was built before in this process leaves no trace in it.

    Models that are there (see ``keras_reuse``) stay as they are.

    Args:
        seed: Seed of initial weights and of everything random in training.
        mixed_precision: Compute in float16 where there is a GPU (weights stay float32).
    """
    import keras

    keras.backend.clear_session()  # else every fit of a long search adds to the memory
    keras.config.set_dtype_policy("mixed_float16" if mixed_precision and has_gpu() else "float32")
    keras.utils.set_random_seed(seed % 2**32)


def output_layer(task: Task, **options: Any) -> Any:
    """The last layer of a classifier of ``task``: one unit a class, probabilities out.

    A softmax over exclusive classes; a sigmoid for each class of a multi-label task.
    """
    from keras import layers

    activation = "sigmoid" if task.task_type == "multi-label" else "softmax"
    return layers.Dense(len(task.classes), activation=activation, name="probabilities", **options)


def compile_model(model: Any, optimizer: Any, task: Task) -> None:
    """Make a classifier that ends in ``output_layer`` trainable by ``train``.

    Just in time only JAX compiles, where single operations are many times slower: TensorFlow does
    not do it together with reproducible operations, and PyTorch's compiler takes minutes.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        # Keras adds up gradients over replicas. Here is one; and TensorFlow registers a gradient
        # of that sum under a new name each time and never forgets it, nor the graph it holds:
        # 14 MB a fit of a small network (see tensorflow/tensorflow#80895).
        optimizer._all_reduce_sum_gradients = list
    multi_label = task.task_type == "multi-label"
    model.compile(
        optimizer=optimizer,
        loss="binary_crossentropy" if multi_label else "sparse_categorical_crossentropy",
        jit_compile=False,
    )
    if backend == "jax":
        # Keras says of its augmentation layers that they cannot be compiled, which holds for
        # TensorFlow only; and one of them would have a whole training step run uncompiled.
        for layer in model.layers:
            layer.supports_jit = True
        model.jit_compile = True  # set here, since what compile() is told goes into the file
    # What is compiled may hold the optimizer within another one, for mixed precision.
    model.optimizer.build(model.trainable_variables)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a compiled model is trained."""

    max_steps: int
    """Epochs that the schedule is made for, and the limit where ``progress`` names none."""
    batch_size: int
    """Images a gradient step."""
    learning_rate: float
    """The highest learning rate."""
    schedule: Literal["constant", "cosine"]
    """Whether the learning rate stays, or rises for the first steps and falls to zero over
    ``max_steps``."""
    patience: int
    """Epochs without a better validation score after which training ends."""
    seed: int
    """Seed of the order of images, dropout and augmentation."""
    steps: tuple[int, int] | None = None
    """Fewest and most gradient steps of an epoch: few images are gone through several times, of
    many another part each time. None for once through all images."""

    def n_batches(self, n: int) -> int:
        """Gradient steps of an epoch of ``n`` images."""
        once = math.ceil(n / min(self.batch_size, n))
        return once if self.steps is None else min(max(once, self.steps[0]), self.steps[1])

    def rate(self, done: float) -> float:
        """Learning rate after ``done`` epochs, which need not be whole.

        A refit follows the same curve as the fits that told it how many epochs to run.

        Source: Loshchilov & Hutter (2017), "SGDR: stochastic gradient descent with warm
        restarts", ICLR, without restarts; warm-up after Goyal et al. (2017), "Accurate, large
        minibatch SGD", arXiv:1706.02677.
        """
        if self.schedule == "constant":
            return self.learning_rate
        share = min(done / self.max_steps, 1.0)
        risen = min((share + _FIRST_SHARE) / (_WARM_UP_SHARE + _FIRST_SHARE), 1.0)
        return self.learning_rate * risen * 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Inputs of a model with their classes."""

    inputs: Callable[[NDArray[np.int64]], NDArray[Any]]
    """Inputs of the examples at some indices."""
    labels: NDArray[np.int64]
    """Class index of each example, shape (n_examples,); of a multi-label task 0 or 1 for each
    class, shape (n_examples, n_classes)."""


def train(
    model: Any,
    examples: Examples,
    validation: Examples | None,
    training: Training,
    progress: Progress,
    *,
    first_step: int = 0,
    start_step: int | None = None,
) -> int:
    """Train a compiled model epoch by epoch, and leave it in its best state.

    The best state is the one with the highest validation AUROC, the lower log loss deciding
    between equals (a small validation part reaches 1.0 early); of a multi-label task these are
    means over its labels. Without validation exactly
    ``progress.last_step`` epochs are run and the last state is kept. The order of images and
    the random numbers of an epoch depend on seed and epoch only, so that a continued training
    equals an undisturbed one.

    Args:
        model: A Keras model compiled by ``compile_model``.
        examples: What to learn from, weighed by ``balanced_weights``.
        validation: What to stop early by.
        training: How to train.
        progress: Where each epoch is reported; its exceptions are let through.
        first_step: Epochs that the model already has behind it.
        start_step: The epoch whose state the model is in, if that state is a candidate too.

    Returns:
        The epoch whose state was kept.

    Raises:
        ModelError: Training diverged before there was any state to keep.
    """
    weights = balanced_weights(examples.labels)
    kept = risen = first_step if start_step is None else start_step
    best: tuple[float, float] | None = None
    state: State = []
    if validation is not None and start_step is not None:
        _, best = _validate(model, validation)
        state = snapshot(model)
    for step in range(first_step + 1, _last_step(training, validation, progress) + 1):
        finite = _run_epoch(model, examples, weights, training, step)
        if not finite and not state:
            raise ModelError(
                f"training diverged in epoch {step} (the loss is not a finite number). "
                f"Try a learning rate below {training.learning_rate:g}."
            )
        if not finite:
            break
        score = None
        if validation is None:
            kept = step
        else:
            score, rank = _validate(model, validation)
            if best is None or rank > best:
                # Only a higher AUROC prolongs training: the log loss creeps down for ever.
                risen = step if best is None or score is None or rank[0] > best[0] else risen
                best, kept, state = rank, step, snapshot(model)
        if not progress.report(step, score):
            break
        if validation is not None and step - max(risen, first_step) >= training.patience:
            break
    if state:
        restore(model, state)
    return kept


def _last_step(training: Training, validation: Examples | None, progress: Progress) -> int:
    """The last epoch of a fit; whoever trains on in rounds may offer more than was planned."""
    if progress.last_step is None:
        return training.max_steps
    if validation is None:
        return progress.last_step
    return min(progress.last_step, training.max_steps)


def balanced_weights(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weight of each example, such that classes weigh alike and the mean is 1, float32.

    The examples of a multi-label task all weigh 1: no weight of an image could balance several
    labels, and weights of a label's positive images would let the few that show a rare finding
    steer every step. AUROC, which compares images within one label, needs no balance.
    """
    if labels.ndim == 2:
        return np.ones(len(labels), np.float32)
    counts = np.bincount(labels)
    present = np.count_nonzero(counts)
    return (len(labels) / (present * counts[labels])).astype(np.float32)


def predict(
    model: Any,
    inputs: Callable[[NDArray[np.int64]], NDArray[Any]],
    n: int,
    *,
    multi_label: bool,
) -> NDArray[np.float64]:
    """Probabilities of ``n`` inputs, float64, shape (n, n_classes).

    Rows sum to one, but not those of a ``multi_label`` task.
    """
    parts = [
        forward(model, inputs(np.arange(begin, min(begin + _PREDICT_BATCH, n))), of=n)
        for begin in range(0, n, _PREDICT_BATCH)
    ]
    probabilities: NDArray[np.float64] = np.concatenate(parts).astype(np.float64)
    if multi_label:
        return probabilities
    normalised: NDArray[np.float64] = probabilities / probabilities.sum(axis=1, keepdims=True)
    return normalised


def forward(model: Any, inputs: NDArray[Any], *, of: int | None = None) -> NDArray[np.float32]:
    """Outputs of a model in inference mode, float32, shape (n_inputs, ...).

    Every new batch size costs a new tracing of the graph, as much time as many images. So the last
    chunk is filled up as the others are, and a few images alone to a power of two.

    Args:
        model: The model.
        inputs: Shape (n_inputs, ...).
        of: How many there are in all, where these are a part of them.
    """
    parts = []
    size = min(1 << (max(of or 0, len(inputs)) - 1).bit_length(), _PREDICT_BATCH)
    for begin in range(0, len(inputs), _PREDICT_BATCH):
        chunk = inputs[begin : begin + _PREDICT_BATCH]
        filled = chunk[np.minimum(np.arange(size), len(chunk) - 1)]
        parts.append(np.asarray(model.predict_on_batch(filled), np.float32)[: len(chunk)])
    return np.concatenate(parts)


def save_model(model: Any, folder: Path, best_step: int | None) -> None:
    """Write a model and the epoch its state is from into a folder.

    Args:
        model: One drawn for inference to predict by; one that is being trained to train on.
        folder: The folder.
        best_step: The epoch.
    """
    model.save(folder / MODEL_FILE)
    (folder / _STATE_FILE).write_text(json.dumps({"best_step": best_step}))


def load_model(
    folder: Path, *, image_shape: tuple[int, int, int], n_classes: int, trainable: bool
) -> tuple[Any, int | None]:
    """Read what ``save_model`` wrote; safe mode, so that a file cannot bring its own code.

    Args:
        folder: The folder.
        image_shape: Height, width and channels that the model must take.
        n_classes: Number of classes that it must tell.
        trainable: Take the model as it was trained, with the state of its optimiser; else it is
            drawn for inference (earlier versions stored what they had trained).

    Raises:
        ModelError: There is no model in the folder, or it is one for another task.
    """
    path = folder / MODEL_FILE
    if not path.is_file():
        raise ModelError(f"{path}: there is no saved model. Was save() called on this folder?")
    model = read_keras(path, trainable=trainable)
    shapes = (tuple(model.input_shape[1:]), model.output_shape[-1])
    if shapes != (tuple(image_shape), n_classes):
        raise ModelError(
            f"{path}: the saved model takes images of shape {shapes[0]} and tells {shapes[1]} "
            f"classes; this task has {tuple(image_shape)} and {n_classes}."
        )
    best_step = read_json(folder / _STATE_FILE)["best_step"]
    if not trainable and model.trainable_variables:
        model = inference_graph(model)
    elif not trainable:  # it was drawn for inference before it was saved
        ready_to_predict(model)
    return model, best_step


def read_keras(path: Path, *, trainable: bool = False) -> Any:
    """A Keras model from a ``.keras`` file, which cannot bring code of its own.

    Args:
        path: The file.
        trainable: Take the state of the optimiser as well.

    Raises:
        ModelError: It is damaged, or holds a function (as a Lambda layer does).
    """
    import keras

    try:
        with open_zip(path, MODEL):
            return keras.saving.load_model(path, compile=trainable, safe_mode=True)
    except BROKEN_CONTENT as error:
        text = str(error).strip().partition("\n")[0]
        why = f"it is damaged, or no model of this Keras ({text})"
        if "lambda" in str(error).lower():
            why = (
                "it holds a function of its own (a lambda), which could run anything; do not use "
                "this file unless you know where it is from"
            )
        raise ModelError(f"{path.name}: not loaded, because {why}.") from error


def _run_epoch(
    model: Any,
    examples: Examples,
    weights: NDArray[np.float32],
    training: Training,
    step: int,
) -> bool:
    """Go through the examples in full batches; whether the loss stayed finite."""
    n = len(examples.labels)
    batch_size = min(training.batch_size, n)
    random = np.random.default_rng([training.seed, step])
    # The last batch is filled up from another pass: batches of one size need one tracing, and
    # weigh alike in the batch normalisation.
    size = training.n_batches(n) * batch_size
    passes = [random.permutation(n) for _ in range(math.ceil(size / n))]
    batches = np.concatenate(passes)[:size].reshape(-1, batch_size)
    _reseed(model, random)
    for number, chosen in enumerate(batches):
        model.optimizer.learning_rate = training.rate(step - 1 + number / len(batches))
        loss = model.train_on_batch(
            examples.inputs(chosen), examples.labels[chosen], sample_weight=weights[chosen]
        )
        if not np.isfinite(loss):
            return False
    return True


def _reseed(model: Any, random: np.random.Generator) -> None:
    """Give every dropout and augmentation layer new random numbers; they are not saved."""
    for variable in model.variables:
        if variable.name == _SEED_STATE:
            variable.assign(random.integers(0, 2**31, size=2))


def _validate(model: Any, validation: Examples) -> tuple[float | None, tuple[float, float]]:
    """Validation AUROC (None where undefined), and the rank of this state among others."""
    labels = validation.labels
    multi_label = labels.ndim == 2
    probabilities = predict(model, validation.inputs, len(labels), multi_label=multi_label)
    if not np.isfinite(probabilities).all():
        return None, (-math.inf, -math.inf)
    n_classes = probabilities.shape[1]
    if multi_label:
        of_truth = np.where(labels == 1, probabilities, 1 - probabilities)
    else:
        of_truth = probabilities[np.arange(len(labels)), labels]
    logs = np.log(np.maximum(of_truth, _SMALLEST_PROBABILITY))
    log_loss = -float(np.average(logs, axis=0, weights=balanced_weights(labels)).mean())
    shown = membership(labels, n_classes)
    score = None
    if (shown.any(axis=0) & ~shown.all(axis=0)).any():
        score = auroc(labels, probabilities, n_classes)
    return score, (score or 0.0, -log_loss)
