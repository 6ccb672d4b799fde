"""Follows one trial from inside its fits: rungs for the pruner, seconds for the budget."""

from __future__ import annotations

from dataclasses import dataclass, field

from medbench.models.contract import Progress
from medbench.tuning.budget import Clock
from medbench.tuning.inner_validation import InnerResults
from medbench.tuning.pruning import Pruner
from medbench.tuning.tuner import State, Suggestion

_PACE_FROM_STEP = 2
"""The first step also builds what later ones use, so the pace is measured from this one on."""


class TrialEndedError(Exception):
    """Ends a trial from inside its fit; families let it through."""

    state: State


class PrunedError(TrialEndedError):
    """It is poor."""

    state = "pruned"


class BudgetSpentError(TrialEndedError):
    """It cannot end in time."""

    state = "stopped"


@dataclass(kw_only=True)
class TrialMonitor:
    """Decides after every step and every inner fold whether a trial goes on."""

    clock: Clock
    """Seconds that the search has used."""
    suggestion: Suggestion
    """What is tried."""
    results: InnerResults
    """Filled as the trial goes on."""
    n_folds: int
    """Inner folds of a configuration that is chosen."""
    by_steps: bool
    """Whether the trial is asked for one inner fold, and has its rungs at the steps of it."""
    seconds: float | None
    """What the clock may say when the configuration has all inner folds; None for no bound."""
    must_end: bool
    """Whether predictions of it are needed: a fit that is late keeps what it has."""
    pruner: Pruner | None
    """Told of every rung; None where the trial is not compared to others at rungs."""
    prunes: bool
    """Whether the pruner is listened to."""
    kept_back: float = 0.0
    """Seconds that a fit of one more inner fold takes at least."""
    to_beat: float | None = None
    """What the first inner fold must score for the others to be fitted; None for no condition."""
    projects: bool = False
    """Whether the pace of the first fold's steps decides early if all folds can end in time."""
    family_steps: int | None = None
    """Most steps of a fit, where the configuration does not say so itself; None for no limit."""
    intermediate: dict[int, float] = field(default_factory=dict)
    """Score by rung."""
    cuts: list[int] = field(default_factory=list)
    """Steps done by the fits that the budget ended early."""
    _fold: int = 0
    _fold_began: float = 0.0
    _first_step_at: tuple[int, float] | None = None
    """Number of the first step that this fit has reported, and what ``fit_seconds`` said then."""

    def progress(self, fold: int) -> Progress:
        """The progress object of one fold's fit, which begins now."""
        self._fold, self._fold_began = fold, self.clock.fit_seconds
        self._first_step_at = None
        return _FoldProgress(self)

    @property
    def last_step(self) -> int | None:
        """Steps after which a fit ends by itself; None where that is not known."""
        own = self.family_steps if self.results.max_steps is None else self.results.max_steps
        limits = [limit for limit in (own, self.suggestion.last_step) if limit is not None]
        return min(limits, default=None)

    def fold_done(self, results: InnerResults) -> None:
        """Decide after a fold whether the trial goes on.

        Args:
            results: With those of the fold that was done last.

        Raises:
            PrunedError: It is poor beside others.
            BudgetSpentError: It cannot end in time.
        """
        if self.by_steps:
            return
        done, mean = len(results.scores), results.score
        assert mean is not None
        self.intermediate[done] = mean
        hopeless = self.pruner is not None and self.pruner.hopeless(done, mean, results.scores[-1])
        if done == self.n_folds or self.must_end:
            return
        if hopeless and self.prunes:
            raise PrunedError
        if self.to_beat is not None and done == 1 and mean <= self.to_beat:
            raise PrunedError
        if self._is_late():
            raise BudgetSpentError

    def step_done(self, step: int, score: float | None) -> bool:
        """Decide after a step whether the fit goes on.

        Args:
            step: Number of steps that are done, counted from 1.
            score: Validation AUROC, from 0 to 1; None where it is not known.

        Returns:
            Whether to go on; False ends the fit, which keeps the best state so far.

        Raises:
            PrunedError: The trial is poor beside others.
            BudgetSpentError: It cannot end in time.
        """
        if self._first_step_at is None or step <= self._first_step_at[0]:
            # steps begin anew where each class has its own fit
            self._first_step_at = step, self.clock.fit_seconds
        late = self._is_late(step)
        if self.by_steps and score is not None:
            self.intermediate[step] = score
            hopeless = self.pruner is not None and self.pruner.hopeless(step, score, score)
            if hopeless and self.prunes and not self.must_end:
                raise PrunedError
        if not self.must_end and (late or self._will_be_late(step)):
            raise BudgetSpentError
        if late and (self.last_step is None or step < self.last_step):
            self.cuts.append(step)
        return not late

    def _is_late(self, step: int | None = None) -> bool:
        """Whether the folds that are left, at what this one has taken so far, end too late.

        What the first step takes beyond the others, to build what they use, is paid once.
        """
        if self.seconds is None:
            return False
        now = self.clock.fit_seconds
        taken = now - self._fold_began
        if self._fold == 0 and step is not None and self._first_step_at is not None:
            first, then = self._first_step_at
            if step > first:
                of_a_step = (now - then) / (step - first)
                taken -= max(0.0, then - self._fold_began - of_a_step * first)
        return self.clock.seconds + self._n_left * max(taken, self.kept_back) > self.seconds

    def _will_be_late(self, step: int) -> bool:
        """Whether all folds end too late at the pace of the steps of the first one so far."""
        last, now = self.last_step, self.clock.fit_seconds
        if not self.projects or self._fold > 0 or self.seconds is None or last is None:
            return False
        assert self._first_step_at is not None, "a step is done"
        first, then = self._first_step_at
        if step - first + 1 < _PACE_FROM_STEP or step >= last:
            return False
        to_come = (last - step) * (now - then) / (step - first)
        of_a_fold = max(now - self._fold_began + to_come, self.kept_back)
        return self.clock.seconds + to_come + self._n_left * of_a_fold > self.seconds

    @property
    def _n_left(self) -> int:
        """Inner folds after this one that the configuration would still need."""
        return self.n_folds - 1 - self._fold


class _FoldProgress(Progress):
    def __init__(self, monitor: TrialMonitor) -> None:
        self._monitor = monitor
        self.first_step = monitor.suggestion.first_step
        self.last_step = monitor.suggestion.last_step

    def report(self, step: int, score: float | None = None) -> bool:
        return self._monitor.step_done(step, score)
