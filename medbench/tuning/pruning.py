"""Giving up poor trials early, by what earlier trials scored at the same rung."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from medbench.tuning.tuner import Trial

_WILCOXON_FROM_FOLDS = 5
"""Fewer paired folds cannot reach any useful level of significance."""
_WILCOXON_LEVEL = 0.1
_REDUCTION_FACTOR = 2
_COMPLETE_FIRST = 3
"""Trials that are complete before one is given up: beside fewer, poor or good is chance."""
_FIRST_STEPS_RUNG = 4
"""Epochs or rounds before a fit may first be given up."""


class Pruner:
    """Optuna's pruners, told of the trials of any tuner; the first three are spared.

    Over inner folds: successive halving on the running mean (Jamieson & Talwalkar 2016; Li et
    al. 2020), or from five folds on the Wilcoxon signed-rank test against the best trial. With
    one validation part: successive halving over steps.

    Source: Jamieson & Talwalkar (2016), "Non-stochastic best arm identification and hyperparameter
    optimization", AISTATS; Li et al. (2020), "A system for massively parallel hyperparameter
    tuning", MLSys; Wilcoxon (1945), "Individual comparisons by ranking methods", Biometrics
    Bulletin 1(6).
    """

    def __init__(self, finished: Sequence[Trial], *, inner_folds: int) -> None:
        """Replay the trials of an interrupted search.

        Args:
            finished: They, in order.
            inner_folds: Number of inner folds; 1 for an official validation part.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._wilcoxon = inner_folds >= _WILCOXON_FROM_FOLDS
        pruner: Any
        if self._wilcoxon:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                pruner = optuna.pruners.WilcoxonPruner(
                    p_threshold=_WILCOXON_LEVEL, n_startup_steps=2
                )
        else:
            pruner = optuna.pruners.SuccessiveHalvingPruner(
                min_resource=1 if inner_folds > 1 else _FIRST_STEPS_RUNG,
                reduction_factor=_REDUCTION_FACTOR,
            )
        self._study = optuna.create_study(
            direction="maximize", pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0)
        )
        self._running: Any = None
        self._n_complete = 0
        for trial in finished:
            self.begin()
            for rung, score in self._reports(trial):
                self._hopeless_at(rung, score)
            self.finish(trial)

    def begin(self) -> None:
        """A trial begins."""
        self._running = self._study.ask()

    def hopeless(self, rung: int, mean: float, latest: float) -> bool:
        """Whether the running trial should be given up.

        Args:
            rung: Inner folds done, or steps where there is one validation part.
            mean: Mean validation AUROC so far.
            latest: Validation AUROC of the latest fold.
        """
        return self._hopeless_at(rung, latest if self._wilcoxon else mean)

    def finish(self, trial: Trial) -> None:
        """The running trial has ended."""
        from optuna.trial import TrialState

        if trial.state == "complete":
            self._n_complete += 1
            self._study.tell(self._running, trial.score)
        else:
            pruned = trial.state == "pruned"
            self._study.tell(self._running, state=TrialState.PRUNED if pruned else TrialState.FAIL)

    def _hopeless_at(self, rung: int, score: float) -> bool:
        self._running.report(score, rung)
        hopeless = bool(self._running.should_prune())
        return hopeless and self._n_complete >= _COMPLETE_FIRST

    def _reports(self, trial: Trial) -> list[tuple[int, float]]:
        if self._wilcoxon:
            return list(enumerate(trial.fold_scores, start=1))
        return sorted(trial.intermediate.items())
