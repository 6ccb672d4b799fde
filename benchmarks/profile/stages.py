"""One attempt at a cell in this process, as in a run, with a clock for each stage.

    python stages.py REQUEST

REQUEST is a JSON file: ``task`` and ``workspace`` as a run tells an attempt, ``held_out`` (a
folder), and ``modules`` (what is imported beforehand, as the process does that attempts are
forked off). Printed last is JSON: CPU seconds by stage, which on one core are what it takes when
nothing else runs there.

A stage is charged with its own time only: what begins within it (features within a fit, imports
within anything) is taken off. So the stages add up to the whole.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

REST = "tuner and the rest"
STAGES = (
    "imports", "reading", "features", "fits", "inner predictions", REST, "calibration", "refit",
    "save", "load", "prediction", "speed measurement",
)  # fmt: skip
_PREDICTS_IN = {"fit": "inner predictions", "predict": "prediction", "speed": "speed measurement"}
"""The stage to which a prediction belongs, by the part of the attempt."""


class Clock:
    """Own CPU seconds of each stage, from the start of the process."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._open = ["imports"]  # Python itself, until something else begins
        self._last = 0.0

    def _charge(self) -> None:
        now = time.process_time()
        self.seconds[self._open[-1]] += now - self._last
        self._last = now

    def enter(self, stage: str) -> None:
        """From here on time belongs to a stage."""
        self._charge()
        self._open.append(stage)

    def leave(self) -> None:
        """Back to what was before."""
        self._charge()
        self._open.pop()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What happens within belongs to a stage."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def timed(self, name: str | Callable[[], str], function: Any) -> Any:
        """The same function, charged to a stage."""

        @functools.wraps(function)
        def charged(*given: Any, **named: Any) -> Any:
            with self.stage(name if isinstance(name, str) else name()):
                return function(*given, **named)

        return charged


def main() -> None:
    """Make the attempt and print what its stages took."""
    asked = json.loads(Path(sys.argv[1]).read_text())
    clock = Clock()
    _time_imports(clock)
    with clock.stage("imports"):
        for name in asked["modules"]:
            try:
                importlib.import_module(name)
            except ImportError:  # names of what is in modules are among them
                continue
    from medbench.execution import attempt as at
    from medbench.execution.task import CellTask
    from medbench.execution.workspace import Workspace
    from medbench.features.feature_cache import FeatureCache
    from medbench.tuning.inner_validation import InnerValidation

    part = ["fit"]

    def within(name: str, function: Any) -> Any:
        @functools.wraps(function)
        def inner(*given: Any, **named: Any) -> Any:
            before, part[0] = part[0], name
            try:
                return function(*given, **named)
            finally:
                part[0] = before

        return inner

    for module, name, stage in (
        (at, "read_development", "reading"),
        (at, "read_held_out", "reading"),
        (at, "write_probabilities", "reading"),
        (FeatureCache, "get", "features"),
        (at.Attempt, "_frozen", "calibration"),
        (at.Attempt, "_refit", "refit"),
        (at, "sha256_of_folder", "save"),
        (at, "_speed", "speed measurement"),
    ):
        setattr(module, name, clock.timed(stage, getattr(module, name)))
    at._speed = within("speed", at._speed)
    at.Attempt._refit = within("refit", at.Attempt._refit)
    build = InnerValidation.build

    def built(self: Any, *given: Any, **named: Any) -> Any:
        classifier = build(self, *given, **named)
        for name, stage in (
            ("fit", lambda: "refit" if part[0] == "refit" else "fits"),
            ("predict_proba", lambda: _PREDICTS_IN.get(part[0], "refit")),
            ("save", "save"),
            ("load", "load"),
        ):
            setattr(classifier, name, clock.timed(stage, getattr(classifier, name)))
        return classifier

    InnerValidation.build = built  # type: ignore[method-assign]
    workspace = Workspace.from_message(asked["workspace"])
    with clock.stage(REST):
        attempt = at.Attempt(CellTask.from_message(asked["task"]), workspace)
        events = [event for event in attempt.fit()]
        part[0] = "predict"
        attempt.predict(Path(asked["held_out"]))
    record = events[-1].record  # type: ignore[union-attr]
    clock.leave()
    answer = {
        "seconds": clock.seconds,
        "trials": record["n_trials"],
        "complete": record.get("complete_trials"),
    }
    print("\n" + json.dumps(answer), flush=True)


def _time_imports(clock: Clock) -> None:
    """Charge imports, wherever they happen, to their stage; of one within another nothing more."""
    real, depth = builtins.__import__, [0]

    def timed_import(name: str, *given: Any, **named: Any) -> Any:
        if depth[0] or name in sys.modules:
            return real(name, *given, **named)
        depth[0] += 1
        try:
            with clock.stage("imports"):
                return real(name, *given, **named)
        finally:
            depth[0] -= 1

    builtins.__import__ = timed_import


if __name__ == "__main__":
    main()
