"""The live view of a run on a terminal or in a notebook: a line a running cell, and a bar."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from medbench.awake import Sleep
from medbench.execution.cell_times import CellTimes, expected_seconds, makespan
from medbench.execution.plan_state import PlanState
from medbench.reports.text import format_score, format_seconds
from medbench.running.notebook import NotebookView
from medbench.running.progress import PlainListener

if TYPE_CHECKING:
    from medbench.execution.plan import PlannedCell
    from medbench.store import CellId

_REDRAW_SECONDS = 0.5
_BAR = 40
"""Columns of the bar, at most."""
_IN_WORDS, _IN_NUMBERS = (16, 9, 12), (9, 5, 7)
"""Columns of trial, best score and time left; fixed, so that nothing moves to and fro."""
_LEAST_NAME = 20
"""Columns below which a cell's name is not cut; the line folds instead."""


@contextlib.contextmanager
def make_listener(console: Console) -> Iterator[PlainListener]:
    """A listener that writes to ``console``, with a live view on a terminal and in a notebook."""
    if not (console.is_interactive or console.is_jupyter):
        yield PlainListener(console)
        return
    with LiveListener(console) as listener:
        yield listener


@dataclass
class _Running:
    """What is known of a running cell."""

    began: float
    trials: int | None
    """The budget's; None for no bound."""
    seconds: float | None
    """The budget's; None for no bound."""
    refitting: bool = False
    tried: int = 0
    """Trials that have ended."""
    best: float | None = None
    spent: float = 0.0
    """Seconds of the budget that were spent at ``spent_at``."""
    spent_at: float | None = None
    """When that was said; None before the first trial has ended."""

    def parts(self, now: float, *, short: bool) -> tuple[str, str, str]:
        """Trial, best inner score and seconds of the budget left, each in a few words."""
        best = "" if self.best is None else format_score(self.best)
        if self.best is not None and not short:
            best = f"best {best}"
        if self.refitting:
            return "final model", best, ""  # refitted, or saved as a trial has left it
        trial = f"{self.tried + 1}"
        if self.trials is not None and self.tried < self.trials:
            trial += f"/{self.trials}" if short else f" of {self.trials}"
        left = ""
        if self.seconds is not None:
            since = self.began if self.spent_at is None else self.spent_at
            left = _whole(self.seconds - self.spent - (now - since)) + " left" * (not short)
        return (trial if short else f"trial {trial}"), best, left


