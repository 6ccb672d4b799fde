"""Keras Tuner: its oracle is told the finished trials and asked for values, of any family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from medbench.models.space import Choice, Integer, Real, SearchSpace
from medbench.seeds import derive_seed
from medbench.tuning.tuner import RANDOM_FROM_ATTEMPT, Suggestion, Trial, Tuner

_MAX_INITIAL_POINTS = 8


class BayesianTuner(Tuner):
    """Gaussian-process Bayesian optimisation (Keras Tuner; Snoek et al. 2012).

    Source: Snoek, Larochelle & Adams (2012), "Practical Bayesian optimization of machine learning
    algorithms", NIPS.
    """

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
        oracle = oracles.BayesianOptimizationOracle(
            objective=keras_tuner.Objective("score", "max"),
            hyperparameters=hyperparameters(self.space),
            # Keras Tuner takes seed 0 for no seed.
            seed=derive_seed(self.seed, len(finished), attempt) | 1,
            num_initial_points=initial,
        )
        for trial in finished:
            if trial.score is not None:
                oracle.trials[str(trial.number)] = _told(trial, oracle.get_space())
        # asked for its values only: a trial of its own it would write to files
        values = oracle.populate_space(str(len(finished)))["values"]
        if values is None:
            return self.untried(finished, attempt)
        return Suggestion(params=_params(values, self.space))


def _told(trial: Trial, hyperparameters: Any) -> Any:
    """Keras Tuner's word for a finished trial."""
    from keras_tuner.engine.trial import Trial as KerasTunerTrial

    hyperparameters.values = dict(trial.params)
    told = KerasTunerTrial(hyperparameters, trial_id=str(trial.number), status="COMPLETED")
    told.score = trial.score
    return told


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


def _params(values: Mapping[str, Any], space: SearchSpace) -> dict[str, Any]:
    """The parameters that exist in an oracle's answer, as plain Python values.

    Those of numbers are brought into their range: a logarithmic whole number of Keras Tuner 1.4.8
    reaches one above its highest value.
    """
    params: dict[str, Any] = {}
    for parameter in space:
        if parameter.active(params):
            value = values[parameter.name]
            value = value.item() if isinstance(value, np.generic) else value
            if isinstance(parameter, Integer | Real):
                value = parameter.nearest(value)
            params[parameter.name] = value
    return params
