"""A command that is told to end does so in order, and at once when it is told twice."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import psutil
import pytest

from medbench import signals
from medbench.cli import main
from medbench.store import RunStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent to one process")

DEADLINE = 60
"""Seconds after which something hangs."""
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
NAPPING = (Path(__file__).parents[1] / "plugins" / "nearest_centroid.py").read_text()
NAPPING = NAPPING.replace("        pixels = train", "        nap()\n        pixels = train", 1)
NAPPING += """

def nap():
    import os, time
    while "NAP" in os.environ and os.path.exists(os.environ["NAP"]):
        time.sleep(0.01)
"""
"""The example plugin, which does not fit while there is a file that ``NAP`` names."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def started(command: list[str], **options) -> subprocess.Popen:
    """A process that hears signals as one at a terminal does."""

    def as_at_a_terminal() -> None:  # a job in the background was told to ignore SIGINT
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, *command],
        **{
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "preexec_fn": as_at_a_terminal,
            **options,
        },
    )


def script(body: str, first: str = "", **options) -> subprocess.Popen:
    """A command that does nothing but what a test is about, as ``python -m medbench`` runs it."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    text = (
        f"import hashlib, os, sys, threading, time\n{first}from medbench import signals\n"
        f"def command():\n{lines}    return 0\nsys.exit(signals.ends_in_order(command))"
    )
    return started(["-c", text], **options)


def heard(process: subprocess.Popen, word: str) -> None:
    """Wait until a process says a word, and then until it does nothing, or for a second.

    A signal that comes just before a system call begins to wait is heard when that is over.
    """
    late = threading.Timer(DEADLINE, process.kill)
    late.start()
    try:
        assert any(word in line for line in process.stdout), process.communicate()
    finally:
        late.cancel()
    until = time.monotonic() + 1
    while (
        time.monotonic() < until and psutil.Process(process.pid).status() != psutil.STATUS_SLEEPING
    ):
        time.sleep(0.01)


def one_line(process: subprocess.Popen, number: int) -> str:
    """Wait for the end that a signal asked for: the line that is said of it."""
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors and "Exception ignored" not in errors
    lines = [line for line in errors.splitlines() if line]
    assert len(lines) == 1, errors
    return lines[0]


def run_options(class_folders) -> list[str]:
    Path("plugin.py").write_text(NAPPING)
    options = ["run", "--no-sanity", "--data", str(class_folders(per_class=12)), "--folds", "2"]
    options += ["--plugin", "plugin.py", "--models", "nearest-centroid", "--trials", "2"]
    return [*options, "--jobs", "2", "--threads", "1", "--out", "out"]


def napping_run(options: list[str], **more) -> subprocess.Popen:
    """A run of which both attempts have begun to fit and wait."""
    Path("nap").write_text("")
    environment = {**os.environ, "NAP": str(Path("nap").resolve())}
    return started(["-m", "medbench", *options], env=environment, **more)


def wait_for_cells(process: subprocess.Popen) -> None:
    """Until both cells are begun."""
    begun = [Path(f"out/cells/set/nearest-centroid/r0f{fold}/key.json") for fold in (0, 1)]
    until(lambda: all(map(Path.exists, begun)) or process.poll() is not None)
    assert process.poll() is None, process.communicate()


def until(happened) -> None:
    """Wait for an event that only a look can tell."""
    end = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def attempts_of(folder: Path) -> list[str]:
    """Processes that work on cells of a run that was started in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = (process / "cwd").readlink()
        except OSError:
            continue
        if "medbench.execution." in line and place == folder:
            found.append(line)
    return found


