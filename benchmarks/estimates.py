"""What a run says of its own duration before it starts, against what it takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALLOWED = 1.5
"""Factor within which an estimate holds."""
_SAID = re.compile(r"^about ([\dhms. ]+) for the whole run$", re.MULTILINE)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


@dataclass(frozen=True, kw_only=True)
class WatchedRun:
    """A run that has ended. All times in seconds."""

    status: int
    estimate: float | None
    """What it said before its first cell; None where it said nothing."""
    after: float
    """Time from those words to its end; the whole time where it said nothing."""
    took: float
    """Time of the whole command."""

    @property
    def factor(self) -> float | None:
        """How far the estimate was off, at least 1; None where there was none."""
        if not self.estimate:
            return None
        return max(self.estimate / self.after, self.after / self.estimate)


def first_estimate(said: str) -> float | None:
    """Seconds that a run expected of itself before its first cell; None where it said none.

    Args:
        said: What it printed: ``about 9m for the whole run``, with hours, minutes and seconds.
    """
    found = _SAID.search(said)
    if found is None:
        return None
    parts = re.findall(r"([\d.]+)\s*([hms])", found[1])
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def watched(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> WatchedRun:
    """Run ``python -m medbench run`` to its end, and show what it prints.

    Args:
        arguments: What follows ``run``.
        environment: What is added to the environment variables.
    """
    began = said_at = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "medbench", "run", *arguments],
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    estimate = None
    for line in process.stdout:
        print(line.rstrip(), file=sys.stderr, flush=True)
        if estimate is None and (estimate := first_estimate(line)) is not None:
            said_at = time.perf_counter()
    status = process.wait()
    ended = time.perf_counter()
    return WatchedRun(status=status, estimate=estimate, after=ended - said_at, took=ended - began)
