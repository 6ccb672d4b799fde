"""Keras Tuner: its oracles are asked and told directly, so they tune any family."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from medbench.errors import ModelError
from medbench.models.space import Choice, Integer, Real, SearchSpace
from medbench.seeds import derive_seed
from medbench.tuning.tuner import Suggestion, Trial, Tuner

_OWN = "tuner/"
"""Prefix of what Hyperband stores among the parameters."""
_HYPERBAND_FACTOR = 3
_MAX_INITIAL_POINTS = 8


class BayesianTuner(Tuner):
    """Gaussian-process Bayesian optimisation (Keras Tuner; Snoek et al. 2012)."""

    def suggest(self, finished: Sequence[Trial], attempt: int) -> Suggestion | None:
        """A fresh oracle is given the finished trials and asked once."""
        from keras_tuner import oracles

        if not finished and attempt == 0:
            return Suggestion(params=self.space.defaults())
        initial = max(2, min(_MAX_INITIAL_POINTS, (self.trials or 40) // 3))
        oracle = _in_memory(oracles.BayesianOptimizationOracle)(
            **_common(self.space),
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
            return None
        return Suggestion(params=active_params(asked.hyperparameters))


class HyperbandTuner(Tuner):
    """Hyperband over epochs or boosting rounds (Keras Tuner; Li et al. 2018)."""

    prunes_itself = True

    def suggest(self, finished: Sequence[Trial], attempt: int) -> Suggestion | None:
        """The oracle's brackets are replayed with the finished trials, then it is asked once."""
        from keras_tuner import oracles

        if self.max_steps is None:
            raise ModelError(
                "hyperband needs a family that counts steps (epochs or rounds); "
                "take --tuner optuna or keras-tuner for this one."
            )
        if attempt > 0:
            return None  # Hyperband repeats a configuration only when its space is exhausted
        oracle = _in_memory(oracles.HyperbandOracle)(
            **_common(self.space),
            seed=derive_seed(self.seed) | 1,
            max_epochs=self.max_steps,
            factor=_HYPERBAND_FACTOR,
            hyperband_iterations=100,
        )
        oracle.verbose = 0
        self._fit_brackets(oracle)
        numbers: dict[str, int] = {}
        for trial in finished:
            if trial.stage == "refinement":
                continue
            asked = oracle.create_trial("medbench")
            if asked.status != "RUNNING" or active_params(asked.hyperparameters) != trial.params:
                raise ModelError(
                    "the stored trials do not follow from this search; begin a new run folder."
                )
            numbers[asked.trial_id] = trial.number
            if trial.score is None:
                asked.status = "FAILED"
            else:
                oracle.update_trial(asked.trial_id, {"score": trial.score}, step=0)
                asked.status = "COMPLETED"
            oracle.end_trial(asked)
        asked = oracle.create_trial("medbench")
        if asked.status != "RUNNING":
            return None
        values = asked.hyperparameters.values
        resume = values.get(_OWN + "trial_id")
        return Suggestion(
            params=active_params(asked.hyperparameters),
            first_step=int(values[_OWN + "initial_epoch"]),
            last_step=int(values[_OWN + "epochs"]),
            resume_from=numbers[resume] if resume is not None else None,
        )

    def _fit_brackets(self, oracle: Any) -> None:
        """Begin with the most aggressive bracket whose first round the budget can fill.

        Keras Tuner's own first bracket asks for dozens of configurations before it promotes
        one; a smaller budget would end with none trained for more than a few steps.
        """
        largest = oracle._get_num_brackets() - 1
        if self.trials is not None:
            while largest > 0 and oracle._get_size(largest, 0) > self.trials:
                largest -= 1
        oracle._get_num_brackets = lambda: largest + 1
        oracle._current_bracket = largest
        oracle._brackets = []
        oracle._start_new_bracket()


def _common(space: SearchSpace) -> dict[str, Any]:
    import keras_tuner

    return {
        "objective": keras_tuner.Objective("score", "max"),
        "hyperparameters": hyperparameters(space),
        # Failed trials are counted by MedBench, not here.
        "max_consecutive_failed_trials": 10**9,
    }


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


def active_params(asked: Any) -> dict[str, Any]:
    """The parameters that exist in an oracle's answer, as plain Python values."""
    params: dict[str, Any] = {}
    for parameter in asked.space:
        name = parameter.name
        if not name.startswith(_OWN) and asked.is_active(parameter) and name in asked.values:
            value = asked.values[name]
            params[name] = value.item() if isinstance(value, np.generic) else value
    return params
