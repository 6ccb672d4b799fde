"""What a person sees while a run goes on: one calm line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from rich.status import Status

    from medbench.store import CellId


def make_console() -> Console:
    """The console of the command line; rich honours NO_COLOR and knows a terminal."""
    return Console(highlight=False)


@contextlib.contextmanager
def make_watcher(console: Console) -> Iterator[RunWatcher]:
    """A watcher that writes to ``console``, with a status line where it is a terminal."""
    if not console.is_terminal:
        yield RunWatcher(console, None)
        return
    with console.status("preparing the data") as status:
        yield RunWatcher(console, status)


class RunWatcher:
    """Tells a person of cells and trials."""

    def __init__(self, console: Console, status: Status | None) -> None:
        self._console = console
        self._status = status
        self._total = self._number = 0
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(escape(text), soft_wrap=True)

    def planned(self, total: int, reused: int) -> None:
        """See ``Watcher.planned``."""
        self._total, self._number = total, reused
        if reused:
            self.say(f"{reused} of {total} cells are finished already and are kept")

    def started(self, cell: CellId) -> None:
        """See ``Watcher.started``."""
        self._number += 1
        self._began = time.monotonic()
        self._show(cell, "starting")

    def event(self, cell: CellId, message: Mapping[str, Any]) -> None:
        """See ``Watcher.event``."""
        if message["event"] == "refit":
            self._show(cell, "refitting the best configuration")
        else:
            best = message["best"]
            found = f", best inner AUROC {best:.3f}" if best is not None else ""
            self._show(cell, f"trial {message['number'] + 1} {message['state']}{found}")

    def finished(self, cell: CellId, record: Mapping[str, Any]) -> None:
        """See ``Watcher.finished``."""
        seconds = time.monotonic() - self._began
        if record["status"] == "ok":
            inner = f"inner AUROC {record['inner_score']:.3f}, {record['n_trials']} trials"
            text = f"{inner}, {seconds:.0f} s"
        else:
            text = f"{record['status']}: {record['reason']}"
        self.say(f"[{self._number}/{self._total}] {cell}: {text}")

    def _show(self, cell: CellId, text: str) -> None:
        if self._status is not None:
            width = max(20, self._console.width - 4)
            line = f"[{self._number}/{self._total}] {cell}: {text}"
            self._status.update(escape(line[:width]))
