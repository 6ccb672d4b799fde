"""The start: ``--help`` and ``import medbench`` against an interpreter that does nothing."""

from __future__ import annotations

import functools
import os

from harness import Record, Settings, child, in_turns

_REPEATS = 25
_QUICK_REPEATS = 3


def measure(settings: Settings) -> list[Record]:
    """Wall seconds of whole processes, after one untimed start of each."""

    def seconds(*command: str) -> float:
        return child(command, os.environ)[0].wall

    bare = ("-c", "pass")
    repeats = _QUICK_REPEATS if settings.quick else _REPEATS
    records = []
    for name, ours_is, command, wanted in (
        ("help", "medbench --help", ("-m", "medbench", "--help"), 3.0),
        ("import", "import medbench", ("-c", "import medbench"), 1.2),
    ):
        seconds(*command), seconds(*bare)
        costs = in_turns(
            functools.partial(seconds, *command), functools.partial(seconds, *bare), repeats
        )
        records.append(
            Record(
                name=name,
                ours_is=ours_is,
                other_is="python -c pass",
                unit="s",
                wanted=wanted,
                sense="at most",
                **costs,
            )
        )
    return records
