"""The leaderboard for a paper: a fragment that is whole, and names that LaTeX must not obey."""

import re
from dataclasses import replace

import pytest

from medbench.reports.assessment import assess
from medbench.reports.latex import write_latex

pytestmark = pytest.mark.filterwarnings("error")
HOSTILE = (
    "\\input{x}",
    "a&b",
    "50%",
    "$x^2$",
    "#1_2",
    "~{}",
    "[r]*",
    "*",
    '<a|b>"`',
    "中\nπ",
    "--x",
)


@pytest.fixture
def written(tmp_path):
    def write(run):
        return write_latex(assess(run), tmp_path).read_text(encoding="utf-8")

    return write


@pytest.fixture
def usual(factory):
    factory.dataset()
    factory.model("majority", 0, n=200)
    factory.model("thumbnail", 0.3, n=200)
    factory.model("weak", 0.05, n=200)
    factory.model("strong", 2.0, n=200)
    factory.model("strong-too", 1.9, n=200)
    for fold in range(3):
        factory.unfinished("broken", "failed", "no /home/anna/w.h5, 50% of it", fold=fold)
    return factory


def rows_of(text):
    """The rows of the table by the first cell, each as its cells."""
    lines = [line.strip() for line in text.splitlines()]
    cells = [re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in lines if " & " in line]
    return {row[0]: row for row in cells}


@pytest.mark.parametrize("clear", [True, False])
def test_the_caption_says_where_labels_can_be_had_without_looking(factory, written, clear):
    factory.dataset()
    factory.model("majority", 0, n=200)
    factory.model("thumbnail", 3.0 if clear else 0.0, n=200)
    factory.model("strong", 0.5, n=200)
    caption = next(line for line in written(factory.run()).splitlines() if "caption" in line)
    assert ("Shortcut risk" in caption) == clear
    assert ("The leader (strong) is behind thumbnail" in caption) == clear


def test_a_table_has_every_row_with_its_numbers_marks_and_rules(written, usual):
    text = written(usual.run())
    rows = rows_of(text)
    assert list(rows) == [
        "Model",
        "strong$^{*}$",
        "strong-too$^{=}$",
        "weak",
        "broken",
        "thumbnail (sanity)",
        "majority (sanity)",
    ]
    assert re.fullmatch(r"\.\d{3} \(\.\d{3} to (\.\d{3}|1\.000)\)", rows["strong$^{*}$"][1])
    assert rows["strong$^{*}$"][2] == "--" and rows["strong$^{*}$"][-1] == "1m 12s"
    assert re.fullmatch(r"\.\d{3} \((\$-\$)?\.\d{3} to \.\d{3}\)", rows["strong-too$^{=}$"][2])
    assert rows["broken"][1] == r"\multicolumn{6}{l}{failed: no …/w.h5, 50\% of it}"
    assert [text.count(rf"\{rule}rule") for rule in ("top", "mid", "bottom")] == [1, 2, 1]
    caption = re.search(r"\\caption\{(.*)\}", text)[1]
    assert "1,200 images of 400 groups; positive class: malignant (how it was " in caption
    assert "; split: 3-fold x 1; licence: CC BY 4.0." in caption
    assert r"95\% bootstrap interval" in caption and "cannot be told from it" in caption


def test_it_is_a_fragment_whose_groups_and_environments_are_closed(written, usual):
    usual.dataset("more", HOSTILE, n_folds=1, title="{")
    for name in HOSTILE:
        usual.model(name, 1.0, "more", n=220)
    text = written(usual.run())
    assert "documentclass" not in text and r"\usepackage" in text.split("\\providecommand")[0]
    for which in ("table", "tabular"):
        assert text.count(rf"\begin{{{which}}}") == text.count(rf"\end{{{which}}}") == 2
    depth = 0
    for token in re.findall(r"\\.|[{}]", text):
        depth += {"{": 1, "}": -1}.get(token, 0)
        assert depth >= 0
    assert depth == 0


def test_names_do_not_become_commands_and_every_row_has_its_cells(written, factory):
    factory.dataset("d", HOSTILE, n_folds=1, title="\\end{table} 100% & $", licence="a_b")
    for name in HOSTILE:
        factory.model(name, 1.0, "d", n=220)
    text = written(factory.run())
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(rows) == 1 + len(HOSTILE)
    for row in rows:
        assert len(re.split(r"(?<!\\)&", row)) == 7
        assert not row.strip().startswith(("[", "*"))
    assert r"\input{x}" not in text.split("\\begin{table}", 1)[1]
    assert r"\medbenchchar{中}{U+4E2D}" in text
    assert r"\textbackslash{}end\{table\} 100\% \& \$" in text


def test_a_caption_gives_no_path_away(written, factory):
    path = "/home/anna/x"
    factory.dataset(n_folds=1, title=path, split=path, licence=path)
    factory.model("m", 1.0)
    text = written(replace(factory.run(), configuration={"tuner": path}))
    assert "anna" not in text and "licence: …/x." in text and "tuned by …/x" in text


def test_what_is_not_there_is_a_comment_above(written, usual):
    run = replace(usual.run(), gaps=("cells/a: damaged,\nso x.",))
    (line,) = [one for one in written(run).splitlines() if "damaged" in one]
    assert line == "% cells/a: damaged, so x."