@pytest.mark.parametrize(
    "how",
    [
        signal.SIGTERM,
        # of two jobs in test_end_to_end.py, and both at a terminal below
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_run_ends_with_a_line_without_attempts_or_images_and_goes_on(class_folders, how):
    options = run_options(class_folders)
    process = napping_run(options)
    wait_for_cells(process)
    process.send_signal(how)
    line = one_line(process, how)
    by = "" if how == signal.SIGINT else f" by {how.name}"
    kept = "Finished trials and cells are kept. Give the same command again to go on."
    assert line == f"Interrupted{by}. {kept}"
    if Path("/proc").is_dir():
        until(lambda: not attempts_of(Path.cwd()))
    assert not list(Path(os.environ["MEDBENCH_CACHE"], "work").rglob("images.npy"))
    assert main(options) == 0
    assert {cell.status for cell in RunStore(Path("out")).read().cells} == {"ok"}


def test_the_end_phase_of_a_run_can_be_interrupted_and_is_made_up_for(class_folders):
    options = run_options(class_folders)
    with Path("plugin.py").open("a") as plugin:
        plugin.write(
            "\nimport sys, time\n"
            "if 'medbench.cli.run' in sys.modules:\n"  # not in an attempt
            "    import medbench.running.carry_out as end\n"
            "    def write(*_):\n"
            "        print('writing', flush=True)\n"
            "        time.sleep(600)\n"
            "    end.write_everything = write\n"
        )
    process = started(["-m", "medbench", *options])
    heard(process, "writing")
    process.send_signal(signal.SIGINT)
    assert "Finished trials and cells are kept" in one_line(process, signal.SIGINT)
    assert not Path("out/leaderboard.csv").exists()
    Path("plugin.py").write_text(NAPPING)
    assert main(options) == 0
    assert Path("out/leaderboard.csv").exists()


@pytest.mark.parametrize("moment", ["imports", "looks", "reads"])
def test_other_verbs_say_a_line_too(tmp_path, moment):
    """Interrupted while Python imports, while images are looked for and while a line is awaited."""
    places = {
        "imports": "import medbench.cli.audit as verb\nverb.add_arguments = wait",
        "looks": "import medbench.cli.audit as verb\nverb.execute = wait",
        "reads": "sys.stdin.readline = wait\nimport medbench.cli.audit as verb\n"
        "verb.execute = lambda options: sys.stdin.readline()",
    }
    process = script(
        "def wait(*_):\n    print('there', flush=True)\n    time.sleep(600)\n"
        f"{places[moment]}\nfrom medbench.cli import main\nreturn main(['audit', 'phantoms-mr'])"
    )
    heard(process, "there")
    process.send_signal(signal.SIGTERM)
    assert "Give the same command again" in one_line(process, signal.SIGTERM)


NATIVE = "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
"""Minutes of native code, in which Python hears no signal."""


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(f"print('there', flush=True)\n{NATIVE}", id="native code"),
        pytest.param(
            f"try:\n    print('there', flush=True)\n    time.sleep(600)\nfinally:\n    {NATIVE}",
            id="cleaning up",
        ),
        pytest.param(
            "from concurrent.futures import ThreadPoolExecutor\n"
            f"with ThreadPoolExecutor() as pool:\n    pool.submit(lambda: {NATIVE})\n"
            "    print('there', flush=True)",
            id="waiting for native threads",
        ),
        pytest.param(
            f"threading.Thread(target=lambda: {NATIVE}).start()\nprint('there', flush=True)",
            id="a thread outlives the command",
        ),
    ],
)
def test_ctrl_c_twice_ends_at_once(what):
    process = script(what)
    heard(process, "there")
    process.send_signal(signal.SIGINT)
    while process.poll() is None:  # the first may be heard late, so it is said until it is over
        process.send_signal(signal.SIGINT)
        with_pause(process)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode in (128 + signal.SIGINT, -signal.SIGINT)
    assert "Traceback" not in errors and len(errors.splitlines()) <= 4


def with_pause(process: subprocess.Popen) -> None:
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        return


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP], ids=str)
def test_other_signals_come_twice_and_the_end_stays_in_order(how):
    process = script(
        "try:\n    print('there', flush=True)\n    time.sleep(600)\n"
        "finally:\n    print('cleaning', flush=True)\n    sys.stdin.readline()\n"
        "    print('done', flush=True)"
    )
    heard(process, "there")
    process.send_signal(how)
    heard(process, "cleaning")
    process.send_signal(how)
    process.send_signal(how)
    process.stdin.write("\n")
    process.stdin.flush()
    heard(process, "done")
    assert "Interrupted" in one_line(process, how)


def test_who_does_not_end_in_order_in_time_ends_at_once():
    process = script(
        "signals._GRACE_SECONDS = 0.1\ntry:\n    print('there', flush=True)\n"
        f"    time.sleep(600)\nfinally:\n    {NATIVE}"
    )
    heard(process, "there")
    process.send_signal(signal.SIGHUP)
    assert "Ended at once" in one_line(process, signal.SIGHUP)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(
            "class Thing:\n    def __del__(self):\n"
            "        print('there', flush=True)\n        time.sleep(600)\n"
            "thing = Thing()\ndel thing\ntime.sleep(600)",
            id="where an object is removed",
        ),
        pytest.param(
            "try:\n    print('there', flush=True)\n    time.sleep(600)\n"
            "except KeyboardInterrupt:\n    raise ImportError('cannot be loaded')",
            id="where it becomes another error",
        ),
        pytest.param(
            "try:\n    print('there', flush=True)\n    time.sleep(600)\n"
            "except KeyboardInterrupt as error:\n    sys.excepthook(*sys.exc_info())\n    raise",
            id="where it is printed",
        ),
    ],
)
def test_the_first_signal_is_a_line_wherever_it_comes(what):
    process = script(what)
    heard(process, "there")
    process.send_signal(signal.SIGINT)
    assert "Interrupted" in one_line(process, signal.SIGINT)


