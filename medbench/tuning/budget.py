"""The budget of a cell's search: trials, seconds, or whichever comes first."""

from __future__ import annotations

import re
from dataclasses import dataclass

from medbench.awake import awake_seconds
from medbench.counts import LONGEST_SECONDS, MOST_TRIALS
from medbench.errors import ConfigurationError
from medbench.features.feature_cache import FeatureCache

SEARCH_SHARE = 0.5
"""Share of a budget's seconds that the search may use where refinements follow."""
PASSES = 10
"""Passes of all images through a pretrained network that its training further on one fold is
expected to take, in time: of 210 images of 128 px it took 5 (InceptionV3) and 15 (MobileNet)."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What one search may use; the same for every family and under every tuner.

    It bounds the search; the refit on all development data (where there is one) and the prediction
    come on top and stand in the table. The first trial always runs, and is cut where it takes more
    than its share of the seconds; no later one begins that is not expected to end in time. Seconds
    are looked at after every step and every inner fold: a fit that reports no steps runs to its
    end.
    """

    trials: int | None
    """Most distinct configurations, at least 1; None for no bound. One of the two is not None, else
    a ``ConfigurationError`` is raised."""
    seconds: float | None
    """Wall seconds within which trials are to end, with the cold cost of cached features counted
    in, and without those for which the run was suspended; above 0, None for no bound."""

    def __post_init__(self) -> None:
        if self.trials is None and self.seconds is None:
            raise ConfigurationError("a budget needs trials, seconds, or both.")
        if self.trials is not None and self.trials < 1:
            raise ConfigurationError(f"a budget has at least 1 trial, not {self.trials}.")
        if self.seconds is not None and not self.seconds > 0:
            raise ConfigurationError(f"a budget has more than 0 seconds, not {self.seconds}.")
        if (self.trials or 0) > MOST_TRIALS or (self.seconds or 0) > LONGEST_SECONDS:
            raise ConfigurationError(
                f"a budget of {self} is above the limits of {MOST_TRIALS:,} trials and a year."
            )

    def __str__(self) -> str:
        trials = ""
        if self.trials is not None:
            trials = f"{self.trials} trial{'s' * (self.trials > 1)}"
        seconds = f"{self.seconds:g} s" if self.seconds is not None else ""
        return " / ".join(part for part in (trials, seconds) if part)

    @classmethod
    def parse(cls, text: str) -> Budget:
        """What ``str`` gave.

        Args:
            text: As ``"20 trials / 120 s"``.

        Raises:
            ConfigurationError: It is nothing that ``str`` gives.
        """
        match = re.fullmatch(r"(?:(\d+) trials?)?(?: / )?(?:(\S+) s)?", text)
        try:
            trials, seconds = match.groups() if match else (None, None)
            return cls(
                trials=int(trials) if trials else None, seconds=float(seconds) if seconds else None
            )
        except (ValueError, ConfigurationError):
            raise ConfigurationError(f"{text!r} is no budget, such as 20 trials / 120 s.") from None


BUDGETS = {
    "smoke": Budget(trials=3, seconds=20),
    "quick": Budget(trials=20, seconds=120),
    "standard": Budget(trials=60, seconds=600),
    "thorough": Budget(trials=200, seconds=3600),
}


class Clock:
    """Seconds that a search has used, over interruptions, as if no cache had been warm."""

    def __init__(
        self,
        features: FeatureCache,
        *,
        spent_before: float = 0.0,
        features_before: float = 0.0,
    ) -> None:
        """Start it.

        Args:
            features: Knows what features cost.
            spent_before: Seconds of the search before it was interrupted.
            features_before: The part of them that features had cost.
        """
        self._features = features
        self._spent_before = spent_before
        self._features_before = features_before
        self._began = awake_seconds()

    @property
    def seconds(self) -> float:
        """Wall seconds awake, plus what cached features cost whoever computed them."""
        saved = self._features.cold_seconds - self._features.spent_seconds
        return self._spent_before + awake_seconds() - self._began + saved

    @property
    def features_seconds(self) -> float:
        """The part of them that features have cost, as if no cache had been warm."""
        return self._features_before + self._features.cold_seconds

    @property
    def fit_seconds(self) -> float:
        """The other part of them."""
        return self.seconds - self.features_seconds
