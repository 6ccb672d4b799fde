"""Contract checks of a model family, shared by the built-in families and by plugin authors.

One call checks all: ``check_model(MyModel)``. Or let pytest show each check by itself::

    @pytest.mark.parametrize("check", MODEL_CHECKS.values(), ids=MODEL_CHECKS.keys())
    def test_my_model_keeps_the_contract(check):
        check(MyModel, params={"epochs": 2})

The images are synthetic: noise with a bright blob whose place tells the class.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medbench.datasets.batch import Batch, LabelledBatch
from medbench.datasets.task import Task, membership
from medbench.features.cache import FeatureCache
from medbench.models.contract import Classifier, Context, ModelFamily, Progress
from medbench.models.per_label import PerLabel
from medbench.models.space import Choice, Integer, Parameter, Real, SearchSpace
from medbench.models.weights import Weights

_SEED = 20
_TRAIN_PER_CLASS = 18
_VALIDATION_PER_CLASS = 12
_IMAGES_PER_GROUP = 3
_RANDOM_CONFIGURATIONS = 4
_SAME = 1e-6
"""Largest difference of two probabilities that should be equal."""
_SAME_IN_ANOTHER_BATCH = 1e-4
"""The same for batches of different size, over which sums are taken in another order."""
_SAME_FROM_DISK = 1e-4
"""The same for a classifier that was saved: it may compute by another library than it was fitted
by (embeddings by ONNX Runtime, the saved model by Keras)."""
_NOISE = (70.0, 12.0)
"""Mean and standard deviation of the background, in grey levels."""
_BLOB = 150.0
"""How much brighter the middle of a blob is, in grey levels."""

Check = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class SyntheticData:
    """A small task that can be learnt from a few images."""

    task: Task
    train: LabelledBatch
    validation: LabelledBatch


def synthetic_data(*, n_classes: int, channels: int, image_size: int) -> SyntheticData:
    """Noise, with a bright blob whose place tells the class; class 0 has none.

    Three images of one class share a group. The same arguments give the same data.

    Args:
        n_classes: 2 or 3.
        channels: 1 or 3.
        image_size: Height and width in pixels.
    """
    generator = np.random.default_rng(_SEED)
    train = _synthetic_batch(generator, _TRAIN_PER_CLASS, n_classes, channels, image_size)
    validation = _synthetic_batch(generator, _VALIDATION_PER_CLASS, n_classes, channels, image_size)
    names = ("none", "upper-left", "lower-right")
    return SyntheticData(
        task=Task(classes=names[:n_classes], image_shape=(image_size, image_size, channels)),
        train=train,
        validation=validation,
    )


def check_space(
    family_class: type[ModelFamily],
    *,
    image_size: int = 32,
    params: Mapping[str, Any] | None = None,
) -> None:
    """The space can be declared, is finite, and everything in it can be built."""
    data = _cases(image_size)[0]
    space = SearchSpace()
    family_class().search_space(space, data.task)
    for parameter in space:
        _check_parameter(parameter)
    known = {parameter.name for parameter in space}
    for refined in family_class().refinements(space.defaults(), data.task):
        known |= set(refined)
    unknown = sorted(set(params or {}) - known)
    _require(
        not unknown, f"params names {unknown}, which neither search_space nor refinements know."
    )
    generator = np.random.default_rng(_SEED)
    configurations = [space.defaults()]
    configurations += [
        _random_configuration(space, generator) for _ in range(_RANDOM_CONFIGURATIONS)
    ]
    for configuration in configurations:
        text = json.dumps(configuration, allow_nan=False)
        _require(
            json.loads(text) == configuration,
            f"{text} changes when it is stored as JSON; use plain str, int, float and bool.",
        )
        classifier = family_class().build(configuration, data.task, _context(family_class))
        _require(
            isinstance(classifier, Classifier),
            f"build returned a {type(classifier).__name__}; return a subclass of Classifier.",
        )


def check_probabilities(
    family_class: type[ModelFamily],
    *,
    image_size: int = 32,
    params: Mapping[str, Any] | None = None,
) -> None:
    """Probabilities of grey and colour images, two and three classes, are well formed."""
    for data in _applicable(family_class, image_size):
        classifier = _fitted(family_class, data, params)
        _check_probabilities(classifier.predict_proba(_unlabelled(data.validation)), data)


def check_missing_class(
    family_class: type[ModelFamily],
    *,
    image_size: int = 32,
    params: Mapping[str, Any] | None = None,
) -> None:
    """A class without a training image still has its column."""
    data = _applicable(family_class, image_size)[-1]
    absent = len(data.task.classes) - 2
    train = data.train.take(np.flatnonzero(data.train.labels != absent))
    classifier = _build(family_class, data.task, params)
    classifier.fit(train, data.validation, _Steps())
    _check_probabilities(classifier.predict_proba(_unlabelled(data.validation)), data)


def check_determinism(
    family_class: type[ModelFamily],
    *,
    image_size: int = 32,
    params: Mapping[str, Any] | None = None,
) -> None:
    """Two fits with one seed give the same probabilities."""
    data = _applicable(family_class, image_size)[0]
    images = _unlabelled(data.validation)
    first, second = (
        _fitted(family_class, data, params).predict_proba(images) for _repeat in range(2)
    )
    _require_equal(
        first,
        second,
        _SAME,
        "two fits with the same seed differ; seed everything random from context.seed.",
    )


def check_save_and_load(
    family_class: type[ModelFamily],
    *,
    image_size: int = 32,
    params: Mapping[str, Any] | None = None,
) -> None:
    """A freshly built classifier that loads a saved one predicts the same."""
    for data in _applicable(family_class, image_size):
        images = _unlabelled(data.validation)
        classifier = _fitted(family_class, data, params)
        with tempfile.TemporaryDirectory() as name:
            classifier.save(Path(name))
            _require(
                any(Path(name).iterdir()), "save wrote no file; write the fitted state into folder."
            )
            restored = _build(family_class, data.task, params)
            restored.load(Path(name))
        _require_equal(
            classifier.predict_proba(images),
            restored.predict_proba(images),
            _SAME_FROM_DISK,
            "a classifier predicts otherwise after save and load; save all of its fitted state, "
            "and read everything in load (the folder may be gone afterwards).",
        )


def check_batch_sizes(
    family_class: type[ModelFamily],
    *,
    image_size: int = 32,
    params: Mapping[str, Any] | None = None,
) -> None:
    """What an image gets does not depend on the images predicted along with it."""
    data = _applicable(family_class, image_size)[0]
    classifier = _fitted(family_class, data, params)
    images = _unlabelled(data.validation)
    together = classifier.predict_proba(images)
    for rows in (np.array([0]), np.array([len(images) - 1]), np.arange(7)[::-1]):
        _require_equal(
            together[rows],
            classifier.predict_proba(images.take(rows)),
            _SAME_IN_ANOTHER_BATCH,
            f"an image predicted in a batch of {len(rows)} gets other probabilities than in a "
            f"batch of {len(images)}; compute nothing over the images of a batch.",
        )


def check_refit(
    family_class: type[ModelFamily],
    *,
    image_size: int = 32,
    params: Mapping[str, Any] | None = None,
) -> None:
    """Without validation a fit runs exactly the steps that it is told to."""
    data = _applicable(family_class, image_size)[0]
    classifier = _build(family_class, data.task, params)
    watched = _Steps()
    classifier.fit(data.train, data.validation, watched)
    limit = max(watched.steps, default=None)
    best = classifier.best_step
    _require(
        (limit is None and best is None)
        or (limit is not None and isinstance(best, int) and 0 <= best <= limit),
        f"best_step is {best!r} after a fit with validation that reported "
        f"{limit or 'no'} steps; set it to the step whose state was kept.",
    )
    progress = _Steps()
    progress.last_step = None if limit is None else min(2, limit)
    refitted = _build(family_class, data.task, params)
    refitted.fit(data.train, None, progress)
    _check_probabilities(refitted.predict_proba(_unlabelled(data.validation)), data)
    if limit is not None:
        done = progress.steps[-1] if progress.steps else 0
        _require(
            done == progress.last_step,
            f"a fit without validation reported {done} steps where progress.last_step is "
            f"{progress.last_step}; run exactly that many and report each.",
        )


def check_stop(
    family_class: type[ModelFamily],
    *,
    image_size: int = 32,
    params: Mapping[str, Any] | None = None,
) -> None:
    """A fit whose report is answered with False ends at once and can predict."""
    data = _applicable(family_class, image_size)[0]
    if not _counts_steps(family_class, data, params):
        return
    progress = _Steps(stop_after=1)
    classifier = _build(family_class, data.task, params)
    classifier.fit(data.train, data.validation, progress)
    _require(
        len(progress.steps) == 1,
        f"progress.report was called {len(progress.steps)} times, though its first answer was "
        "False; report once a step, and stop when the answer is False.",
    )
    _check_probabilities(classifier.predict_proba(_unlabelled(data.validation)), data)


def check_pruning(
    family_class: type[ModelFamily],
    *,
    image_size: int = 32,
    params: Mapping[str, Any] | None = None,
) -> None:
    """The exception by which a tuner prunes a trial leaves ``fit`` unchanged."""
    data = _applicable(family_class, image_size)[0]
    if not _counts_steps(family_class, data, params):
        return
    classifier = _build(family_class, data.task, params)
    passed = False
    try:
        classifier.fit(data.train, data.validation, _Steps(prune_after=1))
    except _PrunedError:
        passed = True
    _require(
        passed,
        "an exception raised by progress.report did not come out of fit; do not catch it, "
        "and call progress.report after every step.",
    )


def check_learns(
    family_class: type[ModelFamily],
    *,
    image_size: int = 32,
    params: Mapping[str, Any] | None = None,
) -> None:
    """The AUROC on new images with an easy blob is above .5 for every class."""
    several = _multi_label_data(image_size)
    cases = _applicable(family_class, image_size)
    for data in [*cases, several] if family_class().skip(several.task) is None else cases:
        classifier = _build(family_class, data.task, params)
        classifier.fit(data.train, data.validation, Progress())
        probabilities = classifier.predict_proba(_unlabelled(data.validation))
        shown = membership(data.validation.labels, len(data.task.classes))
        for label, name in enumerate(data.task.classes):
            if not shown[:, label].any():
                continue
            area = _area(probabilities[:, label], shown[:, label])
            _require(
                area > 0.5,
                f"AUROC of class {name!r} is {area:.2f} on images that are easy to tell apart; "
                "check the order of the columns of predict_proba and the scaling of the pixels, "
                "or give check_model more steps by params.",
            )


def check_task_kinds(
    family_class: type[ModelFamily],
    *,
    image_size: int = 32,
    params: Mapping[str, Any] | None = None,
) -> None:
    """Ordered classes, and several labels an image (also one that training never shows)."""
    rising = synthetic_data(n_classes=3, channels=1, image_size=image_size)
    several = _multi_label_data(image_size)
    for task, data in (
        (replace(rising.task, kind="ordinal"), rising),
        (several.task, several),
    ):
        if family_class().skip(task) is not None:
            continue
        data = replace(data, task=task)
        classifier = _build(family_class, task, params)
        classifier.fit(data.train, data.validation, Progress())
        images = _unlabelled(data.validation)
        probabilities = classifier.predict_proba(images)
        _check_probabilities(probabilities, data)
        with tempfile.TemporaryDirectory() as folder:
            classifier.save(Path(folder))
            loaded = _build(family_class, task, params)
            loaded.load(Path(folder))
            _require_equal(
                probabilities,
                loaded.predict_proba(images),
                _SAME_FROM_DISK,
                f"a saved and loaded classifier of a {task.kind} task predicts otherwise.",
            )


MODEL_CHECKS: dict[str, Check] = {
    "space": check_space,
    "probabilities": check_probabilities,
    "task kinds": check_task_kinds,
    "missing class": check_missing_class,
    "determinism": check_determinism,
    "save and load": check_save_and_load,
    "batch sizes": check_batch_sizes,
    "refit": check_refit,
    "stop": check_stop,
    "pruning": check_pruning,
    "learns": check_learns,
}
"""Every check by name; each takes ``(family_class, *, image_size=32, params=None)``."""


def check_model(
    family_class: type[ModelFamily],
    *,
    image_size: int = 32,
    params: Mapping[str, Any] | None = None,
    learns: bool = True,
) -> None:
    """Check that a model family keeps its contract; returns if it does.

    Args:
        family_class: The family, registered or not.
        image_size: Height and width of the synthetic images in pixels.
        params: Values that replace defaults of the search space, for example fewer epochs.
        learns: Whether it must do better than chance; False for a constant model.

    Raises:
        AssertionError: A check failed; the message names it and says what to do.
        ModelError: The family refused its own search space.
    """
    for name, check in MODEL_CHECKS.items():
        if name != "learns" or learns:
            check(family_class, image_size=image_size, params=params)


class _PrunedError(Exception):
    """Stands for the exception of whatever tuner is used."""


class _Steps(Progress):
    """Remembers what was reported, and checks it on the way."""

    def __init__(self, *, stop_after: int | None = None, prune_after: int | None = None) -> None:
        self.steps: list[int] = []
        self._stop_after = stop_after
        self._prune_after = prune_after

    def report(self, step: int, score: float | None = None) -> bool:
        """Answer False, or raise, after the number of steps given at the beginning."""
        _require(
            step > (self.steps[-1] if self.steps else 0),
            f"progress.report was told step {step} after {self.steps[-1:]}; count steps from 1 up.",
        )
        _require(
            score is None or 0 <= score <= 1,
            f"progress.report was told a score of {score}; report the validation AUROC or None.",
        )
        self.steps.append(step)
        if self._prune_after is not None and step >= self._prune_after:
            raise _PrunedError
        return self._stop_after is None or step < self._stop_after


def _synthetic_batch(
    generator: np.random.Generator, per_class: int, n_classes: int, channels: int, image_size: int
) -> LabelledBatch:
    labels = np.repeat(np.arange(n_classes), per_class)
    images = np.empty((len(labels), image_size, image_size, channels), np.uint8)
    axis = np.arange(image_size)
    for image, label in zip(images, labels, strict=True):
        pixels = generator.normal(*_NOISE, size=(image_size, image_size, channels))
        if label > 0:
            centre = image_size * (0.3 if label == 1 else 0.7)
            y, x = centre + generator.normal(0, image_size / 40, size=2)
            square = (axis[:, None] - y) ** 2 + (axis[None, :] - x) ** 2
            pixels += _BLOB * np.exp(-square / (2 * (image_size / 10) ** 2))[:, :, None]
        image[:] = np.clip(pixels, 0, 255)
    properties = pd.DataFrame(
        {"width": image_size, "height": image_size, "mode": "L" if channels == 1 else "RGB"},
        index=range(len(labels)),
    ).assign(bytes=images[0].size)
    order = generator.permutation(len(labels))
    groups = np.arange(len(labels)) // _IMAGES_PER_GROUP
    return LabelledBatch(images=images, properties=properties, labels=labels, groups=groups).take(
        order
    )


def _multi_label_data(image_size: int) -> SyntheticData:
    """Noise with a blob at the upper left, at the lower right, at both or at neither place.

    The third class is present in no image.
    """
    generator = np.random.default_rng(_SEED)

    def batch(per_class: int) -> LabelledBatch:
        upper_left, lower_right = (
            _synthetic_batch(generator, per_class, 3, 1, image_size) for _ in range(2)
        )
        shown = np.stack([upper_left.labels == 1, lower_right.labels == 2], axis=1)
        images = np.where(shown[:, :1, None, None], upper_left.images, 0)
        images = np.maximum(images, np.where(shown[:, 1:, None, None], lower_right.images, 0))
        return LabelledBatch(
            images=np.maximum(images, np.uint8(_NOISE[0])),
            properties=upper_left.properties,
            labels=np.pad(shown.astype(np.int64), ((0, 0), (0, 1))),
            groups=np.arange(len(shown)),
        )

    names = ("upper-left", "lower-right", "absent")
    task = Task(classes=names, image_shape=(image_size, image_size, 1), kind="multi-label")
    return SyntheticData(
        task=task, train=batch(_TRAIN_PER_CLASS), validation=batch(_VALIDATION_PER_CLASS)
    )


def _cases(image_size: int) -> list[SyntheticData]:
    return [
        synthetic_data(n_classes=2, channels=1, image_size=image_size),
        synthetic_data(n_classes=3, channels=3, image_size=image_size),
    ]


def _applicable(family_class: type[ModelFamily], image_size: int) -> list[SyntheticData]:
    """The cases that the family does not skip."""
    cases = _cases(image_size)
    reasons = [family_class().skip(data.task) for data in cases]
    kept = [data for data, reason in zip(cases, reasons, strict=True) if reason is None]
    _require(bool(kept), f"skip refuses every synthetic task: {reasons}; try another image_size.")
    return kept


def _context(family_class: type[ModelFamily]) -> Context:
    weights = None
    if family_class.weights is not None:
        weights = Weights(path=None, sha256=None, note="random weights, for a contract check")
    return Context(seed=_SEED, threads=1, features=FeatureCache(None), weights=weights)


def _build(
    family_class: type[ModelFamily], task: Task, params: Mapping[str, Any] | None
) -> Classifier:
    space = SearchSpace()
    family = family_class()
    family.search_space(space, task)
    chosen, context = {**space.defaults(), **(params or {})}, _context(family_class)
    if task.kind == "multi-label" and not family.multi_label:
        return PerLabel(task, lambda binary: family.build(chosen, binary, context))
    return family.build(chosen, task, context)


def _counts_steps(
    family_class: type[ModelFamily], data: SyntheticData, params: Mapping[str, Any] | None
) -> bool:
    """Whether a configuration says that it has steps (a frozen backbone has none, for one)."""
    return _fitted(family_class, data, params).best_step is not None


def _fitted(
    family_class: type[ModelFamily], data: SyntheticData, params: Mapping[str, Any] | None
) -> Classifier:
    classifier = _build(family_class, data.task, params)
    classifier.fit(data.train, data.validation, _Steps())
    return classifier


def _unlabelled(batch: LabelledBatch) -> Batch:
    """What a held-out part looks like to a classifier: no labels, no groups."""
    return batch.unlabelled()


def _random_configuration(space: SearchSpace, generator: np.random.Generator) -> dict[str, Any]:
    configuration: dict[str, Any] = {}
    for parameter in space:
        if not parameter.active(configuration):
            continue
        if isinstance(parameter, Choice):
            value: Any = parameter.options[int(generator.integers(len(parameter.options)))]
        elif isinstance(parameter, Integer):
            value = int(generator.integers(parameter.low, parameter.high + 1))
        elif isinstance(parameter, Real):
            value = float(generator.uniform(parameter.low, parameter.high))
        configuration[parameter.name] = value
    return configuration


def _check_parameter(parameter: Parameter) -> None:
    values: tuple[Any, ...] = (parameter.default,)
    if isinstance(parameter, Choice):
        values = parameter.options
    elif isinstance(parameter, Integer | Real):
        values = (parameter.low, parameter.high, parameter.default)
    for value in values:
        _require(
            not isinstance(value, float) or math.isfinite(value),
            f"parameter {parameter.name!r} has {value} among its values; use finite numbers.",
        )


def _check_probabilities(probabilities: NDArray[Any], data: SyntheticData) -> None:
    expected = (len(data.validation), len(data.task.classes))
    _require(
        isinstance(probabilities, np.ndarray) and probabilities.shape == expected,
        f"predict_proba returned shape {np.shape(probabilities)}, not {expected}; return one row "
        "an image and one column a class of the task (see complete_probabilities).",
    )
    _require(
        probabilities.dtype == np.float64,
        f"predict_proba returned {probabilities.dtype}; convert it to float64.",
    )
    _require(
        bool(np.isfinite(probabilities).all()),
        "predict_proba returned NaN or infinity; every probability must be finite.",
    )
    if data.task.kind == "multi-label":
        _require(
            bool((probabilities >= 0).all() and (probabilities <= 1 + _SAME).all()),
            "predict_proba returned values that are not between 0 and 1.",
        )
        return
    _require(
        bool((probabilities >= 0).all()) and np.allclose(probabilities.sum(axis=1), 1, atol=_SAME),
        "predict_proba returned rows that are no distributions; make them non-negative, "
        "with a sum of one (after the conversion to float64).",
    )


def _area(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """AUROC as the share of pairs in the right order, ties counting half."""
    difference = scores[positive][:, None] - scores[~positive][None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def _require_equal(
    first: NDArray[np.float64], second: NDArray[np.float64], tolerance: float, message: str
) -> None:
    difference = float(np.abs(first - second).max())
    _require(difference <= tolerance, f"{message} (Largest difference: {difference:.1e}.)")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