def test_who_waits_for_a_lock_is_told_in_a_line_too():
    with filelock.FileLock("lock"):
        process = script(
            "import filelock\nprint('there', flush=True)\nfilelock.FileLock('lock').acquire()"
        )
        heard(process, "there")
        process.send_signal(signal.SIGINT)
        assert "Interrupted" in one_line(process, signal.SIGINT)


def test_what_a_process_is_told_to_ignore_stays_ignored():
    def as_with_nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = script("print('there', flush=True)\nsys.stdin.readline()", preexec_fn=as_with_nohup)
    heard(process, "there")
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate("\n", timeout=DEADLINE)
    assert (process.returncode, errors) == (0, "")


def test_a_system_without_hup_and_without_pipes_that_wake_ends_too(monkeypatch):
    """As on Windows: the main thread counts by itself."""
    process = script(
        "try:\n    print('there', flush=True)\n    time.sleep(600)\n"
        "finally:\n    print('cleaning', flush=True)\n    time.sleep(600)",
        first="import signal\ndel signal.SIGHUP\nsys.platform = 'win32'\n",
    )
    heard(process, "there")
    process.send_signal(signal.SIGINT)
    heard(process, "cleaning")
    process.send_signal(signal.SIGINT)
    assert "Ended at once" in one_line(process, signal.SIGINT)
    monkeypatch.delattr(signal, "SIGHUP")
    assert signals.ending() == (signal.SIGINT, signal.SIGTERM)


def test_a_reader_that_has_gone_is_no_error_that_is_shown():
    reading, writing = os.pipe()
    os.close(reading)
    process = started(["-m", "medbench", "models", "list"], stdout=writing)
    os.close(writing)
    _, errors = process.communicate(timeout=DEADLINE)
    assert errors == ""
    assert process.returncode == 128 + signal.SIGPIPE


# --- at a terminal ------------------------------------------------------------------------


class Terminal:
    """A terminal of which a run is the foreground; what it shows is read from the other side."""

    def __init__(self, options: list[str]) -> None:
        self._ours, theirs = os.openpty()
        self.shown = b""

        def at_the_terminal() -> None:
            import fcntl
            import termios

            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            for number in ENDING:
                signal.signal(number, signal.SIG_DFL)

        places = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        self.process = napping_run(options, preexec_fn=at_the_terminal, **places)
        os.close(theirs)

    def read(self, word: bytes) -> None:
        """Read until a word is shown."""
        while word not in self.shown:
            if not self._more():
                raise AssertionError(self.shown)

    def read_all(self) -> None:
        """Read to the end."""
        while self._more():
            pass

    def _more(self) -> bool:
        if not select.select([self._ours], [], [], DEADLINE)[0]:
            raise AssertionError(f"nothing is shown any more after {self.shown!r}")
        try:
            found = os.read(self._ours, 4096)
        except OSError:  # nobody is on the other side
            return False
        self.shown += found
        return bool(found)

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    def close(self) -> None:
        os.close(self._ours)


HIDDEN, SHOWN = b"\x1b[?25l", b"\x1b[?25h"


@pytest.fixture
def terminal(class_folders):
    pytest.importorskip("termios")
    terminal = Terminal(run_options(class_folders))
    terminal.read(HIDDEN)
    wait_for_cells(terminal.process)
    yield terminal
    terminal.process.kill()
    terminal.process.wait()


def test_ctrl_c_at_a_terminal_takes_the_view_away_and_brings_the_cursor_back(terminal):
    terminal.press(b"\x03")
    terminal.read_all()
    assert terminal.process.wait(DEADLINE) == 130
    assert terminal.shown.rindex(SHOWN) > terminal.shown.rindex(HIDDEN)
    assert b"Interrupted. Finished trials and cells are kept." in terminal.shown
    assert b"Traceback" not in terminal.shown


def test_a_terminal_that_is_closed_ends_the_run_and_its_attempts(terminal):
    terminal.close()
    assert terminal.process.wait(DEADLINE) == 128 + signal.SIGHUP
    if Path("/proc").is_dir():
        until(lambda: not attempts_of(Path.cwd()))
    assert not list(Path(os.environ["MEDBENCH_CACHE"], "work").rglob("images.npy"))


def test_a_run_can_be_suspended_and_goes_on(class_folders):
    """As Ctrl-Z and fg do."""
    process = napping_run(run_options(class_folders), process_group=0)
    wait_for_cells(process)
    process.send_signal(signal.SIGTSTP)
    told = []
    until(lambda: told.append(os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)) or told[-1][0])
    assert os.WIFSTOPPED(told[-1][1])
    Path("nap").unlink()
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=DEADLINE)
    assert (process.returncode, errors) == (0, "")
    assert {cell.status for cell in RunStore(Path("out")).read().cells} == {"ok"}
