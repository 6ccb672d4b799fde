"""Optuna: a tree-structured Parzen estimator, rebuilt from the finished trials at each question."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from medbench.models.space import Choice, Integer, Parameter, Real
from medbench.seeds import derive_seed
from medbench.tuning.tuner import RANDOM_FROM_ATTEMPT, Suggestion, Trial, Tuner


class OptunaTuner(Tuner):
    """Tree-structured Parzen estimator (Bergstra et al. 2011; Akiba et al. 2019).

    Source: Bergstra, Bardenet, Bengio & Kégl (2011), "Algorithms for hyper-parameter optimization",
    NIPS; Akiba et al. (2019), "Optuna: a next-generation hyperparameter optimization framework",
    KDD.
    """

    def suggest(self, finished: Sequence[Trial], attempt: int) -> Suggestion | None:
        """See ``Tuner.suggest``."""
        import optuna

        first = self.space.first(len(finished))
        if first is not None and attempt == 0:
            return Suggestion(params=first)
        if attempt >= RANDOM_FROM_ATTEMPT:
            return self.untried(finished, attempt)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = derive_seed(self.seed, len(finished), attempt)
        # Optuna 5 changed these defaults, so they are said here. Trials run one at a time, so none
        # is pending and the constant liar has nothing to lie about.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=seed,
                multivariate=True,
                group=True,
                constant_liar=False,
                n_startup_trials=min(10, max(2, (self.trials or 40) // 4)),
            )
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for trial in finished:
            if trial.score is not None:
                study.add_trial(self._frozen(trial))
        asked = study.ask()
        params: dict[str, Any] = {}
        for parameter in self.space:
            if parameter.active(params):
                params[parameter.name] = _suggest(asked, parameter)
        return Suggestion(params=params)

    def _frozen(self, trial: Trial) -> Any:
        import optuna

        return optuna.trial.create_trial(
            params=dict(trial.params),
            distributions={p.name: distribution(p) for p in self.space if p.name in trial.params},
            value=trial.score,
        )


def _suggest(asked: Any, parameter: Parameter) -> Any:
    match parameter:
        case Choice(name=name, options=options):
            return asked.suggest_categorical(name, options)
        case Integer(name=name, low=low, high=high, log=log):
            return asked.suggest_int(name, low, high, log=log)
        case Real(name=name, low=low, high=high, log=log):
            return asked.suggest_float(name, low, high, log=log)
    raise TypeError(f"{type(parameter).__name__} is not a kind of parameter Optuna knows.")


def distribution(parameter: Parameter) -> Any:
    """Optuna's word for a parameter."""
    from optuna import distributions

    match parameter:
        case Choice(options=options):
            return distributions.CategoricalDistribution(options)
        case Integer(low=low, high=high, log=log):
            return distributions.IntDistribution(low, high, log=log)
        case Real(low=low, high=high, log=log):
            return distributions.FloatDistribution(low, high, log=log)
    raise TypeError(f"{type(parameter).__name__} is not a kind of parameter Optuna knows.")
