"""The contract of a model family, as checks that each of them can be called by itself."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.task import membership
from medbench.features.cache import FeatureCache
from medbench.models.contract import Classifier, ModelFamily
from medbench.models.space import Choice, Integer, Parameter, Real
from medbench.testing.fits import SEED, Fits, PrunedError, Steps, require
from medbench.testing.synthetic import SyntheticData

_RANDOM_CONFIGURATIONS = 4
_SAME = 1e-6
"""Largest difference of two probabilities that should be equal."""
_SAME_IN_ANOTHER_BATCH = 1e-4
"""The same for batches of different size, over which sums are taken in another order."""
_SAME_FROM_DISK = 1e-4
"""The same for a classifier that was saved: it may compute by another library than it was fitted
by (embeddings by ONNX Runtime, the saved model by Keras)."""


class ModelCheck:
    """One check, called as ``check(family_class, image_size=32, params=None)``."""

    def __init__(self, rule: Callable[[Fits], None]) -> None:
        self.on = rule
        """The check on fits that other checks share."""
        self.__doc__ = rule.__doc__

    def __call__(
        self,
        family_class: type[ModelFamily],
        *,
        image_size: int = 32,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Check a family; arguments and errors as of ``check_model``."""
        self.on(Fits(family_class, image_size=image_size, params=params))


@ModelCheck
def check_space(fits: Fits) -> None:
    """The space can be declared, is finite, and everything in it can be built."""
    task = fits.cases[0].task
    space = fits.space(task)
    for parameter in space:
        _check_parameter(parameter)
    known = {parameter.name for parameter in space}
    for refined in fits.family.refinements(space.defaults(), task):
        known |= set(refined)
    unknown = sorted(set(fits.params) - known)
    require(
        not unknown, f"params names {unknown}, which neither search_space nor refinements know."
    )
    random = np.random.default_rng(SEED)
    drawn = [space.sample(random) for _ in range(_RANDOM_CONFIGURATIONS)]
    for configuration in (space.defaults(), *drawn):
        text = json.dumps(configuration, allow_nan=False)
        require(
            json.loads(text) == configuration,
            f"{text} changes when it is stored as JSON; use plain str, int, float and bool.",
        )
        classifier = fits.family.build(configuration, task, fits.context())
        require(
            isinstance(classifier, Classifier),
            f"build returned a {type(classifier).__name__}; return a subclass of Classifier.",
        )


@ModelCheck
def check_probabilities(fits: Fits) -> None:
    """Probabilities of grey and colour images, two and three classes, are well formed."""
    for data in fits.cases:
        _check_probabilities(fits.of(data).probabilities, data)


@ModelCheck
def check_task_kinds(fits: Fits) -> None:
    """Ordered classes, and several labels an image (also one that training never shows)."""
    for data in fits.kinds:
        _check_probabilities(fits.of(data).probabilities, data)
        # Ordered classes are stored as others are, and so is what learns one label at a time.
        if data.task.kind == "multi-label" and fits.family.multi_label:
            _check_round_trip(fits, data)


@ModelCheck
def check_missing_class(fits: Fits) -> None:
    """A class without a training image still has its column."""
    data = fits.cases[-1]
    absent = len(data.task.classes) - 2
    shown = np.flatnonzero(data.train.labels != absent)
    fit = fits.again(replace(data, train=data.train.take(shown)))
    _check_probabilities(fit.probabilities, data)


@ModelCheck
def check_determinism(fits: Fits) -> None:
    """Two fits with one seed give the same probabilities."""
    data = fits.cases[0]
    _require_equal(
        fits.of(data).probabilities,
        fits.again(data, FeatureCache(None)).probabilities,
        _SAME,
        "two fits with the same seed differ; seed everything random from context.seed.",
    )


@ModelCheck
def check_save_and_load(fits: Fits) -> None:
    """A freshly built classifier that loads a saved one predicts the same."""
    for data in fits.cases:
        _check_round_trip(fits, data)


@ModelCheck
def check_batch_sizes(fits: Fits) -> None:
    """What an image gets does not depend on the images predicted along with it."""
    data = fits.cases[0]
    fit, images = fits.of(data), data.validation.unlabelled()
    for rows in (np.array([0]), np.array([len(images) - 1]), np.arange(7)[::-1]):
        _require_equal(
            fit.probabilities[rows],
            fit.classifier.predict_proba(images.take(rows)),
            _SAME_IN_ANOTHER_BATCH,
            f"an image predicted in a batch of {len(rows)} gets other probabilities than in a "
            f"batch of {len(images)}; compute nothing over the images of a batch.",
        )


@ModelCheck
def check_refit(fits: Fits) -> None:
    """Without validation a fit runs exactly the steps that it is told to."""
    data = fits.cases[0]
    fit = fits.of(data)
    limit, best = max(fit.steps, default=None), fit.classifier.best_step
    require(
        (limit is None and best is None)
        or (limit is not None and isinstance(best, int) and 0 <= best <= limit),
        f"best_step is {best!r} after a fit with validation that reported "
        f"{limit or 'no'} steps; set it to the step whose state was kept.",
    )
    progress = Steps()
    progress.last_step = None if limit is None else min(2, limit)
    refitted = fits.build(data.task)
    refitted.fit(data.train, None, progress)
    _check_probabilities(refitted.predict_proba(data.validation.unlabelled()), data)
    if limit is not None:
        done = progress.steps[-1] if progress.steps else 0
        require(
            done == progress.last_step,
            f"a fit without validation reported {done} steps where progress.last_step is "
            f"{progress.last_step}; run exactly that many and report each.",
        )


