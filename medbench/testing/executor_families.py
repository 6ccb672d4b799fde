"""Families that the contract of executors runs; loaded as a plugin file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.task import Task
from medbench.models.contract import Classifier, Context, ModelFamily, Progress
from medbench.models.space import SearchSpace
from medbench.registry import register_model
from medbench.testing.executor_work import (
    GROWN_MEGABYTES,
    LONG_SECONDS,
    NAP_SECONDS,
    PULSE_SECONDS,
)

_seen: set[bytes] = set()
"""Keys of images that fits in this process were given."""


class Brightness(Classifier):
    """The probability of class 1 rises with the mean of the pixels."""

    def __init__(self, params: Mapping[str, Any], context: Context) -> None:
        self.steepness = float(params["steepness"])
        self.context = context
        self.middle = 0.0

    def fit(
        self, train: LabelledBatch, validation: LabelledBatch | None, progress: Progress
    ) -> None:
        """Find the middle between the classes."""
        means = train.images.mean(axis=(1, 2, 3))
        self.middle = float(np.mean([means[train.labels == k].mean() for k in (0, 1)]))

    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        """Shape (n_images, 2)."""
        distance = (batch.images.mean(axis=(1, 2, 3)) - self.middle) / 255
        of_one = 1 / (1 + np.exp(-self.steepness * distance))
        return np.column_stack([1 - of_one, of_one])

    def save(self, folder: Path) -> None:
        """Write the middle."""
        (folder / "middle.json").write_text(json.dumps(self.middle))

    def load(self, folder: Path) -> None:
        """Read the middle."""
        self.middle = float(json.loads((folder / "middle.json").read_text()))


class _Failing(Brightness):
    def fit(self, *given: Any) -> None:
        raise ValueError("failed as it was told to")


class _Full(Brightness):
    def fit(self, *given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Napping(Brightness):
    def fit(self, *given: Any) -> None:
        time.sleep(NAP_SECONDS)
        super().fit(*given)


class _Endless(Brightness):
    """Makes a file beside its weights grow for as long as it lives; never ends a fit."""

    def fit(self, *given: Any) -> None:
        assert self.context.weights is not None and self.context.weights.path is not None
        with self.context.weights.path.with_name("pulse").open("ab", buffering=0) as pulse:
            while True:
                pulse.write(b".")
                time.sleep(PULSE_SECONDS)


class _Exiting(Brightness):
    def fit(self, *given: Any) -> None:
        os._exit(3)


class _Sleeping(Brightness):
    def fit(self, *given: Any) -> None:
        time.sleep(LONG_SECONDS)


class _Holding(Brightness):
    """Lets no other thread of its process run, as compiled code may that computes for long."""

    def fit(self, *given: Any) -> None:
        sum(range(10**11))


class _SleepingLater(Brightness):
    """Cannot predict once it was saved and loaded."""

    def load(self, folder: Path) -> None:
        super().load(folder)
        self.middle = float("nan")

    def predict_proba(self, batch: Batch) -> NDArray[np.float64]:
        if np.isnan(self.middle):
            time.sleep(LONG_SECONDS)
        return super().predict_proba(batch)


class _Stopping(Brightness):
    def fit(self, *given: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


class _Forking(Brightness):
    """Waits for a process that it has started."""

    def fit(self, *given: Any) -> None:
        if child := os.fork():
            os.waitpid(child, 0)
        time.sleep(LONG_SECONDS)
        os._exit(0)


class _Leaving(Brightness):
    """Leaves a process behind that has cut itself loose, and makes a file grow."""

    def fit(self, *given: Any) -> None:
        super().fit(*given)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                _Endless.fit(self)  # type: ignore[arg-type]
            os._exit(0)
        assert self.context.weights is not None and self.context.weights.path is not None
        while not self.context.weights.path.with_name("pulse").exists():
            time.sleep(PULSE_SECONDS)


class _Growing(Brightness):
    """Takes memory, as long as there is any chance that it is stopped."""

    def fit(self, *given: Any) -> None:
        blocks: list[NDArray[np.uint8]] = []
        while len(blocks) < GROWN_MEGABYTES // 10:
            blocks.append(np.ones(10_000_000, dtype=np.uint8))
            time.sleep(PULSE_SECONDS)
        raise MemoryError("it was not stopped")


class _Writing(Brightness):
    """Writes into every file that was open before it came."""

    def fit(self, *given: Any) -> None:
        for descriptor in range(3, 32):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"12\n")


class _Remembering(Brightness):
    def fit(self, *given: Any) -> None:
        train = given[0]
        before = _seen - {bytes(key) for key in train.keys}
        _seen.update(bytes(key) for key in train.keys)
        if len(before) > len(train):  # more than the other inner folds of this cell
            raise ValueError("the images of another cell were seen in this process")
        super().fit(*given)


class _Looking(Brightness):
    def fit(self, *given: Any) -> None:
        assert self.context.weights is not None and self.context.weights.path is not None
        (self.context.weights.path.with_name("secret") / "labels.csv").read_text()


class _Family(ModelFamily):
    classifier: ClassVar[type[Brightness]] = Brightness

    def search_space(self, space: SearchSpace, task: Task) -> None:
        """One number."""
        space.real("steepness", 1.0, 10.0)

    def build(self, params: Mapping[str, Any], task: Task, context: Context) -> Classifier:
        """A classifier that behaves as the family's name says."""
        return self.classifier(params, context)


@register_model("check-brightness")
class BrightnessFamily(_Family):
    """Learns."""


@register_model("check-failing")
class FailingFamily(_Family):
    """Raises an error."""

    classifier = _Failing


@register_model("check-full")
class FullFamily(_Family):
    """Finds no space on the disk."""

    classifier = _Full


@register_model("check-napping")
class NappingFamily(_Family):
    """Takes its time."""

    classifier = _Napping


@register_model("check-endless")
class EndlessFamily(_Family):
    """Fits until it is stopped."""

    classifier = _Endless


@register_model("check-exiting")
class ExitingFamily(_Family):
    """Ends its process."""

    classifier = _Exiting


@register_model("check-remembering")
class RememberingFamily(_Family):
    """Finds out whether its process has seen the images of another cell."""

    classifier = _Remembering


@register_model("check-looking")
class LookingFamily(_Family):
    """Reads what lies in the folder ``secret`` beside the weights it is given."""

    classifier = _Looking


@register_model("check-sleeping")
class SleepingFamily(_Family):
    """Sleeps in its fit."""

    classifier = _Sleeping


@register_model("check-holding")
class HoldingFamily(_Family):
    """Holds the interpreter in its fit."""

    classifier = _Holding


@register_model("check-sleeping-later")
class SleepingLaterFamily(_Family):
    """Sleeps in its last prediction."""

    classifier = _SleepingLater


@register_model("check-stopping")
class StoppingFamily(_Family):
    """Stops its own process by a signal."""

    classifier = _Stopping


@register_model("check-forking")
class ForkingFamily(_Family):
    """Starts a process and waits for it."""

    classifier = _Forking


@register_model("check-leaving")
class LeavingFamily(_Family):
    """Learns, and leaves a process behind."""

    classifier = _Leaving


@register_model("check-growing")
class GrowingFamily(_Family):
    """Takes more and more memory."""

    classifier = _Growing


@register_model("check-writing")
class WritingFamily(_Family):
    """Writes where it should not."""

    classifier = _Writing
