"""What a trial is expected to cost, by what trials of the same cell have cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medbench.tuning.tuner import Suggestion, Trial

_MARGIN = 1.2
"""How much slower another fit may be: beside other work of the machine, the same steps take longer
or shorter."""


def fold_seconds(trials: Sequence[Trial], suggestion: Suggestion | None = None) -> float | None:
    """Seconds that one fit of one inner fold is expected to take, features not counted.

    The median over the complete trials; where there is none, over those that were cut, which
    would have cost more. Of a suggestion that names its steps: by what a step has cost.

    Args:
        trials: Finished ones of the same stage.
        suggestion: What is to be fitted; None where any configuration is meant.

    Returns:
        Seconds; None where nothing is known.
    """
    known = [t for t in trials if t.state == "complete"] or [t for t in trials if t.state == "cut"]
    if not known:
        return None
    if suggestion is None or suggestion.last_step is None:
        return float(np.median([_of_one_fold(trial) for trial in known]))
    of_a_step = [
        _of_one_fold(trial) / (trial.last_step - trial.first_step)
        for trial in known
        if trial.last_step is not None
    ]
    n_steps = suggestion.last_step - suggestion.first_step
    return float(np.median(of_a_step)) * n_steps if of_a_step else None


def seconds_from_scratch(trial: Trial, trials: Sequence[Trial]) -> float:
    """Seconds that a fit of one inner fold of a trial has taken, with those it went on from.

    Args:
        trial: The trial.
        trials: All finished ones, by number.
    """
    earlier = trial.resume_from
    before = 0.0 if earlier is None else seconds_from_scratch(trials[earlier], trials)
    return before + _of_one_fold(trial)


def finishing_seconds(trial: Trial, trials: Sequence[Trial]) -> float:
    """Seconds to be kept for one more inner fold of a trial that was screened on the first.

    There it may stop later, so it is given all the steps that it may take.

    Args:
        trial: The trial.
        trials: All finished ones, by number.
    """
    seconds = _MARGIN * seconds_from_scratch(trial, trials)
    if trial.max_steps is None or not trial.intermediate:
        return seconds
    return seconds * max(1.0, trial.max_steps / max(trial.intermediate))


def _of_one_fold(trial: Trial) -> float:
    seconds = trial.seconds if trial.fit_seconds is None else trial.fit_seconds
    n_fitted = len(trial.fold_scores) - (trial.finishes is not None)
    return seconds / max(1, n_fitted)
