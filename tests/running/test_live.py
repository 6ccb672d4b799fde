"""The live view, drawn on a fake terminal and read back as a person would see it."""

import re
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from types import SimpleNamespace

import pytest
from rich.console import Console

from medbench.execution.cell_times import CellTimes
from medbench.execution.plan_state import PlanState
from medbench.running.live import LiveListener, make_listener
from medbench.running.progress import PlainListener
from medbench.store import CellId
from medbench.tuning.budget import Budget

CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def terminal(width: int, **environment: str) -> Console:
    return Console(
        file=StringIO(),
        width=width,
        height=24,
        force_terminal=True,
        highlight=False,
        _environ={"TERM": "xterm-256color", **environment},
    )


def seen(console: Console) -> list[str]:
    """The lines of the screen after everything that was written; none may be too long."""
    lines, row, column = [""], 0, 0
    text = console.file.getvalue()
    position = 0
    while position < len(text):
        if match := CONTROL.match(text, position):
            position = match.end()
            if match[2] == "A":
                row -= int(match[1] or 1)
            elif match[2] == "K":
                lines[row] = ""
            continue
        character = text[position]
        position += 1
        if character == "\r":
            column = 0
        elif character == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        else:
            lines[row] = lines[row][:column].ljust(column) + character
            column += 1
            assert column <= console.width, lines[row]
    return [line for line in lines if line.strip()]


def cell(model: str, fold: int = 0, budget: Budget | None = None, dataset: str = "brain-mri"):
    return SimpleNamespace(
        id=CellId(dataset=dataset, model=model, split=f"r0f{fold}"),
        settings=SimpleNamespace(budget=budget or Budget(trials=20, seconds=120)),
        model=SimpleNamespace(fits=True),
        tuned=True,
    )


def state(*waiting) -> PlanState:
    return PlanState(finished=(), failed=(), waiting=waiting, cell_times=CellTimes())


OK = {"status": "ok", "inner_score": 0.9123, "n_trials": 20}


@pytest.mark.parametrize(
    ("width", "first", "second"),
    [
        (60, "brain-mri x inceptionv3 x r0f0  4/20       .912   1m 15s", "final model  .800"),
        (
            80,
            "brain-mri x inceptionv3 x r0f0  trial 4 of 20     best .912  1m 15s left",
            "final model       best .800",
        ),
        (
            200,
            "brain-mri x inceptionv3 x r0f0  trial 4 of 20     best .912  1m 15s left",
            "final model       best .800",
        ),
    ],
)
def test_each_running_cell_has_a_line_that_fits(width, first, second):
    console, waiting = terminal(width), [cell("inceptionv3"), cell("cnn"), cell("cnn", 1)]
    with LiveListener(console) as listener:
        listener.planned(state(*waiting), 2)
        for running in waiting[:2]:
            listener.started(running.id)
            listener.tried(running.id, 3, 0.912, 45.0)
        listener.tried(waiting[1].id, 4, 0.8, 50.0)
        listener.refits(waiting[1].id)
        listener.say("a line above")
        above, one, other, whole = seen(console)
    assert above == "a line above"
    assert one.rstrip() == first
    assert other.startswith("brain-mri x cnn x r0f0 ") and other.rstrip().endswith(second)
    assert whole.strip("━╸╺ ") == "0 of 3 cells, about 4m 00s left"
    assert seen(console) == ["a line above"]  # the view leaves nothing behind


def test_finished_cells_stand_above_and_the_estimate_learns_from_them():
    console, waiting = terminal(60), [cell("cnn", fold) for fold in range(3)]
    with LiveListener(console) as listener:
        listener.planned(state(*waiting), 1)
        listener.started(waiting[0].id)
        listener.finished(waiting[0].id, OK)
        above, whole = seen(console)
    assert above == "[1/3] brain-mri x cnn x r0f0: inner .912, 20 trials, 0.0s"
    assert whole.strip("━╸╺ ") in ("1 of 3 cells, about 0s left", "1 of 3 cells, about 1s left")


