"""A run in a notebook: what a kernel with threads and an event loop shows, and how it stops."""

import json
import os
import sys
import time
from pathlib import Path
from queue import Empty
from types import ModuleType, SimpleNamespace

import pytest
from rich.console import Console
from rich.text import Text

from medbench.running.live import LiveListener, make_listener
from medbench.running.notebook import NotebookView
from medbench.store import RunStore

DEADLINE = 120
"""Seconds after which something hangs."""


class Output:
    """One output of a notebook's cell, which may be drawn again."""

    def __init__(self, shown):
        self.drawn = [shown]

    def update(self, shown):
        self.drawn.append(shown)

    def text(self, at: int) -> str:
        return self.drawn[at]._repr_mimebundle_([], [])["text/plain"].rstrip()


@pytest.fixture
def outputs(monkeypatch):
    """What a notebook would show."""
    found = []

    def display(shown, display_id=None):
        found.append(Output(shown))
        return found[-1]

    module = ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return found


def test_the_view_is_one_output_that_is_drawn_again_and_left_empty(outputs):
    view = NotebookView(Console(force_jupyter=True, width=60))
    view.start()
    view.update(Text("1 of 2 cells"), refresh=True)
    view.update(Text("not yet"), refresh=False)
    view.stop()
    (output,) = outputs
    assert [output.text(at) for at in range(3)] == ["", "1 of 2 cells", ""]
    assert len(output.drawn) == 3


def test_lines_stand_below_the_view_in_outputs_of_their_own(outputs):
    with make_listener(Console(force_jupyter=True, width=60)) as listener:
        assert isinstance(listener, LiveListener)
        listener.say("a line")
    view, line = outputs
    assert line.text(0) == "a line"
    assert view.text(1) == "preparing the data" and view.text(-1) == ""


@pytest.fixture
def kernel(tmp_path):
    """Runs code in a kernel in this folder; skipped where none is installed."""
    pytest.importorskip("ipykernel")
    manager = pytest.importorskip("jupyter_client").KernelManager()
    manager.start_kernel(cwd=str(tmp_path), env={**os.environ, "NAP": str(tmp_path / "nap")})
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=DEADLINE)

    def start(code: str) -> SimpleNamespace:
        asked = client.execute(code)

        def messages():
            until = time.monotonic() + DEADLINE
            while time.monotonic() < until:
                try:
                    message = client.get_iopub_msg(timeout=1)
                except Empty:
                    continue
                if message["parent_header"].get("msg_id") != asked:
                    continue
                kind, content = message["msg_type"], message["content"]
                if kind == "status" and content["execution_state"] == "idle":
                    return
                yield kind, content
            pytest.fail("the kernel hangs")

        return SimpleNamespace(messages=messages, interrupt=manager.interrupt_kernel)

    yield start
    client.stop_channels()
    manager.shutdown_kernel(now=True)


NAPPING = (Path(__file__).parents[1] / "plugins" / "nearest_centroid.py").read_text()
NAPPING = NAPPING.replace("        pixels = train", "        nap()\n        pixels = train", 1)
NAPPING += """

def nap():
    import os, time
    while os.path.exists(os.environ["NAP"]):
        time.sleep(0.01)
"""


@pytest.mark.slow
@pytest.mark.enable_socket
def test_a_kernel_shows_the_run_stops_at_an_interrupt_and_goes_on(
    kernel, class_folders, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("plugin.py").write_text(NAPPING)
    Path("nap").touch()
    options = {"data": str(class_folders(per_class=12)), "models": ["border", "nearest-centroid"]}
    options |= {"no_sanity": True, "trials": 1, "folds": 2, "out": "out", "plugin": "plugin.py"}
    call = f"import medbench\nrun = medbench.run(**{options!r})\nrun"
    cell, seen, stopped = kernel(call), [], False
    for kind, content in cell.messages():
        seen.append((kind, json.dumps(content)))
        if not stopped and list(Path("out").rglob("nearest-centroid/*/key.json")):
            cell.interrupt()
            stopped = True
    assert any("KeyboardInterrupt" in content for kind, content in seen if kind == "error")
    assert any("of 4 cells" in content for kind, content in seen if kind == "update_display_data")
    kept = {path: path.stat().st_mtime_ns for path in Path("out").rglob("predictions.parquet")}
    assert kept
    Path("nap").unlink()
    shown = dict(kernel(call).messages())
    assert "error" not in shown
    html = shown["execute_result"]["data"]["text/html"]
    assert "nearest-centroid" in html and 'href="out/report.html"' in html
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert {cell.status for cell in RunStore(Path("out")).read().cells} == {"ok"}
