"""Lines of a run stay lines, whatever a family gives as its reason."""

import io

from rich.console import Console

from medbench.cli.progress import RunWatcher
from medbench.store import CellId


def test_a_reason_is_shown_on_one_line_of_a_bounded_length_without_control_characters():
    shown = io.StringIO()
    watcher = RunWatcher(Console(file=shown, highlight=False))
    cell = CellId(dataset="d", model="m", split="official")
    watcher.started(cell)
    reason = "two\nlines \x1b[31mred\x07 " + "x" * 100_000
    watcher.finished(cell, {"status": "failed", "reason": reason})
    text = shown.getvalue()
    assert text.count("\n") == 1 and len(text) < 1000
    assert "\x1b" not in text and "\x07" not in text
    assert "failed: two lines" in text and text.endswith("...\n")


def test_so_is_the_reason_of_a_cell_that_the_machine_ended():
    shown = io.StringIO()
    watcher = RunWatcher(Console(file=shown, highlight=False))
    watcher.unfinished(CellId(dataset="d", model="m", split="official"), "x" * 2000)
    assert len(shown.getvalue()) < 1000
