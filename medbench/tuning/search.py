"""The search of one cell: ask, try on the inner folds, tell, until the budget is spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medbench.errors import ModelError
from medbench.faults import is_fault, reason_of
from medbench.models.contract import Progress
from medbench.tuning.budget import Budget, Clock
from medbench.tuning.inner import FoldResults, Workshop
from medbench.tuning.pruning import Pruner
from medbench.tuning.tuner import State, Suggestion, Trial, Tuner, frozen

_MAX_REPEATS = 20
"""Repeated configurations in a row after which the space counts as exhausted."""
_MAX_FAILURES = 5
"""Failed trials, with none complete, after which a search is given up."""
_SEARCH_SHARE = 0.5
"""Share of the seconds that the search may use where refinements follow."""

Stage = Literal["search", "refinement"]


class _TrialEndedError(Exception):
    """Ends a trial from inside its fit; families let it through."""

    state: State


class _PrunedError(_TrialEndedError):
    state = "pruned"


class _BudgetSpentError(_TrialEndedError):
    state = "stopped"


def next_suggestion(tuner: Tuner, finished: Sequence[Trial]) -> Suggestion | None:
    """What a tuner suggests next: something new, or a trial trained on; None where it is done.

    Raises:
        ModelError: It is not in the search space; the tuner may be a plugin's.
    """
    seen = {frozen(trial.params) for trial in finished}
    for attempt in range(_MAX_REPEATS):
        suggestion = tuner.suggest(finished, attempt)
        if suggestion is None:
            return None
        try:
            tuner.space.check(suggestion.params)
        except ModelError as error:
            name = tuner.name or type(tuner).__name__
            raise ModelError(f"tuner {name!r} left the search space: {error}") from None
        if suggestion.resume_from is not None or frozen(suggestion.params) not in seen:
            return suggestion
    return None


class Search:
    """One cell's search; it can be interrupted at any moment and goes on from its trials."""

    def __init__(
        self,
        workshop: Workshop,
        tuner: Tuner,
        budget: Budget,
        clock: Clock,
        *,
        finished: Sequence[Trial],
    ) -> None:
        """Prepare a search.

        Args:
            workshop: Builds, fits and validates configurations.
            tuner: Proposes them.
            budget: What may be used.
            clock: What was used.
            finished: Trials of an interrupted search, in order.
        """
        self._workshop = workshop
        self._tuner = tuner
        self._budget = budget
        self._clock = clock
        self.finished = list(finished)
        self._pruner = Pruner(finished, inner_folds=len(workshop.folds))
        family, task = workshop.family, workshop.task
        self._n_refinements = len(family.refinements(tuner.space.defaults(), task))

    def run(self) -> Iterator[tuple[Trial, NDArray[np.float64]]]:
        """Search until the budget is spent or the space exhausted.

        Yields:
            Every trial when it has ended, with its out-of-fold probabilities, float64, shape
            (n_development, n_classes), NaN where an image was not predicted.

        Raises:
            Exception: Whatever ``medbench.faults.is_fault`` calls trouble of the machine; the trial
                that met it is none.
        """
        stages: tuple[Stage, ...] = ("search", "refinement")
        for stage in stages:
            while (suggestion := self._next(stage)) is not None:
                yield self._try(suggestion, stage)

    @property
    def best(self) -> Trial:
        """The complete trial with the best inner score (the earlier one of equals).

        Raises:
            ModelError: No trial could be completed.
        """
        best = self.best_so_far()
        if best is None:
            reasons = [trial.reason for trial in self.finished if trial.reason]
            raise ModelError(f"no trial was completed: {reasons[-1] if reasons else 'no time'}")
        return best

    def best_so_far(self) -> Trial | None:
        """As ``best``, but None as long as no trial is complete."""
        complete = [trial for trial in self.finished if trial.state == "complete"]
        return max(complete, key=lambda trial: (trial.score, -trial.number), default=None)

    def _next(self, stage: Stage) -> Suggestion | None:
        """The next suggestion of a stage, or None where it is over."""
        complete = any(trial.state == "complete" for trial in self.finished)
        if not complete and sum(t.state == "failed" for t in self.finished) >= _MAX_FAILURES:
            return None
        seconds = self._seconds(stage)
        if complete and seconds is not None and self._clock.seconds >= seconds:
            return None
        if stage == "refinement":
            return None if self._trials_spent(stage) else self._refinement()
        if any(trial.stage == "refinement" for trial in self.finished):
            return None  # interrupted after the search was over
        suggestion = next_suggestion(self._tuner, self.finished)
        if suggestion is None or suggestion.resume_from is not None:
            return suggestion  # training on with a tried configuration costs seconds only
        return None if self._trials_spent(stage) else suggestion

    def _trials_spent(self, stage: Stage) -> bool:
        if self._budget.trials is None:
            return False
        tried = sum(trial.resume_from is None for trial in self.finished)
        kept_back = self._n_refinements if stage == "search" else 0
        return tried >= max(1, self._budget.trials - kept_back)

    def _seconds(self, stage: Stage) -> float | None:
        share = _SEARCH_SHARE if stage == "search" and self._n_refinements else 1.0
        return self._budget.seconds * share if self._budget.seconds is not None else None

    def _refinement(self) -> Suggestion | None:
        searched = [t for t in self.finished if t.stage == "search" and t.state == "complete"]
        if not searched:
            return None
        best = max(searched, key=lambda trial: (trial.score, -trial.number))
        seen = {frozen(trial.params) for trial in self.finished}
        for params in self._workshop.family.refinements(best.params, self._workshop.task):
            if frozen(params) not in seen:
                return Suggestion(params=params)
        return None

    def _try(self, suggestion: Suggestion, stage: Stage) -> tuple[Trial, NDArray[np.float64]]:
        number = len(self.finished)
        began = self._clock.seconds
        results = self._workshop.empty_results()
        watch = _Watch(self, suggestion, self._seconds(stage))
        state: State = "complete"
        reason = ""
        self._pruner.begin()
        try:
            self._workshop.evaluate(
                number,
                suggestion,
                watch.progress,
                keep=self._tuner.prunes_itself,
                fold_done=watch.fold_done,
                results=results,
            )
        except _TrialEndedError as end:
            state = end.state
        except Exception as error:
            if is_fault(error):
                raise  # nothing is learnt of the configuration, so nothing is recorded
            state, reason = "failed", reason_of(error)  # a family's own code
        score = results.score
        if score is None and watch.intermediate:  # given up within its only validation part
            score = watch.intermediate[max(watch.intermediate)]
        trial = Trial(
            number=number,
            params=suggestion.params,
            state=state,
            score=score if state != "failed" else None,
            intermediate=watch.intermediate,
            fold_scores=tuple(results.scores),
            step=results.step,
            seconds=self._clock.seconds - began,
            at_seconds=self._clock.seconds,
            first_step=suggestion.first_step,
            last_step=suggestion.last_step,
            resume_from=suggestion.resume_from,
            stage=stage,
            reason=reason,
        )
        self._pruner.finish(trial)
        self.finished.append(trial)
        return trial, results.oof


