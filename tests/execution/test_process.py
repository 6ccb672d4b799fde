import os
import threading
import time

import pytest

from medbench.execution.environment import child_environment
from medbench.execution.process import CellFailedError, Processes, StoppedError


def test_what_a_process_ended_with_is_the_reason_of_the_failure(tmp_path):
    with (
        pytest.raises(CellFailedError, match="TypeError"),
        Processes().start(tmp_path / "log", child_environment(1)) as process,
    ):
        process.send({"no": "specification"})
        process.wait_for("fitted", lambda message: None)
    with (
        pytest.raises(CellFailedError, match="ended by SIGABRT"),
        Processes().start(tmp_path / "log", child_environment(1)) as process,
    ):
        os.kill(process._process.pid, 6)
        process.wait_for("fitted", lambda message: None)


def test_the_end_of_the_run_ends_every_process_and_is_no_failure(tmp_path):
    processes, raised, pids = Processes(), [], []

    def run(name: str) -> None:
        try:
            with processes.start(tmp_path / name, child_environment(1)) as process:
                pids.append(process._process.pid)
                process.wait_for("fitted", lambda message: None)
        except (StoppedError, CellFailedError) as error:
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
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    run("c")
    assert raised[2] is StoppedError and len(pids) == 2  # none is started any more
