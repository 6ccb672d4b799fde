"""The page for authors of plugins says what is true: its examples keep their contracts."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import medbench
from medbench import registry, testing
from medbench.datasets.catalog import read_datasets

PAGE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text()
CONTRACTS = {
    "test_bayes.py": testing.ModelContract,
    "test_named_files.py": testing.SourceContract,
    "test_stack.py": testing.ReaderContract,
    "test_random_search.py": testing.TunerContract,
    "test_smallest_first.py": testing.ExecutorContract,
}


def test_the_examples_keep_their_contracts_where_only_medbench_is_installed(documented, tmp_path):
    for name in re.findall(r"^# (\w+\.py)$", PAGE, flags=re.MULTILINE):
        (tmp_path / name).write_text(documented(name))
    alone = tmp_path / "installed"
    alone.mkdir()
    (alone / "medbench").symlink_to(Path(medbench.__file__).parent)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *CONTRACTS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(alone), "PYTHONSAFEPATH": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    for file, contract in CONTRACTS.items():
        for name in contract.names():
            assert re.search(rf"^{file}::\w+::{name} (PASSED|SKIPPED)", run.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("file", "kind", "name"),
    [
        ("bayes.py", "models", "naive-bayes"),
        ("named_files.py", "sources", "named-files"),
        ("stack.py", "readers", "stack"),
        ("random_search.py", "tuners", "random"),
        ("smallest_first.py", "executors", "smallest-first"),
    ],
)
def test_a_file_of_the_page_adds_what_it_says(documented, tmp_path, file, kind, name):
    (tmp_path / file).write_text(documented(file))
    registry.load_plugin(tmp_path / file)
    assert name in getattr(registry, kind).added()


def test_the_entry_of_the_page_is_one_of_its_source(documented, tmp_path):
    (tmp_path / "named_files.py").write_text(documented("named_files.py"))
    registry.load_plugin(tmp_path / "named_files.py")
    (entry,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "d.yaml").write_text(entry)
    (name,) = yaml.safe_load(entry)
    assert read_datasets(tmp_path / "d.yaml")[name].licence == "CC BY 4.0"


def test_files_that_the_page_points_to_are_there():
    for path in re.findall(r"\]\(\.\./([\w/.]+)\)", PAGE):
        assert (Path(medbench.__file__).parents[1] / path).is_file(), path