class _Watch:
    """Follows one trial: rungs for the pruner, deadlines for the budget."""

    def __init__(self, search: Search, suggestion: Suggestion, seconds: float | None) -> None:
        self._search = search
        self._suggestion = suggestion
        self._seconds = seconds
        self._n_folds = len(search._workshop.folds)
        self._prunes = not search._tuner.prunes_itself
        self._rescue = not any(trial.state == "complete" for trial in search.finished)
        self.intermediate: dict[int, float] = {}

    def progress(self, fold: int) -> Progress:
        """The progress object of one fold's fit."""
        deadline = None
        if self._seconds is not None:
            deadline = self._seconds
            if self._rescue:  # there must be one complete trial: each fold gets its share
                now = self._search._clock.seconds
                deadline = now + max(0.0, self._seconds - now) / (self._n_folds - fold)
        return _FoldProgress(self, self._suggestion, deadline)

    def fold_done(self, results: FoldResults) -> None:
        """Decide after a fold whether the trial goes on."""
        done = len(results.scores)
        mean = results.score
        assert mean is not None
        if self._n_folds == 1:
            return
        self.intermediate[done] = mean
        hopeless = self._search._pruner.hopeless(done, mean, results.scores[-1])
        if done == self._n_folds or self._rescue:
            return
        if self._prunes and hopeless:
            raise _PrunedError
        if self._seconds is not None and self._search._clock.seconds > self._seconds:
            raise _BudgetSpentError

    def step_done(self, step: int, score: float | None, deadline: float | None) -> bool:
        """Decide after a step whether the fit goes on."""
        late = deadline is not None and self._search._clock.seconds > deadline
        if self._n_folds == 1 and score is not None:
            self.intermediate[step] = score
            hopeless = self._search._pruner.hopeless(step, score, score)
            if hopeless and self._prunes and not self._rescue:
                raise _PrunedError
        if late and not self._rescue:
            raise _BudgetSpentError
        return not late


class _FoldProgress(Progress):
    def __init__(self, watch: _Watch, suggestion: Suggestion, deadline: float | None) -> None:
        self._watch = watch
        self._deadline = deadline
        self.first_step = suggestion.first_step
        self.last_step = suggestion.last_step

    def report(self, step: int, score: float | None = None) -> bool:
        return self._watch.step_done(step, score, self._deadline)
