"""Numbers and names as text, and texts that would give away where somebody keeps their files."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medbench.reports.text import (
    csv_text,
    format_interval,
    format_megabytes,
    format_number,
    format_score,
    format_seconds,
    latex_text,
    markdown_text,
    one_line,
    plain,
    without_paths,
)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (format_score(0.9124), ".912"),
        (format_score(1.0), "1.000"),
        (format_score(0.9996), "1.000"),
        (format_score(-0.0124), "-.012"),
        (format_score(-0.00001), ".000"),
        (format_score(math.nan), "-"),
        (format_interval(0.912, 0.881, 0.94), ".912 (.881 to .940)"),
        (format_interval(0.912, math.nan, math.nan), ".912"),
        (format_seconds(4.23), "4.2s"),
        (format_seconds(42.2), "42s"),
        (format_seconds(59.7), "1m 00s"),
        (format_seconds(72), "1m 12s"),
        (format_seconds(3599.6), "1h 00m"),
        (format_seconds(2 * 3600 + 180), "2h 03m"),
        (format_seconds(math.nan), "-"),
        (format_number(4.726, " ms"), "4.73 ms"),
        (format_number(2006.4), "2,010"),
        (format_number(999.7), "1,000"),
        (format_number(None), "-"),
        (format_number(math.nan), "-"),
        (format_megabytes(3.14), "3.1 MB"),
        (format_megabytes(0.0121), "12.1 kB"),
        (format_megabytes(0.00085), "850 B"),
        (format_megabytes(1234), "1.2 GB"),
        (format_megabytes(math.nan), "-"),
        (csv_text("=1"), "'=1"),
        (csv_text("\t=1"), "'=1"),
        (csv_text("\r\t@x"), "'@x"),
        (csv_text("hog-svm"), "hog-svm"),
        (markdown_text("a|b<c>\n`d`&[e](f)"), r"a\|b&lt;c&gt; \`d\`&amp;\[e\](f)"),
        (plain("a\x1b[31m\u202eb\r\n c"), "a [31m b c"),
    ],
)
def test_numbers_and_names_as_text(got, expected):
    assert got == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no file /home/anna/weights.h5", "no file …/weights.h5"),
        ("[Errno 2] '/data/my scans/a b.png': no such file", "[Errno 2] '…/a b.png': no such file"),
        (r"C:\Users\Anna Smith\w.h5 is damaged", "…/w.h5 is damaged"),
        (r"'C:\\Users\\anna\\w.h5'", "'…/w.h5'"),
        (r"\\server\share\scans\x.dcm", "…/x.dcm"),
        ("C:/data/x.h5", "…/x.h5"),
        ("file:///srv/data/x.h5", "…/x.h5"),
        ("PATH=/opt/a/bin:/opt/b/lib", "PATH=…/bin:…/lib"),
        ("/home/anna and '/Users/anna'", "… and '…'"),
        ("(/etc/passwd), [/a/b]", "(…/passwd), […/b]"),
        ('File "/usr/lib/x.py", line 3', 'File "…/x.py", line 3'),
        ("/a/x.h5 or /b/y.h5", "…/x.h5 or …/y.h5"),
        ("see https://zenodo.org/record/1", "see https://zenodo.org/record/1"),
        ("and/or, 20 trials / 20 s, 3 images/s", "and/or, 20 trials / 20 s, 3 images/s"),
        ("./runs/a, ../b/c, ~/.keras/w.h5, d/e", "./runs/a, ../b/c, ~/.keras/w.h5, d/e"),
        ("[b]x[/b] <i>y</i>", "[b]x[/b] <i>y</i>"),
        ("", ""),
    ],
)
def test_absolute_paths_end_in_their_last_name(text, expected):
    assert without_paths(text) == expected


@pytest.mark.parametrize("gate", [one_line, markdown_text, csv_text, latex_text])
def test_no_text_of_a_report_gives_a_path_away_but_web_addresses_stay_whole(gate):
    assert gate("from /home/anna/x.csv") == "from …/x.csv"
    assert gate("see https://doi.org/10.1000/x/y.") == "see https://doi.org/10.1000/x/y."


WORDS = st.text("abcXYZ019 .,=-äπ", max_size=12)
NAMES = st.text("abcXYZ019._-äπ", min_size=1, max_size=8)
ROOTS = st.sampled_from(["/", "//", "C:\\", "d:/", "\\\\", "file:///"])


@given(WORDS, ROOTS, st.lists(NAMES, max_size=5), NAMES, st.sampled_from(["", ":", "'", "\n", " "]))
def test_no_folder_of_an_absolute_path_is_left(before, root, folders, name, after):
    folders = [f"Secret{i}{folder}" for i, folder in enumerate(folders)]
    separator = "\\" if "\\" in root else "/"
    said = without_paths(f"{before} {root}{separator.join([*folders, name])}{after}")
    assert "Secret" not in said
    assert said == f"{before} …/{name}{after}"


@given(st.text())
def test_a_text_without_slashes_stays_as_it_is_and_nothing_is_cut_twice(text):
    plainer = text.replace("/", "").replace("\\", "")
    assert without_paths(plainer) == plainer
    once = without_paths(text)
    assert without_paths(once) == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & c%", r"a\_b \& c\%"),
        ("$x^2$ #1 {y}", r"\$x\textasciicircum{}2\$ \#1 \{y\}"),
        ("\\input{/etc/passwd}", r"\textbackslash{}input\{…/passwd\}"),
        (
            '~<a|b>"q"`',
            r"\textasciitilde{}\textless{}a\textbar{}b\textgreater{}{\char34}q{\char34}"
            r"\textasciigrave{}",
        ),
        ("[x] a", "{[}x] a"),
        ("*x", "{*}x"),
        ("a---b", "a-{}-{}-b"),
        ("Grüße, Łódź, É", "Grüße, Łódź, É"),
        ("中π", r"\medbenchchar{中}{U+4E2D}\medbenchchar{π}{U+03C0}"),
        ("a\x1b[31m\nb", "a [31m b"),
    ],
)
def test_names_as_latex(text, expected):
    assert latex_text(text) == expected


@given(st.text())
def test_nothing_that_means_something_to_latex_is_left_bare(text):
    made = latex_text(text)
    assert made.isprintable()
    for written in ("{\\char34}", "{}", "{[}", "{*}"):
        made = made.replace(written, "")
    bare = made.replace("\\\\", "")
    for special in "#$%&_":
        assert all(bare[i - 1] == "\\" for i, c in enumerate(bare) if c == special)
    assert not set(bare) & set('~^<>|"`')
