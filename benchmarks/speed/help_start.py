"""The start: ``python -m medbench --help`` against an interpreter that does nothing."""

from __future__ import annotations

import os

from harness import Record, Settings, child, in_turns

_REPEATS = 25
_QUICK_REPEATS = 3


def measure(settings: Settings) -> list[Record]:
    """Wall seconds of whole processes, after one untimed start of each."""

    def seconds(*command: str) -> float:
        return child(command, os.environ)[0].wall

    shown, bare = ("-m", "medbench", "--help"), ("-c", "pass")
    seconds(*shown), seconds(*bare)
    repeats = _QUICK_REPEATS if settings.quick else _REPEATS
    costs = in_turns(lambda: seconds(*shown), lambda: seconds(*bare), repeats)
    return [
        Record(
            name="help",
            ours_is="medbench --help",
            other_is="python -c pass",
            unit="s",
            wanted=4.0,
            sense="at most",
            **costs,
        )
    ]
