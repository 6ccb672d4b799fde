"""Names that are no text, or that would be commands for a terminal, from the folder to the page."""

import os
import sys

import numpy as np
import pandas as pd
import pytest

from medbench.cli import main
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.sources.table import TableSource
from medbench.errors import DatasetError
from medbench.hashes import sha256_of_text
from medbench.names import as_text, harmless, real_name
from medbench.testing.image_files import picture_file

LATIN, OTHER = os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"caf\xff.png")
ODD = ("a\nb.png", "a\x1b[31mb.png", "a\u202egnp.exe.png", "a\u2028b.png", "a\ud800".encode(
    errors="surrogatepass").decode(errors="surrogateescape") + ".png", r"caf\xe9.png")  # fmt: skip
NAMES = (LATIN, OTHER, *ODD)


def written(name):
    return os.fsencode(name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.png", "plain.png"),
        ("ü ☃.png", "ü ☃.png"),
        (LATIN, r"caf\xe9.png"),
        (r"caf\xe9.png", r"caf\x5cxe9.png"),
        (r"a\b.png", r"a\b.png"),
        (r"a\x41", r"a\x41"),
        (r"\x5cx", r"\x5cx5cx"),
        ("a\nb", "a\nb"),
    ],
)
def test_a_name_as_text_is_the_name_but_for_bytes_that_are_no_text(name, text):
    assert as_text(name) == text
    assert real_name(text) == name


def test_two_names_stay_two_and_every_text_leads_back_to_its_name():
    generator = np.random.default_rng(0)
    parts = ["a", "\\", "x", "5c", "e9", "\\xe9", "\\x5c", "\udce9", "\udcff", "/"]
    names = {"".join(generator.choice(parts, 6)) for _ in range(5000)}
    texts = {as_text(name) for name in names}
    assert len(texts) == len(names)
    assert {real_name(text) for text in texts} == names
    assert all(text.encode() for text in texts)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ü ☃ नि\u200dक.png", "ü ☃ नि\u200dक.png"),
        (LATIN, r"caf\xe9.png"),
        (r"caf\xe9.png", r"caf\xe9.png"),
        ("a\nb\tc", r"a\nb\tc"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\u202eb\u2066c\x85", r"a\u202eb\u2066c\u0085"),
        ("a\u2028b\U000e0001", r"a\u2028b\U000e0001"),
    ],
)
def test_what_is_shown_is_letters_only(name, shown):
    assert harmless(name) == shown
    assert harmless(shown) == shown


def test_a_message_keeps_its_own_lines():
    assert harmless("a\n\tb\x07", lines=True) == "a\n\tb\\x07"


def test_any_name_has_a_hash():
    assert sha256_of_text(LATIN) != sha256_of_text(OTHER) != sha256_of_text(r"caf\xff.png")


# --- data sets ------------------------------------------------------------------------------------

posix = pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")


@pytest.fixture
def root(tmp_path):
    """Two classes, one called with an undecodable byte, of images with odd names."""
    folder = tmp_path / "set"
    generator = np.random.default_rng(0)
    for k, label in enumerate(("benign", os.fsdecode(b"malign\xe9"))):
        (folder / label).mkdir(parents=True)
        for name in NAMES:
            pixels = generator.integers(0, 120, (24, 24)).astype(np.uint8) + np.uint8(100 * k)
            (folder / label / name).write_bytes(picture_file(pixels))
    return folder


@posix
def test_every_file_of_a_folder_is_read_under_a_name_of_its_own(root):
    listing = FolderSource(source="folder", path=str(root)).listing()
    origins = listing.table["origin"].tolist()
    assert listing.classes == ("benign", r"malign\xe9")
    assert sorted(origins) == sorted(
        f"{label}/{as_text(name)}" for label in listing.classes for name in NAMES
    )
    assert len(set(origins)) == len(origins) == 2 * len(NAMES)
    for row, origin in enumerate(origins):
        assert listing.read(row) == (root / real_name(origin)).read_bytes()


@posix
def test_a_table_names_such_a_file_as_it_is_shown(root):
    files = [f"benign/{as_text(name)}" for name in (LATIN, OTHER)]
    files += [rf"malign\xe9/{as_text(LATIN)}", r"malign\xe9/caf\xff.png"]
    table = root / "labels.csv"
    pd.DataFrame({"file": files, "label": ["a", "a", "b", "b"]}).to_csv(table, index=False)
    source = TableSource(source="table", path=str(table), file="file", label="label")
    listing = source.listing()
    names = [LATIN, OTHER, LATIN, OTHER]
    folders = ["benign", "benign", os.fsdecode(b"malign\xe9"), os.fsdecode(b"malign\xe9")]
    for row, (label, name) in enumerate(zip(folders, names, strict=True)):
        assert listing.read(row) == (root / label / name).read_bytes()


@posix
def test_a_table_that_is_not_utf_8_says_so(root):
    table = root / "labels.csv"
    table.write_bytes(b"file,label\n" + written(LATIN) + b",a\n")
    with pytest.raises(DatasetError, match=r"line 2: is not UTF-8 \(byte 0xe9\)"):
        TableSource(source="table", path=str(table), file="file", label="label").listing()


@posix
def test_a_run_on_such_names_ends_well_and_no_file_of_it_has_a_command(root, tmp_path, capsys):
    out = tmp_path / "run"
    given = ["run", "--data", str(root), "--out", str(out), "--models", "thumbnail", "--trials"]
    assert main([*given, "1", "--folds", "2", "--executor", "inline", "--no-sanity"]) == 0
    said = capsys.readouterr()
    assert "\x1b[31m" not in said.out + said.err and "\u202e" not in said.out + said.err
    for path in out.rglob("*"):
        if path.suffix in (".md", ".html", ".csv", ".tex", ".txt"):
            text = path.read_text(encoding="utf-8")
            assert "\x1b" not in text and "\u202e" not in text, path
    assert main(["audit", "--data", str(root)]) == 0
    said = capsys.readouterr()
    assert "\x1b[31m" not in said.out + said.err
