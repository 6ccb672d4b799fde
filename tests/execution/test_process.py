"""Processes of attempts end as they should, and what they ended with is told."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from medbench import registry
from medbench.execution.environment import child_environment
from medbench.execution.fork_server import ForkServer
from medbench.execution.limits import Limits
from medbench.execution.plan import ATTEMPT
from medbench.execution.process import (
    AttemptFailedError,
    KilledError,
    Processes,
    StoppedError,
)
from medbench.execution.process_tree import descendants
from medbench.versions import code_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")


def attempt_of(process) -> int:
    """Number of the process of the attempt, which its guardian may not have forked yet."""
    if sys.platform != "linux":
        return process.pid
    wait_until(lambda: any(True for _ in descendants(process.pid)))
    return next(descendants(process.pid))


def wait_until(there) -> None:
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module", params=["spawned", pytest.param("forked", marks=linux)])
def server(request, tmp_path_factory):
    """What processes are forked off; None for interpreters of their own."""
    if request.param == "spawned":
        yield None
        return
    cache = {"MEDBENCH_CACHE": str(tmp_path_factory.mktemp("cache"))}
    server = ForkServer({**child_environment(1), **cache}, ())
    yield server
    server.stop()


def test_what_a_process_ended_with_is_the_reason_of_the_failure(tmp_path, server):
    processes, environment = Processes(), child_environment(1)
    with (
        pytest.raises(AttemptFailedError, match="KeyError"),
        processes.start(tmp_path / "log", environment, server, Limits()) as process,
    ):
        process.send({"no": "task"})
        next(process.messages())
    for number, error in ((signal.SIGABRT, AttemptFailedError), (signal.SIGKILL, KilledError)):
        with (
            pytest.raises(error, match=f"ended by {number.name}"),
            processes.start(tmp_path / "log", environment, server, Limits()) as process,
        ):
            os.kill(attempt_of(process), number)
            next(process.messages())


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_an_attempt_dies_with_its_guardian_which_is_no_failure_of_the_family(
    tmp_path, server, number
):
    with (
        pytest.raises(KilledError, match=number.name),
        Processes().start(tmp_path / "log", child_environment(1), server, Limits()) as process,
    ):
        attempt = attempt_of(process)
        os.kill(process.pid, number)
        next(process.messages())
    wait_until(lambda: not alive(attempt))


@linux
def test_attempts_that_run_outlive_the_fork_server(tmp_path):
    server = ForkServer(child_environment(1), ())
    start = Processes().start(tmp_path / "log", child_environment(1), server, Limits())
    with pytest.raises(AttemptFailedError, match="KeyError"), start as process:
        server.stop()
        process.send({"no": "task"})
        next(process.messages())


def test_the_end_of_the_run_ends_every_process_and_is_no_failure(tmp_path, server):
    processes, raised, pids = Processes(), [], []

    def run(name: str) -> None:
        try:
            start = processes.start(tmp_path / name, child_environment(1), server, Limits())
            with start as process:
                pids.append(process.pid)
                next(process.messages())
        except (StoppedError, AttemptFailedError) as error:
            raised.append(type(error))

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    while len(pids) < 2:
        time.sleep(0.01)
    processes.end_all()
    for thread in threads:
        thread.join()
    assert raised == [StoppedError, StoppedError]
    for pid in pids:
        wait_until(lambda pid=pid: not alive(pid))
    run("c")
    assert raised[2] is StoppedError and len(pids) == 2  # none is started any more


@linux
@pytest.mark.parametrize(
    "families",
    [
        pytest.param(("hog-svm", "xgboost", "thumbnail"), id="without Keras"),
        pytest.param(("cnn", "mobilenet"), id="with Keras", marks=pytest.mark.slow),
    ],
)
def test_nothing_that_families_import_starts_threads_or_opens_a_device(families):
    for family in families:
        for module in registry.models.get(family).requires:
            pytest.importorskip(module)
    tuners = ("optuna", *{registry.models.get(family).default_tuner for family in families})
    classes = [registry.models.get(family) for family in families]
    classes += [registry.tuners.get(tuner) for tuner in tuners]
    server = ForkServer(child_environment(2), code_of(*classes, ATTEMPT).imports)
    try:
        assert server.is_alone()
        opened = [str(link.readlink()) for link in Path(f"/proc/{server.pid}/fd").iterdir()]
        assert [path for path in opened if path.startswith("/dev/")] == ["/dev/null"] * 3
    finally:
        server.stop()


@linux
def test_a_server_that_has_started_a_thread_is_not_forked_off(tmp_path, monkeypatch):
    (tmp_path / "threaded.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    server = ForkServer(child_environment(1), ("threaded",))
    try:
        assert not server.is_alone()
    finally:
        server.stop()


@linux
def test_a_server_that_died_is_told_by_an_error(tmp_path):
    server = ForkServer(child_environment(1), ())
    assert server.is_alone()
    server.stop()
    with Path(os.devnull).open() as nothing, pytest.raises(OSError, match="ended"):
        server.fork([nothing.fileno()] * 3, Limits())
