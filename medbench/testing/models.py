"""The contract of a model family."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import SkipTest

import numpy as np
from numpy.typing import NDArray

from medbench.datasets.task import membership
from medbench.features.feature_cache import FeatureCache
from medbench.models.contract import Classifier, ModelFamily
from medbench.models.space import Choice, Integer, Parameter, Real
from medbench.testing.contract import Contract, needed, require
from medbench.testing.fits import SEED, Fits, PrunedError, Steps
from medbench.testing.synthetic import SyntheticData

_PICKLES = (".pkl", ".pickle", ".joblib")
_PROTOCOLS = (b"\2", b"\3", b"\4", b"\5")
"""The second byte of a pickle; older protocols have none."""
_RANDOM_CONFIGURATIONS = 4
_SAME = 1e-6
"""Largest difference of two probabilities that should be equal."""
_SAME_IN_ANOTHER_BATCH = 1e-4
"""The same for batches of different size, over which sums are taken in another order."""
_SAME_FROM_DISK = 1e-4
"""The same for a classifier that was saved: it may compute by another library than it was fitted
by (embeddings by ONNX Runtime, the saved model by Keras)."""


class ModelContract(Contract):
    """What a model family promises; a subclass that names one is a test class of pytest.

    ::

        class TestMyModel(ModelContract):
            family = MyModel
            params = {"epochs": 2}

    Everything is fitted on a few small synthetic images, as many times as the tests together need.
    """

    family: type[ModelFamily] = needed("MyModel")
    """The class, registered or not."""
    image_size: int = 32
    """Height and width of the synthetic images in pixels."""
    params: Mapping[str, Any] = {}
    """Values that replace defaults of the search space, for example fewer epochs."""
    learns: bool = True
    """Whether it must do better than chance; False for a constant model."""

    @property
    def fits(self) -> Fits:
        """What was fitted so far, of these settings."""
        return self.once(_fits, self.family, self.image_size, dict(self.params))

    def needs_steps(self) -> None:
        """Leave a test out for a configuration without steps (a frozen backbone has none).

        Raises:
            SkipTest: A fit with validation sets no ``best_step``.
        """
        if not self.fits.count_steps():
            raise SkipTest("a fit with validation sets no best_step: it counts no steps")

    def test_space(self) -> None:
        """Every configuration of the space can be stored as JSON and built.

        A run stores the parameters of each trial and builds the best one again from them.
        """
        task = self.fits.cases[0].task
        space = self.fits.space(task)
        for parameter in space:
            _check_parameter(parameter)
        known = {parameter.name for parameter in space}
        for refined in self.fits.family.refinements(space.defaults(), task):
            known |= set(refined)
        unknown = sorted(set(self.fits.params) - known)
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
            classifier = self.fits.family.build(configuration, task, self.fits.context())
            require(
                isinstance(classifier, Classifier),
                f"build returned a {type(classifier).__name__}; return a subclass of Classifier.",
            )

    def test_probabilities(self) -> None:
        """float64, shape (n_images, n_classes), finite, at least 0, rows sum to one.

        Of grey and colour images and of two and three classes: all numbers of a leaderboard are
        computed from these alone.
        """
        for data in self.fits.cases:
            _check_probabilities(self.fits.of(data).probabilities, data)

    def test_task_types(self) -> None:
        """Ordered classes are learnt too, and several labels an image.

        Every family runs on every task; also where one of the labels is in no training image.
        """
        for data in self.fits.kinds:
            _check_probabilities(self.fits.of(data).probabilities, data)
            # Ordered classes are stored as others are, and so is what learns one label at a time.
            if data.task.task_type == "multi-label" and self.fits.family.multi_label:
                _check_round_trip(self.fits, data)

    def test_missing_class(self) -> None:
        """A class without a training image still has its column.

        A rare class may be missing from the training part of an inner fold.
        """
        data = self.fits.cases[-1]
        absent = len(data.task.classes) - 2
        shown = np.flatnonzero(data.train.labels != absent)
        fit = self.fits.again(replace(data, train=data.train.take(shown)))
        _check_probabilities(fit.probabilities, data)

    def test_determinism(self) -> None:
        """Two fits with one seed give the same probabilities, so that a run can be reproduced."""
        data = self.fits.cases[0]
        _require_equal(
            self.fits.of(data).probabilities,
            self.fits.again(data, FeatureCache(None)).probabilities,
            _SAME,
            "two fits with the same seed differ; seed everything random from context.seed.",
        )

    def test_save_and_load(self) -> None:
        """A freshly built classifier that loads a saved one predicts the same.

        The held-out part is predicted, and new images are, by the saved model.
        """
        for data in self.fits.cases:
            _check_round_trip(self.fits, data)

    def test_batch_sizes(self) -> None:
        """What an image gets does not depend on the images predicted along with it.

        ``predict`` shows it one image, where the held-out part came in one large batch.
        """
        data = self.fits.cases[0]
        fit, images = self.fits.of(data), data.validation.unlabelled()
        for rows in (np.array([0]), np.array([len(images) - 1]), np.arange(7)[::-1]):
            _require_equal(
                fit.probabilities[rows],
                fit.classifier.predict_proba(images.take(rows)),
                _SAME_IN_ANOTHER_BATCH,
                f"an image predicted in a batch of {len(rows)} gets other probabilities than in a "
                f"batch of {len(images)}; compute nothing over the images of a batch.",
            )

    def test_refit(self) -> None:
        """Without validation a fit runs exactly the steps that it is told to.

        The refit on all development images has nothing to stop early by: it runs as many steps as
        were best in the inner folds.
        """
        data = self.fits.cases[0]
        fit = self.fits.of(data)
        limit, best = max(fit.steps, default=None), fit.classifier.best_step
        require(
            (limit is None and best is None)
            or (limit is not None and isinstance(best, int) and 0 <= best <= limit),
            f"best_step is {best!r} after a fit with validation that reported "
            f"{limit or 'no'} steps; set it to the step whose state was kept.",
        )
        progress = Steps()
        progress.last_step = None if limit is None else min(2, limit)
        refitted = self.fits.build(data.task)
        refitted.fit(data.train, None, progress)
        _check_probabilities(refitted.predict_proba(data.validation.unlabelled()), data)
        if limit is not None:
            done = progress.steps[-1] if progress.steps else 0
            require(
                done == progress.last_step,
                f"a fit without validation reported {done} steps where progress.last_step is "
                f"{progress.last_step}; run exactly that many and report each.",
            )

    def test_steps(self) -> None:
        """What a family says of its steps, if it says anything, is what its fits report.

        Progress, and the time that is left, are told in these steps.
        """
        name, fit = self.fits.family.step_name, self.fits.of(self.fits.cases[0])
        require(
            isinstance(name, str) and bool(name.strip()),
            f"step_name is {name!r}; name a step in the singular, such as 'epoch'.",
        )
        most, done = fit.classifier.max_steps, max(fit.steps, default=0)
        require(
            most is None or (isinstance(most, int) and most >= max(done, 1)),
            f"max_steps of the classifier is {most!r}, and its fit reported {done} steps; set it "
            "to the most steps that the configuration runs, or leave it None where it has none.",
        )

    def test_stop(self) -> None:
        """A fit whose report is answered with False ends at once and can predict.

        So a budget ends a fit, and what was learnt until then counts.
        """
        self.needs_steps()
        data, progress = self.fits.cases[0], Steps(stop_after=1)
        classifier = self.fits.build(data.task)
        classifier.fit(data.train, data.validation, progress)
        require(
            len(progress.steps) == 1,
            f"progress.report was called {len(progress.steps)} times, though its first answer was "
            "False; report once a step, and stop when the answer is False.",
        )
        _check_probabilities(classifier.predict_proba(data.validation.unlabelled()), data)

    def test_pruning(self) -> None:
        """The exception by which a tuner prunes a trial comes out of ``fit`` unchanged."""
        self.needs_steps()
        data = self.fits.cases[0]
        passed = False
        try:
            self.fits.build(data.task).fit(data.train, data.validation, Steps(prune_after=1))
        except PrunedError:
            passed = True
        require(
            passed,
            "an exception raised by progress.report did not come out of fit; do not catch it, "
            "and call progress.report after every step.",
        )

    def test_learns(self) -> None:
        """The AUROC on new images with an easy blob is above 0.5 for every class.

        A family whose columns are in another order than the classes does worse than chance.

        Raises:
            SkipTest: ``learns`` is False.
        """
        if not self.learns:
            raise SkipTest("it is said not to learn: learns = False")
        several = [data for data in self.fits.kinds if data.task.task_type == "multi-label"]
        for data in (*self.fits.cases, *several):
            shown = membership(data.validation.labels, len(data.task.classes))
            for label, name in enumerate(data.task.classes):
                if not shown[:, label].any():
                    continue
                area = _area(self.fits.of(data).probabilities[:, label], shown[:, label])
                require(
                    area > 0.5,
                    f"AUROC of class {name!r} is {area:.2f} on images that are easy to tell "
                    "apart; check the order of the columns of predict_proba and the scaling of the "
                    "pixels, or allow more steps by params.",
                )

    def test_no_pickle(self) -> None:
        """What it saves is no pickle, which can run anything on the machine that loads it."""
        with tempfile.TemporaryDirectory() as name:
            self.fits.of(self.fits.cases[0]).classifier.save(Path(name))
            for path in sorted(p for p in Path(name).rglob("*") if p.is_file()):
                require(
                    not _is_pickle(path),
                    f"save wrote {path.name}, which is a pickle; write JSON, .npz, .keras, skops "
                    "or the library's own open format.",
                )


def check_model(
    family_class: type[ModelFamily],
    *,
    image_size: int = 32,
    params: Mapping[str, Any] | None = None,
    learns: bool = True,
) -> tuple[str, ...]:
    """Check that a model family keeps its contract; returns if it does.

    Args:
        family_class: The family, registered or not.
        image_size: Height and width of the synthetic images in pixels.
        params: Values that replace defaults of the search space, for example fewer epochs.
        learns: Whether it must do better than chance; False for a constant model.

    Returns:
        Names of the tests that do not apply to it.

    Raises:
        AssertionError: A test failed; the message says what is wrong and what to do.
        ModelError: The family refused its own search space.
    """
    return ModelContract.check(
        family=family_class, image_size=image_size, params=params or {}, learns=learns
    )


def _fits(family: type[ModelFamily], image_size: int, params: Mapping[str, Any]) -> Fits:
    return Fits(family, image_size=image_size, params=params)


def _is_pickle(path: Path) -> bool:
    """Whether a file is a pickle, or an array of objects, which holds one."""
    start = path.read_bytes()[:2]
    if path.suffix in _PICKLES or (start[:1] == b"\x80" and start[1:] in _PROTOCOLS):
        return True
    if path.suffix not in (".npy", ".npz"):
        return False
    try:
        loaded = np.load(path, allow_pickle=False)
        for name in getattr(loaded, "files", ()):  # an archive reads an array where it is asked for
            loaded[name]
    except ValueError:  # an array of objects
        return True
    return False


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
            f"a classifier of a {data.task.task_type} task predicts otherwise after {write} and "
            f"{read}; {write} all of its fitted state, and read everything in {read} (the folder "
            "may be gone afterwards).",
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
    if data.task.task_type == "multi-label":
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
