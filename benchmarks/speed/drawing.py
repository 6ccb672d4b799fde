"""Drawing all figures and the page of the reference runs, against an earlier commit.

Timed is what ``medbench leaderboard`` draws of each run in ``results/reference`` in one process:
the PNG files and the page, imports of the plotting libraries included. Reading and assessing the
runs is not.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from earlier import ROOT, Sides, record
from harness import Record, Settings, child, in_turns

COMMIT = "e553f4c"
"""The last one with two back ends."""
_SCRIPT = Path(__file__).with_name("drawing_side.py")
_WANTED = 0.6


def drawing(settings: Settings) -> list[Record]:
    """Wall seconds, and CPU seconds, which other work on the machine changes less."""
    sides = Sides(settings, "drawing", settings.commit or COMMIT)
    found = sorted(path.parent for path in (ROOT / "results" / "reference").glob("*/run.json"))
    runs = found[:1] if settings.quick else found
    cpu: dict[str, list[float]] = {"ours": [], "other": []}
    for side in cpu:
        for run in runs:
            shutil.copytree(run, sides.folder / side / run.name)

    def seconds(side: str) -> float:
        names = [str(sides.folder / side / run.name) for run in runs]
        environment = sides.environment(side)
        _, printed = child([str(_SCRIPT)], environment, json.dumps(names))
        took = json.loads(printed.splitlines()[-1])
        cpu[side].append(took["cpu"])
        return float(took["wall"])

    seconds("ours"), seconds("other")  # both keep their assessments
    cpu["ours"].clear(), cpu["other"].clear()
    costs = in_turns(lambda: seconds("ours"), lambda: seconds("other"), settings.repeats)
    of = settings.commit or COMMIT
    what = f"figures and page of {len(runs)} reference runs"
    taken = {side: tuple(each) for side, each in cpu.items()}
    return [
        record("drawing", what, "s", _WANTED, costs, commit=of),
        record("drawing, CPU", what, "CPU s", _WANTED, taken, commit=of),
    ]
