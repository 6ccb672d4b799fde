"""What is closed cannot be looked into by any of Python's ways, and all else can."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from medbench.execution.firewall import closed_paths

BESIDE = """
import glob, io, json, mmap, os, shutil, sys
from pathlib import Path
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from medbench.errors import ModelError
from medbench.execution.firewall import Firewall

root = Path(sys.argv[1])
closed, file = root / "closed", root / "closed" / "secret.csv"
firewall = Firewall([closed], [closed / "open"])

def parquet():
    pd.DataFrame({"a": [1]}).to_parquet(stream := io.BytesIO())
    return stream.getvalue()

def outcome(attempt):
    try:
        return "reached" if attempt() is not None else "nothing"
    except ModelError as error:
        return str(error)
    except Exception as error:
        return type(error).__name__
"""


def laid_out(root: Path) -> Path:
    """A folder with a closed one in it, and something open in that."""
    (root / "closed" / "inner").mkdir(parents=True)
    (root / "closed" / "secret.csv").write_text("label\n1\n")
    (root / "closed" / "open").mkdir()
    (root / "closed" / "open" / "mine.txt").write_text("mine")
    (root / "beside.txt").write_text("beside")
    (root / "closed beside").mkdir()
    (root / "link").symlink_to(root / "closed")
    (root / "link.csv").symlink_to(root / "closed" / "secret.csv")
    return root


def outcomes(root: Path, *before: str, of: Sequence[str]) -> dict[str, str]:
    """What comes of each expression in a process with a firewall around ``root / "closed"``."""
    lines = [BESIDE, *before]
    for expression in of:
        lines += ["os.chdir(root)", f"print(json.dumps(outcome(lambda: {expression})))"]
    # as a cell's process ends: Arrow's threads that still hold a Python file abort an exit
    lines += ["sys.stdout.flush()", "os._exit(0)"]
    result = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), str(root)],
        capture_output=True, text=True, cwd=root,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return dict(zip(of, map(json.loads, result.stdout.splitlines()), strict=True))


READING = [
    "open(file)",
    "open(str(file), 'rb')",
    "open(os.fsencode(file))",
    "open('closed/secret.csv')",
    "open('closed/inner/../secret.csv')",
    "open('closed/open/../secret.csv')",
    "open(root / 'link.csv')",
    "open(root / 'link' / 'secret.csv')",
    "file.read_text()",
    "file.open('r+')",
    "io.FileIO(file)",
    "os.open(file, os.O_RDONLY)",
    "np.fromfile(file)",
    "np.memmap(file)",
    "np.loadtxt(file, skiprows=1)",
    "pd.read_csv(file)",
    "pd.read_csv(file, engine='python')",
    "pd.read_parquet(file)",
    "pd.read_parquet(str(file))",
    "pd.read_parquet('link.csv')",
    "pq.read_table(file)",
    "pq.read_table([str(file)])",
    "pq.ParquetFile(source=str(file))",
    "shutil.copy(file, root / 'copy.csv')",
    "shutil.copytree(closed, root / 'copy')",
]
LISTING = [
    "os.listdir(closed)",
    "os.listdir(os.fsencode(closed))",
    "os.listdir('link')",
    "list(os.scandir(closed / 'inner'))",
    "list(os.walk(root))",
    "list(os.walk(root, topdown=False))",
    "list(closed.iterdir())",
    "list(root.rglob('*.csv'))",
    "list(root.glob('*/*.csv'))",
    "glob.glob(str(root / '**'), recursive=True)",
    "glob.glob('**/*.csv', root_dir=root, recursive=True)",
    "(os.chdir(closed), os.listdir())",
    "(os.chdir(closed), open('secret.csv'))",
]


ALLOWED = [
    "open(root / 'beside.txt').read()",
    "(closed / 'open' / 'mine.txt').read_text()",
    "os.listdir(closed / 'open')",
    "os.listdir(root)",
    "os.listdir(root / 'closed beside')",
    "(closed / 'open' / 'new.txt').write_text('x')",
    "open(0)",
    "(pd.DataFrame({'a': [1]}).to_parquet('own.parquet'), pd.read_parquet('own.parquet'))",
    "pq.read_table(pa.BufferReader(parquet()))",
    "file.exists()",
]


@pytest.fixture(scope="module")
def tried(tmp_path_factory) -> dict[str, str]:
    root = laid_out(tmp_path_factory.mktemp("firewall"))
    return outcomes(root, of=[*READING, *LISTING, *ALLOWED])


@pytest.mark.parametrize("expression", READING + LISTING)
def test_what_is_closed_is_reached_by_no_way_that_python_has(tried, expression):
    assert tried[expression].startswith("tried to read ")


@pytest.mark.parametrize("expression", ALLOWED)
def test_all_else_is_open(tried, expression):
    assert tried[expression] == "reached"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="there is no /proc")
def test_what_is_closed_is_not_reached_by_another_name_of_the_system(tmp_path):
    expressions = [
        "open(f'/proc/self/root{file}')",
        "open('/proc/self/cwd/closed/secret.csv')",
        "os.listdir(early)",
        "list(os.scandir(early))",
        "list(os.fwalk(root.parent))",
    ]
    before = [
        "firewall._closed, kept = (), firewall._closed",
        "early = os.open(closed, os.O_RDONLY)",  # as if it had been open before
        "firewall._closed = kept",
    ]
    found = outcomes(laid_out(tmp_path / "set"), *before, of=expressions)
    assert all(said.startswith("tried to read ") for said in found.values()), found


def test_what_is_opened_up_later_can_be_read_from_then_on(tmp_path):
    looking = "os.listdir(closed / 'inner')"
    root = laid_out(tmp_path / "set")
    assert outcomes(root, of=[looking])[looking].startswith("tried to read 'inner'")
    assert outcomes(root, "firewall.open_up(closed / 'inner')", of=[looking]) == {
        looking: "reached"
    }


def test_the_message_says_what_a_family_may_use_and_names_no_place_of_this_machine(tried):
    assert tried["open(file)"] == (
        "tried to read 'secret.csv' in a folder that holds held-out images or labels. A family "
        "gets all that it may see as arguments; keep files of your own elsewhere."
    )


def test_the_run_prepared_and_fetched_data_and_the_original_files_are_closed(tmp_path):
    films, table = tmp_path / "films", tmp_path / "tables" / "labels.csv"
    films.mkdir()
    table.parent.mkdir()
    table.touch()
    cache = tmp_path / "cache"
    closed = closed_paths(tmp_path / "run", cache, [films, table], ["a/0.png"])
    wanted = [tmp_path / "run", cache / "prepared", cache / "data", films, table, table.parent]
    assert set(closed) >= {str(place) for place in wanted}
    assert str(cache) not in closed  # its features are needed
    assert str(tmp_path) not in closed


def test_in_the_working_folder_only_what_holds_images_and_labels_is_closed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b", "my_package", "run"):
        (tmp_path / folder).mkdir()
    table = tmp_path / "labels.csv"
    for file in (table, tmp_path / "flat.png", tmp_path / "mine.py"):
        file.touch()
    origins = ["a/0.png", "a/1.png", "b\\x\\2.png", "flat.png", "not there/3.png"]
    for read_from in ([tmp_path], [table], [table, tmp_path]):
        closed = closed_paths(tmp_path / "run", tmp_path / "cache", read_from, origins)
        assert {str(tmp_path / name) for name in ("a", "b", "flat.png", "run")} <= set(closed)
        assert (str(table) in closed) == (table in read_from)
        for name in ("", "my_package", "mine.py"):
            assert str(tmp_path / name) not in closed


def test_a_run_in_the_working_folder_is_closed_all_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    closed = closed_paths(tmp_path, tmp_path / "cache", [], [])
    assert str(tmp_path) not in closed
    assert {str(tmp_path / name) for name in ("cells", "datasets")} <= set(closed)


def test_a_folder_from_which_python_imports_stays_open(tmp_path, monkeypatch):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "images").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    closed = closed_paths(
        tmp_path / "run", tmp_path / "cache", [tmp_path / "lib"], ["images/0.png"]
    )
    assert str(tmp_path / "lib") not in closed and str(tmp_path / "lib" / "images") in closed
    assert json.loads(json.dumps(closed)) == closed
