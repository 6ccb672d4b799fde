"""Whatever process is told whatever at whatever moment: the same command gives the same results."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

import pytest
from disturbed_runs import DEADLINE, RunFolders, endured, line_of, until

KINDS = [
    ("SIGKILL", "parent"),
    ("SIGKILL", "attempt"),
    ("SIGTERM", "parent"),
    ("SIGKILL", "fork server"),
    ("SIGHUP", "parent"),
    ("SIGSTOP", "parent"),
    ("SIGINT", "parent"),
    ("SIGTERM", "attempt"),
    ("SIGTERM", "fork server"),
    ("SIGSTOP", "attempt"),
    ("SIGKILL", "guardian"),
    ("SIGHUP", "attempt"),
    ("SIGHUP", "fork server"),
]
IN_CI, ALL = (0, 3), 65
"""How a run ends by a signal or stands still, and how an attempt that is killed goes on, is tested
in ``cli`` and ``execution`` as well."""


def seeded(number: int, most: int) -> tuple[str, str, int, float]:
    """A signal, whom it is sent to, after how many events, and how many seconds later."""
    name, target = KINDS[number % len(KINDS)]
    draw = random.Random(number)
    return name, target, draw.randrange(0, min(most, 40)), draw.uniform(0, 0.3)


def found(target: str, folders: RunFolders, parent: int) -> list[int]:
    """The processes of a kind that run now: the run starts servers, which start guardians, if
    there are any, and these the attempts."""
    if target == "parent":
        return [parent]
    above = folders.processes()
    servers = {p for p, a in above.items() if a == parent and "fork_server" in line_of(p)}
    with_children = set(above.values())
    guardians = {p for p, a in above.items() if a in servers and p in with_children}
    guardians |= {p for p, a in above.items() if a == parent and "guardian" in line_of(p)}
    attempts = {p for p, a in above.items() if a in guardians or a in servers} - guardians
    kinds = {"fork server": servers, "guardian": guardians, "attempt": attempts}
    return sorted(kinds[target])


@pytest.mark.parametrize(
    "number",
    [pytest.param(n, marks=[] if n in IN_CI else [pytest.mark.slow]) for n in range(ALL)],
)
def test_a_signal_at_a_moment_costs_nothing(suite, folders, paid, number):
    name, target, events, later = seeded(number, suite.events)

    struck = []

    def strike(process, folders) -> None:
        until(lambda: folders.progress() >= events or process.poll() is not None)
        time.sleep(later)
        until(lambda: process.poll() is not None or found(target, folders, process.pid))
        victims = found(target, folders, process.pid)
        if process.poll() is not None or not victims:
            return
        victim = victims[number % len(victims)]
        with contextlib.suppress(ProcessLookupError):
            struck.append(victim)
            os.kill(victim, getattr(signal, name))
            if name == "SIGSTOP":
                time.sleep(later)
                os.kill(victim, signal.SIGCONT)

    toll = endured(suite, folders, f"{name} to the {target}", strike)
    paid(toll, moments=len(struck))


@pytest.mark.slow  # all others hold a run against the undisturbed one as well
def test_a_command_that_is_undisturbed_gives_the_same_again(suite, folders, paid):
    """Else nothing that the others find would mean anything."""
    assert suite.seconds < DEADLINE and suite.events > 40
    paid(endured(suite, folders, "nothing"))
