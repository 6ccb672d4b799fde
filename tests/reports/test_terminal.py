"""The leaderboard on a terminal: what fits, what stands above it, and names that mean harm."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from medbench.reports.assessment import assess
from medbench.reports.terminal import print_leaderboard
from medbench.store import CellId

pytestmark = pytest.mark.filterwarnings("error")
HOSTILE = ("<script>", "=cmd()", "a|b", "[red]x[/red]", "`x`\nnew \x1b[31mline", "-1+1", "@sum")


@pytest.fixture
def usual(factory):
    """Two finished models, the constant one, and a partial, a failed and a skipped one."""
    factory.dataset()
    factory.model("majority", 0, inner_score=0.5)
    factory.model("weak", 0.8, inner_score=0.7)
    factory.model("strong", 2.0, note="no pretrained weights")
    factory.model("partial", 3.0, folds=[0, 2])
    factory.unfinished("partial", "failed", "out of memory", fold=1)
    for fold in range(3):
        factory.unfinished("broken", "failed", "ValueError: boom", fold=fold)
        factory.unfinished("never", "skipped", "needs three channels", fold=fold)
    return factory.run()


def printed(run, width=80):
    out = io.StringIO()
    print_leaderboard(assess(run), Console(file=out, width=width))
    return out.getvalue()


def test_the_terminal_table_fits_80_columns_and_shows_the_notes_below(usual):
    text = printed(usual)
    assert max(map(len, text.splitlines())) <= 80
    assert "AUROC [95% CI]" in text
    assert "strong: no pretrained weights" in text
    assert "broken: ValueError: boom" in text
    assert "(2/3 folds)" in text
    assert "\x1b" not in text  # not a terminal, so no colour


def test_hostile_names_are_printed_as_they_are(factory):
    factory.dataset("d[/]", HOSTILE, n_folds=1, title="[bold]t[/bold]")
    for name in HOSTILE:
        factory.model(name, 1.0, "d[/]", n=140, note="[/nothing]")
    text = printed(factory.run())
    assert "[red]x[/red]" in text
    assert "[bold]t[/bold] (d[/])" in text
    assert "[/nothing]" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_long_model_names_do_not_push_numbers_out(factory):
    factory.dataset(n_folds=1)
    factory.model("sklearn:package.of.mine:AVeryLongClassNameIndeed", 1.0)
    text = printed(factory.run())
    assert max(map(len, text.splitlines())) <= 80
    assert "3.1 MB" in text


def test_a_run_without_cells_prints_a_sentence(factory):
    factory.dataset()
    said = "This run is not finished: no cell of it is finished yet.\n"
    assert printed(factory.run()) == said


def test_a_run_of_which_nothing_could_be_read_says_so(factory):
    cell = CellId(dataset="phantoms", model="m", split="official")
    run = replace(factory.run(), gaps=("datasets/x: damaged, so y.",), unread=(cell,))
    assert "none of its finished cells could be read" in printed(run)


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_terminal_still_shows_models_and_intervals(factory, width):
    factory.dataset(n_folds=1)
    factory.model("hog-svm", 1.0)
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    print_leaderboard(assess(factory.run()), console)
    row = next(line for line in stream.getvalue().splitlines() if "hog-svm" in line)
    assert " to " in row and row.rstrip().endswith(")")


def test_what_could_not_be_read_stands_above_the_tables_in_yellow(factory):
    factory.dataset()
    factory.model("half", 1.0, folds=[0])
    run = replace(factory.run(), gaps=("cells/a/b/c/cell.json: [damaged], see /home/anna/x.log.",))
    out = io.StringIO()
    print_leaderboard(assess(run), Console(file=out, width=100, force_terminal=True))
    first, second = out.getvalue().splitlines()[:2]
    assert "cells/a/b/c/cell.json: [damaged], see …/x.log." in first
    assert "1 of 3 cells are finished" in second
    assert first.startswith("\x1b[33m") and second.startswith("\x1b[33m")


def test_reasons_are_printed_without_absolute_paths(factory):
    factory.dataset(n_folds=1)
    factory.unfinished("broken", "failed", "OSError: '/home/anna/my data/weights.h5'")
    text = printed(factory.run())
    assert "broken: OSError: '…/weights.h5'" in text


def test_titles_notes_and_budgets_are_printed_without_absolute_paths(factory):
    path = "/home/anna/scans/x"
    factory.dataset(n_folds=1, title=path, notes=[path], licence=path)
    factory.model("m", 1.0, note=path)
    run = replace(factory.run(), configuration={"budget": path, "unequal": ["budget"]})
    text = printed(run, 300)
    assert "anna" not in text and "licence: …/x" in text


def test_unequal_budgets_of_joined_runs_are_printed_above(usual):
    joined = {"budget": "2 trials (a) and 3 trials (b), so not equal", "unequal": ["budget"]}
    lines = printed(replace(usual, configuration=joined), 200).splitlines()
    assert "2 trials (a) and 3 trials (b), so not equal" in lines[0]
