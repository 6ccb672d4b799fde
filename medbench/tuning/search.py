"""The search of one cell: ask, try on the inner folds, tell, until the budget is spent."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medbench.errors import FeaturesTooDearError, ModelError
from medbench.faults import is_fault, reason_of
from medbench.models.contract import Classifier
from medbench.tuning.budget import PASSES, SEARCH_SHARE, Budget, Clock
from medbench.tuning.forecast import finishing_seconds, fold_seconds, seconds_from_scratch
from medbench.tuning.inner_validation import InnerResults, InnerValidation
from medbench.tuning.pruning import Pruner
from medbench.tuning.trial_monitor import TrialEndedError, TrialMonitor
from medbench.tuning.tuner import (
    RANDOM_FROM_ATTEMPT,
    USABLE,
    Stage,
    State,
    Suggestion,
    Trial,
    Tuner,
    best_of,
    configurations,
    frozen,
)

_MAX_REPEATS = 20
"""Repeated configurations in a row after which the space counts as exhausted; also those whose
features would cost too much, after which nothing else is expected."""
_MAX_FAILURES = 5
"""Failed trials, with none complete, after which a search is given up."""
_FEATURES_SHARE = 0.5
"""Share of the seconds that features may cost after the first trial: beyond, a search would fit
little of what it has extracted."""
_WHOLE_SECONDS_FROM = 10
"""Fewer seconds are said with a decimal."""


def next_suggestion(tuner: Tuner, finished: Sequence[Trial]) -> Suggestion | None:
    """What a tuner suggests next: something new, or a trial trained on; None where it is done.

    Raises:
        ModelError: It is not in the search space; the tuner may be a plugin's.
    """
    seen = {frozen(trial.params) for trial in finished}
    # No tuner learns from a trial without a score, so after some that were refused it is random.
    refused = 0 if tuner.prunes_itself else _refused_last(finished)
    for attempt in range(min(refused, RANDOM_FROM_ATTEMPT), _MAX_REPEATS):
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


def _refused_last(finished: Sequence[Trial]) -> int:
    """How many trials since the last that was fitted were refused."""
    return sum(1 for _ in itertools.takewhile(lambda trial: trial.refused, reversed(finished)))


class Search:
    """One cell's search; it can be interrupted at any moment and goes on from its trials.

    Where a family is screened, a configuration is tried on the first inner fold only; when the
    tuner has ended, the best one is fitted on the others too. Where seconds are bounded the first
    configuration is fitted on all at once, so that there is one that was not cut; a better one
    takes its place if all its folds end in time. A refinement that is no better than the best on
    the first inner fold is not fitted on the others.
    """

    def __init__(
        self,
        inner_validation: InnerValidation,
        tuner: Tuner,
        budget: Budget,
        clock: Clock,
        *,
        finished: Sequence[Trial],
        oof: NDArray[np.float64] | None = None,
    ) -> None:
        """Prepare a search.

        Args:
            inner_validation: Builds, fits and validates configurations.
            tuner: Proposes them.
            budget: What may be used.
            clock: What was used.
            finished: Trials of an interrupted search, in order.
            oof: Out-of-fold probabilities of the best of them (see ``best_of``), float64, shape
                (n_development, n_classes); None where there is none.
        """
        self.best_fitted: Classifier | None = None
        """The classifier of the best trial so far, where ``InnerValidation.fits_model``; None after
        an interruption, until another trial is better."""
        self._inner = inner_validation
        self._tuner = tuner
        self._budget = budget
        self._clock = clock
        self.finished = list(finished)
        self.best_oof = oof
        """Out-of-fold probabilities of the best trial so far, float64, shape (n_development,
        n_classes), NaN where an image was not predicted."""
        self._n_folds = len(inner_validation.folds)
        self._screened = inner_validation.family.screened and self._n_folds > 1
        searched = [trial for trial in finished if trial.stage == "search"]
        self._pruner = Pruner(searched, inner_folds=1 if self._screened else self._n_folds)
        # Of ``_screened_best``, by its number; not there where an interruption has lost them.
        self._screened_oof: dict[int, NDArray[np.float64]] = {}
        screened = self._screened_best
        if oof is not None and screened is not None and screened is self.best_so_far():
            self._screened_oof[screened.number] = oof

    def run(self) -> Iterator[tuple[Trial, NDArray[np.float64]]]:
        """Search until the budget is spent or the space exhausted.

        Yields:
            Every trial when it has ended, with its out-of-fold probabilities, float64, shape
            (n_development, n_classes), NaN where an image was not predicted.

        Raises:
            Exception: Whatever ``medbench.faults.is_fault`` calls trouble of the machine; the trial
                that met it is none.
        """
        while (suggestion := self._next()) is not None:
            yield self._try(suggestion, "search")
            if self._budget.seconds is not None and self._whole is None:
                yield from self._finish(self._to_finish())
        while (screened := self._to_finish()) is not None:
            yield from self._finish(screened)
        while (suggestion := self._refinement()) is not None:
            yield self._try(suggestion, "refinement")
        self._inner.features.bound = None  # whatever follows needs them

    @property
    def best(self) -> Trial:
        """The trial that is chosen (see ``best_of``), with all inner folds.

        Raises:
            ModelError: No trial could be completed.
        """
        best = self.best_so_far()
        if best is None or len(best.fold_scores) < self._n_folds:
            ended = [trial for trial in self.finished if trial.state not in USABLE]
            reasons = [trial.reason for trial in ended if trial.reason]
            raise ModelError(f"no trial was completed: {reasons[-1] if reasons else 'no time'}")
        return best

    def best_so_far(self) -> Trial | None:
        """As ``best``, but None as long as no trial has predictions, and also of fewer folds."""
        best = best_of(map(vars, self.finished))
        return None if best is None else self.finished[best["number"]]

    # --- what comes next --------------------------------------------------------------------

    def _next(self) -> Suggestion | None:
        """What the tuner suggests, or None where the search before any refinement is over."""
        if self._is_over:
            return None
        if self._given_up() or _refused_last(self.finished) >= _MAX_REPEATS:
            return None
        searched = [trial for trial in self.finished if trial.stage == "search"]
        suggestion = next_suggestion(self._tuner, searched)
        if suggestion is None:
            return None
        # Training on with a tried configuration costs seconds only.
        if suggestion.resume_from is None and self._trials_spent(len(self._refinements())):
            return None
        return suggestion if self._ends_in_time(suggestion) else None

    @property
    def _is_over(self) -> bool:
        """Whether, before an interruption, the tuner had ended."""
        finishes = [trial.state in USABLE for trial in self.finished if trial.stage == "finish"]
        within = 0 if self._budget.seconds is None else 1 + [*finishes, True].index(True)
        refined = any(trial.stage == "refinement" for trial in self.finished)
        return refined or len(finishes) > within

    @property
    def _whole(self) -> Trial | None:
        """The best trial so far that has all inner folds."""
        best = self.best_so_far()
        return best if best is not None and len(best.fold_scores) == self._n_folds else None

    @property
    def _screened_best(self) -> Trial | None:
        """The best screened trial, where it may be better than the best with all inner folds."""
        tried = {trial.finishes for trial in self.finished if trial.stage == "finish"}
        if not self._screened or len(tried) >= _MAX_FAILURES:
            return None
        searched = (trial for trial in self.finished if trial.stage == "search")
        left = best_of(vars(trial) for trial in searched if trial.number not in tried)
        screened, whole = None if left is None else self.finished[left["number"]], self._whole
        if screened is None or whole is None:
            return screened
        better = screened.state == "complete" and screened.fold_scores[0] > whole.fold_scores[0]
        return screened if better else None

    def _to_finish(self) -> Trial | None:
        """The best screened trial, if its other inner folds end in time or none has all of them."""
        screened, seconds = self._screened_best, self._budget.seconds
        if screened is None or seconds is None or self._whole is None:
            return screened
        n_folds = self._n_folds - (screened.number in self._screened_oof)
        ends = self._clock.seconds + n_folds * self._finishing_seconds()
        return screened if ends <= seconds else None

    def _refinement(self) -> Suggestion | None:
        seen = {frozen(trial.params) for trial in self.finished}
        left = [params for params in self._refinements() if frozen(params) not in seen]
        return Suggestion(params=left[0]) if left and not self._trials_spent(0) else None

    def _refinements(self) -> Sequence[Mapping[str, Any]]:
        """Refinements of the best configuration that was searched, if they may end in time."""
        family, weights, best = self._inner.family, self._inner.weights, self.best_so_far()
        if family.weights is not None and (weights is None or weights.path is None):
            return ()  # of random weights it would be the training of a large network from nothing
        if best is None or best.state != "complete" or not self._refinement_ends_in_time():
            return ()
        searched = best_of(vars(trial) for trial in self.finished if trial.stage != "refinement")
        assert searched is not None
        return family.refinements(searched["params"], self._inner.task)

    def _given_up(self) -> bool:
        failed = sum(trial.state == "failed" for trial in self.finished)
        return failed >= _MAX_FAILURES and not self._has_usable

    @property
    def _has_usable(self) -> bool:
        return any(trial.state in USABLE for trial in self.finished)

    def _trials_spent(self, kept_back: int) -> bool:
        if self._budget.trials is None:
            return False
        return configurations(self.finished) >= max(1, self._budget.trials - kept_back)

    # --- seconds ------------------------------------------------------------------------------

    @property
    def _search_seconds(self) -> float | None:
        """What the clock may say at the end of the search before the refinements."""
        share = SEARCH_SHARE if self._refinements() else 1.0
        return self._budget.seconds * share if self._budget.seconds is not None else None

    def _ends_in_time(self, suggestion: Suggestion) -> bool:
        """Whether a trial, and the finishing of the best one, are expected to end in time."""
        seconds = self._search_seconds
        if seconds is None or not self._has_usable:
            return True  # there must be one
        of_a_fold = of_another = fold_seconds(self.finished, suggestion) or 0.0
        if self._screened:  # either this one or the best one so far will be finished
            if suggestion.resume_from is not None:
                earlier = self.finished[suggestion.resume_from]
                of_another += seconds_from_scratch(earlier, self.finished)
            of_another = max(of_another, self._finishing_seconds())
        return self._clock.seconds + of_a_fold + (self._n_folds - 1) * of_another <= seconds

    def _finishing_seconds(self) -> float:
        """What is kept for one more inner fold of the screened trial that may be chosen."""
        screened = self._screened_best
        return 0.0 if screened is None else finishing_seconds(screened, self.finished)

    def _refinement_ends_in_time(self) -> bool:
        """By what the first one has cost; before it, by what it costs at least."""
        if self._budget.seconds is None:
            return True
        refined = [trial for trial in self.finished if trial.stage == "refinement"]
        if any(trial.state == "stopped" for trial in refined):
            return False
        tried = [trial for trial in refined if trial.fold_scores]
        if tried:
            of_a_fold = max(seconds_from_scratch(trial, self.finished) for trial in tried)
        else:
            of_a_fold = fold_seconds(self.finished) or 0.0
            if self._inner.family.weights is not None:
                of_a_fold = max(of_a_fold, PASSES * self._clock.features_seconds)
        return self._clock.seconds + self._n_folds * of_a_fold <= self._budget.seconds

    def _bound_features(self, *, first: bool) -> None:
        """Say what features may cost in all, from now on."""
        features, seconds = self._inner.features, self._budget.seconds
        features.bound = None
        if not first and seconds is not None:
            left = _FEATURES_SHARE * seconds - self._clock.features_seconds
            features.bound = features.cold_seconds + min(left, seconds - self._clock.seconds)

    # --- one trial ----------------------------------------------------------------------------

    def _try(
        self, suggestion: Suggestion, stage: Stage, *, finishes: Trial | None = None
    ) -> tuple[Trial, NDArray[np.float64]]:
        number = len(self.finished)
        began, fits_began = self._clock.seconds, self._clock.fit_seconds
        results, folds = self._begun(stage, finishes)
        monitor = self._monitor(suggestion, stage, results, folds)
        self._bound_features(first=monitor.must_end)
        state, reason = self._evaluated(number, suggestion, monitor, folds, finishes)
        score = results.score
        if score is None and monitor.intermediate:  # given up within its only validation part
            score = monitor.intermediate[max(monitor.intermediate)]
        trial = Trial(
            number=number,
            params=suggestion.params,
            state=state,
            score=score if state != "failed" else None,
            intermediate=monitor.intermediate,
            fold_scores=tuple(results.scores),
            step=results.step,
            seconds=self._clock.seconds - began,
            at_seconds=self._clock.seconds,
            first_step=suggestion.first_step,
            last_step=suggestion.last_step,
            resume_from=suggestion.resume_from,
            max_steps=monitor.last_step,
            stage=stage,
            reason=reason,
            fit_seconds=self._clock.fit_seconds - fits_began,
            finishes=None if finishes is None else finishes.number,
        )
        if stage == "search":
            self._pruner.finish(trial)
        self.finished.append(trial)
        if self.best_so_far() is trial:
            self.best_oof = results.oof
            self.best_fitted = results.fitted
        if self._screened_best is trial:
            self._screened_oof = {number: results.oof}
        return trial, results.oof

    def _finish(self, screened: Trial | None) -> Iterator[tuple[Trial, NDArray[np.float64]]]:
        """Fit a screened trial on the other inner folds, if there is one."""
        if screened is not None:
            # From the beginning, also where the screening went on from an earlier trial.
            suggestion = Suggestion(params=screened.params, last_step=screened.last_step)
            yield self._try(suggestion, "finish", finishes=screened)

    def _begun(self, stage: Stage, finishes: Trial | None) -> tuple[InnerResults, range]:
        """What is known of a trial before it begins, and the inner folds that it is asked for."""
        results = self._inner.empty_results()
        if stage == "search" and self._screened:
            return results, range(1)
        if finishes is None or finishes.number not in self._screened_oof:
            return results, range(self._n_folds)  # predictions are kept of the best one only
        results.oof[:] = self._screened_oof[finishes.number]
        results.scores.extend(finishes.fold_scores)
        results.steps.extend([] if finishes.step is None else [finishes.step])
        return results, range(len(finishes.fold_scores), self._n_folds)

    def _monitor(
        self, suggestion: Suggestion, stage: Stage, results: InnerResults, folds: range
    ) -> TrialMonitor:
        first, best, inner = not self._has_usable, self.best_so_far(), self._inner
        if stage == "search":
            self._pruner.begin()
        several = self._n_folds > 1
        return TrialMonitor(
            clock=self._clock,
            suggestion=suggestion,
            results=results,
            n_folds=self._n_folds,
            by_steps=stage != "finish" and len(folds) == 1,
            seconds=self._search_seconds if stage == "search" else self._budget.seconds,
            must_end=first or (stage == "finish" and self._whole is None),
            pruner=self._pruner if stage == "search" else None,
            prunes=inner.family.pruned and not self._tuner.prunes_itself,
            kept_back=0.0 if first or stage != "search" else self._finishing_seconds(),
            to_beat=best.fold_scores[0] if best and several and stage == "refinement" else None,
            projects=self._screened or stage == "refinement",
            family_steps=inner.family.max_steps,
        )

    def _evaluated(
        self,
        number: int,
        suggestion: Suggestion,
        monitor: TrialMonitor,
        folds: range,
        finishes: Trial | None,
    ) -> tuple[State, str]:
        """Fit and validate; how it ended, and why."""
        try:
            self._inner.evaluate(
                number if finishes is None else finishes.number,
                suggestion,
                monitor.progress,
                folds=folds,
                keep=self._tuner.prunes_itself and finishes is None,
                fold_done=monitor.fold_done,
                results=monitor.results,
            )
        except TrialEndedError as end:
            return end.state, ""
        except FeaturesTooDearError as error:
            return "stopped", str(error)
        except Exception as error:
            if is_fault(error):
                raise  # nothing is learnt of the configuration, so nothing is recorded
            return "failed", reason_of(error)  # a family's own code
        if monitor.cuts:
            return "cut", self._reached(min(monitor.cuts), monitor.last_step)
        if finishes is not None and finishes.state == "cut":
            return "cut", finishes.reason
        return "complete", ""

    def _reached(self, step: int, last: int | None) -> str:
        """In words how far a trial came that the budget has cut."""
        seconds, name = self._budget.seconds, self._inner.family.step_name
        assert seconds is not None, "nothing else cuts"
        of = "" if last is None else f" of {last}"
        features = self._clock.features_seconds
        if features > seconds / 2:
            steps = name if (step if last is None else last) == 1 else f"{name}s"
            took = f"{features:.0f}" if features >= _WHOLE_SECONDS_FROM else f"{features:.1f}"
            return f"{step}{of} {steps}: {took} of {seconds:g} s went into features"
        return f"{name} {step}{of} when {seconds:g} s were over"
