"""What all tests share: a cache of their own, and the real images where they are."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import tomllib
from pathlib import Path

# Two processes of threads that spin against each other are slower than one thread each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# What starts the tests in the background has them ignore Ctrl-C, and all that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# One user for all tests and processes of a test run, who is not the one who runs them.
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="medbench-state-")
    atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

import numpy as np
import pytest
from PIL import Image

from medbench import registry
from medbench.execution import plan

# A run within the tests works in their own process, unless a test is marked "processes".
plan.DEFAULT_EXECUTOR = "inline"
# Nor does it wait until the disk has what was written, as processes that tests start do; that it
# would is tested in test_atomic_files.py.
os.fsync = lambda descriptor: None

SHARED = Path(__file__).resolve().parents[2] / "shared"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PACKAGED = Path(__file__).parent / "plugins" / "packaged"


@pytest.fixture(scope="session")
def _caches(tmp_path_factory) -> Path:
    """Where the cache of each test lies; pytest would look at all of them to number one more."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(autouse=True)
def _own_places(_caches, monkeypatch):
    """No test reads or writes the user's cache, data folder, weights or working folder."""
    monkeypatch.setenv("MEDBENCH_CACHE", tempfile.mkdtemp(dir=_caches))
    for name in ("MEDBENCH_DATA", "MEDBENCH_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory, worker_id) -> Path:
    """One folder for all processes of this test run, for what they make once under a lock."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def _processes(request, monkeypatch):
    """Marked tests run cells in processes of their own, as users do."""
    if request.node.get_closest_marker("processes"):
        monkeypatch.setattr(plan, "DEFAULT_EXECUTOR", "local")


@pytest.fixture(autouse=True)
def forget_plugins():
    """A plugin that one test loads is unknown to the next; a test may ask for that itself."""
    before = [(kind, dict(kind._registered)) for kind in registry.ALL]

    def forget() -> None:
        for kind, registered in before:
            kind._registered.clear()
            kind._registered.update(registered)
        for module in [m for m in sys.modules if m.startswith("medbench_plugin_")]:
            del sys.modules[module]

    yield forget
    forget()


def _forget_installed() -> None:
    for kind in registry.ALL:
        kind.__dict__.pop("_installed", None)
        kind._broken.clear()


@pytest.fixture
def install(tmp_path_factory, monkeypatch):
    """Makes files and their entry points look installed, here and in processes started."""
    site = tmp_path_factory.mktemp("site")
    monkeypatch.syspath_prepend(str(site))
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))

    def make(name: str, version: str, groups: dict, files: dict[str, str], requires=()) -> Path:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        points = "\n".join(
            f"[medbench.{group}]\n" + "\n".join(f"{k} = {v}" for k, v in points.items())
            for group, points in groups.items()
        )
        metadata = [f"Name: {name}", f"Version: {version}"]
        metadata += [f"Requires-Dist: {text}" for text in requires]
        texts = {f"{info.name}/entry_points.txt": points}
        texts[f"{info.name}/METADATA"] = "\n".join(["Metadata-Version: 2.1", *metadata, ""])
        for file, text in {**texts, **files}.items():
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            (site / file).write_text(text)
        _forget_installed()
        return site

    yield make
    _forget_installed()
    for module, loaded in list(sys.modules.items()):
        if str(getattr(loaded, "__file__", "")).startswith(str(site)):
            del sys.modules[module]


@pytest.fixture
def example_plugin(install) -> Path:
    """The packaged plugin beside the tests, as if installed; the folder it is installed in."""
    project = tomllib.loads((PACKAGED / "pyproject.toml").read_text())["project"]
    files = {str(f.relative_to(PACKAGED)): f.read_text() for f in PACKAGED.rglob("*.py")}
    groups = {k.removeprefix("medbench."): v for k, v in project["entry-points"].items()}
    return install(project["name"], project["version"], groups, files, project["dependencies"])


@pytest.fixture
def documented():
    """Gives the text of a Python file as the page for authors of plugins has it."""
    page = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text()
    blocks = re.findall(r"```python\n(# (\w+\.py)\n.*?)```", page, flags=re.DOTALL)
    return {name: text for text, name in blocks}.__getitem__


@pytest.fixture
def real_data() -> Path:
    """The folder of real images; the test is skipped where it is not there."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the real images (shared/data beside the project) are not here")
    return folder


@pytest.fixture
def real_weights() -> Path:
    """The folder of real weights; the test is skipped where it is not there."""
    folder = SHARED / "weights"
    if not folder.is_dir():
        pytest.skip("the real weights (shared/weights beside the project) are not here")
    return folder


@pytest.fixture(scope="module")
def browser():
    """A chromium; absent ones skip, unless MEDBENCH_BROWSER=required says that there is one."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if found is None or sync_playwright is None:
        missing = "chromium" if found is None else "playwright"
        if os.environ.get("MEDBENCH_BROWSER") == "required":
            pytest.fail(f"{missing} is not installed, and MEDBENCH_BROWSER=required wants it")
        pytest.skip(f"{missing} is not installed")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking", "--no-proxy-server"]
        chromium = playwright.chromium.launch(executable_path=found, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def class_folders(tmp_path):
    """Makes a folder of class folders with small synthetic images; a bright square marks "b"."""

    def make(per_class: int = 8, classes=("a", "b"), size: int = 24, name: str = "set") -> Path:
        rng = np.random.default_rng(0)
        root = tmp_path / name
        for index, label in enumerate(classes):
            (root / label).mkdir(parents=True)
            for i in range(per_class):
                pixels = rng.integers(0, 120, (size, size), dtype=np.uint8)
                pixels[4:10, 4 : 4 + 6 * index] = 220
                Image.fromarray(pixels).save(root / label / f"{i:02d}.png")
        return root

    return make


def pytest_terminal_summary(terminalreporter):
    """What faults cost, by kind, where tests have taken it down (see ``reliability``)."""
    costs: dict[str, dict[str, int]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name != "toll" or report.when != "call":
                    continue
                toll = json.loads(value)
                row = costs.setdefault(toll.pop("kind"), {"moments": 0, **dict.fromkeys(toll, 0)})
                row["moments"] += toll.pop("moments", 1)
                for cost, count in toll.items():
                    row[cost] += count
    if costs:
        terminalreporter.section("faults and what they cost")
        names = ["fault", *next(iter(costs.values()))]
        terminalreporter.write_line("| " + " | ".join(names) + " |")
        terminalreporter.write_line("|---" * len(names) + "|")
        for kind, row in sorted(costs.items()):
            terminalreporter.write_line("| " + " | ".join([kind, *map(str, row.values())]) + " |")
