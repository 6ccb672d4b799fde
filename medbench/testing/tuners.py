"""The contract of a tuner, as checks that each of them can be called by itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import cached_property

from medbench.errors import ModelError
from medbench.models.space import SearchSpace
from medbench.testing.fits import require
from medbench.tuning.search import next_suggestion
from medbench.tuning.tuner import Suggestion, Trial, Tuner, frozen

_SEED = 3
_TRIALS = 6
_MAX_STEPS = 27
_MOST_SUGGESTIONS = 200
"""More than any tuner has for a few configurations, promotions included."""


class Searches:
    """What the checks of one tuner search; the costly one once, whichever checks need it."""

    def __init__(self, tuner_class: type[Tuner]) -> None:
        """``tuner_class`` as in ``check_tuner``."""
        self.tuner_class = tuner_class

    @cached_property
    def varied(self) -> list[Trial]:
        """A search of ``varied_space``, by one tuner from begin to end."""
        return simulate(self.tuner_class, varied_space())

    @cached_property
    def finite(self) -> list[Trial]:
        """A search of ``finite_space`` until the tuner has no more."""
        return simulate(self.tuner_class, finite_space(), trials=None)


class TunerCheck:
    """One check, called as ``check(tuner_class)``."""

    def __init__(self, rule: Callable[[Searches], None]) -> None:
        self.on = rule
        """The check on searches that other checks share."""
        self.__doc__ = rule.__doc__

    def __call__(self, tuner_class: type[Tuner]) -> None:
        """Check a tuner; errors as of ``check_tuner``."""
        self.on(Searches(tuner_class))


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


@TunerCheck
def check_suggestions(searches: Searches) -> None:
    """Suggestions keep to the ranges and conditions of the space, and can be stored."""
    try:
        done = searches.varied
    except ModelError as error:
        raise AssertionError(
            f"{error} Suggest each parameter that is active, no other, and no value out of range."
        ) from error
    require(len(done) >= _TRIALS, f"it ended after {len(done)} of an endless space's trials.")
    for trial in done:
        text = json.dumps(dict(trial.params), default=repr, allow_nan=False)
        require(
            json.loads(text) == trial.params,
            f"{text} changes when it is stored as JSON; use plain str, int, float and bool.",
        )


@TunerCheck
def check_resumption(searches: Searches) -> None:
    """What is suggested follows from the seed and the finished trials, and from nothing else."""
    done = searches.varied
    for cut in (0, 1, len(done) - 1):
        again = searches.tuner_class(
            varied_space(), seed=_SEED, trials=_TRIALS, max_steps=_MAX_STEPS
        )
        suggestion = next_suggestion(again, done[:cut])
        require(
            suggestion is not None and _facts(suggestion) == _facts(done[cut]),
            f"after {cut} finished trials a new tuner suggests something else than the one that "
            "began the search; keep no state in it, and derive random numbers from self.seed, "
            "the number of finished trials and attempt.",
        )


@TunerCheck
def check_failures(searches: Searches) -> None:
    """A search goes on after trials that failed, which have no score."""
    tuner_class = searches.tuner_class
    done = simulate(tuner_class, varied_space(), fails=lambda number: number in (1, 2, 4))
    n_tried = sum(trial.resume_from is None for trial in done)
    require(
        n_tried >= _TRIALS, f"it ended after {n_tried} configurations, of which three had failed."
    )
    for trial in done:
        require(
            trial.resume_from is None or done[trial.resume_from].state == "complete",
            f"trial {trial.resume_from} is trained on, though it failed.",
        )


@TunerCheck
def check_exhaustion(searches: Searches) -> None:
    """Where there are few configurations each is tried, and then the search ends."""
    space, done = finite_space(), searches.finite
    require(
        len(done) < _MOST_SUGGESTIONS,
        f"it never ends, though there are {space.n_configurations:g} configurations; return None, "
        "or repeat one.",
    )
    n_tried = len({frozen(trial.params) for trial in done})
    require(
        n_tried == space.n_configurations,
        f"it ends after {n_tried} of {space.n_configurations:g} configurations; when attempt "
        "rises, suggest others, at last at random (see Tuner.untried).",
    )


@TunerCheck
def check_promotion(searches: Searches) -> None:
    """A tuner that halves by itself trains the best on to the end, from where they were."""
    tuner_class = searches.tuner_class
    for done in (searches.varied, searches.finite):
        for trial in done:
            _check_steps(trial, done, tuner_class)
        if tuner_class.prunes_itself:
            most = max(trial.last_step or _MAX_STEPS for trial in done)
            require(
                most == _MAX_STEPS,
                f"no configuration is trained for more than {most} of {_MAX_STEPS} steps; begin no "
                "round with more configurations than the budget and the space have.",
            )


TUNER_CHECKS: dict[str, TunerCheck] = {
    "suggestions": check_suggestions,
    "resumption": check_resumption,
    "failures": check_failures,
    "exhaustion": check_exhaustion,
    "promotion": check_promotion,
}
"""Every check by name; each takes a class of tuners."""


def check_tuner(tuner_class: type[Tuner]) -> None:
    """Check that a tuner keeps its contract; returns if it does.

    Args:
        tuner_class: The tuner, registered or not.

    Raises:
        AssertionError: A check failed; the message says what is wrong and what to do.
    """
    searches = Searches(tuner_class)
    for check in TUNER_CHECKS.values():
        check.on(searches)


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


def _facts(one: Suggestion | Trial) -> tuple[object, ...]:
    return dict(one.params), one.first_step, one.last_step, one.resume_from
