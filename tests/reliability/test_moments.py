"""Whatever process is told whatever at whatever moment: the same command gives the same results."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest
from harness import DEADLINE, Place, endured, until

KINDS = [
    ("SIGKILL", "parent"),
    ("SIGKILL", "worker"),
    ("SIGTERM", "parent"),
    ("SIGKILL", "fork server"),
    ("SIGHUP", "parent"),
    ("SIGSTOP", "parent"),
    ("SIGINT", "parent"),
    ("SIGTERM", "worker"),
    ("SIGTERM", "fork server"),
    ("SIGSTOP", "worker"),
    ("SIGKILL", "guardian"),
    ("SIGHUP", "worker"),
    ("SIGHUP", "fork server"),
]
IN_CI, ALL = 7, 65


def seeded(number: int) -> tuple[str, str, int, float]:
    """A signal, whom it is sent to, after how many events, and how many seconds later."""
    name, target = KINDS[number % len(KINDS)]
    draw = random.Random(number)
    return name, target, draw.randrange(0, 40), draw.uniform(0, 0.3)


def found(target: str, place: Place, parent: int) -> list[int]:
    """The processes of a kind that run now."""
    if target == "parent":
        return [parent]
    processes = place.processes()
    kinds: dict[str, list[int]] = {"fork server": [], "worker": [], "guardian": []}
    for pid, above in processes.items():
        if pid == parent:
            continue
        line = ""
        with contextlib.suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_text()
        if "guardian" in line:
            kinds["guardian"].append(pid)
        elif above == parent and "fork_server" in line:
            kinds["fork server"].append(pid)
        elif "medbench" in line:
            kinds["worker"].append(pid)
    return sorted(kinds[target])


@pytest.mark.parametrize(
    "number",
    [pytest.param(n, marks=[pytest.mark.slow] if n >= IN_CI else []) for n in range(ALL)],
)
def test_a_signal_at_a_moment_costs_nothing(suite, place, paid, number):
    name, target, events, later = seeded(number)

    struck = []

    def strike(process, place) -> None:
        until(lambda: place.progress() >= events or process.poll() is not None)
        time.sleep(later)
        until(lambda: process.poll() is not None or found(target, place, process.pid))
        victims = found(target, place, process.pid)
        if process.poll() is not None or not victims:
            return
        victim = victims[number % len(victims)]
        with contextlib.suppress(ProcessLookupError):
            struck.append(victim)
            os.kill(victim, getattr(signal, name))
            if name == "SIGSTOP":
                time.sleep(later)
                os.kill(victim, signal.SIGCONT)

    toll = endured(suite, place, f"{name} to the {target}", strike)
    paid(toll, moments=len(struck))


def test_a_command_that_is_undisturbed_gives_the_same_again(suite, place, paid):
    """Else nothing that the others find would mean anything."""
    assert suite.seconds < DEADLINE and suite.events > 40
    paid(endured(suite, place, "nothing"))