def test_time_that_a_run_was_suspended_is_not_shown_as_spent(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.perf_counter", lambda: now)
    console, waiting = terminal(80), [cell("cnn")]
    listener = LiveListener(console)  # its artist is not at work, as in a run that is suspended
    listener.planned(state(*waiting), 1)
    listener.started(waiting[0].id)
    now += 1.0
    listener._sleep.look()
    now += 3600.0
    console.print(listener._picture(listener._now()))
    assert seen(console)[0].rstrip().endswith(" 1m 58s left")  # what nobody looked at is slack


def test_a_cell_that_the_machine_ended_is_no_longer_shown_and_not_done():
    console, waiting = terminal(80), [cell("cnn", fold) for fold in range(2)]
    with LiveListener(console) as listener:
        listener.planned(state(*waiting), 1)
        listener.started(waiting[0].id)
        listener.unfinished(waiting[0].id, "no space \x1b[2J left")
        above, whole = seen(console)
    assert above == "brain-mri x cnn x r0f0: unfinished: no space [2J left"
    assert whole.strip("━╸╺ ").startswith("0 of 2 cells")


def test_a_long_name_gives_way_and_a_long_reason_is_folded():
    console, long = terminal(60), cell("inceptionv3", dataset="covid-chestxray-dataset-frontal")
    with LiveListener(console) as listener:
        listener.planned(state(long), 1)
        listener.started(long.id)
        listener.say("here")
        assert seen(console)[1].startswith("covid-chest… x inceptionv3 x r0f0  1/20 ")
        listener.finished(long.id, {"status": "failed", "reason": "out of \x1b[2J memory " * 9})
    shown = " ".join(" ".join(seen(console)[1:]).split())
    assert shown.startswith("[1/1] covid-chestxray-dataset-frontal x inceptionv3 x r0f0: failed: ")
    assert shown.count("memory") == 9


def test_without_bounds_nothing_is_said_of_time_and_of_the_number_of_trials():
    console, one = terminal(60), cell("cnn", budget=Budget(trials=None, seconds=60))
    other = cell("xgboost", budget=Budget(trials=5, seconds=None))
    with LiveListener(console) as listener:
        listener.planned(state(one, other), 2)
        listener.started(one.id)
        listener.started(other.id)
        listener.tried(one.id, 6, None, 20.0)
        listener.tried(other.id, 1, 0.5, 20.0)
        listener.say("here")
        _, first, second, whole = seen(console)
    assert first.split() == ["brain-mri", "x", "cnn", "x", "r0f0", "7", "40s"]
    assert second.split() == ["brain-mri", "x", "xgboost", "x", "r0f0", "2/5", ".500"]
    assert whole.strip("━╸╺ ") == "0 of 2 cells"


def test_no_colour_where_none_is_wanted():
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        console = terminal(60, **environment)
        with LiveListener(console) as listener:
            listener.planned(state(cell("cnn")), 1)
            listener.say("here")
        assert bool(re.search(r"\x1b\[[0-9;]*(3[0-9]|9[0-7])", console.file.getvalue())) == coloured


def test_many_threads_may_tell_at_a_time():
    console, waiting = terminal(80), [cell("cnn", fold) for fold in range(200)]
    with LiveListener(console) as listener, ThreadPoolExecutor(8) as pool:
        listener.planned(state(*waiting), 8)

        def run(one) -> None:
            listener.started(one.id)
            listener.tried(one.id, 1, 0.5, 1.0)
            listener.finished(one.id, OK)

        list(pool.map(run, waiting))
    lines = seen(console)
    assert len(lines) == 200
    assert [line.split("]")[0] for line in lines] == [f"[{n}/200" for n in range(1, 201)]


def test_elsewhere_there_are_plain_lines_only():
    console = Console(file=StringIO(), width=40)
    with make_listener(console) as listener:
        assert type(listener) is PlainListener
        listener.planned(state(cell("cnn")), 1)
        listener.started(cell("cnn").id)
        listener.tried(cell("cnn").id, 1, 0.5, 1.0)
        listener.finished(cell("cnn").id, OK)
    assert console.file.getvalue() == (
        "[1/1] brain-mri x cnn x r0f0: inner .912, 20 trials, 0.0s\n"
    )
