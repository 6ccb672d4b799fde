"""Keras Tuner: its oracle is asked and told directly, so it tunes any family."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from medbench.models.space import Choice, Integer, Real, SearchSpace
from medbench.seeds import derive_seed
from medbench.tuning.tuner import RANDOM_FROM_ATTEMPT, Suggestion, Trial, Tuner

_MAX_INITIAL_POINTS = 8


class BayesianTuner(Tuner):
    """Gaussian-process Bayesian optimisation (Keras Tuner; Snoek et al. 2012)."""

    def suggest(self, finished: Sequence[Trial], attempt: int) -> Suggestion | None:
        """A fresh oracle is given the finished trials and asked once."""
        import keras_tuner
        from keras_tuner import oracles

        first = self.space.first(len(finished))
        if first is not None and attempt == 0:
            return Suggestion(params=first)
        if attempt >= RANDOM_FROM_ATTEMPT:
            return self.untried(finished, attempt)
        initial = max(2, min(_MAX_INITIAL_POINTS, (self.trials or 40) // 3))
        oracle = _in_memory(oracles.BayesianOptimizationOracle)(
            objective=keras_tuner.Objective("score", "max"),
            hyperparameters=hyperparameters(self.space),
            # Failed trials are counted by MedBench, not here.
            max_consecutive_failed_trials=10**9,
            # Keras Tuner takes seed 0 for no seed.
            seed=derive_seed(self.seed, len(finished), attempt) | 1,
            num_initial_points=initial,
            max_trials=None,
        )
        oracle.verbose = 0
        for trial in finished:
            if trial.score is not None:
                _insert(oracle, trial)
        asked = oracle.create_trial("medbench")
        if asked.status != "RUNNING":
            return self.untried(finished, attempt)
        return Suggestion(params=_params(asked.hyperparameters, self.space))


def _in_memory(oracle: Any) -> Any:
    """The oracle without its files: it never writes a search, nor reloads an old one."""

    class InMemory(oracle):  # type: ignore[misc]
        def save(self, *args: Any, **kwargs: Any) -> None:
            """Nothing: MedBench stores the trials."""

        def _save_trial(self, trial: Any) -> None:
            """Nothing: MedBench stores the trials."""

    return InMemory


def _insert(oracle: Any, trial: Trial) -> None:
    """Put a finished trial into an oracle as if it had been asked and told."""
    from keras_tuner.engine.trial import Trial as KerasTunerTrial

    values = oracle.hyperparameters.copy()
    values.values = dict(trial.params)
    told = KerasTunerTrial(
        hyperparameters=values, trial_id=f"{trial.number:04d}", status="COMPLETED"
    )
    told.score = trial.score
    oracle.trials[told.trial_id] = told
    oracle._record_values(told)


def hyperparameters(space: SearchSpace) -> Any:
    """Keras Tuner's word for a search space."""
    import keras_tuner

    result = keras_tuner.HyperParameters()
    for parameter in space:
        with ExitStack() as conditions:
            for name, values in parameter.when.items():
                conditions.enter_context(result.conditional_scope(name, list(values)))
            match parameter:
                case Choice(name=name, options=options, default=default):
                    if all(isinstance(option, bool) for option in options):
                        result.Boolean(name, default=default)
                    else:
                        result.Choice(name, list(options), default=default)
                case Integer(name=name, low=low, high=high, log=log, default=default):
                    sampling = "log" if log else "linear"
                    result.Int(name, low, high, sampling=sampling, default=default)
                case Real(name=name, low=low, high=high, log=log, default=default):
                    sampling = "log" if log else "linear"
                    result.Float(name, low, high, sampling=sampling, default=default)
    return result


def _params(asked: Any, space: SearchSpace) -> dict[str, Any]:
    """The parameters that exist in an oracle's answer, as plain Python values.

    Those of numbers are brought into their range: a logarithmic whole number of Keras Tuner 1.4.8
    reaches one above its highest value.
    """
    params: dict[str, Any] = {}
    for parameter in space:
        if parameter.active(params):
            value = asked.values[parameter.name]
            value = value.item() if isinstance(value, np.generic) else value
            if isinstance(parameter, Integer | Real):
                value = parameter.nearest(value)
            params[parameter.name] = value
    return params