class LiveListener(PlainListener):
    """Shows the running cells below the lines of the finished ones.

    What happens only changes the picture's state; it is drawn twice a second, and with every
    line above it. Drawing and state have one guard, so that two threads never draw at a time.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._waiting: dict[CellId, PlannedCell] = {}
        self._planned: dict[CellId, PlannedCell] = {}
        self._running: dict[CellId, _Running] = {}
        self._cell_times = CellTimes()
        self._jobs = 1
        self._longest_name = 0
        self._live: Live | NotebookView = (
            NotebookView(console)
            if console.is_jupyter
            else Live(console=console, auto_refresh=False, transient=True)
        )
        self._sleep = Sleep()
        self._over = threading.Event()
        self._artist = threading.Thread(target=self._redraw, daemon=True)

    def __enter__(self) -> LiveListener:
        self._live.start()
        self._artist.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        try:
            self._artist.join()
        finally:  # whatever comes meanwhile, the cursor comes back
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line above the view; a long one is folded between words."""
        with self._guard, self._console:  # the console writes both at once
            self._console.print(Text(text))
            self._live.update(self._picture(self._now()), refresh=True)

    def planned(self, state: PlanState, jobs: int) -> None:
        """See ``RunListener.planned``."""
        super().planned(state, jobs)
        with self._guard:
            self._jobs, self._cell_times = jobs, state.cell_times
            self._planned = {cell.id: cell for cell in state.waiting}
            self._waiting = dict(self._planned)
            self._longest_name = max((len(str(cell)) for cell in self._planned), default=0)

    def started(self, cell: CellId) -> None:
        """See ``RunListener.started``."""
        super().started(cell)
        with self._guard:
            budget = self._waiting.pop(cell).settings.budget
            self._running[cell] = _Running(
                began=self._began[cell], trials=budget.trials, seconds=budget.seconds
            )

    def tried(self, cell: CellId, trials: int, best: float | None, seconds: float) -> None:
        """See ``RunListener.tried``."""
        with self._guard:
            row = self._running[cell]
            row.tried, row.best = trials, best
            row.spent, row.spent_at = seconds, self._now()

    def refits(self, cell: CellId) -> None:
        """See ``RunListener.refits``."""
        with self._guard:
            self._running[cell].refitting = True

    def finished(self, cell: CellId, record: Mapping[str, Any]) -> None:
        """See ``RunListener.finished``."""
        with self._guard:
            row = self._running.pop(cell)
            if record["status"] == "ok":
                self._cell_times.learn(cell, self._now() - row.began)
            super().finished(cell, record)

    def unfinished(self, cell: CellId, reason: str) -> None:
        """See ``RunListener.unfinished``."""
        with self._guard:
            self._running.pop(cell, None)
            super().unfinished(cell, reason)

    def _named(self, cell: CellId, taken: int) -> str:
        room = self._console.width - taken
        return _cut(cell, room) if room >= _LEAST_NAME else str(cell)

    def _now(self) -> float:
        """Stands still while the run does (Ctrl-Z), as the budgets of its cells do."""
        return super()._now() - self._sleep.lost

    def _redraw(self) -> None:
        while not self._over.wait(_REDRAW_SECONDS):
            self._sleep.look()
            with self._guard:
                self._live.update(self._picture(self._now()), refresh=True)

    def _picture(self, now: float) -> RenderableType:
        if not self._total:
            return Text("preparing the data")
        shown = dict(list(self._running.items())[: max(1, self._console.height - 2)])
        return Group(*self._rows(shown, now), self._whole_run(now))

    def _rows(self, shown: Mapping[CellId, _Running], now: float) -> list[Text]:
        """A line a cell that fits the terminal: in words, or in numbers where it is narrow."""
        width, widths = self._console.width, _IN_WORDS
        if _room(width, widths) < self._longest_name:
            widths = _IN_NUMBERS
        room = min(self._longest_name, _room(width, widths))
        lines = []
        for cell, row in shown.items():
            parts = row.parts(now, short=widths is _IN_NUMBERS)
            padded = [part.ljust(wide) for part, wide in zip(parts, widths, strict=True)]
            line = "  ".join([_cut(cell, room).ljust(room), *padded])
            lines.append(Text(line[:width].rstrip(), no_wrap=True, overflow="crop"))
        return lines

    def _whole_run(self, now: float) -> RenderableType:
        words = f"{self._done} of {self._total} cells"
        if (left := self._seconds_left(now)) is not None:
            words += f", about {_whole(left)} left"
        text = Text(words, no_wrap=True, overflow="crop")
        width = min(_BAR, self._console.width - len(words) - 2)
        if width < 1:
            return text
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_row(ProgressBar(total=self._total, completed=self._done, width=width), text)
        return line

    def _seconds_left(self, now: float) -> float | None:
        """Until the last cell is finished; None while a length is not even bounded."""
        lengths = []
        for cell in (*self._running, *self._waiting):
            length = expected_seconds(self._planned[cell], self._cell_times)
            if length is None:
                return None
            if cell in self._running:
                length = max(0.0, length - (now - self._running[cell].began))
            lengths.append(length)
        costs = self._cell_times.costs
        outside = costs.outside(list(self._planned.values())) if costs is not None else 0.0
        return makespan(lengths, self._jobs) + outside


def _whole(seconds: float) -> str:
    """A duration that does not fidget: in whole seconds."""
    whole = max(0, math.ceil(seconds))
    return f"{whole}s" if whole < 10 else format_seconds(whole)


def _room(width: int, widths: tuple[int, ...]) -> int:
    """Columns left for a name beside parts of the given widths, two columns between them."""
    return max(0, width - sum(widths) - 2 * len(widths))


def _cut(cell: CellId, room: int) -> str:
    """A cell's name in so many columns; the data set's name gives way first."""
    name = str(cell)
    if len(name) <= room:
        return name
    rest = name.removeprefix(cell.dataset)
    kept = room - len(rest) - 1
    return f"{cell.dataset[:kept]}…{rest}" if kept >= 1 else f"{name[: max(0, room - 1)]}…"