@ModelCheck
def check_steps(fits: Fits) -> None:
    """What a family says of its steps, if it says anything, is what its fits report."""
    name, fit = fits.family.step_name, fits.of(fits.cases[0])
    require(
        isinstance(name, str) and bool(name.strip()),
        f"step_name is {name!r}; name a step in the singular, such as 'epoch'.",
    )
    most, done = fit.classifier.max_steps, max(fit.steps, default=0)
    require(
        most is None or (isinstance(most, int) and most >= max(done, 1)),
        f"max_steps of the classifier is {most!r}, and its fit reported {done} steps; set it to "
        "the most steps that the configuration runs, or leave it None where it has none.",
    )


@ModelCheck
def check_stop(fits: Fits) -> None:
    """A fit whose report is answered with False ends at once and can predict."""
    if not fits.count_steps():
        return
    data, progress = fits.cases[0], Steps(stop_after=1)
    classifier = fits.build(data.task)
    classifier.fit(data.train, data.validation, progress)
    require(
        len(progress.steps) == 1,
        f"progress.report was called {len(progress.steps)} times, though its first answer was "
        "False; report once a step, and stop when the answer is False.",
    )
    _check_probabilities(classifier.predict_proba(data.validation.unlabelled()), data)


@ModelCheck
def check_pruning(fits: Fits) -> None:
    """The exception by which a tuner prunes a trial leaves ``fit`` unchanged."""
    if not fits.count_steps():
        return
    data = fits.cases[0]
    passed = False
    try:
        fits.build(data.task).fit(data.train, data.validation, Steps(prune_after=1))
    except PrunedError:
        passed = True
    require(
        passed,
        "an exception raised by progress.report did not come out of fit; do not catch it, "
        "and call progress.report after every step.",
    )


@ModelCheck
def check_learns(fits: Fits) -> None:
    """The AUROC on new images with an easy blob is above .5 for every class."""
    several = [data for data in fits.kinds if data.task.kind == "multi-label"]
    for data in (*fits.cases, *several):
        shown = membership(data.validation.labels, len(data.task.classes))
        for label, name in enumerate(data.task.classes):
            if not shown[:, label].any():
                continue
            area = _area(fits.of(data).probabilities[:, label], shown[:, label])
            require(
                area > 0.5,
                f"AUROC of class {name!r} is {area:.2f} on images that are easy to tell apart; "
                "check the order of the columns of predict_proba and the scaling of the pixels, "
                "or give check_model more steps by params.",
            )


MODEL_CHECKS: dict[str, ModelCheck] = {
    "space": check_space,
    "probabilities": check_probabilities,
    "task kinds": check_task_kinds,
    "missing class": check_missing_class,
    "determinism": check_determinism,
    "save and load": check_save_and_load,
    "batch sizes": check_batch_sizes,
    "refit": check_refit,
    "steps": check_steps,
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
        AssertionError: A check failed; the message says what is wrong and what to do.
        ModelError: The family refused its own search space.
    """
    fits = Fits(family_class, image_size=image_size, params=params)
    for name, check in MODEL_CHECKS.items():
        if name != "learns" or learns:
            check.on(fits)


def _check_round_trip(fits: Fits, data: SyntheticData) -> None:
    """What was written and read, to predict or to train on, predicts the same."""
    fit = fits.of(data)
    ways = [("save", "load")]
    if type(fit.classifier).checkpoint is not Classifier.checkpoint:
        ways.append(("checkpoint", "resume"))
    for write, read in ways:
        with tempfile.TemporaryDirectory() as name:
            getattr(fit.classifier, write)(Path(name))
            require(
                any(Path(name).iterdir()),
                f"{write} wrote no file; write the fitted state into folder.",
            )
            restored = fits.build(data.task)
            getattr(restored, read)(Path(name))
        _require_equal(
            fit.probabilities,
            restored.predict_proba(data.validation.unlabelled()),
            _SAME_FROM_DISK,
            f"a classifier of a {data.task.kind} task predicts otherwise after {write} and {read}; "
            f"{write} all of its fitted state, and read everything in {read} (the folder may be "
            "gone afterwards).",
        )


def _check_parameter(parameter: Parameter) -> None:
    values: tuple[Any, ...] = (parameter.default,)
    if isinstance(parameter, Choice):
        values = parameter.options
    elif isinstance(parameter, Integer | Real):
        values = (parameter.low, parameter.high, parameter.default)
    for value in values:
        require(
            not isinstance(value, float) or math.isfinite(value),
            f"parameter {parameter.name!r} has {value} among its values; use finite numbers.",
        )


def _check_probabilities(probabilities: NDArray[Any], data: SyntheticData) -> None:
    expected = (len(data.validation), len(data.task.classes))
    require(
        isinstance(probabilities, np.ndarray) and probabilities.shape == expected,
        f"predict_proba returned shape {np.shape(probabilities)}, not {expected}; return one row "
        "an image and one column a class of the task (see complete_probabilities).",
    )
    require(
        probabilities.dtype == np.float64,
        f"predict_proba returned {probabilities.dtype}; convert it to float64.",
    )
    require(
        bool(np.isfinite(probabilities).all()),
        "predict_proba returned NaN or infinity; every probability must be finite.",
    )
    if data.task.kind == "multi-label":
        require(
            bool((probabilities >= 0).all() and (probabilities <= 1 + _SAME).all()),
            "predict_proba returned values that are not between 0 and 1.",
        )
        return
    require(
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
    require(difference <= tolerance, f"{message} (Largest difference: {difference:.1e}.)")
