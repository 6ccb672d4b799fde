"""The contract of a tuner."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import cached_property

from medbench.errors import ModelError
from medbench.models.space import SearchSpace
from medbench.testing.contract import Contract, needed, require
from medbench.tuning.search import next_suggestion
from medbench.tuning.tuner import Suggestion, Trial, Tuner, frozen

_SEED = 3
_TRIALS = 6
_MAX_STEPS = 27
_MOST_SUGGESTIONS = 200
"""More than any tuner has for a few configurations, promotions included."""


class TunerContract(Contract):
    """What a tuner promises; a subclass that names one is a test class of pytest.

    ::

        class TestMyTuner(TunerContract):
            tuner = MyTuner

    Nothing is trained: the score of a configuration is computed from its numbers.
    """

    tuner: type[Tuner] = needed("MyTuner")
    """The class, registered or not."""

    @property
    def varied(self) -> list[Trial]:
        """A search of ``varied_space``, by one tuner from begin to end."""
        return self.once(_Searches, self.tuner).varied

    @property
    def finite(self) -> list[Trial]:
        """A search of ``finite_space`` until the tuner has no more."""
        return self.once(_Searches, self.tuner).finite

    def test_suggestions(self) -> None:
        """Suggestions keep to the ranges and conditions of the space, and can be stored.

        A family builds only what it has declared, and a run stores every configuration as JSON.

        Raises:
            AssertionError: One does not.
        """
        try:
            done = self.varied
        except ModelError as error:
            raise AssertionError(
                f"{error} Suggest each parameter that is active, no other, and no value out of "
                "range."
            ) from error
        require(len(done) >= _TRIALS, f"it ended after {len(done)} of an endless space's trials.")
        for trial in done:
            text = json.dumps(dict(trial.params), default=repr, allow_nan=False)
            require(
                json.loads(text) == trial.params,
                f"{text} changes when it is stored as JSON; use plain str, int, float and bool.",
            )

    def test_resumption(self) -> None:
        """What is suggested follows from the seed and the finished trials alone.

        So a run that was interrupted goes on as one that was not, and nothing is pickled.
        """
        done = self.varied
        for cut in (0, 1, len(done) - 1):
            again = self.tuner(varied_space(), seed=_SEED, trials=_TRIALS, max_steps=_MAX_STEPS)
            suggestion = next_suggestion(again, done[:cut])
            require(
                suggestion is not None and _identity(suggestion) == _identity(done[cut]),
                f"after {cut} finished trials a new tuner suggests something else than the one "
                "that began the search; keep no state in it, and derive random numbers from "
                "self.seed, the number of finished trials and attempt.",
            )

    def test_failures(self) -> None:
        """A search goes on after trials that failed, which have no score.

        One configuration that a family cannot fit must not end the search of the others.
        """
        tuner_class = self.tuner
        done = simulate(tuner_class, varied_space(), fails=lambda number: number in (1, 2, 4))
        n_tried = sum(trial.resume_from is None for trial in done)
        require(
            n_tried >= _TRIALS,
            f"it ended after {n_tried} configurations, of which three had failed.",
        )
        for trial in done:
            require(
                trial.resume_from is None or done[trial.resume_from].state == "complete",
                f"trial {trial.resume_from} is trained on, though it failed.",
            )

    def test_exhaustion(self) -> None:
        """Where there are few configurations each is tried, and then the search ends.

        Repeating one would cost the budget of the cell and find nothing.
        """
        space, done = finite_space(), self.finite
        require(
            len(done) < _MOST_SUGGESTIONS,
            f"it never ends, though there are {space.n_configurations:g} configurations; "
            "return None, or repeat one.",
        )
        n_tried = len({frozen(trial.params) for trial in done})
        require(
            n_tried == space.n_configurations,
            f"it ends after {n_tried} of {space.n_configurations:g} configurations; when attempt "
            "rises, suggest others, at last at random (see Tuner.untried).",
        )

    def test_promotion(self) -> None:
        """A tuner that halves by itself trains the best on to the end, from where they were.

        A configuration that is chosen must have been seen with all its steps.
        """
        tuner_class = self.tuner
        for done in (self.varied, self.finite):
            for trial in done:
                _check_steps(trial, done, tuner_class)
            if tuner_class.prunes_itself:
                most = max(trial.last_step or _MAX_STEPS for trial in done)
                require(
                    most == _MAX_STEPS,
                    f"no configuration is trained for more than {most} of {_MAX_STEPS} steps; "
                    "begin no round with more configurations than the budget and the space have.",
                )


def check_tuner(tuner_class: type[Tuner]) -> tuple[str, ...]:
    """Check that a tuner keeps its contract; returns if it does.

    Args:
        tuner_class: The tuner, registered or not.

    Returns:
        Names of the tests that do not apply to it.

    Raises:
        AssertionError: A test failed; the message says what is wrong and what to do.
    """
    return TunerContract.check(tuner=tuner_class)


class _Searches:
    """The two searches that most tests look at, each made when it is first wanted."""

    def __init__(self, tuner_class: type[Tuner]) -> None:
        self._tuner_class = tuner_class

    @cached_property
    def varied(self) -> list[Trial]:
        return simulate(self._tuner_class, varied_space())

    @cached_property
    def finite(self) -> list[Trial]:
        return simulate(self._tuner_class, finite_space(), trials=None)


def simulate(
    tuner_class: type[Tuner],
    space: SearchSpace,
    *,
    trials: int | None = _TRIALS,
    seed: int = _SEED,
    max_steps: int = _MAX_STEPS,
    finished: Sequence[Trial] = (),
    fails: Callable[[int], bool] = lambda number: False,
) -> list[Trial]:
    """A search without any training: a configuration's score is ``score_of`` it.

    Args:
        tuner_class: Proposes; one object of it is asked to the end.
        space: Of what.
        trials: Configurations that are tried; None to go on until the tuner has no more.
        seed: The tuner's.
        max_steps: Most steps of a fit.
        finished: Trials of an interrupted search.
        fails: Whether the trial of a number fails.
    """
    tuner = tuner_class(space, seed=seed, trials=trials, max_steps=max_steps)
    done = list(finished)
    while len(done) < _MOST_SUGGESTIONS:
        suggestion = next_suggestion(tuner, tuple(done))
        if suggestion is None:
            break
        tried = sum(trial.resume_from is None for trial in done)
        if suggestion.resume_from is None and trials is not None and tried >= trials:
            break
        done.append(_trial(len(done), suggestion, failed=fails(len(done))))
    return done


def varied_space() -> SearchSpace:
    """Every kind of parameter, and one that is there under a condition only."""
    space = SearchSpace()
    space.choice("kernel", ("rbf", "linear"))
    space.real("gamma", 1e-4, 1.0, log=True, when={"kernel": "rbf"})
    space.integer("components", 2, 64, default=8, log=True)
    space.choice("flag", (True, False))
    return space


def finite_space() -> SearchSpace:
    """Five configurations."""
    space = SearchSpace()
    space.choice("kernel", ("rbf", "linear"))
    space.integer("degree", 1, 4, when={"kernel": "rbf"})
    return space


def score_of(params: dict[str, object]) -> float:
    """The higher the numbers, the better: the best lies in a corner of the space."""
    numbers = [v for v in params.values() if isinstance(v, int | float)]
    return 1 / (1 + math.exp(-sum(math.log1p(number) for number in numbers) / 10))


def _trial(number: int, suggestion: Suggestion, *, failed: bool) -> Trial:
    return Trial(
        number=number,
        params=suggestion.params,
        state="failed" if failed else "complete",
        score=None if failed else score_of(dict(suggestion.params)),
        intermediate={},
        fold_scores=(),
        step=suggestion.last_step,
        seconds=1.0,
        at_seconds=number + 1.0,
        first_step=suggestion.first_step,
        last_step=suggestion.last_step,
        resume_from=suggestion.resume_from,
    )


def _check_steps(trial: Trial, done: Sequence[Trial], tuner_class: type[Tuner]) -> None:
    """A trial that is trained on begins where its earlier one ended."""
    require(
        trial.first_step < (trial.last_step or _MAX_STEPS) <= _MAX_STEPS,
        f"trial {trial.number} goes from step {trial.first_step} to {trial.last_step}, where a fit "
        f"has {_MAX_STEPS}.",
    )
    if trial.resume_from is None:
        require(trial.first_step == 0, f"trial {trial.number} is new, but does not begin at 0.")
        return
    require(
        tuner_class.prunes_itself,
        "resume_from is for tuners that set prunes_itself; of others no state is kept.",
    )
    before = done[trial.resume_from]
    require(
        trial.resume_from < trial.number
        and before.params == trial.params
        and before.last_step == trial.first_step,
        f"trial {trial.number} trains trial {trial.resume_from} on, but with other parameters or "
        "not from the step where that ended.",
    )


def _identity(one: Suggestion | Trial) -> tuple[object, ...]:
    return dict(one.params), one.first_step, one.last_step, one.resume_from
