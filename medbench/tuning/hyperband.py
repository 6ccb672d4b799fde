"""Hyperband: many configurations trained a little, the best of them trained on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from medbench.errors import ModelError
from medbench.tuning.tuner import Suggestion, Trial, Tuner, frozen

_FACTOR = 3
"""Steps are multiplied, and configurations divided, by this from round to round."""


class HyperbandTuner(Tuner):
    """Hyperband over epochs or boosting rounds.

    A bracket trains some configurations for a few steps and the best third of them on, until one
    has all its steps; brackets with fewer halvings follow. No round has more configurations than
    the budget and the space leave, so that those there are get to the end.

    The schedule is not that of ``optuna.pruners.HyperbandPruner``, which decides about each
    configuration when it is met, cannot go on with one that has waited, and draws its bracket by
    lot: within the few dozen trials of a budget it ends with worse ones.

    Source: Li et al. (2018), "Hyperband: a novel bandit-based approach to hyperparameter
    optimization", JMLR 18(185).
    """

    prunes_itself = True

    def suggest(self, finished: Sequence[Trial], attempt: int) -> Suggestion | None:
        """The search is replayed with the finished trials, then it goes one step further."""
        if self.max_steps is None:
            raise ModelError(
                "hyperband needs a family that counts steps (epochs or rounds); "
                "run --tuner optuna or keras-tuner takes another one."
            )
        if attempt > 0:
            return None  # it never repeats a configuration by itself
        search = self._search(self.max_steps)
        suggestion = next(search, None)
        for trial in finished:
            if trial.stage != "search":
                continue
            if suggestion is None or _identity(suggestion) != _identity(trial):
                raise ModelError(
                    "the stored trials do not follow from this search; begin a new run folder."
                )
            try:
                suggestion = search.send(trial)
            except StopIteration:
                suggestion = None
        return suggestion

    def _search(self, max_steps: int) -> Generator[Suggestion, Trial, None]:
        """Suggestions, each answered by its finished trial."""
        random = np.random.default_rng(self.seed)
        tried: set[Any] = set()
        for bracket in itertools.cycle(range(self._first_bracket(max_steps), -1, -1)):
            left = math.inf if self.trials is None else self.trials - len(tried)
            steps = _steps(max_steps, bracket, 0)
            done: list[Trial] = []
            for _ in range(int(min(_size(max_steps, bracket), left))):
                params = self.space.defaults() if not tried else self.new_params(tried, random)
                if params is None:
                    break
                tried.add(frozen(params))
                done.append((yield Suggestion(params=params, last_step=steps)))
            if not done:
                return
            for number in range(1, bracket + 1):
                kept = [trial for trial in done if trial.state == "complete"]
                kept.sort(key=lambda trial: (-(trial.score or 0.0), trial.number))
                begin, steps = steps, _steps(max_steps, bracket, number)
                n_promoted, done = math.ceil(len(done) / _FACTOR), []
                for trial in kept[:n_promoted]:
                    promoted = Suggestion(
                        params=trial.params,
                        first_step=begin,
                        last_step=steps,
                        resume_from=trial.number,
                    )
                    done.append((yield promoted))

    def _first_bracket(self, max_steps: int) -> int:
        """The most aggressive bracket whose first round the budget and the space can fill.

        The first one of the paper asks for dozens of configurations before it promotes one; a
        smaller budget would end with none trained for more than a few steps.
        """
        most = _n_brackets(max_steps) - 1
        n_configurations = self.space.n_configurations
        if n_configurations < _size(max_steps, 0):  # one bracket takes them all
            return min(most, math.ceil(math.log(n_configurations, _FACTOR)))
        available = n_configurations if self.trials is None else min(n_configurations, self.trials)
        return max(b for b in range(most + 1) if b == 0 or _size(max_steps, b) <= available)


def _n_brackets(max_steps: int) -> int:
    """As many as there are powers of the factor up to the number of steps."""
    return next(b for b in itertools.count() if _FACTOR**b > max_steps)


def _size(max_steps: int, bracket: int) -> int:
    """Configurations in the first round, such that all brackets take about the same steps."""
    to_the_end = math.ceil(1 + math.log(max_steps, _FACTOR))
    size: int = math.ceil(to_the_end / (bracket + 1) * _FACTOR**bracket)
    return size


def _steps(max_steps: int, bracket: int, number: int) -> int:
    """Steps that a configuration has behind it after a round, counted from 0."""
    steps: int = math.ceil(max_steps / _FACTOR ** (bracket - number))
    return steps


def _identity(one: Suggestion | Trial) -> tuple[Any, ...]:
    return frozen(one.params), one.first_step, one.last_step, one.resume_from
