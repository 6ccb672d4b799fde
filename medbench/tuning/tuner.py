"""What a tuner is: a function from the finished trials to the next configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from medbench.models.space import SearchSpace

RANDOM_FROM_ATTEMPT = 3
"""Repeated suggestions before the next one is best drawn at random."""
_DRAWS = 10_000
"""Draws that give only configurations tried before, after which a space counts as exhausted."""

State = Literal["complete", "cut", "pruned", "stopped", "failed"]
Stage = Literal["search", "finish", "refinement"]
USABLE: tuple[State, ...] = ("complete", "cut")
"""States of a trial that has predictions for every image it was asked to predict."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A configuration to try, and how far to train it."""

    params: Mapping[str, Any]
    """Value of each active parameter, by name: texts, numbers and truth values of Python."""
    first_step: int = 0
    """Steps already done by the trial ``resume_from``; 0 where there is none."""
    last_step: int | None = None
    """Stop after this many steps in all; None leaves it to the family."""
    resume_from: int | None = None
    """Number of the trial whose fitted state is trained on; None to begin anew. Only for tuners
    that set ``prunes_itself``."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A finished trial, as it is stored and as tuners and pruners see it."""

    number: int
    """Its place among the trials of the search, from 0."""
    params: Mapping[str, Any]
    """Value of each active parameter, by name."""
    state: State
    """``complete``: every fit that was asked for ran to its own end; ``cut``: all inner folds
    asked for have predictions, but the budget ended a fit early; ``pruned``: given up as poor;
    ``stopped``: ended by the budget with inner folds missing; ``failed``: it raised an error."""
    score: float | None
    """Mean validation AUROC over the inner folds that were done, from 0 to 1 (the higher, the
    better); None where there is none."""
    intermediate: Mapping[int, float]
    """Score by rung (inner folds done, or steps where there is one validation part, as in a
    screening)."""
    fold_scores: Sequence[float]
    """Validation AUROC of each inner fold that was done, from 0 to 1."""
    step: int | None
    """Median over the folds of the step that was kept; None for families without steps."""
    seconds: float
    """Duration in seconds, with the cold cost of features."""
    at_seconds: float
    """Seconds the search had used when it ended."""
    first_step: int = 0
    """See ``Suggestion.first_step``."""
    last_step: int | None = None
    """See ``Suggestion.last_step``; may be None."""
    resume_from: int | None = None
    """See ``Suggestion.resume_from``; may be None."""
    max_steps: int | None = None
    """Steps after which a fit ends by itself, if it does not stop earlier; None where that is not
    known."""
    stage: Stage = "search"
    """``search``: a suggestion of the tuner; ``refinement``: a configuration of
    ``ModelFamily.refinements``; ``finish``: the other inner folds of a configuration that a
    screening has chosen, together with the one that it had; no configuration of its own."""
    reason: str = ""
    """Why it failed; how far it came, where it was cut; why it was not begun, where its features
    would have cost too much."""
    fit_seconds: float | None = None
    """Duration in seconds, without the cold cost of features; None in runs of earlier versions."""
    finishes: int | None = None
    """Number of the trial that a trial of the stage ``finish`` goes on with; None for others."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Trial:
        """A stored trial; JSON has no whole-number keys and no tuples.

        Args:
            record: The fields by name, as they were read.
        """
        fields = {name: record[name] for name in cls.__dataclass_fields__ if name in record}
        fields["intermediate"] = {int(rung): s for rung, s in record["intermediate"].items()}
        fields["fold_scores"] = tuple(record["fold_scores"])
        return cls(**fields)

    @property
    def refused(self) -> bool:
        """Whether nothing of it was fitted, because its features would have cost too much."""
        return self.state == "stopped" and bool(self.reason)


def best_of(trials: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The trial that is chosen of those there are so far; None where none has predictions.

    One of more inner folds comes before one of fewer (after a screening only the chosen one has
    all), a complete one before one that was cut, then the higher score and the earlier one decide.

    Args:
        trials: As they are stored, or ``vars`` of each ``Trial``.
    """
    usable = [trial for trial in trials if trial["state"] in USABLE]
    return max(usable, key=_rank, default=None)


def _rank(trial: Mapping[str, Any]) -> tuple[int, bool, float, int]:
    n_folds = len(trial.get("fold_scores") or ())
    return n_folds, trial["state"] == "complete", trial["score"] or 0.0, -trial["number"]


def configurations(trials: Iterable[Trial]) -> int:
    """Number of distinct configurations of which anything was fitted."""
    return len({frozen(trial.params) for trial in trials if not trial.refused})


def complete_configurations(trials: Sequence[Trial]) -> int:
    """Number of those that are complete; one whose other inner folds were cut is not."""
    short = {trial.finishes for trial in trials if trial.state != "complete"}
    return configurations(t for t in trials if t.state == "complete" and t.number not in short)


def frozen(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """A configuration as a member of sets: pairs of name and value, sorted by name."""
    return tuple(sorted(params.items()))


class Tuner(ABC):
    """Proposes configurations.

    Tuners keep no state that the finished trials do not determine, so that an interrupted
    search goes on exactly as an undisturbed one, and nothing has to be pickled. Its attributes are
    the arguments of ``__init__``.
    """

    name: ClassVar[str] = ""
    """Its name in the registry, which sets it."""
    prunes_itself: ClassVar[bool] = False
    """True where trials must not be pruned from outside because it halves by itself."""

    def __init__(
        self, space: SearchSpace, *, seed: int, trials: int | None, max_steps: int | None
    ) -> None:
        """Prepare a search.

        Args:
            space: What may be varied.
            seed: Everything random depends on it, on the finished trials and on ``attempt`` only.
            trials: Number of trials the budget allows; None for no bound.
            max_steps: Most steps of a fit; None for families without steps.
        """
        self.space = space
        self.seed = seed
        self.trials = trials
        self.max_steps = max_steps

    def untried(self, finished: Sequence[Trial], attempt: int) -> Suggestion | None:
        """A configuration at random that no finished trial has; None where all were tried.

        Args:
            finished: As in ``suggest``.
            attempt: As in ``suggest``.
        """
        tried = {frozen(trial.params) for trial in finished}
        random = np.random.default_rng([self.seed, len(finished), attempt])
        params = self.new_params(tried, random)
        return None if params is None else Suggestion(params=params)

    def new_params(self, tried: Set[Any], random: np.random.Generator) -> dict[str, Any] | None:
        """A configuration at random; None where all were tried.

        Args:
            tried: Those not to be drawn, each as ``frozen`` gives it.
            random: Where it is drawn from.
        """
        if len(tried) >= self.space.n_configurations:
            return None
        drawn = (self.space.sample(random) for _ in range(_DRAWS))
        return next((params for params in drawn if frozen(params) not in tried), None)

    @abstractmethod
    def suggest(self, finished: Sequence[Trial], attempt: int) -> Suggestion | None:
        """The next configuration, or None when the space is exhausted.

        Args:
            finished: Every finished trial of the search so far, in order; also those that failed,
                which have no score.
            attempt: Counts up from 0 when earlier answers repeated a finished configuration, or
                were one whose features would have cost too much.
        """
