"""The contract of executors fails where an executor has one thing wrong."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from medbench.execution.events import Outcome, RefitBegan, Started, TrialEnded
from medbench.execution.executor import Executor
from medbench.execution.inline import InlineExecutor
from medbench.testing import ExecutorContract


def changes(event_type, family="", drop=False, **fields):
    """An executor like the inline one that tells one kind of event otherwise."""

    class Wrong(InlineExecutor):
        def run(self, work):
            for event in super().run(work):
                if isinstance(event, event_type) and event.cell.model.endswith(family):
                    if drop:
                        continue
                    made = {n: v(event) if callable(v) else v for n, v in fields.items()}
                    event = replace(event, **made)
                yield event

    return Wrong


def constant(event):
    given = event.probabilities
    return given if given is None else np.full_like(given, 0.5)


def somewhere():
    """A folder that is not there yet, and that an executor knows nothing of."""
    return Path(tempfile.mkdtemp(dir=os.environ["MEDBENCH_CACHE"])) / "part"


class HandsOverAtOnce(InlineExecutor):
    """Writes the held-out images before anything is fitted, and takes them from there."""

    def run(self, work):
        yield from super().run([replace(one, held_out=self.written(one)) for one in work])

    def written(self, one):
        early = somewhere()
        one.held_out.write(early)
        return SimpleNamespace(write=lambda folder: shutil.copytree(early, folder))


class HandsOverTwice(InlineExecutor):
    def run(self, work):
        for one in work:
            one.held_out.write(somewhere())
        yield from super().run(work)


class LeavesACopy(InlineExecutor):
    """Keeps the development images of a cell beside those that it removes."""

    def run(self, work):
        for one in work:
            one.development.write(somewhere())
        yield from super().run(work)


class BeginsAgain(InlineExecutor):
    """Repeats the trials of an earlier attempt."""

    def run(self, work):
        yield from super().run([replace(one, earlier=(), earlier_oof=None) for one in work])


class LeavesImages(InlineExecutor):
    """Leaves the images of a run that is closed."""

    def run(self, work):
        for one in work:
            one.development.write(somewhere())
            yield Started(cell=one.task.cell)


class Pretends(Executor):
    """Says that every cell went well, in whatever process; what it says can be changed."""

    reason = ""

    def run(self, work):
        for one in work:
            yield Started(cell=one.task.cell)
            self.meanwhile(one)
            yield Outcome(cell=one.task.cell, reason=self.reason)

    def meanwhile(self, one):
        pass


class Remembers(Pretends):
    reason = "the images of another cell were seen in this process"


class LetsThingsRun(Pretends):
    """What a family has started goes on after its cell, and writes."""

    def meanwhile(self, one):
        pulse = one.weights.path.with_name("pulse").open("ab", buffering=0)
        threading.Thread(target=self.write, args=(pulse,), daemon=True).start()

    def write(self, pulse):
        with pulse:
            for _ in range(300):
                pulse.write(b".")
                time.sleep(0.01)


class SaysNotByHowMuch(Pretends):
    reason = "ended by --cell-time and --cell-memory"


WRONG = [
    ("order", "told .*; the order is", changes(RefitBegan, drop=True)),
    ("outcome", "it failed: lost", changes(Outcome, "brightness", reason="lost")),
    ("outcome", "gave the same", changes(Outcome, probabilities=constant)),
    ("outcome", "files that events name", changes(TrialEnded, oof=None)),
    ("failure", "the reason is 'oh'", changes(Outcome, "failing", reason="oh")),
    ("failure", "has a record", changes(Outcome, "failing", record={})),
    ("fault", "as a failure of the model", changes(Outcome, "full", fault=False)),
    ("fault", "as trouble of the machine", changes(Outcome, "failing", fault=True)),
    ("held_out", "hand them over after Fitted", HandsOverAtOnce),
    ("held_out", "more than once", HandsOverTwice),
    ("held_out", "images are left", LeavesACopy),
    ("resume", r"\[0, 1, 2\] were made", BeginsAgain),
    ("close", "images are left", LeavesImages),
    ("process", "how its process ended", Pretends),
    ("memory", "give each a process of its own", Remembers),
    ("firewall", "a look at what is closed gave ''", Pretends),
    ("messages", "wrote among the messages ended with ''", Pretends),
    ("leftovers", "what it had started went on", LetsThingsRun),
    ("limits", "ended with ''", Pretends),
    ("limits", "by how much", SaysNotByHowMuch),
]


@pytest.mark.parametrize(("name", "message", "executor"), WRONG)
def test_a_wrong_executor_is_told_what_to_do(told, name, message, executor):
    assert re.search(message, told(ExecutorContract, f"test_{name}", executor=executor))


def test_there_is_a_wrong_executor_for_every_demand():
    assert {f"test_{name}" for name, *_ in WRONG} == set(ExecutorContract.names())
