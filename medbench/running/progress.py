"""What a person is told while a run goes on: plain lines, above a calm view on a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from medbench.reports.budgets import cut_briefly
from medbench.reports.text import brief, format_score, format_seconds, plain
from medbench.running.forecast import forecast
from medbench.store.results import ended_words

if TYPE_CHECKING:
    from medbench.execution.plan_state import PlanState
    from medbench.store import CellId


def make_console() -> Console:
    """The console of the command line; rich honours NO_COLOR and knows a terminal."""
    return _Console(highlight=False)


class _Console(Console):
    """A console whose reader may go, as ``head`` does: an error that the command line hears of."""

    def on_broken_pipe(self) -> None:
        """Not the end of the process at whatever place that is."""
        self.quiet = True
        raise  # the error that is being handled


class PlainListener:
    """Tells a person of cells, a line each; safe to use from several threads."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._guard = threading.RLock()
        self._total = self._done = 0
        self._began: dict[CellId, float] = {}

    def say(self, text: str) -> None:
        """Print a line."""
        with self._guard:
            self._console.print(Text(text), soft_wrap=True)

    def planned(self, state: PlanState, jobs: int) -> None:
        """See ``RunListener.planned``."""
        finished, failed = len(state.finished), len(state.failed)
        with self._guard:
            self._done = finished + failed
            self._total = self._done + len(state.waiting)
        if finished:
            self.say(f"{finished} of {self._total} cells are finished already and are kept")
        if failed:
            self.say(failed_are_kept(failed))
        if state.unfinished:
            self.say(unfinished_go_on(state.unfinished))
        for line in forecast(state, jobs):
            self.say(line)

    def started(self, cell: CellId) -> None:
        """See ``RunListener.started``."""
        with self._guard:
            self._began[cell] = self._now()

    def tried(self, cell: CellId, trials: int, best: float | None, seconds: float) -> None:
        """See ``RunListener.tried``."""

    def refits(self, cell: CellId) -> None:
        """See ``RunListener.refits``."""

    def finished(self, cell: CellId, record: Mapping[str, Any]) -> None:
        """See ``RunListener.finished``."""
        with self._guard:
            seconds = self._now() - self._began.pop(cell)
            self._done += 1
            if record["status"] == "ok":
                inner = format_score(record["inner_score"])
                text = f": inner {inner}, {_trials(record)}, {format_seconds(seconds)}"
                if reached := brief(cut_briefly(record)):
                    text += f", cut: {reached}"
            else:
                text = f": {record['status']}: {brief(record['reason'])}"
            number = f"[{self._done}/{self._total}] "
            self.say(number + self._named(cell, len(number + text)) + text)

    def unfinished(self, cell: CellId, reason: str) -> None:
        """See ``RunListener.unfinished``; the cell does not count as done."""
        with self._guard:
            self._began.pop(cell, None)
            text = f": unfinished: {brief(reason)}"
            self.say(self._named(cell, len(text)) + text)

    def _now(self) -> float:
        """The clock by which lengths are told, in seconds."""
        return time.perf_counter()

    def _named(self, cell: CellId, taken: int) -> str:
        """A cell's name for a line of which so many columns are taken by other words."""
        return str(cell)


def _trials(record: Mapping[str, Any]) -> str:
    """How many trials a cell had, and how many of them were complete where some were not."""
    tried, complete = record["n_trials"], record.get("complete_trials")
    if complete in (None, tried):
        return f"{tried} trial{'s' * (tried != 1)}"
    return f"{complete} of {tried} trials complete"


def failed_are_kept(count: int) -> str:
    """What happens to cells that failed before, and the remedy."""
    if count == 1:
        return "1 failed cell is kept; run --retry failed runs it again"
    return f"{count} failed cells are kept; run --retry failed runs them again"


def unfinished_go_on(reasons: Sequence[str]) -> str:
    """What happens to cells that the machine ended before; ``reasons``: why, one a cell."""
    cells = "it goes on from its" if len(reasons) == 1 else "they go on from their"
    return f"{plain(ended_words(reasons))}; {cells} finished trials"


def unfinished_in_words(reasons: Sequence[str]) -> str:
    """What the machine ended in this run, why, and what to do; ``reasons``: one a cell."""
    return (
        f"{plain(ended_words(reasons))}. Nothing of it is lost: mend that, and give the same "
        "command again to go on."
    )
