"""Who may work in a run folder, and what is said of whoever does."""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys

import pytest

from medbench.atomic_files import read_json, write_json
from medbench.errors import StoreError
from medbench.store import RunStore

HOLD = """
import sys
from pathlib import Path
from medbench.store import RunStore

with RunStore(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holding(tmp_path):
    """Starts processes that hold the folder until they are ended."""
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_folder_in_use_is_refused_with_who_uses_it_since_when(tmp_path, holding):
    process = holding()
    said = (
        rf"another run is at work in {tmp_path} since \d\d:\d\d "
        rf"\(pid {process.pid} on host {platform.node()}\). Wait for it."
    )
    with pytest.raises(StoreError, match=said), RunStore(tmp_path).lock():
        pass
    process.stdin.close()
    process.wait()
    assert not (tmp_path / ".holder.json").exists()
    with RunStore(tmp_path).lock():
        assert read_json(tmp_path / ".holder.json")["pid"] == os.getpid()
    assert not (tmp_path / ".holder.json").exists()


def test_a_holder_that_was_killed_is_taken_over(tmp_path, holding):
    process = holding()
    process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()
    assert read_json(tmp_path / ".holder.json")["pid"] == process.pid
    with RunStore(tmp_path).lock():
        assert read_json(tmp_path / ".holder.json")["pid"] == os.getpid()


def test_a_holder_who_is_gone_is_not_named_for_the_one_who_is_there(tmp_path, holding):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    holding()
    holder = {**read_json(tmp_path / ".holder.json"), "pid": int(gone.stdout)}
    write_json(tmp_path / ".holder.json", holder)
    unnamed = pytest.raises(StoreError, match=rf"at work in {tmp_path}\. Wait")
    with unnamed, RunStore(tmp_path).lock():
        pass


def test_a_holder_of_another_machine_is_not_taken_over_but_named(tmp_path):
    holder = tmp_path / ".holder.json"
    write_json(holder, {"host": "elsewhere", "pid": 7, "since": "2001-02-03T14:02:00+00:00"})
    with (
        pytest.raises(StoreError, match=rf"pid 7 on host elsewhere.*remove {holder}"),
        RunStore(tmp_path).lock(),
    ):
        pass
    holder.unlink()
    with RunStore(tmp_path).lock():
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="the number of the running system is of Linux")
def test_a_dead_holder_of_another_container_on_this_machine_is_taken_over(tmp_path):
    holder = tmp_path / ".holder.json"
    with RunStore(tmp_path).lock():
        here = read_json(holder)
    write_json(holder, {**here, "host": "a-container-that-is-gone"})
    with RunStore(tmp_path).lock():
        assert read_json(holder)["host"] == here["host"]


@pytest.mark.parametrize("content", ["", "[]", '{"host": "x"}', '{"host": 1, "pid": "x"}', "\x00"])
def test_a_damaged_name_of_the_holder_stops_nobody(tmp_path, content):
    (tmp_path / ".holder.json").write_text(content)
    with RunStore(tmp_path).lock():
        assert json.loads((tmp_path / ".holder.json").read_text())["pid"] == os.getpid()


_START = """
import sys
from pathlib import Path
from medbench.errors import StoreError
from medbench.store import RunStore

print("ready", flush=True)
sys.stdin.readline()
try:
    with RunStore(Path(sys.argv[1])).lock():
        print("works", flush=True)
        sys.stdin.readline()
except StoreError:
    print("refused", flush=True)
"""


def test_of_several_starts_at_once_exactly_one_works(tmp_path):
    command = [sys.executable, "-c", _START, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        starts = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(6)]
        assert [one.stdout.readline() for one in starts] == ["ready\n"] * 6
        for one in starts:
            one.stdin.write("\n")
            one.stdin.flush()
        said = [one.stdout.readline() for one in starts]
    assert sorted(said) == ["refused\n"] * 5 + ["works\n"]
