"""Lines of a run stay lines, whatever a family gives as its reason."""

import io

from rich.console import Console

from medbench.running.progress import PlainListener
from medbench.store import CellId


def test_a_reason_is_shown_on_one_line_of_a_bounded_length_without_control_characters():
    shown = io.StringIO()
    listener = PlainListener(Console(file=shown, highlight=False))
    cell = CellId(dataset="d", model="m", split="official")
    listener.started(cell)
    reason = "two\nlines \x1b[31mred\x07 " + "x" * 100_000
    listener.finished(cell, {"status": "failed", "reason": reason})
    text = shown.getvalue()
    assert text.count("\n") == 1 and len(text) < 1000
    assert "\x1b" not in text and "\x07" not in text
    assert "failed: two lines" in text and text.endswith("...\n")


def test_so_is_the_reason_of_a_cell_that_the_machine_ended():
    shown = io.StringIO()
    listener = PlainListener(Console(file=shown, highlight=False))
    listener.unfinished(CellId(dataset="d", model="m", split="official"), "x" * 2000)
    assert len(shown.getvalue()) < 1000


def finished_line(**fields):
    shown = io.StringIO()
    listener = PlainListener(Console(file=shown, highlight=False, width=200))
    cell = CellId(dataset="demo", model="cnn", split="r0f0")
    listener.started(cell)
    listener.finished(cell, {"status": "ok", "inner_score": 0.86, "n_trials": 6, **fields})
    return shown.getvalue()


def test_a_finished_line_says_how_many_trials_ended_and_how_far_a_cut_one_came():
    assert ": inner .860, 6 trials, " in finished_line()
    assert ": inner .860, 6 trials, " in finished_line(complete_trials=6, cut=None)
    assert ": inner .860, 4 of 6 trials complete, " in finished_line(complete_trials=4)
    steps = {"step": 3, "max_steps": 24, "step_name": "epoch"}
    line = finished_line(complete_trials=0, cut="epoch 3 of 24 when 20 s were over", **steps)
    assert line.endswith(", cut: epoch 3 of 24\n")
